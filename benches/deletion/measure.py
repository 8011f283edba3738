"""Measures all cases in turn, round by round, and writes medians and ratios into docs/performance.md."""
import argparse
import json
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import psycopg

from servers import S3, Postgres

TENANT = 1
HERE = pathlib.Path(__file__).resolve().parent
REPORT = HERE.parent.parent / "docs/performance.md"
MARKS = ("<!-- measured: begin -->", "<!-- measured: end -->")
SECRET = "bench-bench-bench-bench-bench-bench"
PATIENCE = 1800

# Every so many receipts one is the tenant's; nine of ten have two attachments: 1.8 objects each.
EVERY = 5
SEED = """
    insert into attachments (id, business_id, filename_original, mime_type, file_size, storage_path, purpose)
    select 2 * g + k, t, 'scan.jpg', 'image/jpeg', 65536,
           t || '/' || p || '/2026/01/' || 2 * g + k || '.jpg', p
    from generate_series(1, {rows}) g
    cross join lateral (select case when g % {every} = 0 then {tenant} else 100 + g % 97 end t) tenant
    cross join lateral (values (0, 'receipt_source'), (1, 'receipt_preview')) kind (k, p)
    where g / {every} % 10 < 9;
    insert into receipts (id, business_id, source, vendor_name, amount, currency, status, attachment_id,
                          preview_attachment_id, is_deleted, created_at)
    select g, case when g % {every} = 0 then {tenant} else 100 + g % 97 end, 'gmail', 'Vendor ' || g % 1000,
           g % 10000 / 100.0, 'EUR', 'processed', case when g / {every} % 10 < 9 then 2 * g end,
           case when g / {every} % 10 < 9 then 2 * g + 1 end, false, '2026-01-01'
    from generate_series(1, {rows}) g;
"""


# From this size on, to what takes the time.
TUNED = "from 50"
TARGET_TIME = "50ms"


class Case:
    def __init__(self, name, how, batch, storage):
        self.name, self.how, self.batch, self.storage = name, how, batch, storage


CASES = [
    Case("row by row with an ORM, one request for each object", "orm", 50, True),
    Case("row by row with an ORM", "orm", 50, False),
    Case("sets in Python, then 1,000 objects a request", "sets", 50, True),
    Case("`tikkun serve`", "tikkun", 50, True),
    Case("sets in Python, then 1,000 objects a request", "sets", 500, True),
    Case("`tikkun serve`", "tikkun", 500, True),
    Case("`tikkun serve`, batches that tune themselves", "tikkun", TUNED, True),
    Case("sets in Python", "sets", 50, False),
    Case("`tikkun serve`", "tikkun", 50, False),
    Case("sets in Python", "sets", 500, False),
    Case("`tikkun serve`", "tikkun", 500, False),
    Case("`tikkun serve`, batches that tune themselves", "tikkun", TUNED, False),
]


