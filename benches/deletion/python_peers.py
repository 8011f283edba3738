"""One deletion in Python, in a process of its own: reads what to do as JSON, answers with time and memory as JSON.

`orm` does what an application's job does that was written row by row. `sets` does the least that a deletion
can do in batches: it has no outbox, looks for no live receipt that shares an attachment, locks nothing, and
forgets its objects when it is killed.
"""
import datetime as dt
import json
import resource
import sys
import time

import boto3
import psycopg
from botocore.config import Config
from sqlalchemy import create_engine, select
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session


def bucket(order):
    """The client and the bucket's name; nothing when storage is left out."""
    s3 = order["s3"]
    if s3 is None:
        return None, None
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=16)
    client = boto3.client("s3", endpoint_url=s3["endpoint"], region_name="us-east-1", config=config,
                          aws_access_key_id=s3["key_id"], aws_secret_access_key=s3["secret"])
    # The server wants the older checksum, which this SDK does not send by itself.
    client.meta.events.register("before-sign.s3.DeleteObjects", content_md5)
    return client, s3["bucket"]


def content_md5(request, **_):
    import base64
    import hashlib
    body = request.body if isinstance(request.body, bytes) else request.body.encode()
    request.headers["Content-MD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()


def orm(order):
    client, name = bucket(order)
    engine = create_engine(order["url"].replace("postgresql:", "postgresql+psycopg:"))
    base = automap_base()
    base.prepare(engine)
    receipts, attachments, jobs = (base.classes[t] for t in ("receipts", "attachments", "background_jobs"))
    last, done = 0, 0
    with Session(engine) as session:
        while done < order["receipts"]:
            batch = session.scalars(
                select(receipts).where(receipts.business_id == order["tenant"], receipts.is_deleted.is_(False),
                                       receipts.id > last).order_by(receipts.id).limit(order["batch"])).all()
            if not batch:
                break
            linked = []
            for receipt in batch:
                receipt.is_deleted = True
                receipt.deleted_at = receipt.updated_at = dt.datetime.now()
                linked += filter(None, (receipt.attachment_id, receipt.preview_attachment_id))
            last, done = batch[-1].id, done + len(batch)
            job = session.get(jobs, order["job"])
            job.processed, job.succeeded, job.cursor = done, done, json.dumps({"last_id": last})
            job.heartbeat_at = dt.datetime.now()
            session.commit()
            for attachment_id in linked:
                attachment = session.get(attachments, attachment_id)
                if client:
                    client.delete_object(Bucket=name, Key=attachment.storage_path)
                session.delete(attachment)
                session.flush()
            session.commit()
            session.expunge_all()
    return done


MARK = """
    update receipts set is_deleted = true, deleted_at = now(), updated_at = now()
    where id in (select id from receipts where business_id = %s and is_deleted is not true and id > %s
                 order by id limit %s)
    returning id, attachment_id, preview_attachment_id"""
DROP = "delete from attachments where id = any(%s) returning storage_path"
COUNT = """
    update background_jobs set processed = processed + %s, succeeded = succeeded + %s, cursor = %s,
           heartbeat_at = now(), updated_at = now() where id = %s"""


def sets(order):
    client, name = bucket(order)
    last, done, keys = 0, 0, []

    def empty(at_least):
        while client and len(keys) >= at_least > 0:
            part = [{"Key": key} for key in keys[:1000]]
            answer = client.delete_objects(Bucket=name, Delete={"Objects": part, "Quiet": True})
            assert not answer.get("Errors"), answer["Errors"][:2]
            del keys[:1000]

    with psycopg.connect(order["url"]) as connection:
        while done < order["receipts"]:
            rows = connection.execute(MARK, (order["tenant"], last, order["batch"])).fetchall()
            if not rows:
                break
            last, done = max(row[0] for row in rows), done + len(rows)
            linked = [link for row in rows for link in row[1:] if link]
            dropped = connection.execute(DROP, (linked,)).fetchall()
            cursor = json.dumps({"last_id": last})
            connection.execute(COUNT, (len(rows), len(rows), cursor, order["job"]))
            connection.commit()
            if client:
                keys += [row[0] for row in dropped]
                empty(1000)
        empty(1)
    return done


def main():
    order = json.load(sys.stdin)
    began = time.monotonic()
    done = {"orm": orm, "sets": sets}[order["how"]](order)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"receipts": done, "seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main()
