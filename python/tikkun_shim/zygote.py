"""The worker's process as a fork server: boots once, never runs a job, and forks a child for each request.

It stays single-threaded as far as it depends on Tikkun, reaps its children and reports how they ended. Its
death does not touch running children, and it leaves when Tikkun closes the control socket.

Where forking is not safe, it is started once for each child instead, and becomes that child when it is asked
for one.
"""

import array
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback

from . import child, frames, imports, lifeline, rehearsal
from .attempt import flush, leave
from .hazards import Look
from .hygiene import close_django_connections

# stdout, stderr and the child's socket.
_FDS_PER_FORK = 3


def _wake_up(*_):
    """Lets SIGCHLD write to the pipe."""


def _leave_at_term():
    """As in RQ's work horse."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Zygote:
    def __init__(self, channel, control, worker, way):
        self._channel = channel
        self._decoder = frames.Decoder()
        self._fds = []
        self._lifeline = control.lifeline
        self._control_fd = control.fd
        self._forks = not control.spawned
        self._worker = worker
        self._way = way
        self._children = set()
        # A pipe that SIGCHLD writes to, so that one poll waits for children and for requests.
        self._reap_fd, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def serve(self, hello):
        """Says hello, and serves Tikkun's requests until it closes the control socket. Never returns."""
        try:
            self._prepare()
            if self._forks:
                hello.update(Look().facts())
            self._channel.send(frames.HELLO, hello)
            self._loop()
        except BaseException:
            # Whatever called work() must not go on as if the worker had ended by itself.
            traceback.print_exc()
            leave(1)
        leave(0)

    def _prepare(self):
        # The environment's number for what the channel has under its own.
        os.close(self._control_fd)
        if self._forks:
            self._prepare_to_fork()
        else:
            # What the application has opened and started stays as it is.
            _leave_at_term()

    def _prepare_to_fork(self):
        connections = {id(self._worker.connection): self._worker.connection}
        for queue in self._worker.queues:
            connections[id(queue.connection)] = queue.connection
        for connection in connections.values():
            connection.connection_pool.disconnect()
        close_django_connections()
        self._take_signals()
        rehearsal.read_one(self._worker)
        actor = child.Child(rehearsal.Nobody(), False, {}, self._worker, self._way)
        rehearsal.run_some(actor, self._worker, self._way)
        self._freeze()

    def _take_signals(self):
        """Handles the signals of this process, also after it has imported modules that want them, too."""
        handler = signal.signal(signal.SIGCHLD, _wake_up)
        wakeup = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        if handler is not _wake_up:
            self._handler_at_start = handler
        if wakeup != self._wake:
            self._wakeup_at_start = wakeup
        _leave_at_term()

    def _freeze(self):
        # Collecting later would write to every object, and so copy the memory that children share.
        gc.collect()
        gc.freeze()
        gc.disable()

    def _loop(self):
        poll = select.poll()
        poll.register(self._channel.sock, select.POLLIN)
        poll.register(self._reap_fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._reap_fd in ready:
                self._reap()
            if self._channel.sock.fileno() in ready:
                if not self._receive():
                    return
                frame = self._decoder.frame()
                while frame is not None:
                    self._handle(*frame)
                    frame = self._decoder.frame()

    def _receive(self):
        """Reads what is there, with the fds that came along. False at the end of the control socket."""
        space = socket.CMSG_SPACE(16 * array.array("i").itemsize)
        try:
            data, ancillary, flags, _ = self._channel.sock.recvmsg(1 << 16, space, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return False
        for level, kind, raw in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
                self._fds += fds
        if flags & socket.MSG_CTRUNC:
            raise frames.FrameError("file descriptors were lost on their way: this process may open no more")
        self._decoder.feed(data)
        return bool(data)

    def _handle(self, kind, fields):
        if kind == frames.FORK:
            self._fork(fields)
        elif kind == frames.PRELOAD:
            self._preload(fields)
        else:
            raise frames.FrameError(f"a frame of kind {kind} is unknown to this process")

    def _fork(self, fields):
        serial, mode = frames.text(fields[0]), frames.text(fields[1])
        limits = json.loads(frames.text(fields[2])) if len(fields) > 2 else {}
        if len(self._fds) < _FDS_PER_FORK:
            raise frames.FrameError(f"FORK {serial} came with fewer than {_FDS_PER_FORK} file descriptors")
        fds, self._fds = self._fds[:_FDS_PER_FORK], self._fds[_FDS_PER_FORK:]
        # What is buffered here would be written by every child, too, and is no job's.
        flush()
        if not self._forks:
            self._become(fds, mode, limits)
        try:
            pid = os.fork()
        except OSError as error:
            # As when the system has no room for another process.
            pid, why = None, str(error)
        if pid == 0:
            self._become(fds, mode, limits)
        for fd in fds:
            os.close(fd)
        if pid is None:
            self._channel.send(frames.UNFORKED, serial, why)
        else:
            self._children.add(pid)
            self._channel.send(frames.FORKED, serial, str(pid))

    def _become(self, fds, mode, limits):
        """Runs the child in this copy of the process, or in this process itself. Never returns."""
        try:
            # One that was started leads a group already, unless something stands between Tikkun and it.
            if os.getpgrp() != os.getpid():
                os.setpgrp()
            lifeline.tie(self._lifeline)
            if self._lifeline >= 0:
                os.close(self._lifeline)
            if self._forks:
                signal.set_wakeup_fd(self._wakeup_at_start)
                signal.signal(signal.SIGCHLD, self._handler_at_start or signal.SIG_DFL)
                gc.enable()
            self._channel.sock.close()
            os.close(self._reap_fd)
            os.close(self._wake)
            for fd in self._fds:
                os.close(fd)
            child.run(fds, mode == "warm", limits, self._worker, self._way)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            leave(1)

    def _preload(self, fields):
        """Imports modules once for all children to come, and tells what came of it."""
        before = Look()
        loaded, failed = [], {}
        for name in map(frames.text, fields):
            some, why = imports.load([name])
            loaded += some
            failed.update(why)
            # The ends of children do not wait for all imports.
            self._reap()
        close_django_connections()
        self._take_signals()
        self._freeze()
        facts = Look().facts(before)
        self._channel.send(frames.PRELOADED, dict(facts, loaded=loaded, failed=failed))

    def _reap(self):
        try:
            while os.read(self._reap_fd, 4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self._children:
                # The application has started it, and does not wait for it.
                continue
            self._children.remove(pid)
            used = {"maxrss": usage.ru_maxrss, "utime": usage.ru_utime, "stime": usage.ru_stime}
            self._channel.send(frames.EXIT, str(pid), str(status), used)
