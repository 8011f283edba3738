"""A child: takes jobs from its socket, runs them with RQ's own code, and answers with their ends."""

import contextlib
import faulthandler
import json
import logging
import os
import resource
import signal
import socket
import sys
import traceback

from . import frames, imports, leaves, rehearsal
from .attempt import Attempt, flush, leave
from .hygiene import Hygiene, refresh_django, seed
from .lifeline import high


def run(fds, warm, limits, worker, way):
    """Runs jobs in this process until it should end. Never returns."""
    sock, stdout, stderr = fds
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    _write_lines_at_once()
    # Tikkun sends this signal before it kills, to have in the job's log where the job stood. A handler of the
    # application's is called after it; the default one would end the process.
    chain = callable(signal.getsignal(signal.SIGUSR1))
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True, chain=chain)
    seed()
    worker.setup_work_horse_signals()
    channel = frames.Channel(socket.socket(fileno=high(sock)))
    Child(channel, warm, limits, worker, way).serve()


def _write_lines_at_once():
    """A line that a job prints is seen while the job runs, and is not lost when the process dies."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.reconfigure(line_buffering=True)
        except (AttributeError, ValueError, OSError):
            # The application has put something else in its place.
            pass


class Child:
    def __init__(self, channel, warm, limits, worker, way):
        self._channel = channel
        self._warm = warm
        self._worker = worker
        self._way = way
        # A process of one job leaves nothing behind, and each look here would copy memory that it shares.
        self._hygiene = Hygiene(limits) if warm else None
        self._imported = imports.Imported()
        self._retire = None

    def serve(self):
        rehearsal.read_one(self._worker)
        self._channel.send(frames.READY, str(os.getpid()), "at once" if self._way.is_rqs_own else "")
        while True:
            frame = self._channel.receive()
            if frame is None:
                self._leave()
            kind, fields = frame
            if kind == frames.JOB:
                self._job(fields)
            elif kind == frames.CALLBACK:
                self._callback(fields)
            elif kind == frames.TRY:
                imports.try_out(self._channel, map(frames.text, fields))
                leave(0)
            elif kind != frames.SETTLED:
                raise frames.FrameError(f"a frame of kind {kind} is unknown to a child")
            else:
                continue
            flush()
            names = self._imported.names()
            if names:
                self._channel.send(frames.IMPORTED, *names)
            reason = self._hygiene.after(self._retire) if self._hygiene else None
            if reason:
                self._channel.send(frames.BYE, reason)
            else:
                # Only now may Tikkun give this child another job.
                self._channel.send(frames.PHASE, "done", "-1")
            if reason or not self._warm:
                self._leave()

    def _job(self, fields):
        attempt, error = self.attempt(fields)
        Attempt.current = attempt
        if error is not None:
            attempt.report("failed", exc_string=error)
        else:
            self._run(attempt)
        Attempt.current = None
        self._retire = attempt.retire

    def _run(self, attempt):
        if self._warm:
            refresh_django()
        job = attempt.job
        try:
            self._worker.execute_job(job, attempt.queue)
        except BaseException:
            # RQ's worker ends with such an exception, too. Tikkun learns it from this process' end.
            traceback.print_exc()
            leave(1)
        if not attempt.reported:
            # An override has replaced RQ's handling of the end altogether.
            if attempt.failed:
                attempt.report("failed")
            else:
                attempt.report("ok", job._result)
        if self._warm:
            refresh_django()

    def attempt(self, fields):
        """The job as RQ would have fetched it, and the traceback if that failed."""
        worker = self._worker
        job_id, queue_name, execution_id, worker.name = map(frames.text, fields[:4])
        os.environ["RQ_WORKER_ID"] = worker.name
        os.environ["RQ_JOB_ID"] = job_id
        if leaves.rq_major() >= 2:
            os.environ["RQ_EXECUTION_ID"] = execution_id
        if self._hygiene:
            self._hygiene.before()
        queue = self._queue(queue_name)
        job = worker.job_class(job_id, connection=worker.connection, serializer=worker.serializer)
        error = None
        stored = dict(zip(fields[4::2], fields[5::2]))
        try:
            if stored:
                job.restore(stored)
            else:
                job.refresh()
        except Exception:
            error = traceback.format_exc()
        execution = self._execution(execution_id, job)
        attempt = Attempt(
            self._channel,
            worker,
            job,
            queue,
            execution,
            self._way,
            is_horse=not self._warm,
            stored=stored if error is None else None,
        )
        return attempt, error

    def _queue(self, name):
        worker = self._worker
        for queue in worker.queues:
            if queue.name == name:
                return queue
        return worker.queue_class(
            name,
            connection=worker.connection,
            job_class=worker.job_class,
            serializer=worker.serializer,
            death_penalty_class=worker.death_penalty_class,
        )

    def _execution(self, execution_id, job):
        if leaves.rq_major() < 2:
            return None
        from rq.executions import Execution

        execution = Execution(id=execution_id, job_id=job.id, connection=self._worker.connection)
        execution.worker_name = self._worker.name
        execution._job = job
        return execution

    def _callback(self, fields):
        """Runs what RQ's worker itself runs for a job whose process is gone."""
        what, details = frames.text(fields[0]), json.loads(frames.text(fields[1]))
        error = None
        from rq.exceptions import NoSuchJobError

        try:
            attempt, error = self.attempt(fields[2:])
            if error is None:
                job = attempt.job
                # The hash was read before the job began; RQ's worker looks again when the process is gone.
                with contextlib.suppress(NoSuchJobError):
                    job.refresh()
                {"stopped": self._stopped, "killed": self._killed, "abandoned": self._abandoned}[what](
                    attempt, details
                )
        except Exception:
            error = traceback.format_exc()
        self._channel.send(frames.CALLED, {"error": error})

    def _stopped(self, attempt, _):
        job, worker = attempt.job, self._worker
        if job.stopped_callback:
            self._channel.send(frames.PHASE, "running", str(job.stopped_callback_timeout))
            if leaves.rq_major() >= 3:
                from rq.callbacks import execute_stopped_callback

                execute_stopped_callback(job, worker.death_penalty_class)
            else:
                job.execute_stopped_callback(worker.death_penalty_class)
        # By this an override knows that the job was stopped.
        worker._stopped_job_id = job.id
        try:
            self._failed(attempt, "Job stopped by user, work-horse terminated.")
        finally:
            worker._stopped_job_id = None

    def _killed(self, attempt, details):
        job = attempt.job
        used = [details.get(name) or 0 for name in ("utime", "stime", "maxrss")]
        usage = resource.struct_rusage(used + [0] * 13)
        job.ended_at = job.ended_at or leaves.now()
        self._worker.handle_work_horse_killed(job, details.get("pid"), details.get("status"), usage)
        self._failed(attempt, details.get("words") or "Work-horse terminated unexpectedly; ")

    def _failed(self, attempt, exc_string):
        """Calls a team's own code for a failed job, as RQ's worker does when the job's process is gone."""
        if not leaves.has_own(self._worker, "handle_job_failure"):
            return
        more = {"execution": attempt.execution} if leaves.rq_major() >= 3 else {}
        self._worker.handle_job_failure(attempt.job, queue=attempt.queue, exc_string=exc_string, **more)

    def _abandoned(self, attempt, _):
        from rq.exceptions import AbandonedJobError

        job, worker = attempt.job, self._worker
        if getattr(job, "_failure_callback_name", None):
            self._channel.send(frames.PHASE, "failure callback", str(job.failure_callback_timeout))
        if leaves.rq_major() >= 3:
            from rq.callbacks import execute_failure_callback

            gone = (AbandonedJobError, AbandonedJobError(), None)
            try:
                execute_failure_callback(job, worker.death_penalty_class, *gone)
            except Exception:
                worker.log.exception("failure callback for job %s raised", job.id)
        else:
            # These versions pass a stack in place of a traceback.
            gone = (AbandonedJobError, AbandonedJobError(), traceback.extract_stack())
            job.execute_failure_callback(worker.death_penalty_class, *gone)
        if leaves.rq_major() >= 2:
            for handler in worker._exc_handlers:
                goes_on = handler(job, *gone)
                if goes_on is not None and not goes_on:
                    break

    def _leave(self):
        """Ends this process. What monitoring has gathered in a warm child is sent before."""
        if self._warm:
            if "sentry_sdk" in sys.modules:
                try:
                    sys.modules["sentry_sdk"].flush(timeout=2)
                except Exception:
                    traceback.print_exc()
            logging.shutdown()
        leave(0)
