"""What a worker and its client find around them, and what is measured of each."""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

import psutil

from server import Server

DRIVERS = pathlib.Path(__file__).resolve().parent / "drivers"
# Seconds after which whatever is waited for has failed.
PATIENCE = 60
# Jobs of one measurement of the pickup, and their rate.
STEADY, PER_SECOND = 80, 20
# Seconds without any job.
REST = 3
RQ_DONE = "zcard", "rq:finished:bench"


class Peer:
    """How one is started, how its jobs are sent, and how many of them a drain takes."""

    def __init__(self, name, words, work, send, jobs, done, fill=None):
        self.name, self.words, self.work, self.send, self.jobs = name, words, work, send, jobs
        self.done, self.fill = done, fill or send


class Ground:
    """The server, and what each worker and client finds around it."""

    def __init__(self):
        self.server = Server()
        self.folder = tempfile.TemporaryDirectory(prefix="tikkun-bench-")
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+")
        self.waits = pathlib.Path(self.folder.name) / "waits"

    def close(self):
        self.server.close()
        self.log.close()
        self.folder.cleanup()

    def told(self, command):
        known = {"{url}": self.server.url, "{data}": self.folder.name, "{waits}": str(self.waits)}
        return [known.get(str(word), str(word)) for word in command]

    def environment(self):
        return {**os.environ, "REDIS_URL": self.server.url, "BENCH_RESULTS": self.server.results_url,
                "BENCH_WAITS": str(self.waits), "PYTHONPATH": str(DRIVERS), "NODE_PATH": os.environ["BENCH_NODE"],
                "RUBYOPT": "-W0"}

    def start(self, peer):
        return psutil.Popen(self.told(peer.work), env=self.environment(), cwd=self.folder.name,
                            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def sent(self, client, *words):
        """Jobs a second of a client."""
        command = [*self.told(client), *map(str, words)]
        done = subprocess.run(command, env=self.environment(), cwd=self.folder.name, capture_output=True, text=True,
                              timeout=3 * PATIENCE)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
        told = json.loads(done.stdout.strip().splitlines()[-1])
        return told["jobs"] / told["seconds"]

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()[-2000:]


def stop(worker):
    """Asks the worker to end; what it leaves of its children is killed by id."""
    family = worker.children(recursive=True) if worker.is_running() else []
    worker.terminate()
    psutil.wait_procs([worker], 10)
    for process in [worker, *family]:
        if process.is_running():
            process.kill()
    psutil.wait_procs([worker], 10)


def alive(ground, peer, worker, deadline, what):
    if worker.poll() is not None:
        raise SystemExit(f"the worker of {peer.name} ended:\n{ground.said()}")
    if time.monotonic() > deadline:
        raise SystemExit(f"{peer.name}: waited {PATIENCE} s for {what}:\n{ground.said()}")


def cpu_of(worker):
    """With its children, those that have ended too."""
    total = 0
    for process in [worker, *worker.children(recursive=True)]:
        # One that has just ended is counted by its parent.
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def ended(ground, peer):
    """How many jobs have ended."""
    command, *key = peer.done
    if command == "dbsize":
        # Each job leaves a result behind, and nothing else is kept there.
        return ground.server.results.dbsize()
    counted = getattr(ground.server.redis, command)(*key)
    return peer.jobs - counted if command == "llen" else counted


def drain(ground, peer):
    """From the first job that ended to the last: the start of the process does not count."""
    ground.server.redis.flushall()
    ground.sent(peer.fill, "bulk", peer.jobs)
    before, polls, first = ground.server.spent(), 0, None
    ground.server.redis.config_resetstat()
    worker = ground.start(peer)
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            done, now = ended(ground, peer), time.monotonic()
            polls += 1
            if first is None and done > 0:
                first = (now, done, cpu_of(worker))
            if done >= peer.jobs:
                break
            alive(ground, peer, worker, deadline, f"the end of its jobs ({done} of {peer.jobs})")
            time.sleep(0.02)
        after, own = ground.server.spent(), cpu_of(worker)
    finally:
        stop(worker)
    seconds, left = max(now - first[0], 0.001), max(peer.jobs - first[1], 1)
    # What was asked above is no work of the worker's.
    return {"rate": left / seconds, "commands": (after[1] - polls) / peer.jobs,
            "reads": (after[2] - polls) / peer.jobs, "server_cpu": (after[0] - before[0]) / peer.jobs * 1e6,
            "own_cpu": (own - first[2]) / left * 1e6}


def waits(ground):
    return [int(line) / 1e6 for line in ground.waits.read_text().splitlines()] if ground.waits.exists() else []


def pickup(ground, peer):
    """How long single jobs wait at an idle worker; and what it is like while there is none."""
    ground.server.redis.flushall()
    ground.waits.write_text("")
    worker = ground.start(peer)
    try:
        for steady in (10, STEADY):
            # The first ones only wake what is made at first use.
            ground.waits.write_text("")
            ground.sent(peer.send, "steady", steady, PER_SECOND)
            deadline = time.monotonic() + PATIENCE
            while len(waits(ground)) < steady:
                alive(ground, peer, worker, deadline, f"{steady} single jobs")
                time.sleep(0.05)
        waited = waits(ground)
        time.sleep(1)
        return {"waits": waited, **idle(worker)}
    finally:
        stop(worker)


def idle(worker):
    before = cpu_of(worker)
    time.sleep(REST)
    spent = cpu_of(worker) - before
    family = [worker, *worker.children(recursive=True)]
    memory = sum(process.memory_info().rss for process in family) / 2**20
    return {"memory": memory, "shared": share(family), "idle_cpu": spent / REST * 100}


def share(family):
    """MiB of these processes; what several have in common counts once."""
    return sum(process.memory_full_info().pss for process in family) / 2**20


def send(ground, peer):
    redis = ground.server.redis
    redis.flushall()
    single = ground.sent(peer.send, "single", max(100, min(4_000, peer.jobs)))
    redis.flushall()
    return {"single": single, "bulk": ground.sent(peer.send, "bulk", max(2_000, min(20_000, peer.jobs)))}
