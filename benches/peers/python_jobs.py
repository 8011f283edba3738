"""Python jobs: `tikkun run` and others that run them, an application that imports for long, and one that is large."""
import pathlib
import statistics
import sys
import time

from ground import DRIVERS, PATIENCE, RQ_DONE, Peer, alive, ended, share, stop

WORKER = [sys.executable, DRIVERS / "rq_worker.py"]
SCRIPTS = pathlib.Path(sys.executable).parent
# Jobs and seconds of rest before an application that imports for long is measured, and for how long it is.
FIRST, SETTLING, WINDOW = 3, 3, 8
# Those whose jobs come from an application that imports for long.
IMPORTING = "rq-fork", "run-job", "run-warm"
CHILDREN = 8


def rq_client(function):
    return [sys.executable, DRIVERS / "rq_client.py", function]


def run(program, isolation, slots, *worker):
    """`tikkun run` in front of the command that the peer `rq-fork` is."""
    return [program, "run", "--data", "{data}", "--port", "0", "--isolation", isolation, "--slots", str(slots), "--",
            *WORKER, "Worker", *worker]


def peers(program):
    rq = rq_client("peers.noop")

    def tasks(name, words, work, jobs):
        client = [sys.executable, DRIVERS / "task_client.py", f"{name}_jobs"]
        return Peer(name, words, work, client, jobs, ("dbsize",))

    def ours(isolation, slots, jobs):
        name = f"run-{isolation}" + (f"-{slots}" if slots > 1 else "")
        words = f"`tikkun run`, `{isolation}`, {slots} slot" + ("s" if slots > 1 else "")
        return Peer(name, words, run(program, isolation, slots), rq, jobs, RQ_DONE)

    return [
        Peer("rq-pool", "`rq worker-pool -n 2`",
             [SCRIPTS / "rq", "worker-pool", "-q", "-u", "{url}", "-n", "2", "bench"], rq, 800, RQ_DONE),
        tasks("celery", "Celery, prefork, `-c 2`, with results",
              [SCRIPTS / "celery", "-A", "celery_jobs", "worker", "-P", "prefork", "-c", "2", "-l", "ERROR"], 4_000),
        tasks("dramatiq", "dramatiq, `-p 2`, with results", [SCRIPTS / "dramatiq", "dramatiq_jobs", "-p", "2"], 6_000),
        ours("job", 1, 1_500),
        ours("job", 8, 1_500),
        ours("warm", 1, 6_000),
        ours("warm", 2, 6_000),
        ours("warm", 12, 12_000),
    ]


def importing(ground, peer, scale):
    """Jobs a second of an application whose imports take a second, when it has run a few already."""
    client = rq_client("slow_jobs.noop")
    peer = Peer(peer.name, peer.words, peer.work, client, max(100, int(3_000 * scale)), RQ_DONE)
    ground.server.redis.flushall()
    worker = ground.start(peer)
    try:
        ground.sent(client, "bulk", FIRST)
        finish(ground, peer, worker, FIRST)
        time.sleep(SETTLING)
        ground.sent(client, "bulk", peer.jobs)
        began = finish(ground, peer, worker, FIRST + 1)
        since = ended(ground, peer)
        while (done := ended(ground, peer)) < FIRST + peer.jobs and time.monotonic() < began + WINDOW:
            alive(ground, peer, worker, began + PATIENCE, "its jobs")
            time.sleep(0.02)
        return (done - since) / max(time.monotonic() - began, 0.001)
    finally:
        stop(worker)


def finish(ground, peer, worker, jobs):
    """Waits until so many jobs have ended, and says when."""
    deadline = time.monotonic() + PATIENCE
    while ended(ground, peer) < jobs:
        alive(ground, peer, worker, deadline, f"the end of {jobs} jobs")
        time.sleep(0.02)
    return time.monotonic()


def large(ground, program, scale):
    """MiB of a process of a large application, of the zygote and its children after their jobs, and of all of ours."""
    jobs = max(CHILDREN, int(CHILDREN * 1_000 * scale))
    lasting = ["--set", "python.jobs_per_process=1000000"]
    ours = run(program, "warm", CHILDREN, "large_jobs")
    ours[2:2] = lasting

    def after(name, work, jobs):
        peer = Peer(name, name, work, rq_client("large_jobs.noop"), jobs, RQ_DONE)
        ground.server.redis.flushall()
        ground.sent(peer.fill, "bulk", jobs)
        worker = ground.start(peer)
        try:
            finish(ground, peer, worker, jobs)
            time.sleep(1)
            pythons = worker.children(recursive=True)
            return share([worker]), share(pythons), len(pythons)
        finally:
            stop(worker)

    alone, _, _ = after("rq worker", [*WORKER, "Worker", "large_jobs"], CHILDREN)
    tikkun, pythons, processes = after("tikkun run", ours, jobs)
    return {"alone": alone, "tikkun": tikkun, "pythons": pythons, "children": processes - 1, "jobs": jobs}


def table(rounds, found):
    def middle(peer, what):
        return statistics.median(one[what] for one in rounds[peer.name])

    fork = next((peer for peer in found if peer.name == "rq-fork"), None)
    lines = ["| worker of Python jobs | jobs/s | spread | × RQ's fork | pickup p50, ms | p99, ms | commands a job "
             "| reads a job | Redis' CPU, µs a job | its own CPU, µs a job | at rest, MiB | at rest, % of a core |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for peer in found:
        rates = [one["rate"] for one in rounds[peer.name]]
        ratio = f"{middle(peer, 'rate') / middle(fork, 'rate'):,.1f}" if fork else ""
        waited = sorted(wait for one in rounds[peer.name] for wait in one["waits"])
        last = waited[min(len(waited) - 1, int(len(waited) * 0.99))]
        lines.append(
            f"| {peer.words} | {middle(peer, 'rate'):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | {ratio} "
            f"| {statistics.median(waited):.2f} | {last:.2f} | {middle(peer, 'commands'):,.1f} "
            f"| {middle(peer, 'reads'):,.2f} | {middle(peer, 'server_cpu'):,.0f} | {middle(peer, 'own_cpu'):,.0f} "
            f"| {middle(peer, 'shared'):,.0f} | {middle(peer, 'idle_cpu'):.1f} |")
    return "\n".join(lines)


def importing_table(rates, found):
    """Of jobs whose imports take a second."""
    fork = statistics.median(rates["rq-fork"]) if rates.get("rq-fork") else None
    lines = ["| worker of jobs whose imports take 1 s | jobs/s | spread | × RQ's fork |", "|---|---|---|---|"]
    for peer in found:
        if rates.get(peer.name):
            middle = statistics.median(rates[peer.name])
            ratio = f"{middle / fork:,.1f}" if fork else ""
            spread = f"{min(rates[peer.name]):,.1f} to {max(rates[peer.name]):,.1f}"
            lines.append(f"| {peer.words} | {middle:,.1f} | {spread} | {ratio} |")
    return "\n".join(lines)


def large_table(memory):
    alone, rows = memory["alone"], [("one process, as under `rq worker`", memory["alone"])]
    rows.append((f"zygote and {memory['children']} children under `tikkun run`, `warm`, after {memory['jobs']:,} jobs",
                 memory["pythons"]))
    rows.append(("the same, and Tikkun itself", memory["pythons"] + memory["tikkun"]))
    lines = ["| processes of an application of 150 MB | MiB | × one process |", "|---|---|---|"]
    lines += [f"| {words} | {size:,.0f} | {size / alone:.2f} |" for words, size in rows]
    return "\n".join(lines)
