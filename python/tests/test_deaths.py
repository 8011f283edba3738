"""What happens when a job, the zygote or Tikkun dies."""

import os
import signal
import sys
import tempfile

from stand_in import is_gone, wait_until
from support import RedisTest, ShimTest, Tikkun

from tikkun_shim import frames


class Deaths(ShimTest):
    def died(self, function, *args):
        """Runs a job that takes its process with it. Returns the wait status and what stood on stderr."""
        child = self.tikkun.fork()
        child.start(self.make(function, *args))
        self.assertIsNone(self.last_frame(child), "a dead job has no RESULT")
        return self.tikkun.exit_of(child)[0], child.errors()

    def last_frame(self, child):
        while True:
            frame = child.next("the child's end")
            if frame is None or frame[1][0] != b"running":
                return frame

    def test_segfault(self):
        status, errors = self.died("jobs.segfault")
        self.assertTrue(os.WIFSIGNALED(status))
        self.assertEqual(os.WTERMSIG(status), signal.SIGSEGV)
        self.assertIn("in segfault", errors)

    def test_os_exit(self):
        self.assertEqual(os.WEXITSTATUS(self.died("jobs.leave_at_once", 3)[0]), 3)

    def test_use_of_resources_is_reported(self):
        child = self.tikkun.fork()
        child.run(self.make("jobs.nothing"))
        _, used = self.tikkun.exit_of(child)
        self.assertGreater(used["maxrss"], 1000)
        self.assertGreaterEqual(used["utime"] + used["stime"], 0)

    def test_a_dead_child_leaves_its_neighbours_alone(self):
        neighbour = self.tikkun.fork("warm")
        self.died("jobs.segfault")
        self.assertEqual(neighbour.run(self.make("jobs.nothing"))[0]["outcome"], "ok")

    def test_stack_is_written_on_request_while_a_job_hangs(self):
        child = self.tikkun.fork()
        child.start(self.make("jobs.wait_in_c"))
        child.stdout.line("waiting")
        os.kill(child.pid, signal.SIGUSR1)
        child.stderr.line("in wait_in_c")
        os.kill(child.pid, signal.SIGKILL)
        self.assertEqual(self.tikkun.exit_of(child)[0], signal.SIGKILL)

    def test_interrupt_is_ignored_and_term_ends(self):
        child = self.tikkun.fork()
        child.start(self.make("jobs.wait_in_c"))
        child.stdout.line("waiting")
        os.kill(child.pid, signal.SIGINT)
        os.kill(self.tikkun.process.pid, signal.SIGINT)
        os.kill(child.pid, signal.SIGTERM)
        self.assertEqual(self.tikkun.exit_of(child)[0], signal.SIGTERM)

    def test_requests_that_come_at_once_keep_their_fds_apart(self):
        asked = [self.tikkun.ask_for_fork() for _ in range(6)]
        children = [self.tikkun.forked(one) for one in asked]
        for number, child in enumerate(children):
            child.run(self.make("jobs.talk", f"<{number}>"))
        for number, child in enumerate(children):
            self.assertEqual(self.tikkun.exit_of(child)[0], 0)
            self.assertIn(f"said <{number}>", child.stdout.all())
            self.assertIn(f"complained <{number}>", child.stderr.all())

    def test_child_leads_a_group_of_its_own(self):
        child = self.tikkun.fork()
        self.assertEqual(os.getpgid(child.pid), child.pid)
        child.sock.close()
        self.tikkun.exit_of(child)


class Heroku(ShimTest):
    worker = ("Imminent",)

    def test_shutdown_that_is_imminent_is_raised_in_the_job(self):
        for mode in ("job", "warm"):
            with self.subTest(mode):
                child = self.tikkun.fork(mode)
                child.start(self.make("jobs.sleep_aloud"))
                child.stdout.line("sleeping")
                os.kill(child.pid, signal.SIGTERM)
                os.kill(child.pid, signal.SIGRTMIN)
                attributes, _, exc_string = child.result()
                self.assertEqual(attributes["outcome"], "failed")
                self.assertIn("ShutDownImminentException", exc_string)
                self.assertEqual(child.after(), "done")


