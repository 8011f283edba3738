"""What the options of a worker's command name, and jobs that show that it is used."""

import sys
import time

from rq import Worker, get_current_job
from rq.job import Job


class LoudJob(Job):
    def perform(self):
        return ["loud", super().perform()]


class TidyWorker(Worker):
    """Tidies up after each job, and gives another one a second to come in between."""

    def perform_job(self, job, *args, **kwargs):
        done = super().perform_job(job, *args, **kwargs)
        marks, patience = self.connection.llen("marks"), time.monotonic() + 1
        while self.connection.llen("marks") == marks and time.monotonic() < patience:
            time.sleep(0.01)
        self.connection.rpush("marks", "tidied up")
        return done


def note_failure(job, kind, value, traceback):
    job.connection.set("handled:" + job.id, kind.__name__)


def note_failure_late(job, kind, value, traceback):
    time.sleep(1)
    note_failure(job, kind, value, traceback)


def whoami():
    """The worker as RQ's readers see it."""
    return get_current_job().worker_name


def mark(name):
    """Says which job ran when."""
    get_current_job().connection.rpush("marks", name)


def count_users():
    """A query to the project's database."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select 40 + 2")
        return cursor.fetchone()[0]


def speak():
    print("to stdout: %d ✓")
    sys.stderr.write("to stderr: {}\n")


def version():
    """What the code on the disk said when this process imported it."""
    import changing

    return changing.VERSION


def wait_for(key):
    """Runs until somebody sets the key."""
    connection = get_current_job().connection
    connection.set("began", get_current_job().id)
    deadline = time.monotonic() + 120
    while not connection.exists(key) and time.monotonic() < deadline:
        time.sleep(0.01)
    return "seen"
