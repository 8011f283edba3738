"""A private PostgreSQL and a private S3 server: temporary folders, free ports of the loopback, gone at the end."""
import glob
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

import psycopg


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """A cluster as durable as by default (fsync and synchronous_commit on), without autovacuum."""

    SETTINGS = ("listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{folder}'\n"
                "shared_buffers = 512MB\nmax_wal_size = 8GB\ncheckpoint_timeout = 1h\nautovacuum = off\n")

    def __init__(self):
        bins = glob.glob("/usr/lib/postgresql/*/bin/initdb")
        if not bins:
            raise SystemExit("PostgreSQL is not installed under /usr/lib/postgresql; `tests/run` installs it")
        self.bin = pathlib.Path(max(bins, key=lambda b: int(b.split("/")[4]))).parent
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tikkun-bench-"))
        self.port = free_port()
        self.become = {}
        if os.geteuid() == 0:
            user = next(u for u in pwd.getpwall() if u.pw_name in ("postgres", "nobody"))
            self.become = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self.call("initdb", "-U", "tikkun", "-A", "trust", "-E", "UTF8", "--no-locale")
        with open(self.folder / "data/postgresql.conf", "a") as conf:
            conf.write(self.SETTINGS.format(port=self.port, folder=self.folder))
        self.call("pg_ctl", "-s", "-w", "-l", str(self.folder / "log"), "start")

    def call(self, program, *args):
        subprocess.run([self.bin / program, "-D", self.folder / "data", *args], check=True, cwd=self.folder,
                       stdout=subprocess.DEVNULL, **self.become)

    def url(self, database):
        return f"postgresql://tikkun@127.0.0.1:{self.port}/{database}"

    def run(self, database, *statements):
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                answer = connection.execute(statement)
            return answer.fetchall() if answer.description else None

    def close(self):
        self.call("pg_ctl", "-s", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)


class S3:
    """The server of the tests, in a process of its own; it ends when its input closes."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint, self.bucket, self.key_id, self.secret = self.process.stdout.readline().split()

    def order(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def fill(self, keys):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as file:
            file.writelines(key + "\n" for key in keys)
            file.flush()
            assert self.order(f"fill {file.name}") == ["filled"]

    def count(self):
        """Requests so far, and objects that are there."""
        requests, objects = self.order("count")
        return int(requests), int(objects)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
