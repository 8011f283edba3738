"""A process that is started for each child forks none, and keeps what the application has."""

import os
import signal
import sys
import tempfile

from stand_in import is_gone, wait_until
from support import RedisTest, Tikkun

CODE = """
import sys, starts_thread, worker
worker.main(sys.argv[1])
"""


class Spawned(RedisTest):
    def boot(self, *command):
        command = command or (sys.executable, "-c", CODE, self.redis.url)
        tikkun = Tikkun(command, start="spawn")
        self.addCleanup(tikkun.close)
        return tikkun

    def test_the_process_itself_runs_one_job_with_its_threads(self):
        tikkun = self.boot()
        hello = tikkun.hello()
        self.assertNotIn("threads", hello)
        child = tikkun.adopt()
        self.assertEqual(hello["pid"], child.pid)
        self.assertEqual(os.getpgid(child.pid), child.pid)
        with open(f"/proc/{child.pid}/status") as file:
            self.assertIn("Threads:\t2", file.read())
        attributes, payload, _ = child.run(self.make("jobs.plain_subprocess"))
        self.assertEqual(attributes["outcome"], "ok", child.errors())
        self.assertNotIn(b"TIKKUN", payload)
        self.assertEqual(child.after(), "done")
        self.assertEqual(tikkun.process.wait(60), 0)
        self.assertFalse(self.connection.exists("rq:workers"))

    def test_warm_process_runs_many_jobs_and_leaves_at_its_limit(self):
        tikkun = self.boot()
        tikkun.hello()
        child = tikkun.adopt("warm", {"jobs": 3})
        said = []
        for number in range(3):
            self.assertEqual(child.run(self.make("jobs.talk", f"<{number}>"))[0]["outcome"], "ok")
            said.append(child.after())
        self.assertEqual(said, ["done", "done", "jobs"])
        self.assertEqual(tikkun.process.wait(60), 0)
        self.assertIn("said <2>", child.stdout.all())
        self.assertNotIn("said", tikkun.written())

    def test_it_leaves_when_its_socket_closes_before_it_is_asked(self):
        tikkun = self.boot()
        tikkun.hello()
        tikkun.sock.close()
        self.assertEqual(tikkun.process.wait(60), 0)

    def test_lifeline_takes_it_whatever_it_does(self):
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "fifo")
            os.mkfifo(fifo)
            booting = self.boot(sys.executable, "-c", "import sys\nopen(sys.argv[1]).read()", fifo)
            with open(fifo, "w"):
                # It has begun to boot, and would go on for as long as nobody closes this.
                waiting, busy = self.boot(), self.boot()
                for tikkun in (waiting, busy):
                    tikkun.hello()
                child = busy.adopt()
                child.start(self.make("jobs.busy_with_subprocess"))
                pids = [int(pid) for pid in child.stdout.line("pids").split()[1:]]
                pids += [tikkun.process.pid for tikkun in (booting, waiting)]
                for tikkun in (booting, waiting, busy):
                    tikkun.die()
                for pid in pids:
                    wait_until(lambda pid=pid: is_gone(pid), f"process {pid} to be killed", seconds=1)
                self.assertEqual(booting.process.wait(60), -signal.SIGKILL)
