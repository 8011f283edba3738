"""One job in hand: what RQ's functions report about it goes to Tikkun through here."""

import os
import sys
import time

from . import frames

# What RQ grants a job beyond its timeout before its worker kills it, callbacks and handlers included.
RQ_GRACE = 60

# What code may change of its job so that the end is another. What it leaves alone is not written again.
CHANGEABLE = (
    "result_ttl",
    "failure_ttl",
    "retries_left",
    "retry_intervals",
    "enqueue_at_front_on_retry",
    "number_of_retries",
    "repeats_left",
    "repeat_intervals",
)

# What else RQ saves of a job at its end: what code has changed of it is written, too.
SAVED = (
    "_data",
    "description",
    "timeout",
    "ttl",
    "group_id",
    "webhooks",
    "enqueue_at_front",
    "allow_dependency_failures",
) + tuple(
    f"_{what}_callback_{part}" for what in ("success", "failure", "stopped") for part in ("name", "timeout")
)

_WATCHED = CHANGEABLE + SAVED
_LISTS = ("retry_intervals", "repeat_intervals", "webhooks")

# What Tikkun keeps in order itself, or what says where a job belongs.
_TIKKUNS = CHANGEABLE + (
    "created_at",
    "origin",
    "status",
    "enqueued_at",
    "started_at",
    "ended_at",
    "last_heartbeat",
    "worker_name",
    "dependency_id",
    "dependency_ids",
    "rate_limit_key",
    "rate_limit_concurrency",
)

# After these, memory or the interpreter's state cannot be trusted for another job.
_FATAL = (MemoryError, RecursionError, KeyboardInterrupt)


