"""Ends a warm child that a job has left unclean, or that has lived long enough.

The checks run after each job, so each costs microseconds; the dearer ones run now and then.
"""

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import sys
import threading
import time

# A listing of fds costs more than the other checks together.
JOBS_PER_FD_CHECK = 50
# Connections that a job's libraries keep open are no leak; these many more are.
MAX_MORE_FDS = 64
# Reading the kernel's account of memory walks the page tables.
SECONDS_PER_MEMORY_CHECK = 1.0

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

# Threads of monitoring agents live as long as the process, and are what these agents expect of it.
_AGENTS = ("sentry", "raven-sentry", "ddtrace", "datadog", "Otel", "NR-", "eapm", "elasticapm")


def _environment():
    # The mapping of bytes below os.environ, which is copied and compared without decoding.
    return dict(getattr(os.environ, "_data", os.environ))


def _umask():
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _cwd():
    try:
        return os.getcwd()
    except OSError:
        return None


def _handlers():
    return [signal.getsignal(number) for number in _SIGNALS]


def _blocked():
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _file(fd):
    """Which file is open under this number."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _fds():
    return len(os.listdir("/proc/self/fd"))


def _children():
    """Whether processes that this one started are there, running or not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    except ChildProcessError:
        return False


def process_wide():
    """What code can change for all of a process, by name."""
    return {
        "the working folder": _cwd(),
        "the umask": _umask(),
        "the environment": _environment(),
        "signal handlers": _handlers(),
        "the signal mask": _blocked(),
        "sys.path": list(sys.path),
        "the default timeout of sockets": socket.getdefaulttimeout(),
    }


def seed():
    """A process that was forked draws numbers of its own, as one that has imported by itself does."""
    random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        with contextlib.suppress(Exception):
            numpy.seed()


def private_memory():
    """Bytes that this process shares with no other, or its resident bytes on a kernel that does not know."""
    try:
        with open("/proc/self/smaps_rollup", "rb") as file:
            kilobytes = sum(int(line.split()[1]) for line in file if line.startswith(b"Private_"))
        return kilobytes * 1024
    except OSError:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Hygiene:
    def __init__(self, limits):
        self._jobs_left = limits.get("jobs")
        self._lifetime = limits.get("lifetime")
        self._memory_growth = limits.get("memory_growth")
        self._born = time.monotonic()
        self._done = 0
        self._fds = None
        self._memory = None
        self._memory_seen = 0.0
        self._threads = set(threading.enumerate())
        # The standard streams, and the lowest number that is free: a sweep that closes fds closes that, too.
        self._files = (0, 1, 2, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        self._alarm = {signal.getsignal(signal.SIGALRM), signal.SIG_DFL}
        self._before = {name: look() for name, look in self._cheap()}
        self._environment = _environment()

    def _cheap(self):
        return (
            ("file descriptors", lambda: [_file(fd) for fd in self._files]),
            ("cwd", _cwd),
            ("umask", _umask),
            ("signal handlers", _handlers),
            ("signal mask", _blocked),
            ("sys.path", lambda: list(sys.path)),
            ("processes", _children),
        )

    def before(self):
        """A job is about to run: its environment is set."""
        self._environment = _environment()

    def after(self, retire):
        """Why this child should not run another job, or None. `retire` is the reason that the job gave."""
        self._done += 1
        if retire:
            return retire
        dirt = self._dirt()
        if dirt:
            return "dirty: " + dirt
        if self._jobs_left is not None and self._done >= self._jobs_left:
            return "jobs"
        if self._lifetime is not None and time.monotonic() - self._born >= self._lifetime:
            return "lifetime"
        if self._memory_growth is not None and self._has_grown():
            return "memory"
        return None

    def _dirt(self):
        if self._has_new_threads():
            return "threads"
        for name, look in self._cheap():
            if look() != self._before[name]:
                return name
        if _environment() != self._environment:
            return "environment"
        if signal.getitimer(signal.ITIMER_REAL)[0] or signal.getsignal(signal.SIGALRM) not in self._alarm:
            return "alarm"
        if asyncio._get_running_loop() is not None:
            return "event loop"
        if _job_in_hand():
            return "current job"
        if _in_transaction():
            return "database transaction"
        if self._has_more_fds():
            return "file descriptors"
        return None

    def _has_new_threads(self):
        if threading.active_count() <= len(self._threads):
            return False
        more = [thread for thread in threading.enumerate() if thread not in self._threads]
        return any(not thread.name.startswith(_AGENTS) for thread in more)

    def _has_more_fds(self):
        if self._fds is None:
            # After the first job, whose connections stay open.
            self._fds = _fds()
        return self._done % JOBS_PER_FD_CHECK == 0 and _fds() > self._fds + MAX_MORE_FDS

    def _has_grown(self):
        now = time.monotonic()
        if self._memory is None:
            # What the first job has loaded stays, and is no leak.
            self._memory, self._memory_seen = private_memory(), now
            return False
        if now - self._memory_seen < SECONDS_PER_MEMORY_CHECK:
            return False
        self._memory_seen = now
        if private_memory() - self._memory <= self._memory_growth:
            return False
        gc.collect()
        return private_memory() - self._memory > self._memory_growth


def _job_in_hand():
    from rq import get_current_job

    return get_current_job() is not None


def _in_transaction():
    """Whether a job has left a transaction of Django open."""
    if not _uses_django():
        return False
    database = sys.modules["django.db"]
    connections = [getattr(database.connections._connections, alias, None) for alias in database.connections]
    return any(connection is not None and connection.in_atomic_block for connection in connections)


def close_django_connections():
    """A connection to a database must not be shared by a fork."""
    if _uses_django():
        sys.modules["django.db"].connections.close_all()


def refresh_django():
    """What Django does between two requests: drops broken and old connections, and the log of queries."""
    if _uses_django():
        sys.modules["django.db"].reset_queries()
        sys.modules["django.db"].close_old_connections()


def _uses_django():
    return "django.db" in sys.modules and sys.modules["django.conf"].settings.configured