class EndOfTikkun(RedisTest):
    def start_one(self):
        tikkun = Tikkun([sys.executable, "worker.py", self.redis.url])
        tikkun.hello()
        return tikkun

    def test_lifeline_takes_busy_jobs_and_their_subprocesses_within_a_second(self):
        tikkun = self.start_one()
        pids = []
        for mode in ("job", "warm", "job"):
            child = tikkun.fork(mode)
            child.start(self.make("jobs.busy_with_subprocess"))
            pids += map(int, child.stdout.line("pids").split()[1:])
        idle = tikkun.fork("warm")
        pids.append(idle.pid)
        tikkun.die()
        for pid in pids:
            wait_until(lambda pid=pid: is_gone(pid), f"process {pid} to be killed", seconds=1)
        tikkun.close()

    def test_lifeline_takes_a_command_that_boots_and_leaves_a_booted_zygote_its_own_end(self):
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "fifo")
            os.mkfifo(fifo)
            booting = Tikkun([sys.executable, "-c", "import sys\nopen(sys.argv[1]).read()", fifo])
            with open(fifo, "w"):
                # It has begun to boot, and would go on for as long as nobody closes this.
                booted = self.start_one()
                for tikkun in (booting, booted):
                    tikkun.die()
                pid = booting.process.pid
                wait_until(lambda: is_gone(pid), "the booting command to be killed", seconds=1)
                self.assertEqual(booting.process.wait(60), -signal.SIGKILL)
                self.assertEqual(booted.close(), 0, "it leaves as its program wants")
            booting.close()

    def test_fork_that_is_refused_is_told_and_the_next_one_works(self):
        with tempfile.NamedTemporaryFile() as full:
            tikkun = Tikkun([sys.executable, "refused_fork.py", full.name, self.redis.url])
            tikkun.hello()
            asked = tikkun.ask_for_fork()
            kind, fields = tikkun.take("UNFORKED")
            self.assertEqual((kind, fields[0]), (frames.UNFORKED, str(asked[0]).encode()))
            self.assertIn("Resource temporarily unavailable", frames.text(fields[1]))
            self.assertEqual(asked[1].recv(1), b"", "nobody holds the other end of its socket")
            for fd in asked[2:]:
                os.close(fd)
        child = tikkun.fork()
        child.run(self.make("jobs.nothing"))
        self.assertEqual(tikkun.exit_of(child)[0], 0)
        self.assertEqual(tikkun.close(), 0)

    def test_zygote_is_killed_while_a_job_runs(self):
        tikkun = self.start_one()
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "fifo")
            os.mkfifo(fifo)
            child = tikkun.fork()
            child.start(self.make("jobs.read_fifo", fifo))
            child.stdout.line("reading")
            os.kill(tikkun.process.pid, signal.SIGKILL)
            self.assertIsNone(tikkun.next("the zygote's end"))
            with open(fifo, "w") as file:
                file.write("goes on")
            self.assertEqual(child.result()[0]["outcome"], "ok")
            self.assertEqual(child.after(), "done")
            self.assertEqual(tikkun.close(), -signal.SIGKILL)

    def test_zygote_leaves_at_the_end_of_its_socket_and_running_jobs_stay(self):
        tikkun = self.start_one()
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "fifo")
            os.mkfifo(fifo)
            child = tikkun.fork()
            child.start(self.make("jobs.read_fifo", fifo))
            child.stdout.line("reading")
            tikkun.sock.close()
            self.assertEqual(tikkun.process.wait(60), 0)
            with open(fifo, "w") as file:
                file.write("goes on")
            self.assertEqual(child.result()[0]["outcome"], "ok")
            tikkun.close()
