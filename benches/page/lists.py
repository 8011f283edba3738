"""Lists and search over many ended jobs, through `/api/v1`."""
import json
import statistics
import time
from urllib.parse import quote

from ground import QUEUES, Ground, Service

FAILING, WAITING, DELETIONS = 3_000, 5_000, 100_000
# A queue that nobody listens to.
STILL = "archive"
GOAL = 100


def fill(ground, service, jobs):
    """Jobs that the service itself has carried out, and rows of deletions as the application has them."""
    began = time.monotonic()
    # Those that wait are the oldest: whoever lists them from the newest back passes all others.
    ground.loaded("fill", "--good", WAITING, queues=[STILL])
    ground.loaded("fill", "--good", jobs, "--failing", FAILING)
    columns = "business_id, job_type, status, total, processed, succeeded, created_at, updated_at, finished_at"
    at = "'2026-01-01 10:00:00'"
    values = f"1 + i % 20000, 'delete_receipts_all', 'completed', 1, 1, 1, {at}, {at}, {at}"
    numbers = (f"generate_series(1, {DELETIONS}) n(i)" if ground.postgres else
               f"(with recursive n(i) as (select 1 union all select i + 1 from n where i < {DELETIONS}) select i from n) n")
    ground.application(f"insert into background_jobs ({columns}) select {values} from {numbers}",
                       "insert into receipts (business_id, created_at) select 1, '2026-01-01 10:00:00' from "
                       + numbers.replace(str(DELETIONS), "1000"))
    service.until(lambda: ground.counts()[2] >= jobs + FAILING, f"the end of {jobs + FAILING} jobs")
    return time.monotonic() - began


def cursor_at(service, depth, filters=""):
    """The cursor of a page so deep, by turning pages; how many jobs there were until the end, where that came first."""
    cursor, seen = "", 0
    while seen < depth:
        page = service.asked("GET", f"/api/v1/jobs?limit=500{filters}&cursor={quote(cursor)}")
        seen += len(page["jobs"])
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    return cursor, seen


def cases(service, jobs):
    listed = service.asked("GET", "/api/v1/jobs?limit=500&state=finished")["jobs"]
    one = listed[len(listed) // 2]["id"]
    deep, seen = cursor_at(service, jobs // 2)
    deeper, of_state = cursor_at(service, jobs // 2, "&state=finished")
    if min(seen, of_state) < jobs // 2:
        raise SystemExit(f"turning pages ends after {seen} and {of_state} of {jobs} jobs")
    path = "/api/v1/jobs?"
    found = [("first page", path), ("first page of 500", path + "limit=500"),
             (f"page after {jobs // 2:,}", f"{path}cursor={deep}"),
             (f"finished, page after {jobs // 2:,}", f"{path}state=finished&cursor={deeper}")]
    found += [(f"state {state}", f"{path}state={state}")
              for state in ("queued", "scheduled", "started", "finished", "failed", "canceled")]
    found += [(f"queue {queue}", f"{path}queue={queue}") for queue in (*QUEUES, STILL)]
    found += [("failed of one queue", f"{path}queue=low&state=failed"),
              ("function", path + "function=tikkun.noop"), ("rare function", path + "function=tikkun.fail"),
              ("function that nobody has", path + "function=shop.report"),
              ("search: whole id", f"{path}search={one}"), ("search: beginning of an id", f"{path}search={one[:8]}"),
              ("search: text of a function", path + "search=ECHO"),
              ("search: text that is nowhere", path + "search=nowhere-at-all"),
              ("search: nowhere among the failed", path + "search=nowhere-at-all&state=failed"),
              ("one job", f"/api/v1/jobs/{one}"), ("overview", "/api/v1/overview"),
              ("deletions", "/api/v1/deletions"), ("one deletion", f"/api/v1/deletions/{DELETIONS // 2}"),
              ("a tenant's deletion", "/api/v1/tenants/777/deletion"),
              ("a tenant's dry run", "/api/v1/tenants/1/deletion/plan")]
    return found


def timed(service, asked, calls, say, longest=60):
    """Of each case its name, the jobs in its answer and the sorted times of its calls in milliseconds; no further call
    once they took `longest` seconds together."""
    times = []
    for name, path in asked:
        connection, taken = service.connect(), []
        size, ends = 0, time.monotonic() + longest
        while len(taken) < calls and time.monotonic() < ends:
            began = time.perf_counter()
            status, body, _ = service.call("GET", path, connection=connection)
            taken.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise SystemExit(f"{path} answers {status}: {body[:300]}")
            told = json.loads(body)
            size = len(told.get("jobs", [])) if isinstance(told, dict) else 0
        connection.close()
        times.append((name, size, sorted(taken)))
        say(f"{name}: {statistics.median(taken):.1f} ms")
    return times


def at(taken, share):
    return taken[min(len(taken) - 1, int(len(taken) * share))]


def measure(options, say):
    ground = Ground(options.programs, redis=options.redis, postgres=options.postgres)
    service = None
    try:
        service = Service(ground)
        filled = fill(ground, service, options.ended)
        say(f"{options.ended:,} jobs have ended after {filled:.0f} s")
        times = timed(service, cases(service, options.ended), options.calls, say)
        return filled, times
    finally:
        if service:
            service.close()
        ground.close()


def report(options, filled, times):
    lines = ["| | jobs in the answer | p50, ms | p95, ms | most, ms |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {size or ''} | {statistics.median(taken):.1f} | {at(taken, 0.95):.1f} | {taken[-1]:.1f} |"
              for name, size, taken in times]
    slow = [(name, at(taken, 0.95)) for name, _, taken in times if at(taken, 0.95) >= GOAL]
    missed = [f"{name} takes {took:.0f} ms (p95); the goal is less than {GOAL} ms" for name, took in slow]
    lines += ["", f"{options.calls} calls each, one after the other, over one connection. Carrying out "
              f"{options.ended:,} jobs, {FAILING:,} failures and filling {DELETIONS:,} rows took {filled:.0f} s."]
    return "\n".join(lines), missed
