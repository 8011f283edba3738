"""Runs Tikkun and its peers in turn, round by round, and writes the tables into docs/performance.md."""
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
from importlib.metadata import version

import python_jobs
from ground import DRIVERS, PATIENCE, RQ_DONE, Ground, Peer, drain, idle, pickup, send, stop

HERE = pathlib.Path(__file__).resolve().parent
REPORT = HERE.parent.parent / "docs/performance.md"
# What is measured beside the peers themselves.
PARTS = "imports", "memory"
# Those that have a place in the table of Python jobs, too.
IN_BOTH = "rq-fork", "rq-simple"


def peers(program, tikkun, scale):
    """All of them: those of the first table, and those that only run Python jobs."""
    python = sys.executable
    rq = python_jobs.rq_client("peers.noop")
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
    pythons = python_jobs.peers(tikkun)
    for peer in [*found, *pythons]:
        peer.jobs = max(100, int(peer.jobs * scale))
    return found, pythons


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


def machine(ground, options, loads, names):
    def answer(*words):
        return subprocess.run(words, capture_output=True, text=True).stdout.strip()
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"Redis {ground.server.version()}", f"RQ {version('rq')}", f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name.lower())}" for name in ("Celery", "dramatiq") if name.lower() in names]
    if "bullmq" in names:
        package = json.loads((pathlib.Path(os.environ["BENCH_NODE"]) / "bullmq/package.json").read_text())
        versions += [f"BullMQ {package['version']}", f"Node {answer('node', '--version').lstrip('v')}"]
    if "sidekiq" in names:
        versions += [answer("sidekiq", "--version"), f"Ruby {answer('ruby', '-e', 'print RUBY_VERSION')}"]
    cores = f"{os.cpu_count()} cores ({model.group(1) if model else 'unknown'})"
    return (f"Measured on {time.strftime('%Y-%m-%d')}: {cores}, {memory:.0f} GiB, Linux "
            f"{platform.release().split('-')[0]}; {', '.join(versions)}. {options.rounds} rounds; "
            f"the load of the last minute was {min(loads):.1f} to {max(loads):.1f} when they began.")


def arguments():
    words = argparse.ArgumentParser()
    words.add_argument("--program", type=pathlib.Path, required=True)
    words.add_argument("--tikkun", type=pathlib.Path, required=True, help="the binary for `tikkun run`")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--scale", type=float, default=1.0, help="factor on the numbers of jobs")
    words.add_argument("--peers", default="", help="only these: rq-fork,rq-simple,bullmq,sidekiq,tikkun-4,tikkun,"
                       "rq-pool,celery,dramatiq,run-job,run-job-8,run-warm,run-warm-2,run-warm-12; imports,memory")
    words.add_argument("--print", action="store_true", help="print the tables and change no file")
    return words.parse_args()


def one_round(ground, found, pythons, rounds, before):
    for peer in [*found, *pythons]:
        sent = {} if peer in pythons else send(ground, peer)
        measured = {**sent, **drain(ground, peer), **pickup(ground, peer)}
        rounds[peer.name].append(measured)
        print(f"{before}{peer.words}: {measured['rate']:,.0f} jobs/s", file=sys.stderr, flush=True)


def write(tables):
    """Puts each table between its marks."""
    text = REPORT.read_text()
    for place, measured in tables.items():
        begin, end = f"<!-- {place}: begin -->", f"<!-- {place}: end -->"
        text = f"{text[:text.index(begin)]}{begin}\n{measured}\n{text[text.index(end):]}"
    REPORT.write_text(text)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program, tikkun = options.program.resolve(), options.tikkun.resolve()
    everyone, of_python = peers(program, tikkun, options.scale)
    known = [*(peer.name for peer in [*everyone, *of_python]), *PARTS]
    names = [name for name in options.peers.split(",") if name] or known
    if unknown := set(names) - set(known):
        raise SystemExit(f"--peers: {', '.join(sorted(unknown))} is none of {', '.join(known)}")
    found, pythons = ([peer for peer in some if peer.name in names] for some in (everyone, of_python))
    importers = [peer for peer in [*everyone, *of_python] if peer.name in python_jobs.IMPORTING and "imports" in names]
    rounds, imports = {peer.name: [] for peer in [*found, *pythons]}, {peer.name: [] for peer in importers}
    loads, rates, tables = [], [], {}
    ground = Ground()
    try:
        for number in range(options.rounds):
            loads.append(os.getloadavg()[0])
            one_round(ground, found, pythons, rounds, f"round {number + 1}: ")
            for peer in importers:
                imports[peer.name].append(python_jobs.importing(ground, peer, options.scale))
            if "tikkun" in names:
                rates.append(embedded(program, max(1_000, int(40_000 * options.scale))))
        measured = machine(ground, options, loads, names)
        if found:
            tables["peers"] = f"{measured}\n\n{table(rounds, found)}"
        if rates:
            tables["peers"] += f"\n\n{beside(wide(ground, program), rates)}"
        ours = [measured]
        if pythons:
            both = [peer for peer in found if peer.name in IN_BOTH]
            ours.append(python_jobs.table(rounds, [*both, *pythons]))
        if importers:
            ours.append(python_jobs.importing_table(imports, importers))
        if "memory" in names:
            ours.append(python_jobs.large_table(python_jobs.large(ground, tikkun, options.scale)))
        if ours[1:]:
            tables["python"] = "\n\n".join(ours)
    finally:
        ground.close()
    print("\n\n".join(tables.values()))
    if not options.print:
        write(tables)


if __name__ == "__main__":
    main()
