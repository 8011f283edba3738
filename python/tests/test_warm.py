"""Children that run many jobs, and leave on any trace that one leaves behind."""

import os
import pickle

from rq.job import Job
from stand_in import is_gone, wait_until
from support import ShimTest


class Warm(ShimTest):
    def test_a_thousand_jobs_and_then_a_thread(self):
        child = self.tikkun.fork("warm")
        job = self.make("jobs.add", 20, 22)
        raw = self.connection.hgetall(job.key)
        for number in range(1000):
            attributes, payload, _ = child.run(job, raw=raw, execution=f"e-{number}")
            self.assertEqual((attributes["outcome"], pickle.loads(payload)), ("ok", 42))
            self.assertEqual(child.after(), "done")
        attributes, _, _ = child.run(self.make("jobs.leave_thread"))
        self.assertEqual(attributes["outcome"], "ok")
        self.assertEqual(child.after(), "dirty: threads")
        self.assertEqual(self.tikkun.exit_of(child)[0], 0)

    def test_each_trace_that_a_job_leaves_ends_its_child(self):
        for function, reason in (
            ("leave_cwd", "dirty: cwd"),
            ("leave_environment", "dirty: environment"),
            ("leave_umask", "dirty: umask"),
            ("leave_path", "dirty: sys.path"),
            ("leave_handler", "dirty: signal handlers"),
            ("leave_usr1", "dirty: signal handlers"),
            ("leave_mask", "dirty: signal mask"),
            ("leave_stdout", "dirty: file descriptors"),
            ("close_fds", "dirty: file descriptors"),
            ("leave_process", "dirty: processes"),
        ):
            with self.subTest(function):
                child = self.tikkun.fork("warm")
                self.assertEqual(child.run(self.make("jobs.nothing"))[0]["outcome"], "ok")
                self.assertEqual(child.after(), "done")
                self.assertEqual(child.run(self.make("jobs." + function))[0]["outcome"], "ok")
                self.assertEqual(child.after(), reason)
                self.assertEqual(self.tikkun.exit_of(child)[0], 0)

    def test_failures_that_a_process_should_not_outlive(self):
        child = self.tikkun.fork("warm")
        self.assertEqual(child.run(self.make("jobs.chained"))[0]["outcome"], "failed")
        self.assertEqual(child.after(), "done")
        self.assertEqual(child.run(self.make("jobs.leave", 0))[0]["outcome"], "failed")
        self.assertEqual(child.after(), "exit")
        child = self.tikkun.fork("warm")
        self.assertEqual(child.run(self.make("jobs.sleep", 1000, timeout=1))[0]["outcome"], "failed")
        self.assertEqual(child.after(), "timeout")
        child = self.tikkun.fork("warm")
        self.assertEqual(child.run(self.make("jobs.recurse"))[0]["outcome"], "failed")
        self.assertEqual(child.after(), "dirty: RecursionError")

    def test_limit_of_jobs(self):
        child = self.tikkun.fork("warm", {"jobs": 2})
        child.run(self.make("jobs.nothing"))
        self.assertEqual(child.after(), "done")
        child.run(self.make("jobs.nothing"))
        self.assertEqual(child.after(), "jobs")
        self.assertEqual(self.tikkun.exit_of(child)[0], 0)

    def test_limit_of_age(self):
        child = self.tikkun.fork("warm", {"lifetime": 0})
        child.run(self.make("jobs.nothing"))
        self.assertEqual(child.after(), "lifetime")

    def test_limit_of_memory(self):
        child = self.tikkun.fork("warm", {"memory_growth": 20 * 1024 * 1024})
        child.run(self.make("jobs.keep_memory", 40))
        self.assertEqual(child.after(), "done", "the first job's memory is where growth starts")
        child.run(self.make("jobs.sleep", 1.1))
        self.assertEqual(child.after(), "done")
        child.run(self.make("jobs.keep_memory", 40))
        after = child.after()
        if after == "done":
            # The kernel is asked at most once a second.
            child.run(self.make("jobs.sleep", 1.1))
            after = child.after()
        self.assertEqual(after, "memory")

    def test_coroutines_leave_no_fds(self):
        child = self.tikkun.fork("warm")
        job = self.make("jobs.coroutine", 1)
        child.run(self.make("jobs.open_fds"))
        child.after()
        first = pickle.loads(child.run(self.make("jobs.open_fds"))[1])
        child.after()
        for _ in range(20):
            child.run(job)
            self.assertEqual(child.after(), "done")
        self.assertEqual(pickle.loads(child.run(self.make("jobs.open_fds"))[1]), first)

    def test_each_job_has_its_own_environment_and_worker_name(self):
        child = self.tikkun.fork("warm")
        for number in ("1", "2"):
            job = self.make("jobs.environment")
            _, payload, _ = child.run(job, worker="w-" + number)
            seen = pickle.loads(payload)
            self.assertEqual((seen["RQ_JOB_ID"], seen["RQ_WORKER_ID"]), (job.id, "w-" + number))
            self.assertEqual(child.after(), "done")

    def test_callback_then_job_in_one_child(self):
        child = self.tikkun.fork("warm")
        child.callback("stopped", {}, self.make("jobs.nothing"))
        self.assertEqual(child.after(), "done")
        child.run(self.make("jobs.nothing"))
        self.assertEqual(child.after(), "done")

    def test_meta_of_an_earlier_job_is_gone(self):
        child = self.tikkun.fork("warm")
        first, second = self.make("jobs.meta"), self.make("jobs.nothing")
        child.run(first)
        child.after()
        child.run(second)
        child.after()
        self.assertEqual(Job.fetch(second.id, connection=self.connection).meta, {})

    def test_child_leaves_when_its_socket_is_closed(self):
        child = self.tikkun.fork("warm")
        child.sock.close()
        self.assertEqual(self.tikkun.exit_of(child)[0], 0)

    def test_many_children_at_once(self):
        children = [self.tikkun.fork("warm") for _ in range(8)]
        job = self.make("jobs.add", 1, 2)
        for child in children:
            child.start(job)
        for child in children:
            self.assertEqual(child.result()[0]["outcome"], "ok")
            self.assertEqual(child.after(), "done")
        for child in children:
            os.kill(child.pid, 9)
            self.assertEqual(self.tikkun.exit_of(child)[0], 9)
            wait_until(lambda pid=child.pid: is_gone(pid), "a killed child to go")


class WarmWorkHorse(ShimTest):
    worker = ("Worker",)

    def test_jobs_in_a_row(self):
        child = self.tikkun.fork("warm")
        for _ in range(20):
            self.assertEqual(child.run(self.make("jobs.add", 1, 1))[0]["outcome"], "ok")
            self.assertEqual(child.after(), "done")
            self.assertEqual(child.run(self.make("jobs.chained"))[0]["outcome"], "failed")
            self.assertEqual(child.after(), "done")
