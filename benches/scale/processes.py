"""Two hundred processes on one Redis. They are real ones: what a process costs is more than its lease."""
import contextlib
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import psutil

from beside import Ground, Service
from figures import Line, Rest, doctor_line, overview_line, say

PROCESSES, AT_ONCE, SLOTS = 200, 10, 4
QUIET = 20


class Others:
    """Further processes of the service, each with a data folder of its own."""

    def __init__(self, ground):
        self.ground, self.all = ground, []
        self.folder = tempfile.TemporaryDirectory(prefix="others-", dir=ground.data)

    def start(self, count):
        leases = self.ground.redis.redis.zcard
        while len(self.all) < count:
            for _ in range(min(AT_ONCE, count - len(self.all))):
                self.all.append(self.one(pathlib.Path(self.folder.name) / str(len(self.all))))
            # The one that is looked at has a lease, too.
            deadline = time.monotonic() + 60
            while leases("rq:tikkun:leases") < len(self.all) + 1:
                if time.monotonic() > deadline or any(one.poll() is not None for one in self.all):
                    raise SystemExit(f"only {leases('rq:tikkun:leases')} of {len(self.all) + 1} processes live")
                time.sleep(0.05)

    def one(self, data):
        environment = {**self.ground.environment(), "TIKKUN_SERVICE__DATA": str(data), "TIKKUN_HTTP__ENABLED": "false"}
        return psutil.Popen([self.ground.programs / "tikkun", "serve"], env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cpu(self):
        return [sum(one.cpu_times()[:2]) for one in self.all]

    def close(self):
        for one in self.all:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        for one in psutil.wait_procs(self.all, 60)[1]:
            one.kill()
        psutil.wait_procs(self.all, 30)
        self.folder.cleanup()


def processes(options, redis):
    count = max(4, options.of(PROCESSES))
    settings = {"TIKKUN_WORKER__SLOTS": str(SLOTS)}
    ground, service, others = Ground(options.programs, redis=True, settings=settings), None, None
    try:
        service = Service(ground)
        alone = Rest(ground, service, 10)
        began, others = time.monotonic(), Others(ground)
        others.start(count - 1)
        say(f"{count} processes after {time.monotonic() - began:.0f} s")
        time.sleep(5)
        before, began = others.cpu(), time.monotonic()
        rest = Rest(ground, service, QUIET, settle=0)
        passed = time.monotonic() - began
        shares = sorted((now - then) / passed * 100 for now, then in zip(others.cpu(), before))
        say(f"at rest {rest.words(ground)}; the others {shares[0]:.1f} to {shares[-1]:.1f} %")
        clients = ground.redis.redis.info("clients")["connected_clients"] - 1
        memory = sum(one.memory_full_info().pss for one in others.all) / len(others.all) / 2**20
        views = [doctor_line(ground, f"beside {count} processes"), overview_line(service, f"beside {count} processes")]
        held = count * SLOTS
        ground.loaded("fill", "--good", held, "--sleep", 600)
        service.until(lambda: ground.counts()[1] >= held, f"{held} jobs to run")
        busy = Rest(ground, service, QUIET)
        say(f"with {held} jobs that run: {busy.words(ground)}")
        return [
            Line(f"{count} processes of 8 queues and 4 slots on one Redis",
                 f"{clients:,} connections; {memory:.0f} MiB each (PSS)"),
            Line("at rest: Redis", f"{rest.redis:.1f} % of a core, {rest.commands:,.0f} commands/s", "< 25 % of a core", rest.redis < 25),
            Line("at rest: one process, median and most", f"{statistics.median(shares):.2f} and {shares[-1]:.2f} % of a core",
                 "median < 1 % of a core", statistics.median(shares) < 1),
            Line("… a process alone", alone.words(ground)),
            Line(f"while each runs {SLOTS} jobs that wait: Redis", f"{busy.redis:.1f} % of a core, {busy.commands:,.0f} commands/s",
                 "< 25 % of a core", busy.redis < 25),
            Line("while each runs them: the process that is looked at", f"{busy.own:.1f} % of a core"),
            *views,
        ]
    finally:
        if others:
            others.close()
        if service:
            service.close()
        ground.close()
