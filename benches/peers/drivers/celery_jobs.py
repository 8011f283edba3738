"""The job as a task of Celery, whose result is kept in Redis."""
import os

import celery
import peers

app = celery.Celery("bench", broker=os.environ["REDIS_URL"], backend=os.environ["BENCH_RESULTS"])
noop = app.task(peers.noop)
send = noop.delay
