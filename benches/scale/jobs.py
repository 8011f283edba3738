"""A million jobs that wait, a million that are scheduled, and many queues in one process."""
import statistics
import sqlite3

from beside import Ground, Service
from figures import Line, Rest, by_tenth, drain, each_queue, emptied, kept, say

SMALL, ROUNDS = 10_000, 5
YEAR = 365 * 24 * 3600
QUIET = 20
QUEUES, IN_QUEUES = 64, 96_000


def where(ground):
    return "Redis" if ground.redis else "the file"


def queued(options, redis):
    """All in one queue, which is the longest list that there can be."""
    jobs = options.of(1_000_000)
    ground, service = Ground(options.programs, redis=redis, queues=["default"]), None
    try:
        service = Service(ground)
        drain(ground, service, 2_000)
        drains = [drain(ground, service, SMALL) for _ in range(ROUNDS)]
        small, before = [one[0] for one in drains], [statistics.median(costs) for costs in zip(*(one[2] for one in drains))]
        say(f"{SMALL:,} jobs: {min(small):,.0f} to {max(small):,.0f} jobs/s")
        own, empty = service.memory(), kept(ground)
        each_queue(service, ground.queues, "pause")
        ground.loaded("fill", "--good", jobs)
        held, waiting = kept(ground) - empty, service.memory()
        whole, parts, costs = emptied(ground, service, jobs)
        ratio = whole / statistics.median(small)
        say(f"{jobs:,} jobs: {whole:,.0f} jobs/s, by tenth {', '.join(f'{part:,.0f}' for part in parts)}")
        return [
            Line(f"{jobs:,} queued jobs: {where(ground)}", f"{held / 2**20:,.0f} MiB, {held / jobs:,.0f} bytes a job"),
            Line("Tikkun's memory before them, with them, at most", f"{own:.0f}, {waiting:.0f}, {service.peak():.0f} MiB"),
            Line(f"drain of {SMALL:,}, median of {ROUNDS}",
                 f"{statistics.median(small):,.0f} jobs/s ({min(small):,.0f} to {max(small):,.0f})"),
            Line(f"drain of {jobs:,}", f"{whole:,.0f} jobs/s; first tenth {parts[0]:,.0f}, last {parts[-1]:,.0f}"),
            Line(f"… against that of {SMALL:,}", f"× {ratio:.2f}", "≥ × 0.90", ratio >= 0.9),
            Line("processor time a job", words(before, redis) + f" of {SMALL:,}; " + words(costs, redis) + f" of {jobs:,}"),
        ]
    finally:
        end(service, ground)


def words(costs, redis):
    return f"{costs[0]:.0f} µs" + (f" and {costs[1]:.0f} µs of Redis" if redis else "")


def end(service, ground):
    if service:
        service.close()
    ground.close()


def scheduled(options, redis):
    jobs = options.of(1_000_000)
    ground, service = Ground(options.programs, redis=redis, queues=["default"]), None
    try:
        service = Service(ground)
        empty, own, before = Rest(ground, service, 5), service.memory(), kept(ground)
        ground.loaded("fill", "--good", jobs, "--delay", YEAR)
        held = kept(ground) - before
        rest = Rest(ground, service, QUIET)
        say(f"{jobs:,} scheduled: at rest {rest.words(ground)}")
        # What comes due stays in its queue, so that nothing else is measured.
        each_queue(service, ground.queues, "pause")
        make_due(ground)
        whole, parts = by_tenth(lambda: jobs - still_scheduled(ground), jobs, f"{jobs:,} jobs to come due")
        say(f"promoted {whole:,.0f} jobs/s, by tenth {', '.join(f'{part:,.0f}' for part in parts)}")
        ratio = parts[-1] / parts[0]
        return [
            Line(f"{jobs:,} scheduled jobs: {where(ground)}",
                 f"{held / 2**20:,.0f} MiB, {held / jobs:,.0f} bytes a job"),
            Line("Tikkun's memory before them, at most", f"{own:.0f}, {service.peak():.0f} MiB"),
            Line("at rest without any", empty.words(ground)),
            Line("at rest, all due next year", rest.words(ground), "< 1 % of a core each", max(rest.own, rest.redis) < 1),
            Line("all come due at once", f"{whole:,.0f} jobs/s moved to their queue"),
            Line("… last tenth against the first", f"× {ratio:.2f}", "≥ × 0.80", ratio >= 0.8),
        ]
    finally:
        end(service, ground)


def still_scheduled(ground):
    if ground.redis:
        return ground.redis.redis.zcard("rq:scheduled:default")
    with sqlite3.connect(f"file:{ground.data}/queue.db?mode=ro", uri=True, timeout=30) as queue:
        return queue.execute("select coalesce(sum(scheduled), 0) from tikkun_queues").fetchone()[0]


def make_due(ground):
    """In one step, so that nothing is moved while it is under way."""
    if ground.redis:
        ground.redis.redis.zunionstore("rq:scheduled:default", {"rq:scheduled:default": 0})
        return
    with sqlite3.connect(f"{ground.data}/queue.db", timeout=60) as queue:
        queue.execute("update tikkun_jobs set due_at = 1 where state = 'scheduled'")


def queues(options, redis):
    """One process with many queues beside one with a single one, in turns."""
    jobs = max(6_400, options.of(IN_QUEUES))
    grounds, services = [], []
    try:
        for names in ([f"q{number}" for number in range(QUEUES)], ["default"]):
            grounds.append(Ground(options.programs, redis=redis, queues=names))
            services.append(Service(grounds[-1]))
        rests = [Rest(*pair, 10) for pair in zip(grounds, services)]
        memory = [service.memory() for service in services]
        clients = [ground.redis.redis.info("clients")["connected_clients"] - 1 for ground in grounds]
        rates = [[], []]
        for number in range(3):
            for place in (0, 1) if number % 2 else (1, 0):
                rates[place].append(drain(grounds[place], services[place], jobs)[0])
        many, one = map(statistics.median, rates)
        say(f"{QUEUES} queues: {many:,.0f} jobs/s, one queue: {one:,.0f} jobs/s")
        return [
            Line(f"{QUEUES} queues in one process, at rest", rests[0].words(grounds[0]), "< 1 % of a core", rests[0].own < 1),
            Line("one queue, at rest", rests[1].words(grounds[1])),
            Line("memory, connections to Redis", f"{memory[0]:.0f} MiB, {clients[0]}; with one queue {memory[1]:.0f} MiB, {clients[1]}"),
            Line(f"drain of {jobs:,} over {QUEUES} queues", f"{many:,.0f} jobs/s; from one queue {one:,.0f}, medians of 3"),
            Line("… against one queue", f"× {many / one:.2f}", "≥ × 0.90", many / one >= 0.9),
        ]
    finally:
        for pair in zip(services, grounds):
            end(*pair)
        for ground in grounds[len(services):]:
            ground.close()
