"""RQ's functions that write bookkeeping to Redis, replaced: Tikkun has done it, or does it with the RESULT.

All else is RQ's own code. They are replaced on RQ's base classes, so that an override that calls `super()`
reaches these, and no function on the way from `perform_job` to the job's code is, so that a stored traceback
shows the frames that it shows under `rq worker`.
"""

import asyncio
import functools
import inspect
import logging
import os
import sys
import time

from .attempt import Attempt, leave


def now():
    from rq import utils

    # Version 1 works with naive times in UTC.
    return utils.now() if hasattr(utils, "now") else utils.utcnow()


def _status(name):
    from rq.job import JobStatus

    return getattr(JobStatus, name)


# Worker's functions. Their names and parameters are RQ's.


def prepare_execution(self, job):
    execution = Attempt.current.execution
    self.execution = execution
    self._state = "busy"
    return execution


def cleanup_execution(self, job, pipeline, execution=None):
    self.execution = None


def set_state(self, state, pipeline=None):
    self._state = state


def heartbeat(self, timeout=None, pipeline=None):
    self.last_heartbeat = now()


def maintain_heartbeats(self, job, execution=None):
    self.last_heartbeat = now()


def set_current_job_id(self, job_id=None, pipeline=None):
    pass


def set_current_job_working_time(self, current_job_working_time, pipeline=None):
    self.current_job_working_time = current_job_working_time


def register_birth(self):
    self.birth_date = self.last_heartbeat = now()


def register_death(self):
    pass


def subscribe(self):
    pass


def unsubscribe(self):
    pass


def fork_work_horse(self, job, queue):
    self.main_work_horse(job, queue)


def monitor_work_horse(self, job, queue, execution=None):
    pass


def main_work_horse(self, job, queue):
    # This process has drawn a seed and set its signals up when it was forked.
    self._is_horse = Attempt.current.is_horse
    self.log = logging.getLogger("rq.worker")
    try:
        perform(self, Attempt.current)
    except:  # noqa: E722 - as RQ has it: an exception handler that raises ends the work horse
        leave(1)


def perform(worker, attempt):
    """Answers whether the job ended well."""
    if rq_major() >= 3:
        return worker.perform_job(attempt.job, attempt.queue, attempt.execution)
    return worker.perform_job(attempt.job, attempt.queue)


def prepare_job_execution(self, job, remove_from_intermediate_queue=False):
    self.log.debug("Worker %s: preparing for execution of job ID %s", self.name, job.id)
    job.worker_name = self.name
    job.last_heartbeat = job.started_at = now()
    job._status = _status("STARTED")
    Attempt.current.begin()
    # A job whose payload cannot be read fails here, as under RQ.
    self.procline(f"Processing {job.func_name} from {job.origin} since {time.time()}")


def handle_execution_ended(self, job, queue, heartbeat_ttl):
    job.ended_at = now()
    Attempt.current.ended()


def handle_job_success(self, job, queue, started_job_registry, execution=None):
    attempt = Attempt.current
    job._status = _status("FINISHED")
    webhooks = attempt.has_webhooks("finished")
    attempt.note(None)
    again = bool(getattr(job, "repeats_left", None))
    attempt.report("ok", job._result, wait=webhooks, again=again)
    if rq_major() >= 2:
        if getattr(job, "repeats_left", None):
            self.log.info(
                "Worker %s: job %s scheduled to repeat (%s left)", self.name, job.id, job.repeats_left
            )
            job.repeats_left -= 1
        time_taken = job.ended_at - job.started_at
        if self.log_job_description:
            self.log.info(
                "Successfully completed %s job in %ss on worker %s", job.description, time_taken, self.name
            )
        else:
            self.log.info("Successfully completed job %s in %ss on worker %s", job.id, time_taken, self.name)
    if webhooks and attempt.settled:
        attempt.phase("webhooks", attempt.remaining())


