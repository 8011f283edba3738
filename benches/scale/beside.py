"""What the other benchmarks have: their grounds, their servers and the lists of the page."""
import importlib.util
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent / name) for name in ("page", "deletion", "peers")]

from ground import QUEUES, SECRET, Ground, Service  # noqa: E402, F401
import lists  # noqa: E402, F401
from lists import at, timed  # noqa: E402, F401


def bench(name):
    """The measurements of another benchmark, whose modules have the same name."""
    spec = importlib.util.spec_from_file_location(f"{name}_measure", HERE.parent / name / "measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
