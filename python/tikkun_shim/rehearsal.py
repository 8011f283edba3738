"""Made-up jobs, run before there is one, so that what Python does for the first time is done already.

In the zygote that is imports, patterns, caches, and the specializing of bytecode, for all children: whatever
a child does anew, it does in memory that it has to copy first. In a child, before it has a job, it is
copying memory that it shared until then. Nothing depends on it.
"""

import contextlib
import logging
import os
import signal

from . import frames, leaves
from .attempt import Attempt

# After so many runs of a function the bytecode of all Pythons that specialize it is as it stays.
_ROUNDS = 20

# Those of the environment that RQ sets for a job.
_VARIABLES = ("RQ_WORKER_ID", "RQ_JOB_ID", "RQ_EXECUTION_ID")

# A function that is there in every Python, and does nothing.
_FUNCTION = "builtins.bool"


class Nobody:
    """Takes what a child says, and drops it."""

    def send(self, kind, *fields):
        frames.encode(kind, *fields)

    hold = send

    def flush(self):
        pass


def read_one(worker):
    """Reads a job as RQ reads those of a queue."""
    from rq.job import Job
    from rq.utils import utcformat

    with contextlib.suppress(Exception):
        job = Job("rehearsal", connection=worker.connection, serializer=worker.serializer)
        job.restore({b"created_at": utcformat(leaves.now()).encode(), b"data": b""})


def run_some(child, worker, way):
    """Runs whole jobs in a child that speaks to nobody, where they meet only RQ's own code, and leaves all as
    it was. Returns how many ended well."""
    if not way.is_rqs_own or worker.death_penalty_class.__name__ != "UnixSignalDeathPenalty":
        return 0
    told, environment = dict(vars(worker)), {name: os.environ.get(name) for name in _VARIABLES}
    alarm = signal.getsignal(signal.SIGALRM)
    logger = logging.getLogger("rq.worker")
    logger.addFilter(_silence)
    well = 0
    try:
        # If anything goes wrong, nobody is told.
        worker._exc_handlers = []
        order, decoder = _order(worker), frames.Decoder()
        for _ in range(_ROUNDS):
            decoder.feed(order)
            _, fields = decoder.frame()
            Attempt.current, error = child.attempt(fields)
            if error is None:
                well += bool(leaves.perform(worker, Attempt.current))
    except Exception:
        # No job needs it.
        pass
    finally:
        logger.removeFilter(_silence)
        Attempt.current = None
        vars(worker).clear()
        vars(worker).update(told)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        signal.signal(signal.SIGALRM, signal.SIG_DFL if alarm is None else alarm)
    return well


def _order(worker):
    """The frame with which Tikkun would hand over a job that does nothing."""
    queue = worker.queues[0]
    parts = {"connection": worker.connection, "serializer": worker.serializer}
    job = worker.job_class.create(_FUNCTION, timeout=60, origin=queue.name, id="rehearsal", **parts)
    job.enqueued_at = job.started_at = leaves.now()
    fields = [job.id, queue.name, "rehearsal", worker.name]
    for name, value in dict(job.to_dict(), status="started").items():
        fields += [name, value if isinstance(value, bytes) else str(value)]
    return frames.encode(frames.JOB, *fields)


def _silence(_):
    return False
