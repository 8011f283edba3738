"""A private Redis without persistence: temporary folder, free port of the loopback, stopped by its id at the end."""
import shutil
import socket
import subprocess
import tempfile
import time

import redis


class Server:
    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.folder = tempfile.mkdtemp(prefix="tikkun-bench-")
        self.process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no",
             "--dir", self.folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"redis://127.0.0.1:{port}/0"
        self.redis = redis.Redis(port=port, retry=None)
        self.results_url = f"redis://127.0.0.1:{port}/1"
        self.results = redis.Redis(port=port, db=1, retry=None)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.redis.ping()
                return
            except redis.ConnectionError as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.close()
                    raise SystemExit(f"redis-server does not answer at {self.url}: {error}")
                time.sleep(0.02)

    def version(self):
        return self.redis.info("server")["redis_version"]

    def spent(self):
        """CPU seconds, commands (those inside scripts too), and reads from sockets so far."""
        cpu, stats = self.redis.info("cpu"), self.redis.info("stats")
        commands = sum(one["calls"] for one in self.redis.info("commandstats").values())
        return cpu["used_cpu_user"] + cpu["used_cpu_sys"], commands, stats["total_reads_processed"]

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
