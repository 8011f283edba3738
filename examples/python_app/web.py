"""The shop's web process: a page that enqueues jobs with RQ and shows what becomes of them."""

import os
from datetime import timedelta

from flask import Flask, abort, render_template
from redis import Redis
from rq import Queue, Retry
from rq.job import Job

import jobs

app = Flask(__name__)
redis = Redis.from_url(os.environ.get("RQ_REDIS_URL", "redis://localhost:6379"))
high, default = Queue("high", connection=redis), Queue("default", connection=redis)

# What the page offers: its name, the promise next to its button, and what a press does.
OFFERS = {
    "receipt": ("ends well at once", lambda: default.enqueue(jobs.send_receipt, 27)),
    "card": (
        "fails, is tried again after 1 and 2 seconds, and fails for good",
        lambda: high.enqueue(jobs.charge_card, 27, retry=Retry(max=2, interval=[1, 2])),
    ),
    "import": ("shows how far it is", lambda: default.enqueue(jobs.import_products, 50)),
    "reminder": ("runs 3 seconds later", lambda: default.enqueue_in(timedelta(seconds=3), jobs.remind, 27)),
}
SHOWN = "shop:jobs"


@app.get("/")
def page():
    return render_template("page.html", offers={name: promise for name, (promise, _) in OFFERS.items()})


@app.post("/jobs/<name>")
def enqueue(name):
    if name not in OFFERS:
        abort(404)
    _, press = OFFERS[name]
    job = press()
    redis.lpush(SHOWN, job.id)
    redis.ltrim(SHOWN, 0, 19)
    return {"id": job.id}, 202


@app.get("/jobs")
def listed():
    ids = [id.decode() for id in redis.lrange(SHOWN, 0, -1)]
    return [state(job) for job in Job.fetch_many(ids, connection=redis) if job]


def state(job):
    # One for each time that it has run to an end, the latest first.
    results = job.results()
    latest = results[0] if results else None
    progress = job.get_meta(refresh=False).get("progress")
    return {
        "id": job.id,
        "function": job.func_name,
        "status": job.get_status(refresh=False).value,
        "runs": len(results),
        "progress": progress["done"] / progress["total"] if progress else None,
        "waited": (job.started_at - job.created_at).total_seconds() if job.started_at else None,
        "result": latest.return_value if latest else None,
        "error": latest.exc_string.splitlines()[-1] if latest and latest.exc_string else None,
    }
