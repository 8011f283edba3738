"""A small Tikkun: starts a command as the service does, forks children, hands out jobs, reads their ends."""

import array
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import redis

HERE = os.path.dirname(os.path.abspath(__file__))
SHIM = os.path.dirname(HERE)
APP = os.path.join(HERE, "app")
sys.path.insert(0, SHIM)
sys.path.insert(0, APP)

from tikkun_shim import frames  # noqa: E402

# Long enough for a busy machine. Nothing waits for it to pass.
DEADLINE = 60


class Redis:
    """A Redis server of this test run's own, on a Unix socket in a temporary folder."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tikkun-shim-")
        self.path = os.path.join(self.folder, "redis.sock")
        command = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            self.path,
            "--save",
            "",
            "--dir",
            self.folder,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.url = f"unix://{self.path}?db=0"
        self.connection = redis.Redis(unix_socket_path=self.path)
        wait_until(self._answers, "Redis to answer")

    def _answers(self):
        try:
            return self.connection.ping()
        except redis.exceptions.ConnectionError:
            return False

    def stop(self):
        self.connection.connection_pool.disconnect()
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


def wait_until(condition, what, seconds=DEADLINE):
    """Polls until the condition holds. Says what it waited for when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.005)


def is_gone(pid):
    """Whether a process has ended, also when nobody has reaped it yet."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


class Peer:
    """One side of a connection that carries frames."""

    def __init__(self, sock):
        self.sock = sock
        self.decoder = frames.Decoder()

    def send(self, kind, *fields):
        self.sock.sendall(frames.encode(kind, *fields))

    def next(self, what="a frame", seconds=DEADLINE):
        """The next frame, or None at the end."""
        end = time.monotonic() + seconds
        while True:
            frame = self.decoder.frame()
            if frame is not None:
                return frame
            ready, _, _ = select.select([self.sock], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"waited {seconds} s for {what}")
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.decoder.feed(data)


class Output:
    """Reads a child's pipe as it is written, for a child that writes faster than it is read waits."""

    def __init__(self, fd):
        self._file = os.fdopen(fd, "rb")
        self._lines = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with self._file:
            for line in self._file:
                with self._changed:
                    self._lines.append(line.decode())
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def line(self, part):
        """The first line with this part in it."""

        def found():
            return next((line for line in self._lines if part in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, DEADLINE)
            if found() is None:
                raise AssertionError(f"no line with {part!r} was written, but {''.join(self._lines)!r}")
            return found()

    def all(self):
        """All that was written until the end of the pipe."""
        self._thread.join(DEADLINE)
        return "".join(self._lines)


class Child(Peer):
    def __init__(self, sock, pid, stdout, stderr):
        super().__init__(sock)
        self.pid = pid
        self.stdout = Output(stdout)
        self.stderr = Output(stderr)
        self.phases = []
        self.imported = []

    def _notes_imports(self, kind, fields):
        if kind == frames.IMPORTED:
            self.imported += map(frames.text, fields)
        return kind == frames.IMPORTED

    def start(self, job, worker="w-1", execution="e-1", raw=None):
        raw = job.connection.hgetall(job.key) if raw is None else raw
        pairs = [part for pair in raw.items() for part in pair]
        self.send(frames.JOB, job.id, job.origin, execution, worker, *pairs)

    def callback(self, what, details, job, worker="w-1", raw=None):
        raw = job.connection.hgetall(job.key) if raw is None else raw
        pairs = [part for pair in raw.items() for part in pair]
        self.send(frames.CALLBACK, what, details, job.id, job.origin, "e-1", worker, *pairs)
        return self._until(frames.CALLED)

    def _until(self, wanted):
        while True:
            frame = self.next(f"frame {wanted}")
            assert frame is not None, f"the child went: {self.errors()}"
            kind, fields = frame
            if kind == wanted:
                return fields
            if self._notes_imports(kind, fields):
                continue
            assert kind == frames.PHASE, (kind, fields)
            self.phases.append((frames.text(fields[0]), int(fields[1])))

    def result(self):
        """The job's end as (attributes, payload, exc_string)."""
        attributes, payload, exc_string, *pairs = self._until(frames.RESULT)
        self.changed = {frames.text(name): value for name, value in zip(pairs[::2], pairs[1::2])}
        return json.loads(attributes), payload, frames.text(exc_string)

    def settle(self, verdict="ok"):
        self.send(frames.SETTLED, verdict)

    def after(self):
        """What follows a job: "done", or the reason with which the child leaves, or None if it just went."""
        while True:
            frame = self.next("what follows the job")
            if frame is None:
                return None
            kind, fields = frame
            if kind == frames.BYE:
                return frames.text(fields[0])
            if self._notes_imports(kind, fields):
                continue
            assert kind == frames.PHASE, (kind, fields)
            self.phases.append((frames.text(fields[0]), int(fields[1])))
            if self.phases[-1][0] == "done":
                return "done"

    def run(self, job, **options):
        """Runs a job to its end, which is settled if the child waits for it."""
        self.phases = []
        self.start(job, **options)
        end = self.result()
        if end[0]["synchronous"]:
            self.settle()
        return end

    def errors(self):
        return self.stderr.all()


class Tikkun(Peer):
    def __init__(self, command, environment=None, cwd=APP, start=None):
        ours, theirs = socket.socketpair()
        super().__init__(ours)
        lifeline, self.lifeline = os.pipe()
        environment = dict(os.environ, **(environment or {}))
        environment.setdefault("PYTHONPATH", APP)
        environment["PYTHONPATH"] = os.pathsep.join([SHIM, environment["PYTHONPATH"]])
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment.setdefault("PYTHONFAULTHANDLER", "1")
        environment["TIKKUN_FD"] = str(theirs.fileno())
        environment["TIKKUN_LIFELINE"] = str(lifeline)
        if start is not None:
            environment["TIKKUN_START"] = start
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            pass_fds=(theirs.fileno(), lifeline),
            start_new_session=True,
        )
        theirs.close()
        os.close(lifeline)
        self.children = []
        self.exits = {}
        self.warnings = []
        self.serial = 0

    def written(self):
        """What the command has written to stdout and stderr."""
        self.log.seek(0)
        return self.log.read().decode()

    def hello(self):
        frame = self.next("HELLO")
        assert frame is not None and frame[0] == frames.HELLO, (frame, self.written())
        return json.loads(frame[1][0])

    def refusal(self):
        frame = self.next("REFUSED")
        assert frame is not None and frame[0] == frames.REFUSED, (frame, self.written())
        assert self.process.wait(DEADLINE) == 2
        return frames.text(frame[1][0])

    def take(self, what):
        """Reads one frame from the zygote."""
        frame = self.next(what)
        assert frame is not None, f"the zygote went: {self.written()}"
        kind, fields = frame
        if kind == frames.EXIT:
            self.exits[int(fields[0])] = (int(fields[1]), json.loads(fields[2]))
        elif kind == frames.WARNING:
            self.warnings.append(frames.text(fields[0]))
        return kind, fields

    def fork(self, mode="job", limits=None):
        return self.forked(self.ask_for_fork(mode, limits))

    def ask_for_fork(self, mode="job", limits=None):
        """Sends FORK. Returns what forked() needs to make a child of the answer."""
        ours, theirs = socket.socketpair()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        self.serial += 1
        fields = [str(self.serial), mode] + ([limits] if limits is not None else [])
        data = frames.encode(frames.FORK, *fields)
        fds = array.array("i", [theirs.fileno(), out_end, err_end])
        self.sock.sendmsg([data[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        self.sock.sendall(data[1:])
        theirs.close()
        os.close(out_end)
        os.close(err_end)
        return self.serial, ours, out, err

    def forked(self, asked):
        serial, sock, out, err = asked
        kind, fields = self.take("FORKED")
        while kind != frames.FORKED:
            kind, fields = self.take("FORKED")
        assert int(fields[0]) == serial
        return self._ready(Child(sock, int(fields[1]), out, err))

    def adopt(self, mode="job", limits=None):
        """Has a process that forks none become a child."""
        _, sock, out, err = self.ask_for_fork(mode, limits)
        return self._ready(Child(sock, self.process.pid, out, err))

    def _ready(self, child):
        self.children.append(child)
        ready = child.next("READY")
        assert (ready[0], ready[1][0]) == (frames.READY, str(child.pid).encode()), (ready, child.errors())
        child.begins_at_once = ready[1][1] == b"at once"
        return child

    def exit_of(self, child):
        """The wait status and use of resources with which a child ended."""
        while child.pid not in self.exits:
            self.take(f"the end of child {child.pid}")
        return self.exits[child.pid]

    def close(self):
        """Ends everything, and says whether the zygote left by itself."""
        for child in self.children:
            child.sock.close()
        self.sock.close()
        try:
            status = self.process.wait(DEADLINE)
        finally:
            if self.lifeline is not None:
                os.close(self.lifeline)
        self.log.close()
        return status

    def die(self):
        """Closes the lifeline, as the kernel does when Tikkun is gone."""
        os.close(self.lifeline)
        self.lifeline = None
