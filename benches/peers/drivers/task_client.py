"""The client of Celery or dramatiq, which send one by one: task_client.py MODULE bulk|steady COUNT [PER_SECOND]."""
import importlib
import json
import sys
import time

send, what, count = importlib.import_module(sys.argv[1]).send, sys.argv[2], int(sys.argv[3])
began = time.monotonic()
for number in range(count):
    if what == "steady":
        time.sleep(max(0, began + (number + 1) / float(sys.argv[4]) - time.monotonic()))
    send(time.time_ns() if what == "steady" else 0)
print(json.dumps({"jobs": count, "seconds": time.monotonic() - began}))
