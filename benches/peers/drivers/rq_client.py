"""RQ's own client: rq_client.py FUNCTION single|bulk|steady COUNT [PER_SECOND]."""
import json
import os
import sys
import time

import redis
import rq

CHUNK = 500
function, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
queue = rq.Queue("bench", connection=redis.Redis.from_url(os.environ["REDIS_URL"]))
queue.count
began = time.monotonic()
if what == "single":
    for _ in range(count):
        queue.enqueue(function, 0)
elif what == "bulk":
    for first in range(0, count, CHUNK):
        queue.enqueue_many([rq.Queue.prepare_data(function, (0,)) for _ in range(min(CHUNK, count - first))])
else:
    for number in range(count):
        time.sleep(max(0, began + (number + 1) / float(sys.argv[4]) - time.monotonic()))
        queue.enqueue(function, time.time_ns())
print(json.dumps({"jobs": count, "seconds": time.monotonic() - began}))