class Ground:
    """The servers, and a fresh copy of the seeded database for each run."""

    every = EVERY

    def __init__(self, options):
        self.programs, self.receipts, self.rowwise = options.programs, options.receipts, options.row_by_row
        self.prepared = not options.unprepared
        self.postgres = Postgres()
        self.s3 = S3(options.programs / "examples/bench_s3") if not options.left_out else None
        self.runs = 0
        self.postgres.run("postgres", "create database seed")
        subprocess.run([self.programs / "tikkun", "migrate", "--with-application-tables"], check=True,
                       env=self.environment("seed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        every = self.every
        seed = SEED.format(rows=every * self.receipts + every - 1, tenant=TENANT, every=every)
        self.postgres.run("seed", seed, "vacuum analyze")
        self.keys = [row[0] for row in self.postgres.run(
            "seed", f"select storage_path from attachments where business_id = {TENANT}")]

    def close(self):
        if self.s3:
            self.s3.close()
        self.postgres.close()

    def environment(self, database):
        return {"PATH": os.environ["PATH"], "DATABASE_URL": self.postgres.url(database), "LOG_LEVEL": "INFO",
                "INTERNAL_SECRET": SECRET}

    def run(self, case):
        self.runs += 1
        database = f"run_{self.runs}"
        self.postgres.run("postgres", f"create database {database} template seed strategy file_copy", "checkpoint")
        wanted = self.receipts if case.how != "orm" else min(self.rowwise, self.receipts)
        if case.storage:
            self.s3.fill(self.keys)
        before, full = self.s3.count() if self.s3 else (0, 0)
        try:
            found = (self.tikkun if case.how == "tikkun" else self.python)(case, database, wanted)
            after, left = self.s3.count() if self.s3 else (0, 0)
            self.check(case, database, wanted, full - left)
        finally:
            self.postgres.run("postgres", f"drop database {database} with (force)")
        return dict(found, rate=wanted / found["seconds"], requests=after - before, receipts=wanted)

    def check(self, case, database, wanted, objects):
        """What had to go is gone, and nothing else."""
        [(deleted, others)] = self.postgres.run(database, f"""
            select count(*) filter (where is_deleted and business_id = {TENANT}),
                   count(*) filter (where is_deleted and business_id <> {TENANT}) from receipts""")
        [(attachments,)] = self.postgres.run(
            database, f"select count(*) from attachments where business_id = {TENANT}")
        gone = len(self.keys) - attachments
        assert (deleted, others) == (wanted, 0), (deleted, others)
        assert case.how == "orm" or attachments == 0, attachments
        assert objects == (gone if case.storage else 0), (objects, gone)

    def python(self, case, database, wanted):
        [(job,)] = self.postgres.run(database, f"""
            insert into background_jobs (business_id, job_type, status, total)
            values ({TENANT}, 'delete_receipts_all', 'running', {wanted}) returning id""")
        s3 = {"endpoint": self.s3.endpoint, "bucket": self.s3.bucket, "key_id": self.s3.key_id,
              "secret": self.s3.secret} if case.storage else None
        order = {"how": case.how, "batch": case.batch, "url": self.postgres.url(database), "tenant": TENANT,
                 "job": job, "receipts": wanted, "s3": s3}
        done = subprocess.run([sys.executable, HERE / "python_peers.py"], input=json.dumps(order), text=True,
                              stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
        return json.loads(done.stdout)

    def tikkun(self, case, database, wanted):
        settings = {"deletion.batch": 50 if case.batch == TUNED else case.batch,
                    "deletion.target_time": TARGET_TIME if case.batch == TUNED else "never", "deletion.throttle": "0s", "deletion.runtime_limit": "29m",
                    "deletion.storage_delete": str(case.storage).lower(),
                    "store.prepared_statements": str(self.prepared).lower()}
        if self.s3:
            settings |= {"attachments.driver": "s3", "attachments.s3_path_style": "true",
                         "attachments.s3_endpoint": self.s3.endpoint, "attachments.s3_region": "us-east-1",
                         "attachments.s3_bucket": self.s3.bucket, "attachments.s3_access_key_id": self.s3.key_id,
                         "attachments.s3_secret_access_key": self.s3.secret}
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        with tempfile.TemporaryDirectory() as data, open(pathlib.Path(data) / "log", "w+") as log:
            words += ["--data", data, "--port", "0", "--queues", "maintenance"]
            service = subprocess.Popen([self.programs / "tikkun", "serve", *words], stdout=log, stderr=log,
                                       env=self.environment(database))
            try:
                base = wait(lambda: listening(log.name, service), "the window")
                wait(lambda: ready(base), "readiness")
                with psycopg.connect(self.postgres.url(database), autocommit=True) as connection:
                    began = time.monotonic()
                    request_deletion(base)
                    wait(lambda: self.ended(connection), "the end of the deletion")
                    seconds = time.monotonic() - began
                status = pathlib.Path(f"/proc/{service.pid}/status").read_text()
                peak = 1024 * int(re.search(r"VmHWM:\s*(\d+)", status).group(1))
            finally:
                service.send_signal(signal.SIGTERM)
                service.wait(60)
        return {"seconds": seconds, "peak": peak}

    def ended(self, connection):
        status, error = connection.execute("select status, last_error from background_jobs").fetchone()
        assert status in ("queued", "running", "completed"), (status, error)
        return status == "completed"


def wait(look, what):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise SystemExit(f"waited {PATIENCE} s for {what}")


def listening(log, service):
    text = pathlib.Path(log).read_text()
    if service.poll() is not None:
        raise SystemExit(f"the service ended:\n{text}")
    found = re.search(r"http://127\.0\.0\.1:(\d+)", text) or re.search(r"\b127\.0\.0\.1:(\d+)", text)
    return found and f"http://127.0.0.1:{found.group(1)}"


def ready(base):
    try:
        return urllib.request.urlopen(f"{base}/readyz", timeout=5).status == 200
    except OSError:
        return False


def request_deletion(base):
    headers = {"X-Internal-Secret": SECRET, "X-Business-Id": str(TENANT), "X-User-Id": "1", "X-User-Role": "owner"}
    request = urllib.request.Request(f"{base}/api/receipts/delete_all", method="POST", headers=headers)
    assert urllib.request.urlopen(request, timeout=30).status == 202


def table(rounds, cases):
    """Medians, and each one's ratio to sets in Python at the same batch (tuned: 500) and storage."""
    def middle(case, what):
        return statistics.median(run[what] for run in rounds[case])
    lines = ["| storage | batch | deletion | receipts | receipts/s | spread | ratio | storage requests | peak MiB |",
             "|---|---|---|---|---|---|---|---|---|"]
    for case in cases:
        rates = [run["rate"] for run in rounds[case]]
        batch = 500 if case.batch == TUNED else case.batch
        yard = [c for c in cases if (c.how, c.batch, c.storage) == ("sets", batch, case.storage)]
        ratio = f"{middle(case, 'rate') / middle(yard[0], 'rate'):.2f}" if yard else ""
        lines.append(
            f"| {'S3' if case.storage else 'left out'} | {case.batch} | {case.name} | {middle(case, 'receipts'):,.0f} "
            f"| {middle(case, 'rate'):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | {ratio} "
            f"| {middle(case, 'requests'):,.0f} | {middle(case, 'peak') / 2**20:,.0f} |")
    return "\n".join(lines)


def machine(ground, options, loads):
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", info)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    [(server,)] = ground.postgres.run("postgres", "show server_version")
    import boto3
    import sqlalchemy
    return (f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores ({model.group(1) if model else 'unknown'}), "
            f"{memory:.0f} GiB, Linux {platform.release().split('-')[0]}; PostgreSQL {server.split()[0]}, "
            f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, psycopg {psycopg.__version__}, "
            f"boto3 {boto3.__version__}. {options.rounds} rounds; the load of the last minute was "
            f"{min(loads):.1f} to {max(loads):.1f} when they began.")


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--programs", type=pathlib.Path, required=True)
    words.add_argument("--receipts", type=int, default=100_000)
    words.add_argument("--row-by-row", type=int, default=2_000, help="receipts for the ORM, which is slow")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--only", default="", help="only cases whose kind contains this: orm, sets, tikkun")
    words.add_argument("--left-out", action="store_true", help="only cases without storage")
    words.add_argument("--unprepared", action="store_true", help="tikkun as it works behind a pooler")
    words.add_argument("--print", action="store_true", help="print the table and change no file")
    options = words.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cases = [case for case in CASES if options.only in case.how and not (options.left_out and case.storage)]
    rounds, loads = {case: [] for case in cases}, []
    ground = Ground(options)
    try:
        for number in range(options.rounds):
            loads.append(os.getloadavg()[0])
            for case in cases:
                run = ground.run(case)
                rounds[case].append(run)
                print(f"round {number + 1}: {case.name}, batch {case.batch}, storage {case.storage}: "
                      f"{run['rate']:,.0f} receipts/s in {run['seconds']:.2f} s", file=sys.stderr, flush=True)
        measured = f"{machine(ground, options, loads)}\n\n{table(rounds, cases)}"
    finally:
        ground.close()
    print(measured)
    if not options.print:
        text = REPORT.read_text()
        begin, end = (text.index(mark) for mark in MARKS)
        REPORT.write_text(f"{text[:begin]}{MARKS[0]}\n{measured}\n{text[end:]}")


if __name__ == "__main__":
    main()
