"""The job of the RQ workers: does nothing, or tells how long it waited."""
import os
import time


def noop(sent):
    if sent:
        waited = time.time_ns() - sent
        with open(os.environ["BENCH_WAITS"], "a") as waits:
            waits.write(f"{waited}\n")
