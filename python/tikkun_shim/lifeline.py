"""Ties processes to Tikkun's life: the kernel kills them when Tikkun is gone, by whatever means.

Its syntax is that of old Pythons, as that of `boot`.
"""

import fcntl
import os
import signal

# Not in the fcntl module before Python 3.9 under this name on every libc: Linux' number.
F_SETSIG = 10

# What is to survive a job lives above the fds that it might close in a sweep, as daemons do.
LOWEST_FD = 300


def tie(lifeline):
    """Has the kernel kill this process group when Tikkun, which holds the only write end, is gone.

    Returns the fd that holds it to that.

    The pipe is opened anew, since the owner of its signals belongs to the open file description, which this
    process shares with others.
    """
    if lifeline < 0:
        return None
    fd = high(os.open("/proc/self/fd/%d" % lifeline, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(fd, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    try:
        gone = os.read(fd, 1) == b""
    except BlockingIOError:
        gone = False
    if gone:
        # Tikkun went before the kernel was asked to watch.
        os.killpg(0, signal.SIGKILL)
    return fd


def untie(fd):
    """Takes it back, also for processes that were forked meanwhile."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_ASYNC)
    os.close(fd)


def high(fd):
    """The same open file under a high number."""
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, LOWEST_FD)
    except OSError:
        # This process may not have so many.
        return fd
    os.close(fd)
    return moved
