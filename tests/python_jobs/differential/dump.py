"""All of Redis in a form that can be compared: decoded, with times, ids and names of workers masked."""

import base64
import json
import pickle
import re
import zlib

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)?")
_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_PORT = re.compile(r"127\.0\.0\.1:\d+")
_EPOCH = re.compile(r"1[789]\d{8}(\.\d+)?")
_REPEATED = re.compile(r"Previous line repeated \d+ more times")
_DAY = 86_400

# Fields whose values differ from run to run.
_MASKED = {"pid", "hostname", "ip_address", "total_working_time", "current_job_working_time", "python_version", "version", "last_heartbeat", "birth"}


class Dumper:
    def __init__(self, connection, now):
        self._connection = connection
        self._now = now
        names = [name.decode() for name in connection.smembers("rq:workers")]
        self._workers = [name[len("rq:worker:") :] for name in names]

    def text(self, value):
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                return repr(value)
        for worker in self._workers:
            value = value.replace(worker, "<worker>")
        if _EPOCH.fullmatch(value):
            return self.moment(float(value))
        value = _TIME.sub("<time>", value)
        value = _ADDRESS.sub("<address>", value)
        value = _PORT.sub("<host>", value)
        value = _REPEATED.sub("Previous line repeated", value)
        value = _ID.sub("<id>", value)
        return value

    def moment(self, value):
        """Seconds from now, for moments near it: they are compared with some latitude."""
        if abs(value - self._now) < 400 * _DAY:
            return {"seconds from now": value - self._now}
        return value

    def pickled(self, raw):
        try:
            return "pickled " + self.text(repr(pickle.loads(raw)))[:500]
        except Exception:
            return self.text(raw)[:500]

    def zipped(self, raw):
        try:
            return "zipped " + self.text(zlib.decompress(raw))
        except zlib.error:
            return self.pickled(raw)

    def field(self, name, value):
        if name in _MASKED and value:
            return "<masked>"
        if name == "data":
            try:
                return "zipped " + self.pickled(zlib.decompress(value))
            except zlib.error:
                return self.pickled(value)
        if name == "exc_info":
            return self.zipped(value)
        if name == "exc_string":
            return self.zipped(base64.b64decode(value))
        if name == "return_value":
            return self.pickled(base64.b64decode(value))
        if name in ("meta", "result"):
            return self.pickled(value)
        if name == "last_heartbeat":
            return self.text(value)
        return self.text(value)

    def key(self, name):
        connection = self._connection
        kind = connection.type(name).decode()
        value = None
        if kind == "hash":
            value = {self.text(f): self.field(f.decode(), v) for f, v in connection.hgetall(name).items()}
        elif kind == "string":
            value = self.string(connection.get(name))
        elif kind == "list":
            value = {"%03d" % n: self.string(item) for n, item in enumerate(connection.lrange(name, 0, -1))}
        elif kind == "set":
            value = sorted(self.text(item) for item in connection.smembers(name))
        elif kind == "zset":
            value = {self.text(m): self.moment(score) for m, score in connection.zrange(name, 0, -1, withscores=True)}
        elif kind == "stream":
            value = self.results(connection.xrevrange(name))
        return {"type": kind, "ttl": connection.ttl(name), "value": value}

    def results(self, entries):
        """The newest of each kind first: RQ keeps no failure that is tried again, so places would not fit."""
        answer, counts = {}, {}
        for _, entry in entries:
            kind = entry.get(b"type", b"none").decode()
            counts[kind] = counts.get(kind, 0) + 1
            answer["%s of type %s" % (counts[kind], kind)] = {f.decode(): self.field(f.decode(), v) for f, v in entry.items()}
        return answer

    def string(self, value):
        """A string, read as JSON where it is an object."""
        if value[:1] == b"{":
            try:
                return self.masked(json.loads(value))
            except ValueError:
                pass
        return self.text(value)

    def masked(self, value):
        if isinstance(value, dict):
            return {self.text(name): self.masked(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.masked(item) for item in value]
        return self.text(value) if isinstance(value, str) else value


def dump(connection, now):
    """Key by key. Keys that are equal once masked stand side by side."""
    dumper = Dumper(connection, now)
    answer = {}
    for name in sorted(connection.scan_iter(count=1000)):
        entry = dumper.key(name)
        if entry["value"] is None:
            continue
        masked, n = dumper.text(name), 1
        while masked in answer:
            masked, n = "%s #%d" % (dumper.text(name), n + 1), n + 1
        answer[masked] = entry
    return answer
