"""Takes over in `Worker.work()` and `WorkerPool.start()`: all before it is the team's own and runs unchanged,
but for how RQ's command line asks whether all workers are suspended.

Reports the worker's whole configuration in HELLO, so that Tikkun needs no setting of its own for it, or one
sentence in REFUSED that says why this worker cannot be served.
"""

import functools
import inspect
import logging
import os
import sys
import threading
from uuid import uuid4

from . import PROTOCOL, SUSPENSION_MODULE, frames, leaves, shortcuts, zygote
from .way import Way

# Methods that a team may override and that never run under Tikkun, which does their work itself.
NEVER_RUN = (
    "check_for_suspension",
    "clean_registries",
    "cleanup_execution",
    "dequeue_job_and_maintain_ttl",
    "fork_work_horse",
    "get_heartbeat_ttl",
    "handle_payload",
    "handle_warm_shutdown_request",
    "heartbeat",
    "kill_horse",
    "maintain_heartbeats",
    "monitor_work_horse",
    "register_death",
    "reorder_queues",
    "request_force_stop",
    "request_stop",
    "run_maintenance_tasks",
    "teardown",
    "unsubscribe",
    "wait_for_horse",
)

# RQ's own overrides among its worker classes that Tikkun honours by the class's name or arguments of work().
_RQ_STRATEGIES = {"RoundRobinWorker": "round_robin", "RandomWorker": "random"}

_PREFIXES = {
    "redis_worker_namespace_prefix": "rq:worker:",
    "redis_workers_keys": "rq:workers",
    "redis_queue_namespace_prefix": "rq:queue:",
    "redis_queues_keys": "rq:queues",
    "redis_job_namespace_prefix": "rq:job:",
}


class Refusal(Exception):
    """Why this worker cannot be served, in one sentence."""


def install(module, control):
    """Replaces work(), start() or is_suspended() in a module of RQ that has just been imported."""
    if module.__name__ == SUSPENSION_MODULE and hasattr(module, "is_suspended"):
        module.is_suspended = _askable_at_the_memory_limit(module)
    for name, method, take_over in (
        ("BaseWorker", "work", _take_over_worker),
        ("Worker", "work", _take_over_worker),
        ("WorkerPool", "start", _take_over_pool),
    ):
        cls = getattr(module, name, None)
        original = vars(cls).get(method) if cls is not None else None
        if original is not None and not hasattr(original, "__tikkun__"):
            setattr(cls, method, _captured(original, take_over, control))


def _captured(original, take_over, control):
    @functools.wraps(original)
    def captured(self, *args, **kwargs):
        return take_over(control, original, self, args, kwargs)

    captured.__tikkun__ = True
    return captured


def _askable_at_the_memory_limit(module):
    """RQ asks within a transaction, where a Redis at its memory limit refuses every command: the worker that
    would free memory could not start."""
    original = module.is_suspended

    @functools.wraps(original)
    def is_suspended(connection, worker=None):
        if worker is not None:
            return original(connection, worker)
        return connection.exists(module.WORKERS_SUSPENDED)

    return is_suspended


class _Pool:
    """The pool whose start() runs, while it makes the worker that stands for all of its workers."""

    current = None


def _take(control):
    """The control socket, or None when this process should go on under RQ."""
    if not control.alive():
        sys.stderr.write(
            "tikkun: the worker's process was started without its control socket; "
            "start it by exec, or with its file descriptors left open\n"
        )
        sys.stderr.flush()
        os._exit(2)
    sock = control.take()
    if sock is not None:
        control.end_boot()
    else:
        sys.stderr.write("tikkun: another worker of this command is served already; this one runs under RQ\n")
    return sock


def _take_over_pool(control, original, pool, args, kwargs):
    """Makes one of the pool's workers in this process, which ends in that worker's work()."""
    if _take(control) is None:
        return original(pool, *args, **kwargs)
    arguments = _bound(original, pool, args, kwargs)
    burst = bool(arguments.get("burst"))
    level = arguments.get("logging_level", "INFO")
    _Pool.current = pool
    pool._burst = burst
    # The process object knows what the pool, or a subclass of it, would run in a worker's process.
    process = pool.get_worker_process(uuid4().hex, burst=burst, logging_level=level)
    return process._target(*process._args, **process._kwargs)


