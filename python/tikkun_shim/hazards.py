"""What a process that forks should not have, because a child gets only a part of it: threads, connections,
and libraries that have both where Python does not see them."""

import fcntl
import os
import socket
import stat
import sys
import threading

from .hygiene import process_wide

# Libraries, whether what is there of them is more than code, and why it does not go through a fork.
_LIBRARIES = (
    ("grpc", lambda module: True, "its threads and connections stay behind at a fork, and calls may hang"),
    ("jax", lambda module: True, "its threads stay behind at a fork, and a forked process may hang"),
    ("tensorflow", lambda module: True, "its runtime cannot be used in a forked process once it has begun"),
    ("torch.cuda", lambda module: module.is_initialized(), "CUDA that has begun works in no forked process"),
)


def _threads():
    """The threads beside this one: a fork copies none of them, but the locks that they hold."""
    known = threading.enumerate()
    names = {thread.ident: thread.name for thread in known}
    here = threading.get_ident()
    found = {
        ident: names.get(ident, "a thread without a name") for ident in sys._current_frames() if ident != here
    }
    found.update(_native_threads({thread.native_id for thread in known}))
    return found


def _native_threads(known):
    """Those of libraries that run no Python code and have given them a name. Threads that only compute, as
    those of OpenBLAS, keep the name of the process, and are made anew after a fork."""
    found = {}
    own = _name_of(os.getpid())
    for thread in os.listdir("/proc/self/task"):
        name = None if int(thread) in known else _name_of(thread)
        if name and name != own:
            found["native " + thread] = name
    return found


def _name_of(thread):
    try:
        with open(f"/proc/self/task/{thread}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _connections():
    """What processes cannot share, each with its other side: sockets on which bytes flow in an order, and
    files that are open for reading and writing, such as those of a database."""
    found = {}
    timeout = socket.getdefaulttimeout()
    # It would be set for the very connections that are looked at.
    socket.setdefaulttimeout(None)
    try:
        for fd in os.listdir("/proc/self/fd"):
            try:
                link = os.readlink("/proc/self/fd/" + fd)
                other = _other_side(int(fd)) if link.startswith("socket:") else _database(int(fd), link)
            except OSError:
                continue
            if other is not None:
                found[link] = other
    finally:
        socket.setdefaulttimeout(timeout)
    return found


def _database(fd, path):
    """The path of a file that is open for reading and writing; None for anything else. What the process was
    started with, and files without a name, are no databases."""
    if fd <= 2 or path.endswith(" (deleted)"):
        return None
    is_both = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    return path if is_both and stat.S_ISREG(os.fstat(fd).st_mode) else None


def _other_side(fd):
    """With whom a socket is connected: an empty text if that has no name, None if it does not matter."""
    sock = socket.socket(fileno=os.dup(fd))
    try:
        if sock.type == socket.SOCK_DGRAM:
            return None
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return f"{_address(sock.getsockname())} (it listens there)"
        return _address(sock.getpeername())
    finally:
        sock.close()


def _address(address):
    if isinstance(address, bytes):
        return address.decode("utf-8", "backslashreplace").replace("\0", "@")
    if isinstance(address, tuple):
        return ("[{}]:{}" if ":" in str(address[0]) else "{}:{}").format(*address[:2])
    return str(address).replace("\0", "@")


def _libraries():
    found = {}
    for name, is_alive, why in _LIBRARIES:
        module = sys.modules.get(name)
        try:
            if module is not None and is_alive(module):
                found[name] = why
        except Exception:
            # Something else of that name.
            continue
    return found


class Look:
    """What there is now, to be compared with an earlier look."""

    def __init__(self):
        self._threads = _threads()
        self._connections = _connections()
        self._libraries = _libraries()
        self._process_wide = process_wide()

    def facts(self, before=None):
        """What there is, or what has come since another look. Sockets without a name are told only if they
        have come since: what a process has from its start has a reason."""
        found, threads, libraries = self._connections, self._threads, self._libraries
        if before is None:
            connections = [other for other in found.values() if other]
        else:
            connections = [
                other or "a socket" for link, other in found.items() if link not in before._connections
            ]
            threads = {ident: name for ident, name in threads.items() if ident not in before._threads}
            libraries = {name: why for name, why in libraries.items() if name not in before._libraries}
        return {
            "threads": sorted(threads.values()),
            "connections": sorted(connections),
            "libraries": libraries,
        }


def in_words(now, before):
    """What an import has brought, as the reason why it is not made ahead; None if nothing."""
    facts = now.facts(before)
    for name, words in (("threads", "it starts threads: "), ("connections", "it opens connections: ")):
        if facts[name]:
            return words + ", ".join(facts[name])
    for name, why in facts["libraries"].items():
        return f"it loads {name}: {why}"
    changed = [name for name, value in now._process_wide.items() if value != before._process_wide[name]]
    return "it changes " + ", ".join(changed) if changed else None
