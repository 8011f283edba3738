"""Asks rq-dashboard for every page, without a server: ``dashboard.py REDIS_URL QUEUE JOB_ID…``.

Prints one JSON object: for each page its status and, of the pages that are data, what they say.
"""
import json
import os
import sys
import warnings

warnings.simplefilter('ignore')
REGISTRIES = ('queued', 'started', 'finished', 'failed', 'deferred', 'scheduled', 'canceled')


def pages(queue, jobs):
    for name in ('queues', 'workers'):
        yield f'/0/view/{name}'
        yield f'/0/data/{name}.json'
    for registry in REGISTRIES:
        yield f'/0/view/jobs/{queue}/{registry}/50/desc/1'
        yield f'/0/data/jobs/{queue}/{registry}/50/desc/1.json'
    for job in jobs:
        yield f'/0/view/job/{job}'
        yield f'/0/data/job/{job}.json'


def main(url, queue, *jobs):
    os.environ['RQ_DASHBOARD_REDIS_URL'] = url
    from rq_dashboard.cli import make_flask_app
    from rq_dashboard.web import setup_rq_connection

    app = make_flask_app(None, None, None, '')
    app.config['RQ_DASHBOARD_REDIS_URL'] = url
    setup_rq_connection(app)
    client, found = app.test_client(), {}
    for page in pages(queue, jobs):
        answer = client.get(page, follow_redirects=True)
        found[page] = {'status': answer.status_code, 'data': answer.get_json(silent=True)}
    print(json.dumps(found))


if __name__ == '__main__':
    main(*sys.argv[1:])
