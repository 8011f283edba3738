"""The job of an application whose imports take a second."""
import slow_imports  # noqa: F401
from peers import noop  # noqa: F401
