"""Every form of command ends in our zygote, and what cannot be served is refused in one sentence."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

import rq
from stand_in import SHIM, is_gone, wait_until
from support import APP, BIN, MAJOR, RQ, RedisTest, Tikkun

from tikkun_shim import boot


def has_module(name):
    return importlib.util.find_spec(name) is not None


class Commands(RedisTest):
    def boot(self, *command, environment=None, cwd=APP):
        """Starts a command, runs one job in it, and returns its HELLO."""
        tikkun = Tikkun(command, environment, cwd)
        try:
            hello = tikkun.hello()
            self.assertEqual(hello["pid"], tikkun.process.pid)
            child = tikkun.fork()
            attributes, payload, _ = child.run(self.make("jobs.plain_subprocess"))
            self.assertEqual(attributes["outcome"], "ok", child.errors())
            seen = self.loads(payload)
            self.assertNotIn("TIKKUN", seen)
            self.assertNotIn(SHIM + os.pathsep, seen)
            self.assertIn("False", seen)
            self.written = tikkun.written()
            # Nothing of a worker's bookkeeping is in Redis: Tikkun writes that.
            self.assertFalse(self.connection.exists("rq:workers"))
        finally:
            status = tikkun.close()
        self.assertEqual(status, 0)
        return hello

    def loads(self, payload):
        from rq.serializers import DefaultSerializer

        return DefaultSerializer.loads(payload)

    def refuse(self, *command, environment=None):
        tikkun = Tikkun(command, environment)
        try:
            return tikkun.refusal()
        finally:
            tikkun.close()

    def test_rq_worker(self):
        hello = self.boot(
            RQ, "worker", "-u", self.redis.url, "--name", "w", "--results-ttl", "77", "--worker-ttl", "99",
            "--max-jobs", "5", "--with-scheduler", "--exception-handler", "jobs.give_up", "high", "default",
        )  # fmt: skip
        self.assertEqual(hello["shim"], 1)
        self.assertEqual(hello["rq"], rq.VERSION)
        self.assertEqual(hello["kind"], "worker")
        self.assertEqual(hello["queues"], ["high", "default"])
        self.assertEqual((hello["name"], hello["slots"]), ("w", 1))
        self.assertEqual((hello["default_result_ttl"], hello["worker_ttl"]), (77, 99))
        self.assertEqual(hello["exception_handlers"], ["jobs.give_up"])
        self.assertEqual(hello["worker_class"].split(".")[-1], "Worker")
        self.assertEqual(hello["job_class"], "rq.job.Job")
        self.assertEqual(hello["serializer"], "rq.serializers.DefaultSerializer")
        self.assertEqual(hello["connection"]["kind"], "unix")
        self.assertEqual(hello["connection"]["path"], self.redis.path)
        self.assertEqual(hello["overrides"], [])
        self.assertEqual((hello["threads"], hello["connections"], hello["libraries"]), ([], [], {}))
        self.assertFalse(hello["horse_killed_handler"])
        self.assertEqual(hello["webhooks"], hasattr(rq.job.Job, "send_webhooks"))
        work = hello["work"]
        self.assertEqual((work["max_jobs"], work["with_scheduler"], work["burst"]), (5, True, False))
        self.assertEqual(work["dequeue_strategy"], "default")
        # RQ's own lines of the start, set up by RQ's own options.
        self.assertIn("Listening on", self.written)

    def test_rq_worker_with_settings(self):
        hello = self.boot(RQ, "worker", "-c", "settings", environment={"APP_REDIS": self.redis.url})
        self.assertEqual(hello["queues"], ["from-settings", "default"])

    def test_rq_worker_starts_at_the_memory_limit_of_redis_unless_suspended(self):
        self.connection.set("rq:suspended", 1)
        self.connection.config_set("maxmemory", 1)
        self.addCleanup(self.connection.config_set, "maxmemory", 0)
        command = (RQ, "worker", "-u", self.redis.url)
        tikkun = Tikkun(command)
        self.assertEqual(tikkun.process.wait(60), 1)
        self.assertIn("RQ is currently suspended", tikkun.written())
        tikkun.close()
        self.connection.delete("rq:suspended")
        tikkun = Tikkun(command)
        self.addCleanup(tikkun.close)
        self.assertEqual(tikkun.hello()["pid"], tikkun.process.pid)

    def test_python_m_rq(self):
        hello = self.boot(sys.executable, "-m", "rq.cli", "worker", "-u", self.redis.url, "--burst")
        self.assertTrue(hello["work"]["burst"])

    def test_rq_worker_pool(self):
        hello = self.boot(RQ, "worker-pool", "-u", self.redis.url, "-n", "3", "-b", "high", "default")
        self.assertEqual((hello["kind"], hello["slots"]), ("pool", 3))
        self.assertEqual(hello["queues"], ["high", "default"])
        self.assertTrue(hello["work"]["with_scheduler"])
        self.assertTrue(hello["work"]["burst"])

    def test_own_script(self):
        hello = self.boot(sys.executable, "worker.py", self.redis.url)
        self.assertEqual(hello["name"], "own")
        self.assertEqual((hello["work"]["burst"], hello["work"]["max_jobs"]), (True, 7))

    def test_own_script_with_simple_worker(self):
        hello = self.boot(sys.executable, "worker.py", self.redis.url, "SimpleWorker")
        self.assertEqual(hello["worker_class"].split(".")[-1], "SimpleWorker")

    def test_subclass_whose_work_calls_super(self):
        hello = self.boot(sys.executable, "worker.py", self.redis.url, "Announcing")
        self.assertEqual(hello["worker_class"], "__main__.Announcing")
        self.assertEqual(hello["overrides"], ["monitor_work_horse"])
        self.assertIn("before work", self.written)

    def test_round_robin_worker_is_a_strategy(self):
        hello = self.boot(sys.executable, "worker.py", self.redis.url, "RoundRobinWorker")
        self.assertEqual(hello["work"]["dequeue_strategy"], "round_robin")

    def test_django_rq(self):
        if not has_module("django_rq"):
            self.skipTest("this environment has no django-rq")
        environment = {"APP_REDIS": self.redis.url}
        hello = self.boot(sys.executable, "manage.py", "rqworker", "default", environment=environment)
        self.assertEqual(hello["queues"], ["default"])
        pool = ("rqworker-pool", "default", "--num-workers", "2")
        hello = self.boot(sys.executable, "manage.py", *pool, environment=environment)
        self.assertEqual(hello["slots"], 2)

    def test_django_in_a_warm_child(self):
        if not has_module("django_rq"):
            self.skipTest("this environment has no django-rq")
        tikkun = Tikkun([sys.executable, "manage.py", "rqworker", "default"], {"APP_REDIS": self.redis.url})
        tikkun.hello()
        child = tikkun.fork("warm")
        for _ in range(2):
            self.assertEqual(child.run(self.make("jobs.query"))[0]["outcome"], "ok")
            self.assertEqual(child.after(), "done")
        self.assertEqual(child.run(self.make("jobs.leave_transaction"))[0]["outcome"], "ok")
        self.assertEqual(child.after(), "dirty: database transaction")
        self.assertEqual(tikkun.close(), 0)

    def test_ddtrace_run(self):
        if not has_module("ddtrace"):
            self.skipTest("this environment has no ddtrace")
        environment = {"DD_TRACE_ENABLED": "false", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"}
        environment["PATH"] = BIN + os.pathsep + os.environ["PATH"]
        self.boot(
            os.path.join(BIN, "ddtrace-run"), RQ, "worker", "-u", self.redis.url, environment=environment
        )

    def test_wrapper_that_execs_and_wrapper_that_spawns(self):
        execs = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        self.boot(sys.executable, "-c", execs, "worker.py", self.redis.url)
        # An unrelated process comes and goes before the one that becomes the worker.
        spawns = (
            "import os, subprocess, sys; subprocess.check_call([sys.executable, '-c', 'import json']);"
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        self.boot(sys.executable, "-c", spawns, "worker.py", self.redis.url)

    def test_nested_sitecustomize_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sitecustomize.py"), "w") as file:
                file.write(
                    "import sys\nsys.the_teams_own = __file__\nprint('the team came first', flush=True)\n"
                )
            environment = {"PYTHONPATH": os.pathsep.join([folder, APP])}
            self.boot(sys.executable, "worker.py", self.redis.url, environment=environment)
            self.assertIn("the team came first", self.written)

    def test_failing_sitecustomize_of_the_team_stops_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sitecustomize.py"), "w") as file:
                file.write("raise RuntimeError('broken')\n")
            environment = {"PYTHONPATH": os.pathsep.join([folder, APP])}
            self.boot(sys.executable, "worker.py", self.redis.url, environment=environment)

    def test_two_processes_reach_work_and_one_takes_the_socket(self):
        code = "\n".join(
            (
                "import os, sys, redis, rq",
                "pid = os.fork()",
                "connection = redis.Redis.from_url(sys.argv[1])",
                "rq.Worker(['default'], connection=connection).work(burst=True)",
                # Only the one that runs under RQ comes here, and it says so before it ends.
                "os._exit(0)",
            )
        )
        tikkun = Tikkun([sys.executable, "-c", code, self.redis.url])
        try:
            hello = tikkun.hello()
            wait_until(lambda: "this one runs under RQ" in tikkun.written(), "the other worker's words")
            tikkun.fork()
        finally:
            tikkun.close()
        wait_until(lambda: is_gone(hello["pid"]), "the zygote to leave")

    def test_dropped_socket_is_an_error(self):
        spawns = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
        tikkun = Tikkun([sys.executable, "-c", spawns, "worker.py", self.redis.url])
        self.assertEqual(tikkun.process.wait(60), 2)
        self.assertIn("without its control socket", tikkun.written())
        tikkun.close()

    def test_dropped_socket_is_not_mistaken_for_one_with_its_number(self):
        worker = (
            "import socket, sys, runpy\n"
            "kept = [socket.socketpair() for _ in range(20)]\n"
            "sys.argv = sys.argv[1:]\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        spawns = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
        tikkun = Tikkun([sys.executable, "-c", spawns, "-c", worker, "worker.py", self.redis.url])
        self.assertEqual(tikkun.process.wait(60), 2)
        self.assertIn("without its control socket", tikkun.written())
        tikkun.close()

    def test_python_2_is_told_that_it_is_too_old_before_it_finds_rq(self):
        # It asks each finder for every module by this method, and for none by the other one.
        found = []
        finder = boot._Finder(found.append)
        for name in ("os", "rq", "rq.worker"):
            self.assertIsNone(finder.find_module(name))
        self.assertEqual([module.__name__ for module in found], ["rq.worker"])

    def test_without_tikkun_the_shim_does_nothing(self):
        code = "import sys; print('tikkun_shim' in sys.modules)"
        environment = {"PYTHONPATH": SHIM, "PATH": os.environ["PATH"]}
        self.assertEqual(
            subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip(), "False"
        )

    def test_refusals(self):
        script = (sys.executable, "worker.py", self.redis.url)
        self.assertIn("redis_worker_namespace_prefix", self.refuse(*script, "Renamed"))
        start = "import sys, redis, rq, rq.version, rq.worker\nc = redis.Redis.from_url(sys.argv[1])\n"
        work = "rq.Worker(q, connection=c).work()"
        for code, sentence in (
            ("q = []\n" + work, "no queues"),
            ("q = ['a']\nrq.version.VERSION = '1.15.1'\n" + work, "rq 1.15.1 is outside the range"),
            ("q = ['a']\nrq.version.VERSION = '4.0.0'\n" + work, "rq 4.0.0 is outside the range"),
            (
                "q = ['a']\nfrom threading import Thread\nt = Thread(target=lambda: " + work + ")\n"
                "t.start()\nt.join()",
                "main thread",
            ),
            (
                "from redis.sentinel import Sentinel\nq = ['a']\ns = Sentinel([('localhost', 1)])\n"
                "w = rq.Worker(q, connection=c)\nw.connection = s.master_for('m')\nw.work()",
                "Sentinel",
            ),
            (
                "o = redis.Redis.from_url(sys.argv[1], db=5)\n"
                "q = [rq.Queue('a', connection=c), rq.Queue('b', connection=redis.Redis(port=1))]\n" + work,
                "more than one Redis",
            ),
        ):
            with self.subTest(sentence):
                self.assertIn(sentence, self.refuse(sys.executable, "-c", start + code, self.redis.url))

    def test_prefix_from_the_environment_is_refused(self):
        if MAJOR < 3:
            self.skipTest("this RQ has no RQ_KEY_PREFIX")
        environment = {"RQ_KEY_PREFIX": "other"}
        sentence = self.refuse(sys.executable, "worker.py", self.redis.url, environment=environment)
        self.assertIn("keeps its keys elsewhere", sentence)

    def test_second_pool_runs_under_rq(self):
        code = "\n".join(
            (
                "import os, sys, redis, rq.worker_pool",
                "pid = os.fork()",
                "connection = redis.Redis.from_url(sys.argv[1])",
                "pool = rq.worker_pool.WorkerPool(['default'], connection=connection, num_workers=2)",
                "pool.start(burst=True)",
                "print('the pool has ended', flush=True)",
                "os._exit(0)",
            )
        )
        tikkun = Tikkun([sys.executable, "-c", code, self.redis.url])
        try:
            self.assertEqual(tikkun.hello()["slots"], 2)
            wait_until(lambda: "the pool has ended" in tikkun.written(), "the other pool's end")
        finally:
            tikkun.close()

    def test_changed_signature_is_refused_by_name(self):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.dirname(rq.__file__)
            shutil.copytree(source, os.path.join(folder, "rq"))
            path = os.path.join(folder, "rq", "worker.py")
            if not os.path.exists(path):
                path = os.path.join(folder, "rq", "worker", "base.py")
            with open(path) as file:
                text = file.read()
            changed = text.replace(
                "def prepare_job_execution(self, ", "def prepare_job_execution(self, more=0, "
            )
            changed = changed.replace("more=0, job: 'Job'", "more=0, job=None").replace(
                "more=0, job: Job", "more=0, job=None"
            )
            self.assertNotEqual(text, changed)
            with open(path, "w") as file:
                file.write(changed)
            environment = {"PYTHONPATH": os.pathsep.join([folder, APP])}
            sentence = self.refuse(sys.executable, "worker.py", self.redis.url, environment=environment)
            self.assertIn("prepare_job_execution", sentence)

    def test_import_error_of_the_application_is_shown(self):
        tikkun = Tikkun([sys.executable, "-c", "import rq, missing_module"])
        self.assertEqual(tikkun.process.wait(60), 1)
        self.assertIn("No module named 'missing_module'", tikkun.written())
        self.assertIsNone(tikkun.next())
        tikkun.close()