def _take_over_worker(control, original, worker, args, kwargs):
    sock = _take(control)
    if sock is None:
        return original(worker, *args, **kwargs)
    channel = frames.Channel(sock)
    arguments = _bound(original, worker, args, kwargs)
    try:
        _check(worker)
        hello = _hello(worker, arguments)
        way = Way(worker)
        leaves.replace(type(worker), worker.connection)
        shortcuts.install()
    except Refusal as refusal:
        _refuse(channel, str(refusal))
    except Exception as error:
        _refuse(channel, f"this worker's configuration was not understood: {type(error).__name__}: {error}")
    # RQ's own, with overrides: it sets logging up, and what it writes to Redis is replaced.
    worker.bootstrap(
        *[arguments[name] for name in ("logging_level", "date_format", "log_format") if name in arguments]
    )
    # As RQ's worker is by now, whether by an option, an argument of work() or the application's own settings.
    hello["is_quiet"] = not logging.getLogger("rq.worker").isEnabledFor(logging.INFO)
    zygote.Zygote(channel, control, worker, way).serve(hello)


def _refuse(channel, sentence):
    sys.stderr.write(f"tikkun: {sentence}\n")
    sys.stderr.flush()
    channel.send(frames.REFUSED, sentence)
    os._exit(2)


def _bound(original, self, args, kwargs):
    bound = inspect.signature(original).bind(self, *args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _name(thing):
    """The dotted name of a class, function or module, or of the class of an object that has none."""
    if inspect.ismodule(thing):
        return thing.__name__
    if not hasattr(thing, "__qualname__"):
        thing = type(thing)
    return f"{thing.__module__}.{thing.__qualname__}"


def _check(worker):
    from rq.version import VERSION

    numbers = tuple(int(part) for part in VERSION.split(".")[:2] if part.isdigit())
    if not (1, 16) <= numbers < (4,):
        raise Refusal(f"rq {VERSION} is outside the range that Tikkun knows: 1.16 and later, below 4")
    if threading.current_thread() is not threading.main_thread():
        raise Refusal("work() was called outside of the main thread, where RQ's time limits do not work")
    if not worker.queues:
        raise Refusal("this worker has no queues")
    wrong = leaves.mismatches(type(worker))
    if wrong:
        raise Refusal("rq {} has other parameters than Tikkun knows in {}".format(VERSION, ", ".join(wrong)))
    for thing in [type(worker), worker.job_class, worker.queue_class] + [type(q) for q in worker.queues]:
        for attribute, usual in _PREFIXES.items():
            if getattr(thing, attribute, usual) != usual:
                raise Refusal(f"{_name(thing)} keeps its keys elsewhere: {attribute} is changed")
    _check_connections(worker)


def _check_connections(worker):
    for connection in [worker.connection] + [queue.connection for queue in worker.queues]:
        pool = getattr(connection, "connection_pool", None)
        if pool is None:
            raise Refusal(f"{_name(connection)} is no connection to one Redis; a cluster is not served")
        if "sentinel" in (type(pool).__name__ + pool.connection_class.__name__).lower():
            raise Refusal("the worker's connection goes through Redis Sentinel, which is not served")
        for name in _UNKNOWN_TO_TIKKUN:
            if pool.connection_kwargs.get(name):
                raise Refusal(
                    f"the worker's connection has `{name}`, which is not served; `ssl_ca_certs` names a file"
                )
        if _place(connection) != _place(worker.connection):
            raise Refusal("the worker's queues are on more than one Redis")


def _place(connection):
    kwargs = connection.connection_pool.connection_kwargs
    return [kwargs.get(name) for name in ("host", "port", "path")] + [int(kwargs.get("db") or 0)]


_REQUIREMENTS = {None: "none", 0: "none", 1: "optional", 2: "required"}
# What decides whom Tikkun trusts or how it reads its key, and what it does not take.
_UNKNOWN_TO_TIKKUN = ("ssl_ca_path", "ssl_ca_data", "ssl_password")


def _connection(connection):
    from redis.connection import SSLConnection, UnixDomainSocketConnection

    pool = connection.connection_pool
    kwargs = pool.connection_kwargs
    username, password = kwargs.get("username"), kwargs.get("password")
    provider = kwargs.get("credential_provider")
    if provider is not None:
        credentials = tuple(provider.get_credentials())
        username, password = (credentials if len(credentials) == 2 else (None,) + credentials)[:2]
    unix = issubclass(pool.connection_class, UnixDomainSocketConnection)
    tls = issubclass(pool.connection_class, SSLConnection)
    requirement = kwargs.get("ssl_cert_reqs", "required")
    described = {
        "kind": "unix" if unix else "tcp",
        "host": None if unix else kwargs.get("host", "localhost"),
        "port": None if unix else int(kwargs.get("port") or 6379),
        "path": kwargs.get("path") if unix else None,
        "db": int(kwargs.get("db") or 0),
        "username": _as_text(username),
        "password": _as_text(password),
        "tls": tls,
        # A string, one of the ssl module's constants, or None for no requirement.
        "ssl_cert_reqs": _REQUIREMENTS.get(requirement, requirement) if tls else None,
    }
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"):
        described[name] = kwargs.get(name)
    return described


def _as_text(value):
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _overrides(worker):
    """Names of the team's methods that replace something that never runs here."""
    found = set()
    for cls in type(worker).__mro__:
        if cls.__module__.startswith("rq.") or cls is object:
            continue
        found.update(name for name in NEVER_RUN if name in vars(cls))
    return sorted(found)


def _hello(worker, arguments):
    from rq import version

    pool = _Pool.current
    strategy = arguments.get("dequeue_strategy")
    strategy = getattr(strategy, "value", strategy) or "default"
    for cls in leaves.rq_classes(type(worker)):
        strategy = _RQ_STRATEGIES.get(cls.__name__, strategy)
    own_killed = not leaves.is_rqs_own(type(worker).handle_work_horse_killed)
    return {
        "shim": PROTOCOL,
        "rq": version.VERSION,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "executable": sys.executable,
        "pid": os.getpid(),
        "kind": "worker" if pool is None else "pool",
        "worker_class": _name(type(worker)),
        "name": worker.name,
        "queues": worker.queue_names(),
        "slots": 1 if pool is None else pool.num_workers,
        "connection": _connection(worker.connection),
        "serializer": _name(worker.serializer),
        "job_class": _name(worker.job_class),
        "queue_class": _name(worker.queue_class),
        "death_penalty_class": _name(worker.death_penalty_class),
        "overrides": _overrides(worker),
        "exception_handlers": [_name(handler) for handler in worker._exc_handlers],
        "default_result_ttl": worker.default_result_ttl,
        "worker_ttl": worker.worker_ttl,
        "job_monitoring_interval": worker.job_monitoring_interval,
        "maintenance_interval": getattr(worker, "maintenance_interval", None),
        "disable_default_exception_handler": bool(worker.disable_default_exception_handler),
        "log_job_description": bool(worker.log_job_description),
        "work": {
            "burst": bool(arguments.get("burst")),
            "max_jobs": arguments.get("max_jobs"),
            "max_idle_time": arguments.get("max_idle_time"),
            "with_scheduler": bool(arguments.get("with_scheduler")),
            "dequeue_strategy": strategy,
            "logging_level": arguments.get("logging_level"),
        },
        "horse_killed_handler": own_killed or worker._work_horse_killed_handler is not None,
        "own_failures": not leaves.is_rqs_own(type(worker).handle_job_failure),
        "webhooks": hasattr(worker.job_class, "send_webhooks"),
    }
