"""Tikkun at scale: which goals are met, and which are missed. Writes docs/performance.md."""
import argparse
import os
import pathlib
import platform
import re
import signal
import sys
import time

import deletions
import jobs
import looks
import processes
from figures import say

REPORT = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/performance.md"
MARKS = ("<!-- scale: begin -->", "<!-- scale: end -->")
# By name: what measures it, and whether on Redis.
PARTS = {"queued": (jobs.queued, True), "scheduled": (jobs.scheduled, True), "receipts": (deletions.receipts, True),
         "queues": (jobs.queues, True), "processes": (processes.processes, True), "tenants": (deletions.tenants, True),
         "page": (looks.look, True), "queued-embedded": (jobs.queued, False),
         "scheduled-embedded": (jobs.scheduled, False), "page-embedded": (looks.look, False)}


def machine(options, loads, minutes):
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} cores ({model.group(1) if model else 'unknown'})"
    scaled = f" Everything at × {options.scale:g}." if options.scale != 1 else ""
    return (f"Measured on {time.strftime('%Y-%m-%d')}: {cores}, {memory:.0f} GiB, Linux "
            f"{platform.release().split('-')[0]}, in {minutes:.0f} minutes. The load of the last minute was "
            f"{min(loads):.1f} to {max(loads):.1f} when a part began, of which 1 to 2 may be the part before.{scaled}")


def table(title, lines):
    return "\n".join([f"| {title} | | goal | |", "|---|---|---|---|", *(line.cells() for line in lines)])


def views_table(views):
    """p50 and p95 of each list, on each engine that was looked at."""
    heads = "".join(f" {name}, p50, ms | p95, ms |" for name in views)
    lines = [f"| |{heads}", "|---" * (1 + 2 * len(views)) + "|"]
    found = {name: {what: (middle, last) for what, middle, last in rows} for name, rows in views.items()}
    for what in dict.fromkeys(what for rows in found.values() for what in rows):
        cells = "".join(" {:.1f} | {:.1f} |".format(*rows[what]) if what in rows else " | |" for rows in found.values())
        lines.append(f"| {what} |{cells}")
    return "\n".join(lines)


def arguments():
    words = argparse.ArgumentParser()
    words.add_argument("--programs", type=pathlib.Path, required=True)
    words.add_argument("--only", default="", help=f"some parts, with commas between them: {', '.join(PARTS)}")
    words.add_argument("--scale", type=float, default=1.0, help="factor on all numbers")
    words.add_argument("--print", action="store_true", help="print the tables and change no file")
    options = words.parse_args()
    options.programs = options.programs.resolve()
    options.of = lambda number: max(1, int(number * options.scale))
    options.names = [name for name in options.only.split(",") if name] or list(PARTS)
    if unknown := set(options.names) - set(PARTS):
        raise SystemExit(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, loads, lines, views = time.monotonic(), [], {True: [], False: []}, {}
    for name in options.names:
        part, redis = PARTS[name]
        loads.append(os.getloadavg()[0])
        started = time.monotonic()
        found = part(options, redis)
        if part is looks.look:
            found, views["Redis" if redis else "embedded"] = found
        lines[redis] += found
        for line in found:
            say(f"{name}: {line.cells()}")
        say(f"{name}: {time.monotonic() - started:.0f} s")
    tables = [machine(options, loads, (time.monotonic() - began) / 60)]
    tables += [table(title, lines[redis]) for title, redis in
               (("on Redis and PostgreSQL", True), ("on the embedded engine", False)) if lines[redis]]
    if views:
        tables.append(views_table(views))
    measured = "\n\n".join(tables)
    print(measured)
    missed = [line for found in lines.values() for line in found if line.met is False]
    for line in missed:
        say(f"missed: {line.what}: {line.figure}; the goal is {line.goal}")
    if not options.print and not options.only:
        text = REPORT.read_text()
        first, last = (text.index(mark) for mark in MARKS)
        REPORT.write_text(f"{text[:first]}{MARKS[0]}\n{measured}\n{text[last:]}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
