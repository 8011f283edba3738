"""What the page costs: open pages on a busy service, lists over many ended jobs. Writes docs/performance.md."""
import argparse
import os
import pathlib
import platform
import re
import signal
import sys
import time

import lists
import pages
from ground import HERE

REPORT = HERE.parent.parent / "docs/performance.md"
PARTS = ("pages", "lists")


def machine(options, loads):
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} cores ({model.group(1) if model else 'unknown'})"
    under = "Redis" if options.redis else "the embedded engine"
    others = " Others used the machine, too." if loads[0] > 1 else ""
    return (f"Measured on {time.strftime('%Y-%m-%d')}: {cores}, {memory:.0f} GiB, Linux "
            f"{platform.release().split('-')[0]}, {under}. {options.rounds} rounds; the load of the last minute was "
            f"{min(loads):.1f} to {max(loads):.1f} when a part began.{others}")


def say(line):
    print(line, file=sys.stderr, flush=True)


def write(options, measured):
    name = "page-redis" if options.redis else "page"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = REPORT.read_text()
    REPORT.write_text(f"{text[:text.index(begin)]}{begin}\n{measured}\n{text[text.index(end):]}")


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--programs", type=pathlib.Path, required=True)
    words.add_argument("--only", choices=PARTS, help="one of the two parts")
    words.add_argument("--redis", action="store_true", help="jobs in Redis instead of the embedded engine")
    words.add_argument("--postgres", action="store_true", help="rows of deletions in PostgreSQL, for the lists")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--pages", type=int, default=200)
    words.add_argument("--rate", type=int, default=1_000, help="jobs a second that are offered to the busy service")
    words.add_argument("--seconds", type=int, default=8, help="how long each stretch is measured")
    words.add_argument("--jobs", type=int, default=20_000, help="jobs of the stretch with all slots at work")
    words.add_argument("--ended", type=int, default=100_000, help="ended jobs under the lists")
    words.add_argument("--calls", type=int, default=40, help="calls of each list")
    words.add_argument("--print", action="store_true", help="print the tables and change no file")
    options = words.parse_args()
    options.programs = options.programs.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    loads, parts, missed = [], [], []
    for name, part in (("pages", pages), ("lists", lists)):
        if options.only in (None, name):
            loads.append(os.getloadavg()[0])
            table, short = part.report(options, *part.measure(options, say))
            parts.append(table)
            missed += short
    measured = "\n\n".join([machine(options, loads), *parts])
    print(measured)
    for goal in missed:
        say(f"missed: {goal}")
    if not options.print and options.only is None:
        write(options, measured)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
