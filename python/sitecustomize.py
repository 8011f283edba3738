"""Entrance of Tikkun's shim: Python imports this file at its start, since its folder is first in PYTHONPATH.

It runs in every Python process that the worker's command starts on its way, so it is small and never fails:
the next `sitecustomize` on the path runs as if this one were not there, then the shim waits for RQ.
"""

import os
import sys


def _enter(folder):
    # Only this process forgets the folder now. PYTHONPATH keeps it until RQ's worker is imported, since
    # wrappers such as `ddtrace-run` replace or start the process that becomes the worker.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != folder]
    me = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        # Python 2 names the module in its message only.
        if getattr(error, "name", None) != "sitecustomize" and "sitecustomize" not in str(error):
            raise
    finally:
        sys.modules.setdefault("sitecustomize", me)
        if "TIKKUN_FD" in os.environ:
            sys.path.insert(0, folder)
            try:
                from tikkun_shim import boot
            finally:
                sys.path.remove(folder)
            boot.install(folder)


_enter(os.path.realpath(os.path.dirname(__file__)))
