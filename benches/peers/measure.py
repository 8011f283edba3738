"""Runs Tikkun and its peers in turn, round by round, and writes the table into docs/performance.md."""
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

import psutil

from server import Server

HERE = pathlib.Path(__file__).resolve().parent
DRIVERS = HERE / "drivers"
REPORT = HERE.parent.parent / "docs/performance.md"
MARKS = ("<!-- peers: begin -->", "<!-- peers: end -->")
# Seconds after which whatever is waited for has failed.
PATIENCE = 60
# Jobs of one measurement of the pickup, and their rate.
STEADY, PER_SECOND = 80, 20
# Seconds without any job.
REST = 4
RQ_DONE = "zcard", "rq:finished:bench"


class Peer:
    """How one is started, how its jobs are sent, and how many of them a drain takes."""

    def __init__(self, name, words, work, send, jobs, done, fill=None):
        self.name, self.words, self.work, self.send, self.jobs = name, words, work, send, jobs
        self.done, self.fill = done, fill or send


def peers(program, scale):
    python = sys.executable
    rq = [python, DRIVERS / "rq_client.py"]
    bull = ["node", DRIVERS / "bullmq.js"]
    sidekiq = ["ruby", DRIVERS / "sidekiq_client.rb"]

    def ours(name, words, slots, jobs):
        # Drained are jobs that RQ's own client has put in; what is sent is sent by our client.
        base = [program, "--broker", "{url}", "--data", "{data}", "--slots", str(slots)]
        return Peer(name, words, [*base, "work", "{waits}"], base, jobs, RQ_DONE, fill=rq)

    found = [
        Peer("rq-fork", "RQ, a fork for each job", [python, DRIVERS / "rq_worker.py", "Worker"], rq, 500, RQ_DONE),
        Peer("rq-simple", "RQ, in its process", [python, DRIVERS / "rq_worker.py", "SimpleWorker"], rq, 2_000, RQ_DONE),
        Peer("bullmq", "BullMQ, 50 at a time", [*bull, "work", "50"], bull, 40_000, ("zcard", "bull:bench:completed")),
        Peer("sidekiq", "Sidekiq, 10 threads", ["sidekiq", "-r", DRIVERS / "sidekiq_jobs.rb", "-c", "10"], sidekiq,
             40_000, ("llen", "queue:default")),
        ours("tikkun-4", "Tikkun, 4 slots", 4, 20_000),
        ours("tikkun", "Tikkun, 128 slots", 128, 60_000),
    ]
    for peer in found:
        peer.jobs = max(100, int(peer.jobs * scale))
    return found


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
        return {**os.environ, "REDIS_URL": self.server.url, "BENCH_WAITS": str(self.waits),
                "PYTHONPATH": str(DRIVERS), "NODE_PATH": os.environ["BENCH_NODE"], "RUBYOPT": "-W0"}

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
    times = worker.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def drain(ground, peer):
    """From the first job that ended to the last: the start of the process does not count."""
    redis, (command, key) = ground.server.redis, peer.done
    redis.flushall()
    ground.sent(peer.fill, "bulk", peer.jobs)
    before, polls, first = ground.server.spent(), 0, None
    redis.config_resetstat()
    worker = ground.start(peer)
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            counted, now = getattr(redis, command)(key), time.monotonic()
            done = peer.jobs - counted if command == "llen" else counted
            polls += 1
            if first is None and done > 0:
                first = (now, done)
            if done >= peer.jobs:
                break
            alive(ground, peer, worker, deadline, f"the end of its jobs ({done} of {peer.jobs})")
            time.sleep(0.02)
        after, own = ground.server.spent(), cpu_of(worker)
    finally:
        stop(worker)
    seconds = max(now - first[0], 0.001)
    # What was asked above is no work of the worker's.
    return {"rate": (peer.jobs - first[1]) / seconds, "commands": (after[1] - polls) / peer.jobs,
            "reads": (after[2] - polls) / peer.jobs, "server_cpu": (after[0] - before[0]) / peer.jobs * 1e6,
            "own_cpu": own / peer.jobs * 1e6}


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
    family = [worker, *worker.children(recursive=True)]
    memory = sum(process.memory_info().rss for process in family) / 2**20
    return {"memory": memory, "idle_cpu": (cpu_of(worker) - before) / REST * 100}


def send(ground, peer):
    redis = ground.server.redis
    redis.flushall()
    single = ground.sent(peer.send, "single", max(100, min(4_000, peer.jobs)))
    redis.flushall()
    return {"single": single, "bulk": ground.sent(peer.send, "bulk", max(2_000, min(20_000, peer.jobs)))}


def wide(ground, program):
    """Tikkun at rest with eight queues and thirty-two slots."""
    ground.server.redis.flushall()
    queues = ",".join(f"queue{number}" for number in range(8))
    command = [program, "--broker", "{url}", "--data", "{data}", "--slots", "32", "--queues", queues, "work"]
    worker = ground.start(Peer("wide", "", command, [], 0, RQ_DONE))
    try:
        time.sleep(2)
        return idle(worker)
    finally:
        stop(worker)


