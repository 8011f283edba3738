"""Functions of a Python application, as its jobs call them."""

import ctypes
import os
import random
import signal
import sys
import time

from rq import get_current_job


def add(a, b):
    print("adding", a, b)
    return a + b


def fail(words):
    try:
        raise KeyError("cause")
    except KeyError as cause:
        raise ValueError(words) from cause


def who():
    """The process, its parent, and what RQ says of the job that runs."""
    job = get_current_job()
    return [os.getpid(), os.getppid(), job.id, job.origin, os.environ["RQ_JOB_ID"]]


def subprocess_environment():
    """The variables of a program that a job starts."""
    import subprocess

    text = "import os, sys; print([name for name in os.environ if 'TIKKUN_FD' in name or 'LIFELINE' in name], 'tikkun_shim' in sys.modules)"
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout.strip()


def remember():
    job = get_current_job()
    job.meta["step"] = "done"
    job.save_meta()
    return job.get_status()


def with_progress(flag):
    """Saves how far it is, and waits for a file."""
    job = get_current_job()
    for progress in (0.25, {"done": 3, "total": 4}):
        job.meta["progress"] = progress
        job.save_meta()
    print("three of four", flush=True)
    while not os.path.exists(flag):
        time.sleep(0.02)


def follows(redis_key):
    """Prints each word that somebody pushes, with progress; the last one is `fail`."""
    job = get_current_job()
    for number in range(1, 5):
        word = job.connection.blpop(redis_key, timeout=60)[1].decode()
        print("heard", word, flush=True)
        job.meta["progress"] = number / 4
        job.save_meta()
        if word == "fail":
            raise ValueError("no <b>luck</b> at %s" % word)


def leave_a_mark():
    """Takes a moment, and says at its end that it has run."""
    job = get_current_job()
    time.sleep(random.random() / 4)
    job.connection.rpush("marks", job.id)


def keeps_on(folder, result="there"):
    """Notes the process of each of its runs, and waits for a file."""
    with open(os.path.join(folder, "runs"), "a") as file:
        file.write("%d\n" % os.getpid())
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.02)
    return result


def keeps_on_and_fails_at_first(folder):
    """The same, and its first run fails."""
    keeps_on(folder)
    with open(os.path.join(folder, "runs")) as file:
        if len(file.readlines()) == 1:
            raise ValueError("not yet")


def needs_three_runs():
    """Fails until it has been begun three times."""
    job = get_current_job()
    if job.connection.incr("begun:" + job.id) < 3:
        raise ValueError("not yet")
    job.connection.rpush("marks", job.id)


def fail_with_a_mark():
    job = get_current_job()
    job.connection.rpush("marks", job.id)
    raise ValueError("no luck")


def unserializable():
    return lambda: None


def nap(seconds, ballast=b""):
    time.sleep(seconds)
    return "rested"


def crash():
    ctypes.string_at(0)


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def stubborn():
    """Does not let RQ's alarm through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    while True:
        pass


def chatter(lines):
    for number in range(lines):
        print("line", number)
    sys.stderr.write("and an error line\n")


def again():
    from rq import Retry

    return Retry(max=1)


async def coroutine(value):
    return value * 2


class Basket:
    def __init__(self, size):
        self.size = size

    def double(self):
        return self.size * 2


def succeeded(job, connection, result, *args, **kwargs):
    connection.set("called:" + job.id, "success %s" % result)


def failed(job, connection, kind, value, traceback):
    connection.set("called:" + job.id, "failure %s" % kind.__name__)


def stopped(job, connection):
    connection.set("called:" + job.id, "stopped")


def horse_killed(job, pid, status, usage):
    job.connection.set("called:" + job.id, "killed by %d" % os.WTERMSIG(status))
