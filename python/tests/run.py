"""Runs the shim's tests in each of the given Python environments, which have RQ: run.py [python ...]"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main(pythons):
    failed = []
    for python in pythons:
        # The tests run in their own folder.
        python = os.path.abspath(python) if os.sep in python else python
        words = "import rq, sys; print('rq', rq.VERSION, 'on Python', sys.version.split()[0])"
        print("==", python, subprocess.check_output([python, "-c", words], text=True).strip(), flush=True)
        command = [python, "-B", "-m", "unittest", "discover", "-s", HERE]
        if subprocess.call(command + (["-v"] if os.environ.get("VERBOSE") else []), cwd=HERE):
            failed.append(python)
    for python in failed:
        print("failed:", python)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [sys.executable]))
