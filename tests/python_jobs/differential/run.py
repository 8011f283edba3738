"""Runs all scenarios under RQ's own worker and under Tikkun, and tells what Redis holds differently.

    python run.py TIKKUN RQ_SOCKET JOB_SOCKET WARM_SOCKET [NAME …]

Each socket is that of an empty Redis. Writes one JSON object: what was run, the differences that no entry of
`differences.toml` explains, and the entries that explained nothing.
"""

import faulthandler
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import compare
import scenarios
from dump import Dumper, dump
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

HERE = Path(__file__).resolve().parent
# Only a failing scenario waits so long.
PATIENCE = 60
LOOK = 0.02
# The same for all of them.
WHOLE = 1200
# Keys that live longer than a scenario, since the worker does.
LASTING = ("rq:worker:", "rq:workers", "rq:tikkun:", "rq:scheduler", "rq:clean", "rq:queues")
WORKERS = {
    "plain": ["--with-scheduler", "high", "default"],
    "handlers": [
        "--exception-handler",
        "diff_app.first_handler",
        "--exception-handler",
        "diff_app.second_handler",
        "default",
    ],
    "bare": ["--disable-default-exception-handler", "--results-ttl", "33", "default"],
    "classes": [
        "--serializer",
        "rq.serializers.JSONSerializer",
        "--job-class",
        "diff_app.AppJob",
        "--queue-class",
        "diff_app.AppQueue",
        "--worker-class",
        "diff_app.AppWorker",
        "default",
    ],
}
# Looked at in one step, so that no job is missed on its way from one place to another.
AT_REST = """
for _, queue in ipairs({ 'high', 'default' }) do
  local waits = redis.call('EXISTS', 'rq:queue:' .. queue, 'rq:queue:' .. queue .. ':intermediate', 'rq:wip:' .. queue)
  if waits > 0 then return 0 end
end
for _, name in ipairs(redis.call('SMEMBERS', 'rq:workers')) do
  local worker = redis.call('HMGET', name, 'state', 'current_job')
  if worker[1] ~= 'idle' or worker[2] then return 0 end
end
for _, name in ipairs(redis.call('KEYS', 'rq:job:*')) do
  if ARGV[1] ~= 'stuck' and redis.call('TYPE', name).ok == 'hash' then
    local status = redis.call('HGET', name, 'status')
    if status == 'queued' or status == 'started' then return 0 end
  end
end
return 1
"""
COUNTS = ("successful_job_count", "failed_job_count")


def start(socket, isolation, words, tikkun, log):
    rq = Path(sys.executable).parent / "rq"
    command = [str(rq), "worker", "--url", f"unix://{socket}", *words]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "TIKKUN_WORKER__FETCH_PATIENCE": "1s"}
    if isolation:
        command = [tikkun, "run", "--port", "0", "--isolation", isolation, "--", *command]
    return subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


