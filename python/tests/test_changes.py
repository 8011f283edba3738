"""What a job changes of itself without saving it is told where RQ would save it."""

import pickle
import zlib

from support import MAJOR, ShimTest


class Changes(ShimTest):
    def changes(self, function, *args, **options):
        """The fields that are told of with the end of a job."""
        _, child = self.run_once(self.make(function, *args, **options))
        return child.changed

    def test_what_a_job_leaves_alone_is_not_told(self):
        for function in ("jobs.nothing", "jobs.meta", "jobs.chained"):
            self.assertEqual(self.changes(function, description="as it was", meta={"a": 1}), {}, function)

    def test_attributes_are_told_of_successes_and_failures(self):
        attributes = {"description": "größe", "timeout": 77, "ttl": 88, "failure_ttl": 5}
        told = {"description": "größe".encode(), "timeout": b"77", "ttl": b"88"}
        for fails in (False, True):
            self.assertEqual(self.changes("jobs.change", attributes, fails), told)

    def test_what_says_where_a_job_belongs_is_not_told(self):
        attributes = {"origin": "elsewhere", "worker_name": "mine", "description": "other"}
        self.assertEqual(self.changes("jobs.change", attributes), {"description": b"other"})

    def test_other_arguments_are_told_as_rq_would_store_them(self):
        (data,) = self.changes("jobs.change", {"args": (5,)}).values()
        self.assertEqual(pickle.loads(zlib.decompress(data)), ("jobs.change", None, (5,), {}))

    def test_meta_is_told_before_another_run_alone(self):
        options = {"meta": {"step": 1}}
        self.assertEqual(self.changes("jobs.change_meta", **options), {})
        self.assertEqual(self.changes("jobs.change_meta", True, **options), {})
        again = self.changes("jobs.change_meta", True, retries_left=1, **options)
        self.assertEqual({name: pickle.loads(value) for name, value in again.items()}, {"meta": {"step": 2}})
        self.assertEqual(self.changes("jobs.change", {}, True, retries_left=1, **options), {})
        if MAJOR >= 2:
            again = self.changes("jobs.change_meta", repeats_left=1, **options)
            self.assertEqual(pickle.loads(again["meta"]), {"step": 2})


class OwnFields(ShimTest):
    worker = ("WithOwnFields",)

    def test_fields_of_the_application_s_own_class_are_told(self):
        _, child = self.run_once(self.make("jobs.nothing"))
        self.assertEqual(child.changed, {"shop": b"of the application"})
