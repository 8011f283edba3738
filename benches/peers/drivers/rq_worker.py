"""One RQ worker of the class that is named: Worker forks for each job, SimpleWorker does not. Quiet, else default."""
import logging
import os
import sys

import peers  # noqa: F401  (before the fork, as RQ's own notes on speed advise)
import redis
import rq

connection = redis.Redis.from_url(os.environ["REDIS_URL"])
logging.getLogger("rq").setLevel(logging.ERROR)
worker = getattr(rq, sys.argv[1])
worker([rq.Queue("bench", connection=connection)], connection=connection).work(logging_level="ERROR")