class Hooks(http.server.BaseHTTPRequestHandler):
    """Receives webhooks, and puts them into the Redis of the system that sends them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        names = sorted(name for name in self.headers if name.lower() not in ("host", "content-length"))
        self.server.connection.rpush("webhooks", self.path, json.dumps(names), body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Ground:
    """One system with one of its workers, and what scenarios do there."""

    def __init__(self, connection, worker, url):
        self.connection, self.url, self._worker = connection, url, worker
        self._current, self._made = None, 0
        # Set where a job that nobody can run stays as it is.
        self.stuck = ""
        # Set where code goes on when the end is written.
        self.lingers = False

    def queue(self, name="default"):
        serializer = JSONSerializer if self._worker == "classes" else None
        return Queue(name, connection=self.connection, serializer=serializer)

    def name(self):
        self._made += 1
        return f"{self._current}-{self._made}"

    def enqueue(self, function, *args, queue="default", **options):
        options.setdefault("job_id", self.name())
        return self.queue(queue).enqueue(function, *args, **options)

    def worker(self):
        return next(iter(self.connection.smembers("rq:workers"))).decode()[len("rq:worker:") :]

    def _wait(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what)
            time.sleep(LOOK)

    def until(self, job, status):
        self._wait(lambda: self.connection.hget(job.key, "status") == status.encode(), f"{job.id}: {status}")

    def until_it_naps(self, job):
        self._wait(lambda: self.connection.exists("naps:" + job.id), f"{job.id}: napping")

    def until_a_webhook_came(self):
        self._wait(lambda: self.connection.exists("webhooks"), "a webhook")

    def until_worker(self, state):
        def is_so():
            states = [self.connection.hget(name, "state") for name in self.connection.smembers("rq:workers")]
            return states and all(found == state.encode() for found in states)

        self._wait(is_so, f"worker: {state}")

    def settle(self):
        """Waits until nothing runs or is about to, and that still holds a moment later."""

        def rests():
            if not self._at_rest():
                return False
            time.sleep(LOOK)
            return self._at_rest()

        self._wait(rests, "nothing runs")
        if self.lingers:
            time.sleep(10 * LOOK)
            # It may have begun something.
            self._wait(rests, "nothing runs after that")

    def _at_rest(self):
        return bool(self.connection.eval(AT_REST, 0, self.stuck))

    def _counts(self):
        return {
            name: [int(value or 0) for value in self.connection.hmget(name, *COUNTS)]
            for name in self.connection.smembers("rq:workers")
        }

    def run(self, scenario):
        self._current, self._made, self.stuck = scenario.name, 0, ""
        self.lingers = self._worker in ("handlers", "classes")
        before, note = self._counts(), None
        try:
            scenario.function(self)
            self.settle()
        except TimeoutError as error:
            note = f"waited in vain for {error}"
        except Exception as error:
            note = f"{type(error).__name__}: {error}"
        answer = dump(self.connection, time.time())
        after = self._counts()
        counted = [sum(after[name][i] - before.get(name, [0, 0])[i] for name in after) for i in (0, 1)]
        for name, entry in answer.items():
            if name.startswith("rq:worker:") and entry["type"] == "hash":
                for n, field in enumerate(COUNTS):
                    entry["value"][field] = counted[n]
        self.clear()
        return answer, note

    def clear(self):
        names = [name for name in self.connection.scan_iter(count=1000) if not name.decode().startswith(LASTING)]
        if names:
            self.connection.delete(*names)


def run_system(system, socket, tikkun, chosen):
    isolation = None if system == "rq" else system
    connection = Redis(unix_socket_path=socket, socket_timeout=PATIENCE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    server.connection = connection
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hook"
    answers, took, notes = {}, {}, []
    for worker, words in WORKERS.items():
        mine = [one for one in chosen if one.worker == worker]
        if not mine:
            continue
        log = tempfile.NamedTemporaryFile(prefix=f"{system}-{worker}-", suffix=".log", delete=not os.environ.get("KEEP_LOGS"))
        process = start(socket, isolation, words, tikkun, log)
        try:
            ground = Ground(connection, worker, url)
            ground.until_worker("idle")
            for scenario in mine:
                began = time.monotonic()
                answers[scenario.name], note = ground.run(scenario)
                if os.environ.get("KEEP_LOGS"):
                    print(system, scenario.name, round(time.monotonic() - began, 2), note or "", file=sys.stderr, flush=True)
                if note:
                    notes.append(f"{scenario.name} under {system}: {note}")
                took[scenario.name] = round(time.monotonic() - began, 2)
                if process.poll() is not None:
                    raise RuntimeError(f"{system}'s worker `{worker}` ended in {scenario.name}:\n" + Path(log.name).read_text()[-3000:])
        except TimeoutError as error:
            raise RuntimeError(f"{system}: {error}:\n" + Path(log.name).read_text()[-3000:]) from error
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        connection.flushall()
    server.shutdown()
    return answers, took, notes


def main():
    # Says where it hangs, if it does.
    faulthandler.dump_traceback_later(WHOLE, exit=True)
    tikkun, *rest = sys.argv[1:]
    sockets, names = dict(zip(("rq", "job", "warm"), rest[:3])), rest[3:]
    chosen = [one for one in scenarios.ALL if one.exists() and (not names or one.name in names)]
    with ThreadPoolExecutor(3) as threads:
        running = {system: threads.submit(run_system, system, socket, tikkun, chosen) for system, socket in sockets.items()}
        ran = {system: future.result() for system, future in running.items()}
    report = compare.report({system: answers for system, (answers, _, _) in ran.items()}, scenarios.VERSION, whole=not names)
    report["scenarios"] = len(chosen)
    report["seconds"] = {system: took for system, (_, took, _) in ran.items()}
    report["not run"] = [note for _, _, notes in ran.values() for note in notes]
    json.dump(report, sys.stdout, indent=1, ensure_ascii=True)


if __name__ == "__main__":
    main()
