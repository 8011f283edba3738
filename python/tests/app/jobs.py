"""Jobs of the application under test."""

import asyncio
import ctypes
import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

from rq import get_current_job


def add(a, b):
    return a + b


def nothing():
    return None


def talk(words):
    print("said", words)
    print("complained", words, file=sys.stderr)


def chained():
    try:
        raise ValueError("the first cause")
    except ValueError as error:
        raise KeyError("what came of it") from error


def sleep(seconds):
    time.sleep(seconds)


def unserializable():
    return threading.Lock()


def large(size):
    return b"x" * size


def too_large():
    sys.modules["tikkun_shim.frames"].MAX_FRAME = 2000
    return b"x" * 1500 + bytes(range(200)) * 3


def meta():
    job = get_current_job()
    job.meta["progress"] = 0.5
    job.save_meta()
    return job.id


def save_itself():
    job = get_current_job()
    job.description = "described anew"
    job.save()


def environment():
    return {name: value for name, value in os.environ.items() if name.startswith(("RQ_", "TIKKUN_"))}


def plain_subprocess():
    """What a Python process that a job starts sees of Tikkun."""
    code = (
        "import os, sys; print([n for n in os.environ if n.startswith('TIKKUN')],"
        " 'tikkun_shim' in sys.modules, os.environ.get('PYTHONPATH'), sys.path[1:])"
    )
    return subprocess.check_output([sys.executable, "-c", code], text=True)


class Unwilling:
    """A stream that cannot be flushed as others are."""

    def write(self, text):
        pass

    def flush(self, force):
        pass


def replace_stdout():
    sys.stdout = Unwilling()
    return "replaced"


def open_fds():
    return len(os.listdir("/proc/self/fd"))


async def coroutine(value):
    await asyncio.sleep(0)
    return value


async def failing_coroutine():
    raise ValueError("while awaited")


class Shop:
    @classmethod
    def sell(cls, what):
        return f"{cls.__name__} sold {what}"

    def open(self):
        return "open"


def recurse():
    recurse()


def segfault():
    ctypes.string_at(0)


def leave(status):
    sys.exit(status)


def leave_at_once(status):
    os._exit(status)


def busy_with_subprocess():
    child = subprocess.Popen(["sleep", "1000"])
    print("pids", os.getpid(), child.pid, flush=True)
    while True:
        pass


def read_fifo(path):
    print("reading", flush=True)
    with open(path) as file:
        return file.read()


def wait_in_c():
    print("waiting", flush=True)
    signal.sigwait({signal.SIGUSR2})


def sleep_aloud():
    print("sleeping", flush=True)
    time.sleep(1000)


def fork_and_run_on():
    """A copy of the job's process that does not know that it should end."""
    if os.fork() == 0:
        raise RuntimeError("in the copy")
    os.wait()
    return "parent"


def close_fds():
    os.closerange(3, 256)


def leave_thread():
    threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="left-behind").start()


def leave_cwd():
    os.chdir("/")


def leave_environment():
    os.environ["LEFT"] = "behind"


def leave_handler():
    signal.signal(signal.SIGTERM, lambda *_: None)


def leave_usr1():
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def leave_mask():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])


def leave_stdout():
    with open(os.devnull, "w") as file:
        os.dup2(file.fileno(), 1)


def leave_process():
    # Without a reference it would be waited for at once, if it has ended by then.
    sys.left = subprocess.Popen(["sleep", "0"])


def leave_transaction():
    from django.db import transaction

    transaction.atomic().__enter__()


def query():
    from django.db import connection

    with connection.cursor() as cursor:
        return cursor.execute("select 1").fetchone()[0]


def leave_umask():
    os.umask(0)


def leave_path():
    sys.path.append("/nowhere")


_kept = []


def keep_memory(megabytes):
    _kept.append(bytearray(os.urandom(1024) * 1024 * megabytes))


def draw():
    """A number of the library's, and one of Python's own."""
    from numpy import random as library

    return library.random(), random.random()


def change(attributes, fails=False):
    """Changes its job without saving it."""
    job = get_current_job()
    for name, value in attributes.items():
        setattr(job, name, value)
    if fails:
        raise ValueError("after the change")


def change_meta(fails=False):
    """The same with what is in an attribute."""
    get_current_job().meta["step"] = 2
    if fails:
        raise ValueError("after the change")


# What callbacks and handlers were called with stands in Redis, under these names.


def on_success(job, connection, result):
    connection.rpush("called", f"success {job.id} {result} {job._status}")


def on_failure(job, connection, kind, value, trace):
    connection.rpush("called", f"failure {job.id} {kind.__name__}")


def on_stopped(job, connection):
    connection.rpush("called", f"stopped {job.id}")


def failing_callback(job, connection, *_):
    raise RuntimeError("the callback failed")


def give_up(job, kind, value, trace):
    job.connection.rpush("called", f"handler {job.id} {kind.__name__}")
    job.retries_left = 0
    return True


def when_killed(job, pid, status, usage):
    job.connection.rpush("called", f"killed {job.id} {pid} {status} {usage.ru_maxrss}")


def import_it(name):
    importlib.import_module(name)


def make_modules_up():
    for name in ("made_up", "made_up_too"):
        sys.modules[name] = type(sys)(name)
    sys.modules["made_up_three"] = object()


def is_loaded(name):
    assert name in sys.modules