def embedded(program, jobs):
    """Jobs a second through the embedded engine, each durable, from the start of the service on."""
    with tempfile.TemporaryDirectory(dir=HERE.parent.parent / "target", prefix="bench-embedded-") as data:
        done = subprocess.run([program, "--data", data, "--slots", "128", "drain", str(jobs)], capture_output=True,
                              text=True, timeout=3 * PATIENCE)
    if done.returncode:
        raise SystemExit(f"the embedded engine failed:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return told["jobs"] / told["seconds"]


def table(rounds, found):
    def middle(peer, what):
        return statistics.median(run[what] for run in rounds[peer.name])
    def against(peer, other):
        return middle(peer, "rate") / middle(other, "rate") if other else None
    by_name = {peer.name: peer for peer in found}
    fork, bull = by_name.get("rq-fork"), by_name.get("bullmq")
    lines = ["| worker, one process | jobs/s | spread | × RQ's fork | × BullMQ | commands a job | reads a job "
             "| Redis' CPU, µs a job | its own CPU, µs a job |", "|---|---|---|---|---|---|---|---|---|"]
    times = lambda ratio, digits: f"{ratio:,.{digits}f}" if ratio else ""
    for peer in found:
        rates = [run["rate"] for run in rounds[peer.name]]
        lines.append(
            f"| {peer.words} | {middle(peer, 'rate'):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
            f"| {times(against(peer, fork), 0)} | {times(against(peer, bull), 2)} | {middle(peer, 'commands'):,.1f} "
            f"| {middle(peer, 'reads'):,.2f} | {middle(peer, 'server_cpu'):,.0f} | {middle(peer, 'own_cpu'):,.0f} |")
    lines += ["", "| worker, one process | pickup p50, ms | p99, ms | sent one by one, jobs/s | in bulk, jobs/s "
              "| at rest, MiB | at rest, % of a core |", "|---|---|---|---|---|---|---|"]
    for peer in found:
        waited = sorted(wait for run in rounds[peer.name] for wait in run["waits"])
        last = waited[min(len(waited) - 1, int(len(waited) * 0.99))]
        lines.append(
            f"| {peer.words} | {statistics.median(waited):.2f} | {last:.2f} | {middle(peer, 'single'):,.0f} "
            f"| {middle(peer, 'bulk'):,.0f} | {middle(peer, 'memory'):,.0f} | {middle(peer, 'idle_cpu'):.1f} |")
    return "\n".join(lines)


def beside(rest, rates):
    return (f"At rest with 8 queues and 32 slots Tikkun has {rest['memory']:.0f} MiB and takes "
            f"{rest['idle_cpu']:.1f} % of a core. Its embedded engine, which needs no Redis and writes "
            f"every step to the disk, does {statistics.median(rates):,.0f} jobs/s with 128 slots.")


def machine(ground, options, loads, found):
    def answer(*words):
        return subprocess.run(words, capture_output=True, text=True).stdout.strip()
    import rq
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = {peer.name for peer in found}
    versions = [f"Redis {ground.server.version()}", f"RQ {rq.VERSION}", f"Python {platform.python_version()}"]
    if "bullmq" in names:
        package = json.loads((pathlib.Path(os.environ["BENCH_NODE"]) / "bullmq/package.json").read_text())
        versions += [f"BullMQ {package['version']}", f"Node {answer('node', '--version').lstrip('v')}"]
    if "sidekiq" in names:
        versions += [answer("sidekiq", "--version"), f"Ruby {answer('ruby', '-e', 'print RUBY_VERSION')}"]
    cores = f"{os.cpu_count()} cores ({model.group(1) if model else 'unknown'})"
    return (f"Measured on {time.strftime('%Y-%m-%d')}: {cores}, {memory:.0f} GiB, Linux "
            f"{platform.release().split('-')[0]}; {', '.join(versions)}. {options.rounds} rounds; "
            f"the load of the last minute was {min(loads):.1f} to {max(loads):.1f} when they began.")


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--program", type=pathlib.Path, required=True)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--scale", type=float, default=1.0, help="factor on the numbers of jobs")
    words.add_argument("--peers", default="", help="only these: rq-fork,rq-simple,bullmq,sidekiq,tikkun-4,tikkun")
    words.add_argument("--print", action="store_true", help="print the table and change no file")
    options = words.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program = options.program.resolve()
    everyone = peers(program, options.scale)
    names = [name for name in options.peers.split(",") if name] or [peer.name for peer in everyone]
    if unknown := set(names) - {peer.name for peer in everyone}:
        raise SystemExit(f"--peers: {', '.join(sorted(unknown))} is none of {', '.join(p.name for p in everyone)}")
    found = [peer for peer in everyone if peer.name in names]
    rounds, loads, rates = {peer.name: [] for peer in found}, [], []
    ground = Ground()
    try:
        for number in range(options.rounds):
            loads.append(os.getloadavg()[0])
            for peer in found:
                run = {**send(ground, peer), **drain(ground, peer), **pickup(ground, peer)}
                rounds[peer.name].append(run)
                print(f"round {number + 1}: {peer.words}: {run['rate']:,.0f} jobs/s", file=sys.stderr, flush=True)
            if "tikkun" in names:
                rates.append(embedded(program, max(1_000, int(40_000 * options.scale))))
        measured = f"{machine(ground, options, loads, found)}\n\n{table(rounds, found)}"
        if rates:
            measured += f"\n\n{beside(wide(ground, program), rates)}"
    finally:
        ground.close()
    print(measured)
    if not options.print:
        text = REPORT.read_text()
        begin, end = (text.index(mark) for mark in MARKS)
        REPORT.write_text(f"{text[:begin]}{MARKS[0]}\n{measured}\n{text[end:]}")


if __name__ == "__main__":
    main()
