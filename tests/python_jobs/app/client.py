"""Enqueues jobs and looks at them, as the application does: one JSON command for each line, one answer for each."""

import json
import os
import sys
from datetime import timedelta

from redis import Redis
from rq import Queue, Retry, Worker
from rq.command import send_stop_job_command
from rq.job import Job

import shop

connection = Redis(unix_socket_path=sys.argv[1])


def enqueue(queue, function, args=(), retries=None, callbacks=False, due=False, serializer=None, ballast=0, **options):
    if callbacks:
        from rq import Callback

        options.update(on_success=Callback(shop.succeeded), on_failure=Callback(shop.failed), on_stopped=Callback(shop.stopped))
    if "webhooks" in options:
        from rq import Webhook

        options["webhooks"] = [Webhook.from_dict(webhook) for webhook in options["webhooks"]]
    if ballast:
        args = (*args, os.urandom(ballast))
    if retries is not None:
        options["retry"] = Retry(max=retries)
    if function == "basket":
        called = shop.Basket(*args).double
        args = ()
    else:
        called = function if "." in function else "shop." + function
    queue = Queue(queue, connection=connection, serializer=serializer)
    if due:
        return queue.enqueue_in(timedelta(), called, *args).id
    return queue.enqueue_call(called, args=tuple(args), **options).id


def look(id, serializer=None):
    job = Job.fetch(id, connection=connection, serializer=serializer)
    # The status first: what is read after it is of that moment or later.
    status = str(getattr(job.get_status(), "value", job.get_status()))
    job.refresh()
    latest = job.latest_result()
    return {
        "status": status,
        "result": repr(job.return_value()) if latest else None,
        "error": latest.exc_string if latest else None,
        "meta": job.meta,
        "called": (connection.get("called:" + id) or b"").decode(),
        "results": [str(result.type.name) for result in job.results()],
    }


def workers():
    return sorted(worker.name for worker in Worker.all(connection=connection))


def stop(id):
    send_stop_job_command(connection, id)


for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = {"enqueue": enqueue, "look": look, "stop": stop, "workers": workers}[command.pop("do")](**command)
        print(json.dumps({"answer": answer}), flush=True)
    except Exception as error:
        print(json.dumps({"error": repr(error)}), flush=True)
