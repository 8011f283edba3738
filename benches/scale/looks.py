"""What people look at, with a million jobs waiting, a million scheduled and ten thousand deletions."""
import statistics

from beside import Ground, Service, at, lists, timed
from figures import Line, ask_for_deletions, doctor_line, each_queue, say

ENDED, CALLS = 100_000, 20
# Tenants with deletions that wait; those that `fill` makes come before.
FIRST_TENANT = 30_001


def look(options, redis):
    """The lines, and of each list its name, p50 and p95."""
    jobs, deletions, ended = options.of(1_000_000), options.of(10_000), max(2_000, options.of(ENDED))
    # Beside Redis PostgreSQL has the rows, and beside the embedded engine SQLite.
    ground, service = Ground(options.programs, redis=redis, postgres=redis), None
    try:
        service = Service(ground)
        lists.fill(ground, service, ended)
        each_queue(service, ground.queues, "pause")
        rows = (f"generate_series(0, {deletions - 1}) n(i)" if ground.postgres else
                f"(with recursive n(i) as (select 0 union all select i + 1 from n where i < {deletions - 1}) select i from n) n")
        ground.application("insert into receipts (business_id, created_at) select "
                           f"{FIRST_TENANT} + i, '2026-01-01 10:00:00' from {rows}")
        ask_for_deletions(service, range(FIRST_TENANT, FIRST_TENANT + deletions))
        ground.loaded("fill", "--good", jobs)
        ground.loaded("fill", "--good", jobs, "--delay", 365 * 24 * 3600)
        say("filled")
        times = timed(service, lists.cases(service, ended), CALLS, say, longest=10)
        slow = [name for name, _, taken in times if at(taken, 0.95) >= 100]
        worst = max(times, key=lambda one: at(one[2], 0.95))
        lines = [
            Line(f"the page's {len(times)} lists and views, below",
                 f"{len(times) - len(slow)} below 100 ms; slowest: {worst[0]}, {at(worst[2], 0.95):,.0f} ms",
                 "p95 < 100 ms", not slow),
            doctor_line(ground, "with all of them"),
            Line("Tikkun's memory meanwhile, at most", f"{service.peak():.0f} MiB"),
        ]
        return lines, [(name, statistics.median(taken), at(taken, 0.95)) for name, _, taken in times]
    finally:
        if service:
            service.close()
        ground.close()
