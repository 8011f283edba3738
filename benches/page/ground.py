"""A service in a folder of its own, what it stands on, and the load beside it; everything ends by its id."""
import http.client
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import time

import psutil

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "peers"), str(HERE.parent / "deletion")]
# Seconds after which whatever is waited for has failed.
PATIENCE = 120
SECRET = "only-for-measuring-and-only-on-loopback"
QUEUES = ["high", "default", "low", "receipts", "receipts_sync", "maintenance", "recordings", "broadcasts"]


class Ground:
    """A data folder, and the servers that the options ask for; `settings` are further ones of the service."""

    def __init__(self, programs, redis=False, postgres=False, queues=QUEUES, settings=None):
        self.programs, self.queues, self.settings = programs, list(queues), settings or {}
        # Not in memory, whatever the machine makes of its temporary folder.
        target = programs.parent
        self.folder = tempfile.TemporaryDirectory(prefix="bench-page-", dir=target)
        self.data = pathlib.Path(self.folder.name)
        self.redis = self.postgres = None
        try:
            if redis:
                from server import Server
                self.redis = Server()
            if postgres:
                from servers import Postgres
                self.postgres = Postgres()
                self.postgres.run("postgres", "create database bench")
        except BaseException:
            self.close()
            raise

    def close(self):
        for server in (self.redis, self.postgres):
            if server:
                server.close()
        self.folder.cleanup()

    def environment(self):
        found = {"PATH": os.environ["PATH"], "TIKKUN_SERVICE__DATA": str(self.data), "TIKKUN_HTTP__PORT": "0",
                 "INTERNAL_SECRET": SECRET, "RQ_QUEUES": ",".join(self.queues), "TIKKUN_DIAGNOSTICS__ENABLED": "true",
                 "TIKKUN_WORKER__SLOTS": "128", "TIKKUN_WORKER__THREADS": "1", "LOG_LEVEL": "ERROR"}
        if self.redis:
            found["REDIS_URL"] = self.redis.url
        if self.postgres:
            found["DATABASE_URL"] = self.postgres.url("bench")
        return {**found, **self.settings}

    def load(self, *words, queues=None, **options):
        """A client beside the service, with jobs for these queues, or for all that it serves."""
        queues = ",".join(queues or self.queues)
        where = ["--broker", self.redis.url if self.redis else "", "--data", self.data, "--queues", queues]
        command = [self.programs / "examples/bench_page", *words, *where]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, **options)

    def loaded(self, *words, **options):
        """What it told once it had ended."""
        return told(self.load(*words, **options))

    def counts(self):
        """Jobs that wait, run, and have ended: read from the queue itself, so that the service is not asked."""
        if self.redis:
            with self.redis.redis.pipeline(transaction=False) as pipe:
                for queue in self.queues:
                    pipe.llen(f"rq:queue:{queue}")
                    pipe.zcard(f"rq:wip:{queue}")
                    pipe.zcard(f"rq:finished:{queue}")
                    pipe.zcard(f"rq:failed:{queue}")
                found = pipe.execute()
            return sum(found[0::4]), sum(found[1::4]), sum(found[2::4]) + sum(found[3::4])
        names = ",".join(f"'{queue}'" for queue in self.queues)
        with sqlite3.connect(f"file:{self.data}/queue.db?mode=ro", uri=True, timeout=10) as queue:
            return queue.execute("select coalesce(sum(queued), 0), coalesce(sum(started), 0), "
                                 f"coalesce(sum(finished + failed), 0) from tikkun_queues where name in ({names})").fetchone()

    def application(self, *statements):
        """Statements on the application's tables, as the application runs them."""
        if self.postgres:
            self.postgres.run("bench", *statements)
            return
        with sqlite3.connect(f"{self.data}/tikkun.db", timeout=30) as store:
            for statement in statements:
                store.execute(statement)


def told(process):
    out, _ = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise SystemExit(f"{process.args[0]} {process.args[1]} failed")
    return json.loads(out.strip().splitlines()[-1])


class Service:
    """`tikkun serve`, the release program, from its start to its end."""

    def __init__(self, ground):
        self.log = open(ground.data / "log", "w+")
        environment = ground.environment()
        program = ground.programs / "tikkun"
        if ground.postgres:
            subprocess.run([program, "migrate", "--with-application-tables"], env=environment, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = psutil.Popen([program, "serve"], env={**environment, "LOG_LEVEL": "INFO"},
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        self.address = None
        self.until(self.found_address, "its address")
        self.until(lambda: self.call("GET", "/readyz")[0] == 200, "being ready")

    def found_address(self):
        found = re.search(r'tikkun serves.*address="([^"]+)"', self.said())
        self.address = found and found.group(1)
        return self.address

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def until(self, look, what):
        deadline = time.monotonic() + PATIENCE
        while not look():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"waited in vain for {what}; the log's end:\n{self.said()[-2000:]}")
            time.sleep(0.02)

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=PATIENCE)

    def call(self, method, path, body=None, connection=None):
        """Status, body and headers of one answer."""
        connection = connection or self.connect()
        connection.request(method, path, body and json.dumps(body), {"X-Internal-Secret": SECRET})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    def asked(self, method, path, body=None):
        """What a good answer says."""
        status, text, _ = self.call(method, path, body)
        if status not in (200, 202):
            raise SystemExit(f"{method} {path} answers {status}: {text[:500]}")
        return json.loads(text)

    def cookie(self):
        status, text, headers = self.call("POST", "/api/v1/session", {"secret": SECRET, "name": "bench"})
        if status != 200:
            raise SystemExit(f"signing in answers {status}: {text}")
        return headers["Set-Cookie"].split(";")[0]

    def cpu(self):
        """Seconds of processor time so far, its own and the kernel's for it."""
        times = self.process.cpu_times()
        return times.user + times.system

    def memory(self):
        return self.process.memory_info().rss / 2**20

    def peak(self):
        """The largest resident size so far, in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+)", status).group(1)) / 1024

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except psutil.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)
        self.log.close()
