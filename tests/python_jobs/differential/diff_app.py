"""What the jobs of the scenarios call: an application with functions, callbacks, handlers and classes of its own.

What they see while they run goes to Redis under `seen:`, so that it is compared with everything else there.
"""

import asyncio
import ctypes
import json
import os
import random
import signal
import sys
import time

from rq import get_current_job
from rq.job import Job
from rq.queue import Queue
from rq.worker import Worker


def see(job, what, **more):
    """Writes down what this code sees of its job, on the object and in Redis."""
    fresh = job.connection.hgetall(job.key)
    seen = {
        "what": what,
        "status": _text(job.get_status(refresh=False)),
        "status in redis": _text(fresh.get(b"status", b"none")),
        "fields in redis": {name.decode(): bool(value) for name, value in fresh.items()},
        "retries_left": job.retries_left,
        "number_of_retries": getattr(job, "number_of_retries", None),
        "worker_name": job.worker_name,
        "started": bool(job.started_at),
        "ended": bool(job.ended_at),
        "origin": job.origin,
        "meta": job.meta,
        "is current": get_current_job() is not None and get_current_job().id == job.id,
        **more,
    }
    job.connection.rpush("seen:" + job.id, json.dumps(seen, sort_keys=True, default=repr))


def _text(status):
    status = getattr(status, "value", status)
    return status.decode() if isinstance(status, bytes) else status


def nothing():
    pass


def add(a, b=0):
    return a + b


def echo(*args, **kwargs):
    return [args, kwargs]


def give(kind):
    """Results of many kinds."""
    return {
        "none": None,
        "false": False,
        "zero": 0,
        "empty": "",
        "empty list": [],
        "bytes": b"\x00\xff\n",
        "unicode": "größe 漢字 \U0001f600 \u2028 \x00",
        "dict": {"a": [1, 2.5, None], (1, 2): {3}},
        "large": "x" * (2 << 20),
        "exception": ValueError("returned, not raised"),
        "deep": _deep(50),
    }[kind]


def _deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def unserializable():
    return lambda: None