class Attempt:
    # The job that this process runs right now, for functions that RQ calls without saying so.
    current = None

    def __init__(self, channel, worker, job, queue, execution, way, is_horse, stored=None):
        self.channel = channel
        self.worker = worker
        self.job = job
        self.queue = queue
        self.execution = execution
        self.way = way
        self.is_horse = is_horse
        self._written_start = None
        self.reported = False
        self.failed = False
        self.settled = True
        self.swallow_persist = False
        # Why a warm child should not run another job, if so.
        self.retire = None
        # The fields of its hash as they were; None for a job that could not be read.
        self._stored = stored
        self._before = self._attributes()
        self._timeout = -1
        self._began = time.monotonic()

    def _attributes(self):
        job = self.job
        values = {name: getattr(job, name, None) for name in _WATCHED}
        for name in _LISTS:
            # A job's code may change it in place.
            if isinstance(values[name], list):
                values[name] = list(values[name])
        return values

    def written_start(self):
        """When the job began, as Tikkun wrote it. RQ's code gives the attribute another value."""
        if self._written_start is None:
            self._written_start = self.job.connection.hget(self.job.key, "started_at")
        return self._written_start

    def begin(self):
        """The job starts. RQ's own default stands in for a job without a timeout."""
        self._timeout = self.job.timeout or self.worker.queue_class.DEFAULT_TIMEOUT
        # Before version 3 a job's first command is PERSIST on its hash, which Tikkun has sent.
        self.swallow_persist = True
        if not (self.way.is_rqs_own and self.job.timeout):
            self.phase("running", self._timeout)

    def phase(self, name, seconds):
        self.channel.send(frames.PHASE, name, str(seconds))

    def remaining(self):
        """Seconds that RQ would grant from here on for what follows the job's own code."""
        if self._timeout < 0:
            return -1
        return max(0, self._timeout - int(time.monotonic() - self._began)) + RQ_GRACE

    def ended(self):
        """The job's own code is over: its callback comes next, then the exception handlers."""
        self.failed = sys.exc_info()[1] is not None
        name = "failure" if self.failed else "success"
        if getattr(self.job, f"_{name}_callback_name", None):
            self.phase(name + " callback", getattr(self.job, name + "_callback_timeout"))

    def note(self, error):
        """Remembers a failure that a process should not outlive."""
        from rq.timeouts import JobTimeoutException

        if isinstance(error, SystemExit):
            self.retire = "exit"
        elif isinstance(error, _FATAL):
            self.retire = "dirty: " + type(error).__name__
        elif isinstance(error, JobTimeoutException) or 0 < self._timeout <= time.monotonic() - self._began:
            # Whatever the alarm has interrupted, or the job has swallowed, may be half done.
            self.retire = "timeout"

    def _serialize(self, value):
        """What `Result.serialize` puts under `return_value`, and whether the value could be serialized."""
        if value is None:
            return b"", True
        try:
            payload = self.job.serializer.dumps(value)
            serializable = True
        except:  # noqa: E722 - as RQ has it
            from rq.defaults import UNSERIALIZABLE_RETURN_VALUE_PAYLOAD

            payload = self.job.serializer.dumps(UNSERIALIZABLE_RETURN_VALUE_PAYLOAD)
            serializable = False
        return (payload.encode() if isinstance(payload, str) else payload), serializable

    def _changed_fields(self, now, again):
        """What RQ would write into the job's hash now, of what the job's code has changed without saving it.
        Before another run that is `meta`, too."""
        if self._stored is None:
            return {}
        from rq.job import Job

        job, found = self.job, {}
        names = [name.lstrip("_") for name in SAVED if now[name] != self._before[name]]
        has_own_fields = type(job).to_dict is not Job.to_dict
        if names or has_own_fields:
            fields = self._as_saved()
            if has_own_fields:
                names = [name for name in fields if name not in _TIKKUNS]
            found = {name: fields[name] for name in names if name in fields}
        if again and job.meta:
            serialize = getattr(job, "_serialize_meta", None)
            found["meta"] = serialize() if serialize else job.serializer.dumps(job.meta)
        if not found:
            return {}
        encode = job.connection.connection_pool.get_encoder().encode
        written = {name: encode(value) for name, value in found.items()}
        return {name: value for name, value in written.items() if self._stored.get(name.encode()) != value}

    def _as_saved(self):
        # When it began is not of interest here, and need not be looked up.
        known, self._written_start = self._written_start, b""
        try:
            return self.job.to_dict(include_meta=False, include_result=False)
        finally:
            self._written_start = known

    def report(self, outcome, value=None, exc_string="", retry=None, wait=False, again=False):
        """Sends the RESULT, and waits until it is settled where code that follows relies on it.

        `again`: the job waits for another run from then on."""
        job = self.job
        payload, serializable = self._serialize(value)
        attributes = {
            "outcome": outcome,
            "serializable": serializable,
            "none": value is None,
            "started_at": _written(getattr(job, "started_at", None)),
            "ended_at": _written(getattr(job, "ended_at", None)),
            "retry": retry,
            "synchronous": self.way.is_looked_at or wait,
            "worker_ttl_seen": None,
        }
        now = self._attributes()
        attributes.update({name: now[name] for name in CHANGEABLE if now[name] != self._before[name]})
        fields = self._changed_fields(now, again)
        flush()
        # Where only a few lines of RQ's follow, the end comes in one piece with what says that they are over.
        is_last = outcome == "ok" and self.way.is_rqs_own and not attributes["synchronous"]
        send = self.channel.hold if is_last else self.channel.send
        pairs = [part for pair in fields.items() for part in pair]
        send(frames.RESULT, attributes, payload, exc_string, *pairs)
        self.reported = True
        if attributes["synchronous"]:
            self._wait_for_settlement()

    def _wait_for_settlement(self):
        frame = self.channel.receive()
        if frame is None:
            os._exit(0)
        kind, fields = frame
        if kind != frames.SETTLED:
            raise frames.FrameError(f"a frame of kind {kind} came in place of SETTLED")
        self.settled = frames.text(fields[0]) == "ok"
        if not self.settled:
            self.worker.log.warning(
                "Worker %s: job %s belongs to another attempt by now, its end was not recorded",
                self.worker.name,
                self.job.id,
            )
            # RQ's code sends them after this: the attempt that the job belongs to will.
            self.job.webhooks = []

    def has_webhooks(self, status):
        return any(webhook.job_status == status for webhook in getattr(self.job, "webhooks", None) or ())

    def send_failed_webhooks(self, exc_string):
        if self.settled and self.has_webhooks("failed"):
            from rq.job import JobStatus

            self.phase("webhooks", self.remaining())
            self.job.send_webhooks(JobStatus.FAILED, exc_string=exc_string)


def _written(moment):
    from rq.utils import utcformat

    return utcformat(moment) if moment else None


def flush():
    """What a job has printed must be in its pipe before its end is known."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # A job may have closed it, or put anything in its place.
            pass


def leave(status):
    """Ends this child as RQ ends its work horse: without atexit."""
    try:
        flush()
        if Attempt.current is not None:
            Attempt.current.channel.flush()
    finally:
        os._exit(status)
