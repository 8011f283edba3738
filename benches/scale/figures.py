"""What all parts measure in the same way: lines of the table, rest, drains, and the time that an answer takes."""
import concurrent.futures
import json
import sqlite3
import statistics
import subprocess
import sys
import time

from beside import SECRET, at, timed


class Line:
    """One line of the table; `met` is empty where there is no goal."""

    def __init__(self, what, figure, goal="", met=None):
        self.what, self.figure, self.goal, self.met = what, figure, goal, met

    def cells(self):
        return f"| {self.what} | {self.figure} | {self.goal} | {'' if self.met is None else 'met' if self.met else 'missed'} |"


def below(what, value, limit, unit, digits=1):
    return Line(what, f"{value:,.{digits}f} {unit}", f"< {limit:,} {unit}", value < limit)


def say(line):
    print(line, file=sys.stderr, flush=True)


class Rest:
    """Shares of a core over some seconds in which nothing happens, and the commands that reach Redis."""

    def __init__(self, ground, service, seconds, settle=3):
        time.sleep(settle)
        began, own, server = time.monotonic(), service.cpu(), spent(ground)
        time.sleep(seconds)
        passed = time.monotonic() - began
        after = spent(ground)
        self.own = (service.cpu() - own) / passed * 100
        self.redis, self.commands = ((after[i] - server[i]) / passed * (100, 1)[i] for i in (0, 1))

    def words(self, ground):
        redis = f"; Redis {self.redis:.1f} %, {self.commands:,.0f} commands/s" if ground.redis else ""
        return f"{self.own:.1f} % of a core{redis}"


def spent(ground):
    return ground.redis.spent()[:2] if ground.redis else (0, 0)


def kept(ground):
    """Bytes that the queue has now: in Redis' memory, or in the embedded engine's file."""
    if ground.redis:
        return ground.redis.redis.info("memory")["used_memory"]
    with sqlite3.connect(f"file:{ground.data}/queue.db?mode=ro", uri=True, timeout=30) as queue:
        pages, free, size = (queue.execute(f"pragma {name}").fetchone()[0] for name in
                             ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def each_queue(service, queues, verb):
    for queue in queues:
        service.asked("POST", f"/api/v1/queues/{queue}/{verb}")


def drain(ground, service, jobs, longest=600):
    """Fills all queues of the ground, and lets them run empty: jobs/s, whole and by tenth of the way, and microseconds of
    processor time a job, ours and Redis', which say more than rates where others use the machine, too."""
    each_queue(service, ground.queues, "pause")
    ground.loaded("fill", "--good", jobs)
    return emptied(ground, service, jobs, longest)


def emptied(ground, service, jobs, longest=600):
    own, server = service.cpu(), spent(ground)[0]
    each_queue(service, ground.queues, "resume")

    def done():
        waiting, running, _ = ground.counts()
        return jobs - waiting - running
    whole, parts = by_tenth(done, jobs, f"the end of {jobs:,} jobs", longest)
    return whole, parts, ((service.cpu() - own) / jobs * 1e6, (spent(ground)[0] - server) / jobs * 1e6)


def by_tenth(done, everything, what, longest=600):
    """From the first that is done to the last: how many a second, whole and by tenth of the way."""
    seen, ends = [], time.monotonic() + longest
    step = 0.02 if everything <= 50_000 else 0.1
    while True:
        now, count = time.monotonic(), done()
        if count > 0 and (not seen or count > seen[-1][1]):
            seen.append((now, count))
        if count >= everything:
            break
        if now > ends:
            raise SystemExit(f"waited {longest} s for {what}: {count:,} are done")
        time.sleep(step)
    return rate(seen), tenths(seen, everything)


def rate(seen):
    (first, before), (last, after) = seen[0], seen[-1]
    return (after - before) / max(last - first, 0.001)


def tenths(seen, everything):
    """How many a second in each tenth of the way, from what was seen at its borders or next to them."""
    found, start = [], seen[0]
    for number in range(1, 11):
        end = next((one for one in seen if one[1] >= everything * number / 10), seen[-1])
        if end[1] > start[1]:
            found.append(rate([start, end]))
            start = end
    return found or [rate(seen)]


def doctor(ground, times):
    """Milliseconds of `tikkun doctor`, from its start to its end, sorted, and the codes of what it finds."""
    taken, codes = [], set()
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run([ground.programs / "tikkun", "doctor", "--json"], env=ground.environment(),
                              capture_output=True, text=True, timeout=120)
        taken.append((time.perf_counter() - began) * 1000)
        if done.returncode not in (0, 1) or not done.stdout:
            raise SystemExit(f"tikkun doctor ends with {done.returncode}: {done.stderr[-2000:]}")
        codes |= {finding["code"] for finding in json.loads(done.stdout)["findings"]}
    say(f"doctor: {statistics.median(taken):.0f} ms, finds {', '.join(sorted(codes)) or 'nothing'}")
    return sorted(taken), codes


def doctor_line(ground, where, times=10):
    taken, codes = doctor(ground, times)
    unserved = [code for code in codes if code.endswith("_unreachable")]
    figure = f"{statistics.median(taken):.0f} / {at(taken, 0.95):.0f} ms"
    if unserved:
        figure += f", and it says {', '.join(unserved)}"
    return Line(f"`tikkun doctor` {where}, p50 / p95", figure, "p95 < 100 ms", at(taken, 0.95) < 100 and not unserved)


def overview_line(service, where, calls=40):
    [(_, _, taken)] = timed(service, [("overview", "/api/v1/overview")], calls, say)
    return Line(f"the page's overview {where}, p50 / p95", f"{statistics.median(taken):.1f} / {at(taken, 0.95):.1f} ms",
                "p95 < 100 ms", at(taken, 0.95) < 100)


def ask_for_deletions(service, tenants, clients=4):
    """One deletion of each tenant, over a few connections; requests a second."""
    def ask(some):
        connection = service.connect()
        for tenant in some:
            body = json.dumps({"confirm": tenant})
            connection.request("POST", f"/api/v1/tenants/{tenant}/deletion", body, {"X-Internal-Secret": SECRET})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 202:
                raise SystemExit(f"the deletion of tenant {tenant} is answered {answer.status}: {text[:300]}")
        connection.close()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for _ in pool.map(ask, [tenants[first::clients] for first in range(clients)]):
            pass
    return len(tenants) / (time.monotonic() - began)
