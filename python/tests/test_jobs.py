"""Jobs run by RQ's own code in a child, and their ends."""

import http.server
import json
import pickle
import threading
import unittest

import rq
from rq.defaults import UNSERIALIZABLE_RETURN_VALUE_PAYLOAD
from rq.job import Job
from rq.serializers import JSONSerializer
from support import MAJOR, VERSION, Callback, ShimTest, jobs


class Jobs(ShimTest):
    def test_jobs_of_rqs_own_worker_begin_at_once(self):
        self.assertTrue(self.tikkun.fork().begins_at_once)

    def test_ok_job(self):
        job = self.make("jobs.add", 2, 3, result_ttl=77, failure_ttl=88)
        (attributes, payload, exc_string), child = self.run_once(job)
        self.assertEqual(attributes["outcome"], "ok")
        self.assertEqual((attributes["serializable"], attributes["none"]), (True, False))
        self.assertEqual(payload, job.serializer.dumps(5))
        self.assertEqual(exc_string, "")
        # What the job has not changed is not sent, and so is not written again.
        self.assertNotIn("result_ttl", attributes)
        self.assertNotIn("enqueue_at_front_on_retry", attributes)
        self.assertRegex(attributes["started_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertLessEqual(attributes["started_at"], attributes["ended_at"])
        self.assertIsNone(attributes["retry"])
        self.assertIsNone(attributes["worker_ttl_seen"])
        self.assertEqual(child.phases, [("done", -1)])

    def test_job_that_leaves_an_odd_stream_is_ok(self):
        (attributes, _, _), _ = self.run_once(self.make("jobs.replace_stdout"))
        self.assertEqual(attributes["outcome"], "ok")

    def test_nothing_of_the_bookkeeping_is_written(self):
        for function, options in (
            ("jobs.nothing", {}),
            ("jobs.chained", {}),
            ("jobs.chained", {"retries_left": 1, "retry_intervals": [5]}),
            ("jobs.nothing", {"result_ttl": 0}),
            ("jobs.nothing", {"repeats_left": 2}),
        ):
            with self.subTest(function, **options):
                self.connection.flushall()
                job = self.make(function, **options)
                raw = self.connection.hgetall(job.key)
                self.connection.config_resetstat()
                self.run_once(job, raw=raw)
                commands = set(self.connection.info("commandstats"))
                self.assertEqual(commands - {"cmdstat_config|resetstat", "cmdstat_info"}, set())
                self.assertEqual(self.connection.dbsize(), 1)
                self.assertEqual(self.connection.hgetall(job.key), raw)

    def test_job_that_saves_itself_keeps_the_start_that_is_written(self):
        job = self.make("jobs.save_itself")
        written = "2026-01-02T03:04:05.678901Z"
        self.connection.hset(job.key, "started_at", written)
        (attributes, _, _), _ = self.run_once(job)
        self.assertEqual(attributes["outcome"], "ok")
        self.assertEqual(self.connection.hget(job.key, "started_at").decode(), written)
        self.assertEqual(self.connection.hget(job.key, "description").decode(), "described anew")

    def test_none_has_no_payload(self):
        (attributes, payload, _), _ = self.run_once(self.make("jobs.nothing"))
        self.assertEqual((attributes["none"], payload), (True, b""))

    def test_output_is_the_childs_own(self):
        _, child = self.run_once(self.make("jobs.talk", "grüße"))
        self.assertIn("said grüße", child.stdout.all())
        self.assertIn("complained grüße", child.errors())

    def test_failing_job_with_chained_causes(self):
        (attributes, payload, exc_string), _ = self.run_once(self.make("jobs.chained"))
        self.assertEqual(attributes["outcome"], "failed")
        self.assertEqual(payload, b"")
        self.assertIn("ValueError: the first cause", exc_string)
        self.assertIn("The above exception was the direct cause", exc_string)
        self.assertTrue(exc_string.endswith("KeyError: 'what came of it'\n"))
        # The frames are those that RQ stores: no code of the shim stands between RQ's and the job's.
        self.assertNotIn("tikkun_shim", exc_string)
        self.assertIn("in perform_job", exc_string)

    def test_timeout(self):
        (attributes, _, exc_string), child = self.run_once(self.make("jobs.sleep", 1000, timeout=1))
        self.assertEqual(attributes["outcome"], "failed")
        self.assertIn("JobTimeoutException: Task exceeded maximum timeout value (1 seconds)", exc_string)
        self.assertEqual(child.phases[0], ("exception handlers", 60))

    def test_only_a_time_limit_that_the_job_does_not_say_is_told(self):
        _, child = self.run_once(self.make("jobs.nothing", timeout=None))
        self.assertEqual(child.phases[0], ("running", rq.Queue.DEFAULT_TIMEOUT))
        for timeout in (1, -1):
            _, child = self.run_once(self.make("jobs.nothing", timeout=timeout))
            self.assertEqual(child.phases, [("done", -1)])

    def test_unserializable_result(self):
        job = self.make("jobs.unserializable")
        (attributes, payload, _), _ = self.run_once(job)
        self.assertEqual((attributes["outcome"], attributes["serializable"]), ("ok", False))
        self.assertEqual(payload, job.serializer.dumps(UNSERIALIZABLE_RETURN_VALUE_PAYLOAD))

    def test_large_result(self):
        (_, payload, _), _ = self.run_once(self.make("jobs.large", 20_000_000))
        self.assertEqual(len(pickle.loads(payload)), 20_000_000)

    def test_large_arguments(self):
        (_, payload, _), _ = self.run_once(self.make("jobs.add", b"x" * 5_000_000, b"y"))
        self.assertEqual(len(pickle.loads(payload)), 5_000_001)

    def test_meta_and_current_job(self):
        job = self.make("jobs.meta")
        (_, payload, _), _ = self.run_once(job)
        self.assertEqual(pickle.loads(payload), job.id)
        self.assertEqual(Job.fetch(job.id, connection=self.connection).meta["progress"], 0.5)

    def test_environment_of_a_job(self):
        job = self.make("jobs.environment")
        (_, payload, _), _ = self.run_once(job, worker="slot-2", execution="e-9")
        expected = {"RQ_WORKER_ID": "slot-2", "RQ_JOB_ID": job.id}
        if MAJOR >= 2:
            expected["RQ_EXECUTION_ID"] = "e-9"
        self.assertEqual(pickle.loads(payload), expected)

    def test_coroutine_and_methods(self):
        (_, payload, _), _ = self.run_once(self.make("jobs.coroutine", "awaited"))
        self.assertEqual(pickle.loads(payload), "awaited")
        (_, payload, _), _ = self.run_once(self.make(jobs.Shop.sell, "bread"))
        self.assertEqual(pickle.loads(payload), "Shop sold bread")
        (_, payload, _), _ = self.run_once(self.make(jobs.Shop().open))
        self.assertEqual(pickle.loads(payload), "open")

    def test_unreadable_payload_fails_in_rqs_words(self):
        job = self.make("jobs.nothing")
        raw = dict(self.connection.hgetall(job.key))
        raw[b"data"] = b"no pickle"
        (attributes, _, exc_string), _ = self.run_once(job, raw=raw)
        self.assertEqual(attributes["outcome"], "failed")
        self.assertIn("DeserializationError", exc_string)

    def test_missing_function(self):
        (attributes, _, exc_string), _ = self.run_once(self.make("jobs.unknown"))
        self.assertEqual(attributes["outcome"], "failed")
        self.assertIn("unknown", exc_string)

    def test_hash_that_is_no_job(self):
        job = self.make("jobs.nothing")
        (attributes, _, exc_string), _ = self.run_once(job, raw={b"status": b"queued"})
        self.assertEqual(attributes["outcome"], "failed")
        self.assertIn("NoSuchJobError", exc_string)

    def test_sys_exit_is_a_failure(self):
        (attributes, _, exc_string), _ = self.run_once(self.make("jobs.leave", 3))
        self.assertEqual(attributes["outcome"], "failed")
        self.assertTrue(exc_string.endswith("SystemExit: 3\n"))

    def test_retries_are_not_spent_before_the_decision(self):
        job = self.make("jobs.chained", retries_left=2, retry_intervals=[5, 7])
        (attributes, _, _), _ = self.run_once(job)
        self.assertNotIn("retries_left", attributes)
        self.assertNotIn("retry_intervals", attributes)

    def test_returned_retry(self):
        if VERSION < (2, 1):
            self.skipTest("this RQ has no returned Retry")
        job = self.make("returned_retry.again", 3, [4, 5], number_of_retries=1)
        (attributes, payload, _), _ = self.run_once(job)
        self.assertEqual(attributes["outcome"], "retry")
        self.assertEqual(attributes["retry"], {"max": 3, "intervals": [4, 5], "at_front": False})
        self.assertNotIn("number_of_retries", attributes)
        self.assertEqual(pickle.loads(payload).max, 3)

    def test_repeats(self):
        if VERSION < (2, 2):
            self.skipTest("this RQ has no repeats")
        (attributes, _, _), child = self.run_once(self.make("jobs.nothing", repeats_left=3))
        self.assertNotIn("repeats_left", attributes)

    def test_success_callback(self):
        job = self.make("jobs.add", 1, 1, on_success=Callback(jobs.on_success, timeout=9))
        (attributes, _, _), child = self.run_once(job)
        self.assertEqual(attributes["outcome"], "ok")
        self.assertEqual(len(self.called()), 1)
        self.assertTrue(self.called()[0].startswith(f"success {job.id} 2 "))
        self.assertEqual(child.phases[0], ("success callback", 9))

    def test_failing_success_callback_fails_the_job(self):
        job = self.make("jobs.add", 1, 1, on_success=Callback(jobs.failing_callback))
        (attributes, _, exc_string), _ = self.run_once(job)
        self.assertEqual(attributes["outcome"], "failed")
        self.assertTrue(exc_string.endswith("RuntimeError: the callback failed\n"))
        self.assertNotIn("tikkun_shim", exc_string)

    def test_failure_callback(self):
        job = self.make("jobs.chained", on_failure=Callback(jobs.on_failure, timeout=9))
        (attributes, _, exc_string), child = self.run_once(job)
        self.assertEqual(self.called(), [f"failure {job.id} KeyError"])
        self.assertEqual(child.phases[0], ("failure callback", 9))
        self.assertIn("KeyError", exc_string)

    def test_failing_failure_callback_replaces_the_error(self):
        job = self.make("jobs.chained", on_failure=Callback(jobs.failing_callback))
        (_, _, exc_string), _ = self.run_once(job)
        self.assertTrue(exc_string.endswith("RuntimeError: the callback failed\n"))

    def test_stopped_and_abandoned_callbacks(self):
        job = self.make(
            "jobs.nothing", on_stopped=Callback(jobs.on_stopped), on_failure=Callback(jobs.on_failure)
        )
        child = self.tikkun.fork()
        (answer,) = child.callback("stopped", {}, job)
        self.assertEqual(json.loads(answer), {"error": None})
        self.assertEqual(child.after(), "done")
        child = self.tikkun.fork()
        (answer,) = child.callback("abandoned", {}, job)
        self.assertEqual(json.loads(answer), {"error": None})
        self.assertEqual(self.called(), [f"stopped {job.id}", f"failure {job.id} AbandonedJobError"])
        # Of one that another process left behind only the id is known here.
        (answer,) = self.tikkun.fork().callback("abandoned", {}, job, raw={})
        self.assertEqual(json.loads(answer), {"error": None})
        self.assertEqual(self.called()[2:], [f"failure {job.id} AbandonedJobError"])
        self.connection.delete(job.key)
        (answer,) = self.tikkun.fork().callback("abandoned", {}, job, raw={})
        self.assertIn("NoSuchJobError", json.loads(answer)["error"])

    def test_failing_stopped_callback_is_answered_with_its_traceback(self):
        job = self.make("jobs.nothing", on_stopped=Callback(jobs.failing_callback))
        (answer,) = self.tikkun.fork().callback("stopped", {}, job)
        self.assertIn("RuntimeError: the callback failed", json.loads(answer)["error"])

    def test_result_that_no_frame_can_hold_fails_the_job(self):
        (attributes, _, exc_string), _ = self.run_once(self.make("jobs.too_large"))
        self.assertEqual(attributes["outcome"], "failed")
        self.assertRegex(
            exc_string, r"FrameError: a frame of \d+ bytes is longer than the limit of 2000 bytes"
        )

    def test_copy_of_the_process_does_not_answer(self):
        (attributes, payload, _), _ = self.run_once(self.make("jobs.fork_and_run_on"))
        self.assertEqual(pickle.loads(payload), "parent")

    def test_job_that_closes_fds_still_answers(self):
        (attributes, _, _), _ = self.run_once(self.make("jobs.close_fds"))
        self.assertEqual(attributes["outcome"], "ok")


class JobsInAWorkHorse(Jobs):
    """The same through RQ's way into a work horse."""

    worker = ("Worker",)


class Handlers(ShimTest):
    worker = ("WithHandlers",)

    def test_handlers_are_named(self):
        self.assertEqual(self.hello["exception_handlers"], ["jobs.give_up"])
        self.assertTrue(self.hello["horse_killed_handler"])

    def test_handler_changes_the_job(self):
        job = self.make("jobs.chained", retries_left=2)
        (attributes, _, _), child = self.run_once(job)
        self.assertEqual(self.called(), [f"handler {job.id} KeyError"])
        # Version 1 decides before its handlers run, and they see the decided end.
        self.assertEqual(attributes.get("retries_left"), None if MAJOR < 2 else 0)
        self.assertEqual(attributes["synchronous"], MAJOR < 2)
        self.assertEqual(child.phases[1][0], "exception handlers")
        self.assertTrue(60 <= child.phases[1][1] <= 120)

    def test_killed_handler(self):
        job = self.make("jobs.nothing")
        details = {"pid": 12, "status": 139, "maxrss": 345, "utime": 1.5, "stime": 0.5}
        (answer,) = self.tikkun.fork().callback("killed", details, job)
        self.assertEqual(json.loads(answer), {"error": None})
        self.assertEqual(self.called(), [f"killed {job.id} 12 139 345"])

    def test_abandoned_job_is_shown_to_the_handlers(self):
        job = self.make("jobs.nothing")
        self.tikkun.fork().callback("abandoned", {}, job)
        self.assertEqual(self.called(), [f"handler {job.id} AbandonedJobError"] if MAJOR >= 2 else [])


class Failures(ShimTest):
    worker = ("WithFailures",)

    def called_for(self, what, details, **options):
        self.connection.delete("called")
        job = self.make("jobs.nothing", **options)
        (answer,) = self.tikkun.fork().callback(what, details, job)
        self.assertEqual(json.loads(answer), {"error": None})
        return [entry.replace(job.id, "it") for entry in self.called()]

    def test_own_code_for_failures_is_named_and_called_where_rq_calls_it(self):
        self.assertTrue(self.hello["own_failures"])
        job = self.make("jobs.chained")
        self.run_once(job)
        self.assertEqual(
            self.called(), [f"failed {job.id} default KeyError: 'what came of it'", "then failed"]
        )
        words = {"pid": 12, "status": 139, "words": "Work-horse terminated unexpectedly; it was told so"}
        told = ["failed it default " + words["words"]]
        self.assertEqual(self.called_for("killed", words), told + ["then failed"])
        self.assertEqual(self.called_for("killed", words, retries_left=1), told + ["then queued"])
        stopped = ["failed it default stopped", "then stopped"]
        self.assertEqual(self.called_for("stopped", {}, retries_left=1), stopped)

    def test_stopped_callback_comes_first(self):
        called = self.called_for("stopped", {}, on_stopped=Callback(jobs.on_stopped))
        self.assertEqual(called[:2], ["stopped it", "failed it default stopped"])


class RaisingHandler(ShimTest):
    worker = ("RaisingHandler",)

    def test_handler_that_raises_ends_the_process_as_under_rq(self):
        child = self.tikkun.fork()
        child.start(self.make("jobs.chained"))
        if MAJOR < 2:
            # This version has written the end before its handlers run.
            self.assertEqual(child.result()[0]["outcome"], "failed")
            child.settle()
        else:
            with self.assertRaisesRegex(AssertionError, "the child went"):
                child.result()
        self.assertEqual(self.tikkun.exit_of(child)[0], 1 << 8)


class Overrides(ShimTest):
    worker = ("Announcing",)

    def test_jobs_do_not_begin_at_once(self):
        child = self.tikkun.fork()
        self.assertFalse(child.begins_at_once)
        child.start(self.make("jobs.nothing"))
        child.result()
        self.assertEqual(child.phases[0], ("running", 60))

    def test_code_after_super_runs_once_the_end_is_settled(self):
        job = self.make("jobs.nothing")
        child = self.tikkun.fork()
        child.start(job)
        attributes, _, _ = child.result()
        self.assertTrue(attributes["synchronous"])
        self.assertEqual(self.called(), [])
        child.settle()
        self.assertEqual(child.after(), "done")
        self.assertEqual(len(self.called()), 1)
        self.assertTrue(self.called()[0].startswith(f"performed {job.id}"))
        self.assertTrue(self.called()[0].endswith("True"))

    def test_lost_attempt_is_said(self):
        child = self.tikkun.fork()
        child.start(self.make("jobs.nothing"))
        child.result()
        child.settle("lost")
        self.assertEqual(child.after(), "done")
        self.assertIn("belongs to another attempt", child.stdout.all())


class ReplacedEnd(ShimTest):
    worker = ("SwallowsSuccess",)

    def test_end_that_an_override_keeps_for_itself_is_reported_all_the_same(self):
        job = self.make("jobs.add", 2, 2)
        (attributes, payload, _), _ = self.run_once(job)
        self.assertEqual((attributes["outcome"], pickle.loads(payload)), ("ok", 4))


class CustomClasses(ShimTest):
    worker = ("Json",)

    def test_custom_serializer_and_job_class(self):
        self.assertEqual(self.hello["serializer"], "rq.serializers.JSONSerializer")
        self.assertEqual(self.hello["job_class"], "__main__.LoudJob")
        job = self.make("jobs.add", 2, 3, serializer=JSONSerializer)
        (attributes, payload, _), _ = self.run_once(job)
        self.assertEqual(json.loads(payload), ["loud", 5])

    def test_custom_queue_class(self):
        self.assertEqual(self.hello["queue_class"], "__main__.QuickQueue")
        _, child = self.run_once(self.make("jobs.nothing", serializer=JSONSerializer, timeout=None))
        self.assertEqual(child.phases[0], ("running", 33))

    def test_result_that_json_cannot_hold(self):
        job = self.make("jobs.unserializable", serializer=JSONSerializer)
        (attributes, payload, _), _ = self.run_once(job)
        self.assertFalse(attributes["serializable"])
        self.assertEqual(json.loads(payload), UNSERIALIZABLE_RETURN_VALUE_PAYLOAD)


@unittest.skipIf(VERSION < (2, 10), "this RQ has no webhooks")
class Webhooks(ShimTest):
    def setUp(self):
        super().setUp()
        self.received = received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)

    def webhook(self, status):
        from rq.webhook import Webhook

        return Webhook(f"http://127.0.0.1:{self.server.server_port}/", status, method="POST")

    def run_with(self, function, status, verdict, **options):
        job = self.make(function, webhooks=[self.webhook(status)], **options)
        child = self.tikkun.fork()
        child.start(job)
        attributes, _, _ = child.result()
        sent_before = list(self.received)
        if attributes["synchronous"]:
            child.settle(verdict)
        self.assertEqual(child.after(), "done")
        self.assertEqual(sent_before, [])
        return attributes, [entry["status"] for entry in self.received], [name for name, _ in child.phases]

    def test_webhooks_are_sent_once_the_end_is_settled(self):
        attributes, received, phases = self.run_with("jobs.nothing", "finished", "ok")
        self.assertTrue(attributes["synchronous"])
        self.assertEqual(received, ["finished"])
        self.assertIn("webhooks", phases)
        self.received.clear()
        _, received, phases = self.run_with("jobs.chained", "failed", "ok")
        self.assertEqual(received, ["failed"])
        self.assertIn("KeyError", self.received[0]["exc_info"])
        self.assertIn("webhooks", phases)

    def test_no_webhook_is_sent_for_a_lost_attempt(self):
        self.assertEqual(self.run_with("jobs.nothing", "finished", "lost")[1], [])
        self.assertEqual(self.run_with("jobs.chained", "failed", "lost")[1], [])

    def test_no_webhook_is_sent_for_another_end_or_a_retry(self):
        attributes, received, _ = self.run_with("jobs.nothing", "failed", "ok")
        self.assertEqual((attributes["synchronous"], received), (False, []))
        self.assertEqual(self.run_with("jobs.chained", "failed", "ok", retries_left=1)[1], [])
