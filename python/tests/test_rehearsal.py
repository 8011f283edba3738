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
from tikkun_shim import leaves

class Untouched:
    def __getattr__(self, name):
        print("asked for", name)
        raise AttributeError(name)

{before}
leaves.rehearse(types.SimpleNamespace(connection=Untouched(), serializer=DefaultSerializer))
print("_strptime" in sys.modules and len(sys.modules["_strptime"]._regex_cache))
"""


class Rehearsal(unittest.TestCase):
    def said(self, before=""):
        command = [sys.executable, "-c", WORDS.format(before=before), SHIM]
        return subprocess.check_output(command, text=True).splitlines()

    def test_format_of_dates_is_compiled_and_redis_is_not_asked(self):
        self.assertEqual(self.said(), ["1"])

    def test_application_that_changes_rqs_jobs_is_not_disturbed(self):
        self.assertEqual(self.said("Job.restore = None"), ["False"])


if __name__ == "__main__":
    unittest.main()
