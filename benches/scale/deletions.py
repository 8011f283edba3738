"""A million receipts of one tenant, and ten thousand tenants whose deletion waits."""
import time

import psutil

from beside import Ground, Service, bench
from figures import Line, Rest, ask_for_deletions, by_tenth, each_queue, rate, say, tenths

deletion = bench("deletion")

# Receipts of each of many tenants.
RECEIPTS = 10
# Seconds between two reconciliations while they are measured.
OFTEN = 5


class Watched(deletion.Ground):
    """Half of all receipts are the tenant's; the way of its deletion is looked at."""

    every = 2

    def ended(self, connection):
        status, processed = connection.execute("select status, processed from background_jobs").fetchone()
        if processed and (not self.seen or processed > self.seen[-1][1]):
            self.seen.append((time.monotonic(), processed))
        return super().ended(connection)


def receipts(options, redis):
    """Without storage, then with it; batches tune themselves."""
    options.receipts, options.row_by_row, options.unprepared, options.left_out = options.of(1_000_000), 0, False, False
    lines, ground = [], Watched(options)
    try:
        for words, storage in (("storage left out", False), ("with S3", True)):
            ground.seen = []
            case = deletion.Case(words, "tikkun", deletion.TUNED, storage)
            found = ground.run(case)
            parts, peak = tenths(ground.seen, options.receipts), found["peak"] / 2**20
            say(f"{words}: {found['rate']:,.0f} receipts/s, by tenth {', '.join(f'{part:,.0f}' for part in parts)}, {peak:.0f} MiB")
            ratio = parts[-1] / parts[0]
            lines += [
                Line(f"{options.receipts:,} receipts of one tenant, {words}",
                     f"{rate(ground.seen):,.0f} receipts/s; first tenth {parts[0]:,.0f}, last {parts[-1]:,.0f}"),
                Line("… last tenth against the first", f"× {ratio:.2f}", "≥ × 0.80", ratio >= 0.8),
                Line("… memory at most", f"{peak:.0f} MiB", "≤ 64 MiB", peak <= 64),
            ]
    finally:
        ground.close()
    return lines


def tenants(options, redis):
    count = options.of(10_000)
    settings = {"TIKKUN_DELETION__THROTTLE": "0s", "TIKKUN_DELETION__STORAGE_DELETE": "false", "TIKKUN_WORKER__SLOTS": "4",
                "TIKKUN_RESCUER__RECONCILE_INTERVAL": f"{OFTEN}s"}
    ground, service = Ground(options.programs, redis=True, postgres=True, settings=settings), None
    try:
        service = Service(ground)
        ground.application(f"""insert into receipts (business_id, created_at) select i, '2026-01-01 10:00:00'
            from generate_series(1, {count}) t(i), generate_series(1, {RECEIPTS})""", "vacuum analyze")
        before, own = reconciled(ground, service), service.memory()
        each_queue(service, ["maintenance"], "pause")
        asked = ask_for_deletions(service, range(1, count + 1))
        say(f"asked for {asked:,.0f} deletions/s")
        rest, waiting = reconciled(ground, service), service.memory()
        each_queue(service, ["maintenance"], "resume")
        whole, parts = by_tenth(lambda: completed(ground), count, f"{count:,} deletions")
        say(f"{whole:,.0f} deletions/s, by tenth {', '.join(f'{part:,.0f}' for part in parts)}")
        each = [max(0, now - then) * OFTEN / 100 for now, then in zip(rest, before)]
        share = sum(each) / 30 * 100
        return [
            Line(f"{count:,} tenants ask to delete {RECEIPTS} receipts each", f"{asked:,.0f} requests/s over 4 connections"),
            Line("Tikkun's memory before, while all wait, at most", f"{own:.0f}, {waiting:.0f}, {service.peak():.0f} MiB"),
            Line("one reconciliation while all wait", "{:.0f} ms of Tikkun, {:.0f} ms of Redis, {:.0f} ms of PostgreSQL".format(
                *(one * 1000 for one in each))),
            Line("… with one every 30 s, as by default", f"{share:.1f} % of a core together", "< 5 % of a core", share < 5),
            Line("deletions with 4 slots, no throttle", f"{whole:,.0f} a second; first tenth {parts[0]:,.0f}, last {parts[-1]:,.0f}"),
            Line("… last tenth against the first", f"× {parts[-1] / parts[0]:.2f}", "≥ × 0.80", parts[-1] / parts[0] >= 0.8),
        ]
    finally:
        if service:
            service.close()
        ground.close()


def reconciled(ground, service):
    """Per cent of a core at rest: Tikkun's, Redis', PostgreSQL's."""
    before, began = of_postgres(ground), time.monotonic()
    rest = Rest(ground, service, 6 * OFTEN)
    return rest.own, rest.redis, (of_postgres(ground) - before) / (time.monotonic() - began) * 100


def of_postgres(ground):
    """Seconds of processor time of the server and its connections, also of those that have ended."""
    first = psutil.Process(int((ground.postgres.folder / "data/postmaster.pid").read_text().split()[0]))
    total = 0
    for process in [first, *first.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def completed(ground):
    return ground.postgres.run("bench", "select count(*) from background_jobs where status = 'completed'")[0][0]
