"""One RQ worker: rq_worker.py Worker|SimpleWorker [MODULE]. Worker forks for each job. Quiet, else default."""
import importlib
import logging
import os
import sys

import peers  # noqa: F401  (before the fork, as RQ's own notes on speed advise)
import redis
import rq

for module in sys.argv[2:]:
    importlib.import_module(module)
connection = redis.Redis.from_url(os.environ["REDIS_URL"])
logging.getLogger("rq").setLevel(logging.ERROR)
worker = getattr(rq, sys.argv[1])
worker([rq.Queue("bench", connection=connection)], connection=connection).work(logging_level="ERROR")
