"""What a job leaves behind is what the same job leaves behind under RQ's own worker."""

import subprocess

from rq.job import Job
from support import APP, MAJOR, RQ, Callback, ShimTest, jobs


class SameAsRq(ShimTest):
    worker = ("Worker",)

    def under_rq(self, job):
        """The result that RQ's worker stores for a job."""
        self.connection.rpush("rq:queue:default", job.id)
        self.connection.sadd("rq:queues", "rq:queue:default")
        environment = {"PYTHONPATH": APP, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [RQ, "worker", "-u", self.redis.url, "--burst", "--quiet"]
        subprocess.run(command, env=environment, cwd=APP, check=True, capture_output=True)
        return Job.fetch(job.id, connection=self.connection).latest_result()

    def test_text_of_failures(self):
        fails = {"on_failure": Callback(jobs.failing_callback)}
        for function, options in (
            ("jobs.chained", {}),
            ("jobs.unknown", {}),
            ("missing_module.function", {}),
            ("jobs.leave", {}),
            ("jobs.sleep", {"timeout": 1}),
            ("jobs.chained", fails),
            ("jobs.nothing", {"on_success": Callback(jobs.failing_callback)}),
        ):
            with self.subTest(function, **options):
                job = self.make(function, *([1000] if function == "jobs.sleep" else []), **options)
                (attributes, _, exc_string), _ = self.run_once(job)
                self.assertEqual(attributes["outcome"], "failed")
                self.assertEqual(exc_string, self.under_rq(job).exc_string)

    def test_text_of_a_failing_coroutine(self):
        job = self.make("jobs.failing_coroutine")
        (_, _, exc_string), _ = self.run_once(job)
        ours, theirs = (text.splitlines() for text in (exc_string, self.under_rq(job).exc_string))
        # Before version 3, RQ's own way to run it passes through other lines of asyncio.
        self.assertEqual((ours[-1], ours[-2]), (theirs[-1], theirs[-2]))
        if MAJOR >= 3:
            self.assertEqual(ours, theirs)

    def test_results(self):
        for function, args in (("jobs.add", (1, 2)), ("jobs.unserializable", ()), ("jobs.coroutine", ("x",))):
            with self.subTest(function):
                job = self.make(function, *args)
                (_, payload, _), _ = self.run_once(job)
                self.assertEqual(job.serializer.loads(payload), self.under_rq(job).return_value)
