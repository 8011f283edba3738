"""Compares what Redis holds after a scenario, field by field, and knows the differences that are meant."""

import fnmatch
import re
import tomllib
from pathlib import Path

# Seconds by which moments and lives of keys may differ between two runs of the same scenario.
LATITUDE = 4
# Seconds by which keys live longer on the server under Tikkun: it drops what has ended itself, and then nothing is lost that
# was enqueued again meanwhile.
GRACE = 5


def known():
    with (Path(__file__).parent / "differences.toml").open("rb") as file:
        return tomllib.load(file).get("difference", [])


def flat(value, path=()):
    """Each leaf with its path."""
    if isinstance(value, dict) and set(value) == {"seconds from now"}:
        yield path, ("in", value["seconds from now"])
    elif isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from flat(inner, (*path, str(name)))
    elif isinstance(value, list) and value:
        for n, inner in enumerate(value):
            yield from flat(inner, (*path, str(n)))
    else:
        yield path, value


def same(path, one, other):
    if isinstance(one, tuple) and isinstance(other, tuple):
        return abs(one[1] - other[1]) <= LATITUDE
    if path[-1] == "ttl" and isinstance(one, int) and isinstance(other, int) and min(one, other) >= 0:
        return abs(one - other) <= LATITUDE + GRACE
    return one == other


def shown(value):
    return value if value is None else str(value)[:1500]


def spread(answer):
    """The same with what a job saw of Redis while it ran as keys of its own."""
    spread = {}
    for key, entry in answer.items():
        if key.startswith("snapshot:"):
            for name, inner in entry["value"].items():
                if name == "rq:worker:<worker>":
                    # They count from the start of the worker, and so repeat the differences of earlier scenarios.
                    kept = {f: v for f, v in inner["value"].items() if not f.endswith("_job_count")}
                    inner = {**inner, "value": kept}
                spread["running " + name] = inner
        else:
            spread[key] = entry
    return spread


def differences(ours, theirs):
    """Each field that differs: its key, its path in it, what RQ has there, and what Tikkun has."""
    ours, theirs = spread(ours), spread(theirs)
    for key in sorted(set(ours) | set(theirs)):
        if key not in ours or key not in theirs:
            rq, tikkun = (None, str(ours[key])) if key in ours else (str(theirs[key]), None)
            yield key, "", shown(rq), shown(tikkun)
            continue
        one, other = dict(flat(theirs[key])), dict(flat(ours[key]))
        for path in sorted(set(one) | set(other)):
            if path not in one or path not in other or not same(path, one[path], other[path]):
                field = "/".join(path).removeprefix("value/")
                yield key, field, shown(one.get(path)), shown(other.get(path))


def explains(entry, version, scenario, isolation, key, field, rq, tikkun):
    def holds(name, text):
        patterns = entry.get(name)
        if patterns is None:
            return True
        patterns = [patterns] if isinstance(patterns, str) else patterns
        return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)

    def says(name, value):
        pattern = entry.get(name)
        return pattern is None or (value is not None and re.search(pattern, value, re.DOTALL) is not None)

    return (
        holds("key", key.removeprefix("running "))
        and holds("moment", "running" if key.startswith("running ") else "end")
        and holds("field", field)
        and holds("scenario", scenario)
        and holds("isolation", isolation)
        and holds("rq_version", version)
        and says("rq", rq)
        and says("tikkun", tikkun)
        and entry.get("only") in (None, "tikkun" if rq is None else "rq" if tikkun is None else "")
    )


def report(answers, version, whole):
    entries, used, unexplained = known(), set(), []
    for isolation in ("job", "warm"):
        for scenario, theirs in answers["rq"].items():
            for found in differences(answers[isolation][scenario], theirs):
                fitting = [n for n, one in enumerate(entries) if explains(one, version, scenario, isolation, *found)]
                used.update(fitting)
                if not fitting:
                    names = ("scenario", "isolation", "key", "field", "rq", "tikkun")
                    unexplained.append(dict(zip(names, (scenario, isolation, *found))))
    return {"unexplained": unexplained, "used": sorted(used), "known": len(entries)}
