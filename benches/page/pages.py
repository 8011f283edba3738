"""Two hundred open pages on a busy service, round by round with and without them."""
import json
import statistics
import subprocess
import time

from ground import HERE, PATIENCE, QUEUES, Ground, Service, told

ASSETS = HERE.parent.parent / "src/http/page/assets"
TENANT, RECEIPTS = 7, 60_000
# Seconds before a stretch is measured, so that what was just started is through with it.
SETTLE = 2


class Pages:
    """People who look: each signed in, each with everything that a page asks for at first."""

    def __init__(self, ground, service, count):
        names = sorted(file.name for file in ASSETS.iterdir())
        first = ["/", *(f"/page/{name}" for name in names if name != "index.html"), "/api/v1/session",
                 "/api/v1/overview"]
        before = service.cpu()
        self.process = subprocess.Popen(
            [ground.programs / "examples/bench_page", "look", "--at", service.address, "--pages", str(count),
             "--cookie", service.cookie(), "--first", ",".join(first)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            raise SystemExit("the pages could not be opened")
        self.opening = service.cpu() - before

    def received(self):
        """Bytes that all of them have received so far; every one of them must still be open."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        now = json.loads(self.process.stdout.readline())
        if now["ended"]:
            raise SystemExit(f"{now['ended']} streams have ended by themselves")
        return now["bytes"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)


class Nobody:
    opening = 0.0

    def received(self):
        return 0

    def close(self):
        pass


def stretch(service, pages, seconds):
    """Share of a core and bytes a second over a stretch of time."""
    time.sleep(SETTLE)
    began, cpu, received = time.monotonic(), service.cpu(), pages.received()
    time.sleep(seconds)
    spent, passed = service.cpu() - cpu, time.monotonic() - began
    return spent / passed * 100, (pages.received() - received) / passed


def round_of(options, count):
    ground = Ground(options.programs, redis=options.redis)
    service, pages = None, Nobody()
    try:
        service = Service(ground)
        ground.application("begin", f"""
            with recursive n(i) as (select 1 union all select i + 1 from n where i < {RECEIPTS})
            insert into receipts (business_id, created_at) select {TENANT}, '2026-01-01 10:00:00' from n""", "commit")
        if count:
            pages = Pages(ground, service, count)
        idle, quiet = stretch(service, pages, options.seconds)
        # A deletion moves all the while, for that is what people look at.
        service.asked("POST", f"/api/v1/tenants/{TENANT}/deletion", {"confirm": TENANT})
        offer = ground.load("offer", "--per-second", options.rate, "--seconds", options.seconds + SETTLE + 1)
        busy, stream = stretch(service, pages, options.seconds)
        offered = told(offer)
        drained(ground, service, offered["jobs"])
        drain = drain_of(ground, service, options.jobs)
        return {"idle": idle, "busy": busy, "rate": drain, "opening": pages.opening, "memory": service.memory(),
                "bytes": stream, "quiet": quiet, "offered": offered["jobs"] / offered["seconds"]}
    finally:
        pages.close()
        if service:
            service.close()
        ground.close()


def drained(ground, service, jobs):
    service.until(lambda: ground.counts()[2] >= jobs, f"the end of {jobs} jobs")


def drain_of(ground, service, jobs):
    """Jobs a second while all slots have work: from the first that ended to the last."""
    others = [queue for queue in QUEUES if queue != "maintenance"]
    for queue in others:
        service.asked("POST", f"/api/v1/queues/{queue}/pause")
    before = ground.counts()[2]
    ground.loaded("fill", "--good", jobs, queues=others)
    for queue in others:
        service.asked("POST", f"/api/v1/queues/{queue}/resume")
    deadline, first = time.monotonic() + PATIENCE, None
    while True:
        done, now = ground.counts()[2] - before, time.monotonic()
        if first is None and done > 0:
            first = now, done
        if done >= jobs:
            return (jobs - first[1]) / max(now - first[0], 0.001)
        if now > deadline:
            raise SystemExit(f"only {done} of {jobs} jobs ended")
        time.sleep(0.02)


def measure(options, say):
    rounds = {0: [], options.pages: []}
    for number in range(options.rounds):
        # In turn, and the other way round each time, so that neither always comes first.
        for count in sorted(rounds, reverse=number % 2 == 1):
            run = round_of(options, count)
            rounds[count].append(run)
            say(f"round {number + 1}: {count} pages: {run['rate']:,.0f} jobs/s, busy {run['busy']:.1f} % of a core, "
                f"idle {run['idle']:.1f} %")
    return rounds[0], rounds[options.pages]


def report(options, without, opened):
    def middle(runs, what):
        return statistics.median(run[what] for run in runs)

    def span(runs, what, digits):
        values = [run[what] for run in runs]
        return f"{min(values):,.{digits}f} to {max(values):,.{digits}f}"
    rates = [run["rate"] for run in without]
    noise = (max(rates) - min(rates)) / statistics.median(rates)
    ratio = middle(opened, "rate") / middle(without, "rate")
    idle, busy = (middle(opened, what) - middle(without, what) for what in ("idle", "busy"))
    lines = ["| | nobody looks | "f"{options.pages} open pages | |", "|---|---|---|---|"]
    lines.append(f"| all slots at work, jobs/s | {middle(without, 'rate'):,.0f} ({span(without, 'rate', 0)}) "
                 f"| {middle(opened, 'rate'):,.0f} ({span(opened, 'rate', 0)}) | × {ratio:.2f}, noise ± {noise:.2f} |")
    for what, name, more in (("busy", f"{middle(without, 'offered'):,.0f} jobs/s offered, % of a core", busy),
                             ("idle", "nothing to do, % of a core", idle)):
        lines.append(f"| {name} | {middle(without, what):.1f} ({span(without, what, 1)}) "
                     f"| {middle(opened, what):.1f} ({span(opened, what, 1)}) | {more:+.1f} for the streams |")
    lines.append(f"| memory, MiB | {middle(without, 'memory'):.0f} | {middle(opened, 'memory'):.0f} | |")
    lines += ["", f"A page receives {middle(opened, 'bytes') / options.pages / 1024:.1f} KiB/s while jobs flow and "
              f"{middle(opened, 'quiet') / options.pages / 1024:.1f} KiB/s while nothing happens; opening it, with all "
              f"that it asks for at first, costs {middle(opened, 'opening') / options.pages * 1000:.1f} ms of a core."]
    missed = []
    if max(idle, busy) >= 10:
        missed.append(f"the streams take {max(idle, busy):.1f} % of a core; the goal is less than 10 %")
    # One round alone has no noise to be held against.
    if len(rates) > 1 and ratio < 1 - max(noise, 0.05):
        missed.append(f"jobs are slower with open pages: × {ratio:.2f}, and the noise is {noise:.2f}")
    return "\n".join(lines), missed