def handle_job_failure(self, job, queue, started_job_registry=None, exc_string="", execution=None):
    attempt = Attempt.current
    is_stopped = self._stopped_job_id == job.id
    will_retry = bool(job.retries_left and job.retries_left > 0) and not is_stopped
    job._status = _status("STOPPED" if is_stopped else "FAILED")
    # Without an attempt the job's process is gone, an override has called this, and Tikkun writes the end.
    if attempt is not None:
        attempt.note(sys.exc_info()[1])
        # In version 1 the handlers run after the end is written, and may look at it.
        handlers_follow = rq_major() < 2 and bool(self._exc_handlers)
        webhooks = not will_retry and attempt.has_webhooks("failed")
        attempt.report("failed", exc_string=exc_string, wait=handlers_follow or webhooks, again=will_retry)
    if will_retry:
        later = job.get_retry_interval()
        job.retries_left -= 1
        job._status = _status("SCHEDULED" if later else "QUEUED")
    elif attempt is not None:
        attempt.send_failed_webhooks(exc_string)


def handle_job_retry(self, job, queue, retry, started_job_registry, execution=None):
    attempt = Attempt.current
    attempt.note(None)
    exceeded = bool(job.number_of_retries and job.number_of_retries >= retry.max)
    at_front = bool(getattr(retry, "enqueue_at_front", False))
    attempt.report(
        "retry",
        retry,
        retry={"max": retry.max, "intervals": list(retry.intervals), "at_front": at_front},
        wait=exceeded and attempt.has_webhooks("failed"),
        again=not exceeded,
    )
    if exceeded:
        self.log.warning(
            "Worker %s: job %s has exceeded maximum retry attempts (%d)", self.name, job.id, retry.max
        )
        job._status = _status("FAILED")
        attempt.send_failed_webhooks("")
    else:
        job.number_of_retries = (job.number_of_retries or 0) + 1
        job._status = _status("QUEUED")


# The parameters that RQ's functions may have: those that all versions have, and those that some add. A
# function with others does something that its replacement does not know.
LEAVES = {
    prepare_execution: ("job", ""),
    cleanup_execution: ("job pipeline", "execution"),
    set_state: ("state pipeline", ""),
    heartbeat: ("timeout pipeline", ""),
    maintain_heartbeats: ("job", "execution"),
    set_current_job_id: ("job_id pipeline", ""),
    set_current_job_working_time: ("current_job_working_time pipeline", ""),
    register_birth: ("", ""),
    register_death: ("", ""),
    subscribe: ("", ""),
    unsubscribe: ("", ""),
    fork_work_horse: ("job queue", ""),
    monitor_work_horse: ("job queue", "execution"),
    main_work_horse: ("job queue", ""),
    prepare_job_execution: ("job remove_from_intermediate_queue", ""),
    handle_execution_ended: ("job queue heartbeat_ttl", ""),
    handle_job_success: ("job queue started_job_registry", "execution"),
    handle_job_failure: ("job queue started_job_registry exc_string", "execution"),
    handle_job_retry: ("job queue retry started_job_registry", "execution"),
}

# RQ's functions that are called, and must be callable as they are known.
CALLED = {
    "execute_job": ("job queue", ""),
    "perform_job": ("job queue", "execution"),
    "handle_work_horse_killed": ("job retpid ret_val rusage", ""),
}

# Without these there is nothing to take over. The others came and went with RQ's versions.
_REQUIRED = ("fork_work_horse", "prepare_job_execution", "handle_job_success", "handle_job_failure")


@functools.lru_cache(maxsize=None)
def rq_major():
    """RQ's major version: 1, 2 or 3."""
    from rq.version import VERSION

    return int(VERSION.split(".")[0])


def rq_classes(worker_class):
    """RQ's own worker classes that this one is made of, the most basic one last."""
    return [cls for cls in worker_class.__mro__ if cls.__module__.startswith("rq.")]


def is_rqs_own(function):
    """Whether this is RQ's own code, and nobody's wrapper around it."""
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__"):
        return False
    import rq

    return code.co_filename.startswith(os.path.dirname(rq.__file__) + os.sep)


def has_own(worker, name):
    """Whether the worker's class has code of a team's own for this function of RQ."""
    method = getattr(type(worker), name)
    return method is not globals()[name] and not is_rqs_own(method)


