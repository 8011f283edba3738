"""What a process that forks should not have, because a child gets only a part of it: threads, connections,
and libraries that have both where Python does not see them."""

import os
import socket
import sys
import threading

# Libraries, whether what is there of them is more than code, and why it does not go through a fork.
_LIBRARIES = (
    ("grpc", lambda module: True, "its threads and connections stay behind at a fork, and calls may hang"),
    ("jax", lambda module: True, "its threads stay behind at a fork, and a forked process may hang"),
    ("tensorflow", lambda module: True, "its runtime cannot be used in a forked process once it has begun"),
    ("torch.cuda", lambda module: module.is_initialized(), "CUDA that has begun works in no forked process"),
)


def _threads():
    """The threads beside this one: a fork copies none of them, but the locks that they hold."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    here = threading.get_ident()
    return {
        ident: names.get(ident, "a thread without a name") for ident in sys._current_frames() if ident != here
    }


def _sockets():
    """The sockets on which bytes flow in an order, which processes cannot share, each with its other side."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink("/proc/self/fd/" + fd)
            other = _other_side(int(fd)) if link.startswith("socket:") else None
        except OSError:
            continue
        if other is not None:
            found[link] = other
    return found


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
        self._sockets = _sockets()
        self._libraries = _libraries()

    def facts(self, before=None):
        """What there is, or what has come since another look. Sockets without a name are told only if they
        have come since: what a process has from its start has a reason."""
        sockets, threads, libraries = self._sockets, self._threads, self._libraries
        if before is None:
            connections = [other for other in sockets.values() if other]
        else:
            connections = [
                other or "a socket" for link, other in sockets.items() if link not in before._sockets
            ]
            threads = {ident: name for ident, name in threads.items() if ident not in before._threads}
            libraries = {name: why for name, why in libraries.items() if name not in before._libraries}
        return {
            "threads": sorted(threads.values()),
            "connections": sorted(connections),
            "libraries": libraries,
        }


def in_words(facts):
    """What an import has brought, as the reason why it is not made ahead; None if nothing."""
    for name, words in (("threads", "it starts threads: "), ("connections", "it opens connections: ")):
        if facts[name]:
            return words + ", ".join(facts[name])
    for name, why in facts["libraries"].items():
        return f"it loads {name}: {why}"
    return None
