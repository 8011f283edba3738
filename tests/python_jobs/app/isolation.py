"""Jobs that do their worst to their process, and jobs that look at what is left of it."""

import json
import logging
import os
import signal
import struct
import subprocess
import sys
import threading
import time

from rq import get_current_job

# What differs from job to job.
OF_A_JOB = ("RQ_JOB_ID", "RQ_EXECUTION_ID", "RQ_WORKER_ID")


def redis():
    return get_current_job().connection


def wait_for(key):
    deadline = time.monotonic() + 600
    while not redis().exists(key) and time.monotonic() < deadline:
        time.sleep(0.05)


def neighbour(key):
    """Runs until somebody sets the key. Returns how often it was begun."""
    begun = redis().incr("begun:" + get_current_job().id)
    wait_for(key)
    return begun


def state():
    """The state of its process that a job finds."""
    print("a job that looks around")
    print("and complains", file=sys.stderr)
    with open("/proc/self/task/%d/children" % os.getpid()) as file:
        children = file.read()
    # RQ's own handler of SIGALRM is another object for each job.
    signals = sorted(signal.valid_signals() - {signal.SIGALRM})
    return {
        "cwd": os.getcwd(),
        "umask": os.umask(0o022),
        "threads": threading.active_count(),
        "handlers": [repr(signal.getsignal(number)) for number in signals],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "environment": sorted(
            (name, value) for name, value in os.environ.items() if name not in OF_A_JOB
        ),
        "path": sys.path,
        "streams": [
            os.readlink("/proc/self/fd/%d" % fd).split(":")[0] for fd in range(3)
        ],
        "children": children,
    }


def abort():
    os.abort()


def leave_at_once(status):
    os._exit(status)


def overflow():
    """Goes down through C, whose stack is short."""
    sys.setrecursionlimit(2**30)

    def down(_=None):
        return list(map(down, [0]))

    down()


def spin():
    while True:
        pass


def start_processes(count):
    """Processes whose ids a test finds."""
    started = [subprocess.Popen(["sleep", "1000"]) for _ in range(count)]
    redis().rpush("left:" + get_current_job().id, *(process.pid for process in started))


def leave_processes(count):
    start_processes(count)
    raise RuntimeError("left them behind")


def block_alarm(count):
    """Does not let RQ's alarm through, and starts processes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    start_processes(count)
    spin()


def once_more(count):
    """Hangs with processes that it has started. Ends well when it is begun again."""
    if redis().incr("begun:" + get_current_job().id) > 1:
        return "again"
    block_alarm(count)


def leave_thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()


def close_fds():
    os.closerange(0, 256)


def move():
    os.chdir("/")
    os.umask(0)
    os.environ["MOVED"] = "away"
    sys.path.insert(0, "/nowhere")


def change_handlers():
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGCHLD,
        signal.SIGUSR1,
        signal.SIGALRM,
    ):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGALRM])


def leave():
    sys.exit(3)


def flood(megabytes):
    line = "x" * 1023 + "\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)


def forge():
    """Prints what would be an answer, if anything that is printed were one."""

    def frame(kind, *fields):
        body = bytes([kind]) + b"".join(
            struct.pack("<I", len(field)) + field for field in fields
        )
        return struct.pack("<I", len(body)) + body

    id = get_current_job().id.encode()
    ok = json.dumps({"outcome": "ok", "serializable": True, "none": True}).encode()
    for fd in (1, 2):
        os.write(
            fd, frame(50, ok, b"", b"") + frame(49, b"done", b"-1") + frame(51, b"jobs")
        )
        os.write(
            fd,
            b"\n\x1eTIKKUN 0 " + id + b"\n\x1e" + frame(18, b"1", b"0", b"{}") + b"\n",
        )
        os.write(
            fd,
            b'{"level": "INFO", "message": "a job has succeeded", "job.id": "'
            + id
            + b'"}\n',
        )
    raise ValueError("it was not believed")


def crash_after(key):
    wait_for(key)
    os.abort()


def hoard(megabytes):
    """Keeps more and more memory, slower than it is looked at."""
    kept = []
    for _ in range(megabytes // 8):
        kept.append(b"x" * (8 << 20))
        time.sleep(0.05)
    return len(kept)


def announce():
    """Says its id in all ways, and something of another job."""
    id = get_current_job().id
    print("out", id)
    sys.stderr.write("err %s\n" % id)
    logging.getLogger("shop").warning("log %s", id)
    print(json.dumps({"message": "forged " + id, "job.id": "another"}))