def mismatches(worker_class):
    """Names of RQ's functions that have other parameters than those known here, or that are missing."""
    expected = {leaf.__name__: parameters for leaf, parameters in LEAVES.items()}
    expected.update(CALLED)
    wrong = [name for name in _REQUIRED if not any(name in vars(cls) for cls in rq_classes(worker_class))]
    # SimpleWorker has no work horse to fork.
    if "fork_work_horse" in wrong and not hasattr(worker_class, "fork_work_horse"):
        wrong.remove("fork_work_horse")
    for cls in rq_classes(worker_class):
        for name, (always, sometimes) in expected.items():
            if name in vars(cls) and is_rqs_own(vars(cls)[name]):
                found = list(inspect.signature(vars(cls)[name]).parameters)[1:]
                known = always.split()
                if found[: len(known)] != known or set(found[len(known) :]) - set(sometimes.split()):
                    wrong.append(name)
    return sorted(set(wrong))


def replace(worker_class, connection):
    """Replaces RQ's functions in this process, for all children to come."""
    for cls in worker_class.__mro__:
        # Overrides of these would fork or wait once more, in the child.
        for leaf in (fork_work_horse, monitor_work_horse):
            if leaf.__name__ in vars(cls):
                setattr(cls, leaf.__name__, leaf)
    for cls in rq_classes(worker_class):
        for leaf in LEAVES:
            if leaf.__name__ in vars(cls):
                setattr(cls, leaf.__name__, leaf)
        if "handle_exception" in vars(cls):
            cls.handle_exception = _announcing(vars(cls)["handle_exception"])
    from rq.job import Job

    Job.to_dict = _as_begun(Job.to_dict)
    if rq_major() < 3:
        connection.persist = _swallowing(connection.persist)
        _close_event_loops()
    if rq_major() < 2:
        Job.heartbeat = _silent(Job.heartbeat)


def _announcing(handle_exception):
    """Says that exception handlers run from here on, which RQ lets run as long as the job itself may."""

    @functools.wraps(handle_exception)
    def announced(self, job, *exc_info):
        if Attempt.current is not None:
            Attempt.current.phase("exception handlers", Attempt.current.remaining())
        return handle_exception(self, job, *exc_info)

    return announced


def _as_begun(to_dict):
    """A job that saves itself keeps the time of its start that Tikkun wrote, by which it knows this run."""

    @functools.wraps(to_dict)
    def as_begun(self, *args, **kwargs):
        fields = to_dict(self, *args, **kwargs)
        attempt = Attempt.current
        if attempt is not None and attempt.job is self:
            written = attempt.written_start()
            if written:
                fields["started_at"] = written
        return fields

    return as_begun


def _swallowing(persist):
    """Leaves out the PERSIST with which `Job.perform` begins before version 3. Others go through."""

    @functools.wraps(persist)
    def persist_unless_done(name, *args, **kwargs):
        attempt = Attempt.current
        if attempt is not None and attempt.swallow_persist and name == attempt.job.key:
            attempt.swallow_persist = False
            return True
        return persist(name, *args, **kwargs)

    return persist_unless_done


def _silent(heartbeat):
    """Version 1 sends a heartbeat for the callback's time from `perform_job` itself."""
    from rq.job import _job_stack

    @functools.wraps(heartbeat)
    def silent_for_the_job_in_hand(self, timestamp, ttl, pipeline=None, xx=False):
        if Attempt.current is None or Attempt.current.job is not self:
            return heartbeat(self, timestamp, ttl, pipeline=pipeline, xx=xx)
        self.last_heartbeat = timestamp
        # While the job's own code runs, it is the current job, and the heartbeat is that code's.
        if _job_stack.top is not self:
            Attempt.current.ended()

    return silent_for_the_job_in_hand


class _Loop:
    """Runs a coroutine as RQ 3 does, under the name by which earlier versions make an event loop."""

    @staticmethod
    def run_until_complete(coroutine):
        return asyncio.run(coroutine)


class _Asyncio:
    """RQ 1 and 2 make an event loop for each coroutine and never close it, which leaks three fds a job."""

    iscoroutine = staticmethod(asyncio.iscoroutine)
    new_event_loop = _Loop


def _close_event_loops():
    from rq import job

    job.asyncio = _Asyncio
