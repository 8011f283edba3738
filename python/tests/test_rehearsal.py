"""What is done once, before there is a job."""

import subprocess
import sys
import unittest

from stand_in import SHIM

WORDS = """
import sys, types
sys.path.insert(0, sys.argv[1])
from rq.job import Job
from rq.serializers import DefaultSerializer
from tikkun_shim import rehearsal

class Untouched:
    def __getattr__(self, name):
        print("asked for", name)
        raise AttributeError(name)

{before}
rehearsal.read_one(types.SimpleNamespace(connection=Untouched(), serializer=DefaultSerializer))
print("_strptime" in sys.modules and len(sys.modules["_strptime"]._regex_cache))
"""


WHOLE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import redis, rq, rq.worker
from rq.job import Job
from tikkun_shim import child, leaves, rehearsal, shortcuts
from tikkun_shim.way import Way

class Away(redis.Redis):
    def execute_command(self, *words, **options):
        if words[0] not in ("CLIENT SETNAME", "CLIENT INFO", "CLIENT LIST", "INFO"):
            print("asked for", words[0])
        return [] if words[0] == "CLIENT LIST" else {{"addr": "here", "redis_version": "7.0.0"}}

connection = Away()
worker = rq.Worker([rq.Queue("low", connection=connection)], connection=connection)
{before}
way = Way(worker)
leaves.replace(type(worker), connection)
shortcuts.install()
facts = lambda: (dict(vars(worker)), dict(os.environ), signal.getsignal(signal.SIGALRM))
was = facts()
actor = child.Child(rehearsal.Nobody(), False, {{}}, worker, way)
print(rehearsal.run_some(actor, worker, way), facts() == was, signal.getitimer(signal.ITIMER_REAL))
"""

OWN_WORKER = """
class Own(rq.Worker):
    def perform_job(self, *args):
        print("disturbed")

worker.__class__ = Own
"""


class Rehearsal(unittest.TestCase):
    def said(self, before="", words=WORDS):
        command = [sys.executable, "-c", words.format(before=before), SHIM]
        return subprocess.check_output(command, text=True).splitlines()

    def test_format_of_dates_is_compiled_and_redis_is_not_asked(self):
        self.assertEqual(self.said(), ["1"])

    def test_application_that_changes_rqs_jobs_is_not_disturbed(self):
        self.assertEqual(self.said("Job.restore = None"), ["False"])

    def test_whole_jobs_are_run_and_leave_nothing_behind(self):
        self.assertEqual(self.said(words=WHOLE), ["20 True (0.0, 0.0)"])

    def test_nothing_but_rqs_own_code_is_run(self):
        self.assertEqual(self.said(OWN_WORKER, WHOLE), ["0 True (0.0, 0.0)"])
        handler = (
            "worker.push_exc_handler(lambda *_: print('disturbed'))\nrq.worker.Worker.perform_job = None"
        )
        self.assertEqual(self.said(handler, WHOLE)[-1], "0 True (0.0, 0.0)")


if __name__ == "__main__":
    unittest.main()
