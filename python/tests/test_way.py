"""Whether nothing but RQ's own code stands around a job."""

import functools
import unittest
from unittest import mock

import rq
from rq.timeouts import UnixSignalDeathPenalty
from stand_in import SHIM  # noqa: F401 - it has put the shim on the path

from tikkun_shim.way import Way


class OwnJob(rq.job.Job):
    pass


class OwnEnd(rq.Worker):
    def handle_job_success(self, *args, **kwargs):
        super().handle_job_success(*args, **kwargs)


def worker(cls=rq.Worker, **attributes):
    made = object.__new__(cls)
    made.job_class, made.queue_class, made.queues = rq.job.Job, rq.Queue, []
    made.death_penalty_class = UnixSignalDeathPenalty
    vars(made).update(attributes)
    return made


def wrapped(function):
    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))


class WayTest(unittest.TestCase):
    def seen(self, *args, **attributes):
        way = Way(worker(*args, **attributes))
        return way.is_rqs_own, way.is_looked_at

    def test_workers_of_rq_itself(self):
        for cls in (rq.Worker, rq.SimpleWorker, rq.worker.RoundRobinWorker):
            self.assertEqual(self.seen(cls), (True, False), cls)

    def test_own_classes(self):
        self.assertEqual(self.seen(OwnEnd), (False, True))
        self.assertEqual(self.seen(job_class=OwnJob), (False, False))
        self.assertEqual(
            self.seen(queues=[object.__new__(type("OwnQueue", (rq.Queue,), {}))]), (False, False)
        )

    def test_monitoring_that_wraps_functions(self):
        with mock.patch.object(rq.Worker, "perform_job", wrapped(rq.Worker.perform_job)):
            self.assertEqual(self.seen(), (False, True))
        with mock.patch.object(rq.job.Job, "perform", wrapped(rq.job.Job.perform)):
            self.assertEqual(self.seen(), (False, False))
        self.assertEqual(self.seen(perform_job=lambda *_: True), (False, False))


if __name__ == "__main__":
    unittest.main()
