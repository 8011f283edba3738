"""A worker on a system without room for another process while a file is there: refused_fork.py FILE URL"""

import errno
import os
import sys

import worker

_fork = os.fork


def fork():
    if os.path.exists(sys.argv[1]):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


if __name__ == "__main__":
    os.fork = fork
    worker.main(*sys.argv[2:])