class NoPickle(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.held = lambda: second

    def __reduce__(self):
        raise TypeError("no")


def fail(words="no luck"):
    raise ValueError(words)


def fail_chained():
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise LookupError("second") from first
    except LookupError:
        raise RuntimeError("third")


def fail_group():
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


def fail_no_pickle():
    raise NoPickle("one", "two")


def fail_unicode():
    raise ValueError("größe 漢字 \U0001f600")


def fail_surrogate():
    raise ValueError("half a pair \udc80")


def fail_base():
    class Odd(BaseException):
        pass

    raise Odd("not an Exception")


def fail_without_text():
    raise Exception


def fail_repr():
    class Unshown(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    raise Unshown


def fail_assert():
    assert 1 == 2, "numbers differ"


def recurse():
    return recurse()


def leave(code):
    sys.exit(code)


def interrupt():
    raise KeyboardInterrupt


def leave_hard(code):
    os._exit(code)


def crash():
    ctypes.string_at(0)


def abort():
    os.abort()


def kill_itself(number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    time.sleep(5)


def nap(seconds):
    time.sleep(seconds)
    return "rested"


def nap_openly():
    job = get_current_job()
    job.connection.set("naps:" + job.id, "1")
    return nap(30)


def swallow_timeout():
    try:
        time.sleep(5)
    except Exception as error:
        return type(error).__name__


def mark(label):
    get_current_job().connection.rpush("order", label)


def look():
    """All that a job can see about itself and around it."""
    job = get_current_job()
    queue = Queue(job.origin, connection=job.connection)
    workers = Worker.all(connection=job.connection)
    see(
        job,
        "job",
        func_name=job.func_name,
        args=job.args,
        kwargs=job.kwargs,
        timeout=job.timeout,
        ttl=job.ttl,
        result_ttl=job.result_ttl,
        failure_ttl=job.failure_ttl,
        description=job.description,
        environ={name: True for name in os.environ if name.startswith("RQ_")},
        job_in_environ=os.environ.get("RQ_JOB_ID"),
        worker_in_environ=os.environ.get("RQ_WORKER_ID"),
        position=job.get_position(),
        dependency_ids=[str(name) for name in job._dependency_ids],
        started=queue.started_job_registry.get_job_ids(),
        started_count=queue.started_job_registry.count,
        queued=queue.job_ids,
        workers=[(worker.name, _text(worker.get_state()), worker.get_current_job_id()) for worker in workers],
        is_started=job.is_started,
        last_heartbeat=bool(job.last_heartbeat),
        job_class=type(job).__name__,
        serializer=str(job.serializer),
        key_ttl=job.connection.ttl(job.key),
        executions=len(job.get_executions()) if hasattr(job, "get_executions") else None,
        signals=[str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        modules="__main__" in sys.modules,
        file=os.path.basename(__file__),
    )
    return job.id


def snapshot():
    """All of Redis while a job runs."""
    import dump

    job = get_current_job()
    job.connection.set("snapshot:" + job.id, json.dumps(dump.dump(job.connection, time.time()), sort_keys=True))


def save_meta():
    job = get_current_job()
    job.meta["progress"] = 0.5
    job.save_meta()
    job.meta["unsaved"] = True
    return dict(Job.fetch(job.id, connection=job.connection).meta)


def save_job():
    job = get_current_job()
    job.meta["saved"] = "whole"
    job.description = "described anew"
    job.save()


def change(**attributes):
    job = get_current_job()
    for name, value in attributes.items():
        setattr(job, name, value)


def change_and_fail(**attributes):
    change(**attributes)
    fail()


def change_and_ask(**attributes):
    from rq import Retry

    change(**attributes)
    return Retry(max=1)


def delete_itself(**options):
    get_current_job().delete(**options)
    return "deleted"


def cancel_itself():
    get_current_job().cancel()
    return "canceled"


def cancel_and_fail():
    get_current_job().cancel()
    fail()


def requeue_other(name):
    Job.fetch(name, connection=get_current_job().connection).requeue()


def enqueue_other(name, origin="default"):
    job = get_current_job()
    Queue(origin, connection=job.connection).enqueue(look, job_id=name)
    return name


def enqueue_dependent_on_itself(name):
    job = get_current_job()
    Queue(job.origin, connection=job.connection).enqueue(look, job_id=name, depends_on=job)


def read_dependency():
    job = get_current_job()
    dependency = job.fetch_dependencies()[0]
    value = dependency.return_value() if hasattr(dependency, "return_value") else dependency.result
    return [dependency.id, _text(dependency.get_status()), value]


def heartbeat():
    from rq import utils

    job = get_current_job()
    job.heartbeat(utils.now() if hasattr(utils, "now") else utils.utcnow(), 300)


def flaky(good_at):
    """Fails until it has run so often."""
    job = get_current_job()
    runs = job.connection.incr("runs:" + job.id)
    see(job, "run %d" % runs)
    if runs < good_at:
        raise ValueError("run %d" % runs)
    return runs


def retry_again(max, interval=0, **options):
    from rq import Retry

    job = get_current_job()
    job.connection.incr("runs:" + job.id)
    see(job, "run")
    return Retry(max=max, interval=interval, **options)


def retry_once(interval=0):
    """Returns a `Retry` in its first run only."""
    from rq import Retry

    job = get_current_job()
    if job.connection.incr("runs:" + job.id) == 1:
        return Retry(max=3, interval=interval)
    return "done"


def retry_or_fail():
    from rq import Retry

    job = get_current_job()
    if job.connection.incr("runs:" + job.id) == 1:
        return Retry(max=3)
    return fail()


async def coroutine(value):
    await asyncio.sleep(0)
    return value * 2


async def failing_coroutine():
    await asyncio.sleep(0)
    raise ValueError("in a coroutine")


def generator():
    yield 1


class Basket:
    kind = "basket"

    def __init__(self, size):
        self.size = size

    def double(self, plus=0):
        return self.size * 2 + plus

    @classmethod
    def named(cls):
        return cls.kind

    @staticmethod
    def static(value):
        return value

    def __call__(self):
        return "called"


def subprocess_job():
    import subprocess

    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True)
    return done.stdout.strip()


def leave_thread():
    import threading

    threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()
    return "left"


def change_process():
    os.chdir("/")
    os.environ["LEFT_BEHIND"] = "1"
    random.seed(1)
    return os.environ.get("RQ_JOB_ID")


def left_behind():
    return [os.environ.get("LEFT_BEHIND"), os.getcwd() == "/"]


def print_much():
    print("line\n" * 10000)
    sys.stderr.write("error\n")
    return "printed"


def fetch_itself():
    job = get_current_job()
    same = Job.fetch(job.id, connection=job.connection)
    return [_text(same.get_status()), same.worker_name, same.is_started, bool(same.started_at), same.ended_at]


# Callbacks.


def succeeded(job, connection, result, *args, **kwargs):
    see(job, "success callback", result=repr(result)[:80])


def succeeded_ill(job, connection, result, *args, **kwargs):
    see(job, "success callback")
    raise RuntimeError("in the success callback")


def succeeded_slowly(job, connection, result, *args, **kwargs):
    time.sleep(5)


def succeeded_changing(job, connection, result, *args, **kwargs):
    job.meta["callback"] = result
    job.save_meta()
    job.result_ttl = 77


def failed(job, connection, kind, value, traceback):
    see(job, "failure callback", kind=kind.__name__, value=str(value), traceback=type(traceback).__name__)


def failed_ill(job, connection, kind, value, traceback):
    see(job, "failure callback")
    raise RuntimeError("in the failure callback")


def failed_retrying(job, connection, kind, value, traceback):
    if not job.meta.get("given"):
        job.meta["given"] = True
        job.save_meta()
        job.retries_left = 1


def failed_slowly(job, connection, kind, value, traceback):
    time.sleep(5)


def stopped(job, connection):
    see(job, "stopped callback")


def stopped_ill(job, connection):
    see(job, "stopped callback")
    raise RuntimeError("in the stopped callback")


# Exception handlers: a job's meta says what they do.


def first_handler(job, kind, value, traceback):
    does = job.meta.get("handler", "none")
    see(job, "first handler", kind=kind.__name__)
    if does == "raises":
        raise RuntimeError("in a handler")
    if does == "gives retries" and not job.meta.get("given"):
        job.meta["given"] = True
        job.save_meta()
        job.retries_left = 1
    if does == "takes retries":
        job.retries_left = 0
    if does == "sets ttl":
        job.failure_ttl = 88
    if does == "saves meta":
        job.meta["error"] = str(value)
        job.save_meta()
    if does == "deletes":
        job.delete()
    if does == "requeues" and not job.meta.get("given"):
        job.meta["given"] = True
        job.save_meta()
        Queue(job.origin, connection=job.connection).enqueue_job(job)
    if does == "enqueues":
        Queue(job.origin, connection=job.connection).enqueue(nothing, job_id="by-the-handler")
    return {"false": False, "true": True}.get(does)


def second_handler(job, kind, value, traceback):
    see(job, "second handler", kind=kind.__name__)


# Classes of the application.


class AppJob(Job):
    def to_dict(self, *args, **kwargs):
        return {**super().to_dict(*args, **kwargs), "app_runs": getattr(self, "app_runs", 0)}

    def perform(self):
        self.connection.rpush("class:" + self.id, "before")
        self.app_runs = 1
        try:
            return super().perform()
        finally:
            self.connection.rpush("class:" + self.id, "after")


class AppQueue(Queue):
    job_class = AppJob


class AppWorker(Worker):
    queue_class = AppQueue
    job_class = AppJob

    def _tell(self, job, what):
        fresh = job.connection.hget(job.key, "status")
        self.connection.rpush("worker:" + job.id, f"{what}: {_text(fresh) if fresh else 'gone'}")

    def execute_job(self, job, queue):
        self._tell(job, "execute_job")
        super().execute_job(job, queue)
        self._tell(job, "executed")

    def perform_job(self, job, queue, *args):
        self._tell(job, "perform_job")
        good = super().perform_job(job, queue, *args)
        self._tell(job, f"performed {good}")
        return good

    def handle_job_success(self, job, *args, **kwargs):
        self._tell(job, "handle_job_success")
        super().handle_job_success(job, *args, **kwargs)
        self._tell(job, "handled success")

    def handle_job_failure(self, job, *args, **kwargs):
        self._tell(job, "handle_job_failure")
        super().handle_job_failure(job, *args, **kwargs)
        self._tell(job, "handled failure")

    def handle_exception(self, job, *exc_info):
        self._tell(job, "handle_exception")
        super().handle_exception(job, *exc_info)
        self._tell(job, "handled exception")

    def handle_work_horse_killed(self, job, retpid, ret_val, rusage):
        self._tell(job, f"killed {ret_val} {type(rusage).__name__}")
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)
