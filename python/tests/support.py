"""What the tests share: one Redis server for each module, and jobs made as applications make them."""

import os
import sys
import unittest

import rq
from rq.job import Job
from stand_in import APP, Redis, Tikkun

import jobs  # isort: skip - stand_in has put the application's folder on the path

try:
    from rq.job import Callback
except ImportError:
    from rq import Callback

BIN = os.path.dirname(sys.executable)
RQ = os.path.join(BIN, "rq")
MAJOR = int(rq.VERSION.split(".")[0])
VERSION = tuple(int(part) for part in rq.VERSION.split(".")[:2])


class RedisTest(unittest.TestCase):
    """A Redis of its own is there while the class's tests run."""

    @classmethod
    def setUpClass(cls):
        cls.redis = Redis()
        cls.connection = cls.redis.connection

    @classmethod
    def tearDownClass(cls):
        cls.redis.stop()

    def setUp(self):
        self.connection.flushall()

    def make(self, function, *args, job_class=Job, id=None, **options):
        """A job as Redis holds it when a worker has fetched it. What create() lacks are attributes."""
        attributes = {
            name: options.pop(name)
            for name in ("retries_left", "retry_intervals", "number_of_retries", "webhooks", "repeats_left")
            if name in options
        }
        options.setdefault("timeout", 60)
        job = job_class.create(
            function, args=args, connection=self.connection, origin="default", id=id, **options
        )
        for name, value in attributes.items():
            setattr(job, name, value)
        job.save()
        return job

    def called(self):
        """What callbacks and handlers have written down, in order."""
        return [entry.decode() for entry in self.connection.lrange("called", 0, -1)]


class ShimTest(RedisTest):
    """A worker of the application runs as a zygote while the class's tests run."""

    # Arguments of app/worker.py after the URL.
    worker = ("SimpleWorker",)
    environment = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tikkun = cls.start(sys.executable, "worker.py", cls.redis.url, *cls.worker)
        cls.hello = cls.tikkun.hello()

    @classmethod
    def tearDownClass(cls):
        try:
            status = cls.tikkun.close()
            assert status == 0, status
        finally:
            super().tearDownClass()

    @classmethod
    def start(cls, *command):
        return Tikkun(command, cls.environment)

    def run_once(self, job, **options):
        """Runs a job in a child of its own. Returns its end and the child."""
        child = self.tikkun.fork()
        end = child.run(job, **options)
        self.assertEqual(child.after(), "done")
        self.assertEqual(self.tikkun.exit_of(child)[0], 0)
        return end, child


__all__ = ["APP", "BIN", "Callback", "jobs", "MAJOR", "RQ", "VERSION", "RedisTest", "ShimTest", "Tikkun"]
