"""A team's own worker script: worker.py URL [class [queue ...]]"""

import sys

import jobs
import redis
import rq
import rq.worker
from rq.job import Job
from rq.serializers import JSONSerializer


class Announcing(rq.Worker):
    """A subclass as teams have them: work() and perform_job() call super(), and a monitor that never runs."""

    def work(self, *args, **kwargs):
        print("before work", flush=True)
        return super().work(*args, **kwargs)

    def monitor_work_horse(self, *args, **kwargs):
        raise AssertionError("this never runs")

    def perform_job(self, job, queue, *args):
        done = super().perform_job(job, queue, *args)
        self.connection.rpush("called", f"performed {job.id} {job._status} {done}")
        return done


class WithHandlers(rq.Worker):
    def __init__(self, *args, **kwargs):
        super().__init__(
            *args, exception_handlers=[jobs.give_up], work_horse_killed_handler=jobs.when_killed, **kwargs
        )


class WithFailures(rq.Worker):
    """Has code of its own for failures, which knows what RQ's worker knows."""

    def handle_job_failure(self, job, queue, started_job_registry=None, exc_string="", **more):
        why = "stopped" if self._stopped_job_id == job.id else exc_string.strip().splitlines()[-1]
        self.connection.rpush("called", f"failed {job.id} {queue.name} {why}")
        super().handle_job_failure(job, queue, started_job_registry, exc_string, **more)
        self.connection.rpush("called", f"then {job._status}".replace("JobStatus.", "").lower())


class RaisingHandler(rq.Worker):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, exception_handlers=[jobs.failing_callback], **kwargs)


class Json(rq.Worker):
    def __init__(self, *args, **kwargs):
        classes = {"job_class": LoudJob, "queue_class": QuickQueue}
        super().__init__(*args, serializer=JSONSerializer, **classes, **kwargs)


class ShopJob(Job):
    def to_dict(self, *args, **kwargs):
        return dict(super().to_dict(*args, **kwargs), shop="of the application")


class WithOwnFields(rq.Worker):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, job_class=ShopJob, **kwargs)


class LoudJob(Job):
    def perform(self):
        return ["loud", super().perform()]


class QuickQueue(rq.Queue):
    DEFAULT_TIMEOUT = 33


class Imminent(rq.worker.HerokuWorker):
    imminent_shutdown_delay = 0


class Renamed(rq.Worker):
    redis_worker_namespace_prefix = "other:worker:"


class SwallowsSuccess(rq.Worker):
    def handle_job_success(self, *args, **kwargs):
        pass


def main(url, name="Worker", *queues):
    known = {**vars(rq.worker), **vars(rq), **globals()}
    connection = redis.Redis.from_url(url)
    worker = known[name](list(queues) or ["default"], connection=connection, name="own")
    worker.work(burst=True, max_jobs=7)


if __name__ == "__main__":
    main(*sys.argv[1:])
