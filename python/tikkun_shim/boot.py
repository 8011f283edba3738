"""Waits in a starting Python process until RQ's worker is imported, then lets `capture` take over.

This module is imported by every Python process that the command starts, also by those that never see RQ, so
it imports little. Its syntax is that of old Pythons, for which it has one clear sentence.
"""

import os
import socket
import stat
import struct
import sys

from . import SUSPENSION_MODULE

# Modules of RQ whose import is waited for: 1.16 and early 2 have `rq.worker`, later ones `rq.worker.base`.
WORKER_MODULES = ("rq.worker", "rq.worker.base")
POOL_MODULE = "rq.worker_pool"
REFUSED = 20


class Control(object):
    """The control socket and the lifeline, as the environment names them."""

    def __init__(self, folder):
        self.folder = folder
        self.fd = int(os.environ["TIKKUN_FD"])
        self.lifeline = int(os.environ.get("TIKKUN_LIFELINE", "-1"))
        # Whether the worker's process is itself a child, and forks none.
        self.spawned = os.environ.get("TIKKUN_START") == "spawn"
        self._in_environment = True
        self._taken = None
        self._tied = None
        # The number may belong to another file by the time of work(), if the socket did not come along.
        self._socket = self._look()

    def _look(self):
        try:
            status = os.fstat(self.fd)
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISSOCK(status.st_mode) else None

    def alive(self):
        """Whether the socket came with this process: a program that closes fds it does not know drops it."""
        return self._socket is not None and self._look() == self._socket

    def tie(self):
        """Lets this process die with Tikkun while it boots, which may take long."""
        from tikkun_shim import lifeline

        try:
            self._tied = lifeline.tie(self.lifeline)
        except OSError:
            # A program on the way closed the lifeline; then only work() notices.
            pass

    def end_boot(self):
        """From here on the worker's process notices by itself when Tikkun is gone, and leaves as its program
        wants; but one that was started for jobs dies with Tikkun as they do."""
        if self._tied is not None and not self.spawned:
            from tikkun_shim import lifeline

            lifeline.untie(self._tied)
        self._tied = None

    def leave_environment(self):
        """From here on, a program that the worker or a job starts runs as if Tikkun were not there."""
        if not self._in_environment:
            return
        self._in_environment = False
        if self.alive():
            os.set_inheritable(self.fd, False)
            if self.lifeline >= 0:
                os.set_inheritable(self.lifeline, False)
        for name in ("TIKKUN_FD", "TIKKUN_LIFELINE", "TIKKUN_START"):
            os.environ.pop(name, None)
        entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        entries = [entry for entry in entries if not entry or os.path.realpath(entry) != self.folder]
        if any(entries):
            os.environ["PYTHONPATH"] = os.pathsep.join(entries)
        else:
            os.environ.pop("PYTHONPATH", None)

    def take(self):
        """The control socket, or None when another process has taken it.

        Processes that share the socket by fork may reach work() at once. A socket can be bound only once,
        whoever holds it, so the kernel lets exactly one of them win.
        """
        if self._taken is None:
            sock = socket.socket(fileno=os.dup(self.fd))
            try:
                sock.bind(b"\0tikkun-" + os.urandom(12).hex().encode())
            except OSError:
                sock.close()
                return None
            self._taken = sock
        return self._taken


class _Loader(object):
    """Runs a module's own loader, then the hook."""

    def __init__(self, loader, hook):
        self._loader = loader
        self._hook = hook

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # The module shows its own loader, for code that reads resources or sources through it.
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._hook(module)

    def __getattr__(self, name):
        return getattr(self._loader, name)


class _Finder(object):
    """Finds the modules that are waited for with the other finders, and puts the hook behind their loader."""

    def __init__(self, hook):
        self._hook = hook

    def find_spec(self, name, path=None, target=None):
        if name not in WORKER_MODULES and name not in (POOL_MODULE, SUSPENSION_MODULE):
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if finder is self or find_spec is None:
                continue
            spec = find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self._hook)
                return spec
        return None

    def find_module(self, name, path=None):
        """What Python 2 asks instead. None of its versions is served, so the module need not be there yet."""
        if name in WORKER_MODULES:
            self._hook(type(sys)(name))


def _refuse_old_python(control):
    words = "Python %d.%d is too old: Tikkun runs jobs on Python 3.8 and later" % sys.version_info[:2]
    sys.stderr.write("tikkun: %s\n" % words)
    sys.stderr.flush()
    data = words.encode("utf-8")
    frame = struct.pack("<IBI", len(data) + 5, REFUSED, len(data)) + data
    try:
        socket.fromfd(control.fd, socket.AF_UNIX, socket.SOCK_STREAM).sendall(frame)
    finally:
        os._exit(2)


def install(folder):
    """Waits for RQ's worker in this process."""
    control = Control(folder)

    def imported(module):
        if sys.version_info < (3, 8):
            _refuse_old_python(control)
        if module.__name__ in WORKER_MODULES:
            control.leave_environment()
        from tikkun_shim import capture

        capture.install(module, control)

    sys.meta_path.insert(0, _Finder(imported))
    if sys.version_info >= (3, 8) and control.alive():
        control.tie()
