"""Modules that jobs import. A child tells which they were, another tries whether they can be imported ahead,
and the process that forks imports them once for all later children."""

import importlib
import sys
import traceback

from . import frames
from .hazards import Look, in_words

# More would be no application's modules, but names that something makes up.
_MOST = 5000
_LONGEST_NAME = 250


class Imported:
    """Names of the modules that were imported since the last look."""

    def __init__(self):
        self._seen = len(sys.modules)

    def names(self):
        """Those first that brought others along: sys.modules has a module after those that it imported. Costs
        next to nothing if there are none."""
        if len(sys.modules) <= self._seen:
            return []
        names = list(sys.modules)[self._seen :][::-1]
        self._seen = len(sys.modules)
        return [name for name in names if _can_be_imported(name)][:_MOST]


def _can_be_imported(name):
    """Whether an import by that name leads to that module."""
    if name.startswith(("tikkun_shim", "__")) or len(name) > _LONGEST_NAME:
        return False
    try:
        # An ordinary look at an attribute would load a module that waits for its first use.
        spec = object.__getattribute__(sys.modules[name], "__dict__").get("__spec__")
        return spec is not None and spec.name == name
    except Exception:
        return False


def load(names):
    """Imports modules that are not there. Returns those that were imported by their name, since others come
    along with them, and why others failed."""
    loaded, failed = [], {}
    for name in names:
        if name not in sys.modules:
            error = _import(name)
            if error is None:
                loaded.append(name)
            else:
                failed[name] = error
    return loaded, failed


def _import(name):
    """Imports a module. Returns the last line of the error if that fails."""
    try:
        importlib.import_module(name)
    except BaseException as error:
        lines = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()
        return lines[-1] if lines else type(error).__name__
    return None


def try_out(channel, names):
    """Imports modules in this process, which ends afterwards, and tells which must not be imported ahead.

    After one that brings more than code no other is tried here: what it has imported would hide from them.
    """
    left_out = {}
    look = Look()
    for name in names:
        if name in sys.modules:
            continue
        # The import may end this process, or never end.
        channel.send(frames.PHASE, name, "-1")
        error = _import(name)
        now = Look()
        brought = in_words(now, look)
        if brought or error:
            left_out[name] = brought or error
        if brought:
            channel.send(frames.TRIED, {"left_out": left_out, "all": False})
            return
        look = now
    channel.send(frames.TRIED, {"left_out": left_out, "all": True})
