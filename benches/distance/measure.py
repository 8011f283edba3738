"""Measures Tikkun and BullMQ near and far from their servers, and writes the table into docs/performance.md."""
import argparse
import contextlib
import importlib.util
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# Round trips in milliseconds.
REDIS, POSTGRES, STORAGE = 1, 1, 20
PINGS = 300


def bench(name):
    """The measurements of another benchmark."""
    folder = HERE.parent / name
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(f"{name}_measure", folder / "measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


peers, deletion = bench("peers"), bench("deletion")


class Line:
    """A line to a port of this machine, each way half of a round trip long."""

    def __init__(self, program, milliseconds, port):
        self.process = subprocess.Popen([program, str(milliseconds * 500), str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)


class FarRedis(peers.Ground):
    """Workers see the server at the end of a line; jobs are put in beside it."""

    def __init__(self, program):
        super().__init__()
        self.near, self.is_far = self.server.url, False
        self.line = Line(program, REDIS, self.port_of(self.near))

    @staticmethod
    def port_of(url):
        return int(url.rsplit(":", 1)[1].split("/")[0])

    def start(self, peer):
        if self.is_far:
            self.server.url = self.near.replace(str(self.port_of(self.near)), str(self.line.port))
        try:
            return super().start(peer)
        finally:
            self.server.url = self.near

    def round_trip(self):
        """The median of a short command over the line, in milliseconds."""
        import redis
        far, times = redis.Redis(port=self.line.port), []
        for _ in range(PINGS):
            began = time.perf_counter()
            far.ping()
            times.append((time.perf_counter() - began) * 1000)
        return statistics.median(times)

    def close(self):
        self.line.__exit__()
        super().close()


class FarDatabase(deletion.Ground):
    """Tikkun sees database and storage at the ends of lines."""

    def tikkun(self, case, database, wanted):
        if not case.far:
            return super().tikkun(case, database, wanted)
        program, near = self.programs / "examples/bench_line", (self.postgres.port, self.s3.endpoint)
        with contextlib.ExitStack() as lines:
            host, port = near[1].rsplit(":", 1)
            postgres = lines.enter_context(Line(program, POSTGRES, near[0]))
            s3 = lines.enter_context(Line(program, STORAGE, int(port)))
            self.postgres.port, self.s3.endpoint = postgres.port, f"{host}:{s3.port}"
            try:
                return super().tikkun(case, database, wanted)
            finally:
                self.postgres.port, self.s3.endpoint = near


def drains(options, rounds):
    """Jobs a second of each, near and far, and the round trip."""
    program, tikkun = options.programs / "examples/bench_noop", options.programs / "tikkun"
    known = {peer.name: peer for peer in peers.peers(program, tikkun, options.scale)[0]}
    bull = known["bullmq"]
    four = peers.Peer("bullmq-4", "BullMQ, 4 at a time", [*bull.work[:-1], "4"], bull.send, bull.jobs // 2, bull.done)
    ground = FarRedis(options.programs / "examples/bench_line")
    try:
        trip = ground.round_trip()
        for number in range(rounds):
            for peer in (four, known["tikkun-4"], bull, known["tikkun"]):
                for far in (False, True):
                    ground.is_far = far
                    rate = peers.drain(ground, peer)["rate"]
                    yield (peer.words, far), rate, trip
                    say(f"round {number + 1}: {peer.words}, {'far' if far else 'near'}: {rate:,.0f} jobs/s")
    finally:
        ground.close()


def deletions(options, rounds):
    """Receipts a second, near and far."""
    options.left_out, options.unprepared, options.row_by_row = False, False, 0
    cases = [case for case in deletion.CASES if case.how == "tikkun" and case.storage and case.batch in (50, deletion.TUNED)]
    ground = FarDatabase(options)
    try:
        for number in range(rounds):
            for case in cases:
                for case.far in (False, True):
                    rate = ground.run(case)["rate"]
                    yield (f"deletion, batches {case.batch if case.batch == deletion.TUNED else 'of 50'}", case.far), rate
                    say(f"round {number + 1}: batch {case.batch}, {'far' if case.far else 'near'}: {rate:,.0f} receipts/s")
    finally:
        ground.close()


def say(words):
    print(words, file=sys.stderr, flush=True)


def table(found):
    lines = ["| a second | near | far | far / near |", "|---|---|---|---|"]
    for words in dict.fromkeys(words for words, _ in found):
        near, far = (statistics.median(found[words, is_far]) for is_far in (False, True))
        lines.append(f"| {words} | {near:,.0f} | {far:,.0f} | {far / near:.2f} |")
    return "\n".join(lines)


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--programs", type=pathlib.Path, required=True)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--scale", type=float, default=1.0, help="factor on the numbers of jobs and receipts")
    words.add_argument("--only", choices=("drains", "deletions"), help="one half alone")
    words.add_argument("--print", action="store_true", help="print the table and change no file")
    options = words.parse_args()
    options.programs, options.receipts = options.programs.resolve(), int(50_000 * options.scale)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    found, trip, load = {}, 0, os.getloadavg()[0]
    if options.only != "deletions":
        for key, rate, trip in drains(options, options.rounds):
            found.setdefault(key, []).append(rate)
    if options.only != "drains":
        for key, rate in deletions(options, options.rounds):
            found.setdefault(key, []).append(rate)
    measured = (f"Measured on {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {options.rounds} rounds; the load of the "
                f"last minute was {load:.1f} when they began. A short command takes {trip:.2f} ms over the line to Redis.\n\n"
                f"{table(found)}")
    print(measured)
    if not options.print:
        peers.write({"distance": measured})


if __name__ == "__main__":
    main()
