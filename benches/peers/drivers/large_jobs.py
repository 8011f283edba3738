"""The job of an application that has 150 MB in memory, in small objects, of which each job reads the same few."""
import os

SIZE = 150_000_000
READ = 200


def _resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _fill():
    rows, least = [], _resident() + SIZE
    while len(rows) % 1_000 or _resident() < least:
        rows.append({"name": f"row {len(rows)}", "values": [f"value {number}" for number in range(10)]})
    return rows


ROWS = _fill()


def noop(_sent):
    return sum(len(row["values"]) for row in ROWS[:READ])
