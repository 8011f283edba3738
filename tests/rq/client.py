"""Conformance client: drives the real ``rq`` library and prints JSON.

The program is the Python half of a compatibility test.  It enqueues jobs the
way an application does, and it reports what the ``rq`` Python API (and not
this file) believes about jobs, registries and workers.  A worker written in
any language is compatible when these answers are right.

Every command prints exactly one JSON document on standard output.  Registry
scores, ``in_registries`` and ``redis_ttl`` are read straight from Redis because
the API has no call for them; all else comes from the API.  ``serve`` stays and
takes commands on standard input, so that a test pays for one start of Python.

Exit status
    0  the command worked
    1  rq or Redis raised an exception (the JSON has ``error`` and ``type``)
    2  wrong usage
    3  ``wait`` gave up

Examples
    rq_client.py enqueue --queue default --func app.tasks.fib --arg 27 \\
        --timeout 30m --result-ttl 300 --failure-ttl 86400
    rq_client.py enqueue --func app.tasks.mail --kwarg to=bob --retry 3 --interval 10,30,60
    rq_client.py enqueue --func app.tasks.fib --arg 5 --in 60 --meta user=7
    rq_client.py wait JOB_ID --timeout 20
    rq_client.py job JOB_ID
    rq_client.py registries --queue default
    rq_client.py workers
    rq_client.py stop-job JOB_ID

Values given to ``--arg``, ``--kwarg`` and ``--meta`` are read as JSON when
they are valid JSON and as plain text otherwise: ``27`` is a number, ``"27"``
and ``bob`` are strings.

The file runs unchanged on rq 1.16, 2.x and 3.x; options the installed version
does not know end in a usage error.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import decimal
import functools
import enum
import json
import os
import platform
import sys
import threading
import time
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time as clock_time, timedelta, timezone
from typing import Any, Callable, Iterable

import redis
import rq
from redis import Redis
from rq import Queue, Retry, Worker
from rq.command import send_kill_horse_command, send_shutdown_command, send_stop_job_command
from rq.exceptions import NoSuchJobError
from rq.job import Callback, Dependency, Job
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.results import Result
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.suspension import WORKERS_SUSPENDED, is_suspended, resume, suspend

try:  # rq 2.3 and later
    from rq.repeat import Repeat
except ImportError:
    Repeat = None  # type: ignore[assignment,misc]

try:  # rq 2.0 and later
    from rq.group import Group
except ImportError:
    Group = None  # type: ignore[assignment,misc]

try:  # rq 3.0 and later
    from rq.rate_limit import RateLimit
except ImportError:
    RateLimit = None  # type: ignore[assignment,misc]

try:  # rq 3.0 and later
    from rq.registry import ReadyJobRegistry
except ImportError:
    ReadyJobRegistry = None  # type: ignore[assignment,misc]


SERIALIZERS = {'pickle': DefaultSerializer, 'json': JSONSerializer}
REGISTRIES = {
    'started': StartedJobRegistry,
    'finished': FinishedJobRegistry,
    'failed': FailedJobRegistry,
    'deferred': DeferredJobRegistry,
    'scheduled': ScheduledJobRegistry,
    'canceled': CanceledJobRegistry,
}
if ReadyJobRegistry is not None:
    REGISTRIES['ready'] = ReadyJobRegistry

TERMINAL = ('finished', 'failed', 'stopped', 'canceled')
POLL_SECONDS = 0.05

EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_TIMEOUT = 0, 1, 2, 3

# Commands that `serve` carries out at once.
THREADS = 64


class UsageError(Exception):
    """A combination of options that cannot work."""


# --------------------------------------------------------------------------
# Turning Python values into JSON
# --------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return ``value`` as something ``json.dumps`` accepts, losing no type silently."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float('inf') else repr(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc).isoformat(timespec='microseconds')
    if isinstance(value, (date, clock_time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray)):
        return {'$bytes': base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {'$set': sorted((plain(item) for item in value), key=repr)}
    return {'$repr': repr(value)}


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def attempt(read: Callable[[], Any]) -> Any:
    """Read one value; an exception becomes data, so one bad field hides no other."""
    try:
        return plain(read())
    except Exception as error:  # noqa: BLE001 - the point is to report whatever rq raises
        return {'$error': f'{type(error).__name__}: {error}'}


def job_attribute(job: Job, name: str) -> Any:
    """An attribute that older rq versions may lack."""
    return attempt(lambda: getattr(job, name, None))


# --------------------------------------------------------------------------
# What rq says about things
# --------------------------------------------------------------------------


def describe_result(result: Result) -> dict[str, Any]:
    return {
        'id': result.id,
        'type': result.type.name,
        'type_number': result.type.value,
        'created_at': plain(result.created_at),
        'return_value': plain(result.return_value),
        'return_value_type': type(result.return_value).__name__,
        'return_value_fields': plain(getattr(result.return_value, '__dict__', None)),
        'exc_string': result.exc_string,
        'worker_name': getattr(result, 'worker_name', None),
        'execution_id': getattr(result, 'execution_id', None),
        'execution_started_at': plain(getattr(result, 'execution_started_at', None)),
        'execution_ended_at': plain(getattr(result, 'execution_ended_at', None)),
    }


def describe_execution(execution: Any) -> dict[str, Any]:
    return {
        'id': execution.id,
        'job_id': execution.job_id,
        'worker_name': getattr(execution, 'worker_name', None),
        'created_at': plain(execution.created_at),
        'last_heartbeat': plain(execution.last_heartbeat),
    }


def registries_holding(job: Job) -> dict[str, float]:
    """Registries of the job's queue that list it, with the score."""
    found = {}
    for name, cls in REGISTRIES.items():
        registry = cls(job.origin, connection=job.connection, serializer=job.serializer)
        for member, score in job.connection.zrange(registry.key, 0, -1, withscores=True):
            if text(member).split(':')[0] == job.id:
                found[name] = plain(score)
    return found


def describe_job(job: Job) -> dict[str, Any]:
    """Everything the rq API can tell about a job, in a stable shape."""
    deprecated_exc_info = attempt(lambda: job.exc_info)
    deprecated_result = attempt(lambda: job.result)

    report: dict[str, Any] = {
        'id': job.id,
        'key': text(job.key),
        'status': attempt(job.get_status),
        'origin': job.origin,
        'description': job.description,
        'func_name': attempt(lambda: job.func_name),
        'instance': attempt(lambda: job.instance),
        'args': attempt(lambda: job.args),
        'kwargs': attempt(lambda: job.kwargs),
        'meta': attempt(job.get_meta),
        'worker_name': job.worker_name,
        'timestamps': {
            name: plain(getattr(job, name))
            for name in ('created_at', 'enqueued_at', 'started_at', 'ended_at', 'last_heartbeat')
        },
        'limits': {name: plain(getattr(job, name)) for name in ('timeout', 'result_ttl', 'failure_ttl', 'ttl')},
        'retry': {
            name: job_attribute(job, name)
            for name in ('retries_left', 'retry_intervals', 'number_of_retries', 'enqueue_at_front_on_retry')
        },
        'repeat': {name: job_attribute(job, name) for name in ('repeats_left', 'repeat_intervals')},
        'dependencies': {
            'dependency_ids': attempt(lambda: sorted(text(item) for item in job.dependency_ids)),
            'dependent_ids': attempt(lambda: sorted(job.dependent_ids)),
            'allow_dependency_failures': job_attribute(job, 'allow_dependency_failures'),
            'enqueue_at_front': job_attribute(job, 'enqueue_at_front'),
        },
        'callbacks': {
            kind: {
                'name': getattr(job, f'_{kind}_callback_name', None),
                'timeout': getattr(job, f'_{kind}_callback_timeout', None),
            }
            for kind in ('success', 'failure', 'stopped')
        },
        'webhooks': [plain(hook.to_dict()) for hook in getattr(job, 'webhooks', [])],
        'group_id': job_attribute(job, 'group_id'),
        'rate_limit_key': job_attribute(job, 'rate_limit_key'),
        'position': attempt(job.get_position),
        'in_registries': attempt(lambda: registries_holding(job)),
        'executions': attempt(
            lambda: [describe_execution(item) for item in getattr(job, 'get_executions', lambda: [])()]
        ),
        'return_value': attempt(job.return_value),
        'return_repr': attempt(lambda: repr(job.return_value())),
        'echoed': attempt(lambda: echoed(job)),
        'latest_result': attempt(lambda: describe_optional(job.latest_result())),
        'results': attempt(lambda: [describe_result(item) for item in job.results()]),
        'exc_info': deprecated_exc_info,
        'legacy_result': deprecated_result,
        'redis_ttl': {
            'job': job.connection.ttl(job.key),
            'results': job.connection.ttl(Result.get_key(job.id)),
            'dependents': job.connection.ttl(job.dependents_key),
        },
    }
    return report


def echoed(job: Job) -> bool:
    """Whether the job returned its own arguments, with the same types."""
    value = job.return_value()
    if not isinstance(value, dict) or set(value) != {'positional', 'named'}:
        return False
    return repr([list(job.args), dict(job.kwargs)]) == repr([value['positional'], value['named']])


def describe_optional(result: Result | None) -> dict[str, Any] | None:
    # Result objects are falsy without an id, so compare with None.
    return None if result is None else describe_result(result)


def describe_worker(worker: Worker) -> dict[str, Any]:
    report = {
        'name': worker.name,
        'key': text(worker.key),
        'state': text(worker.get_state()),
        'queues': worker.queue_names(),
        'hostname': worker.hostname,
        'ip_address': worker.ip_address,
        'pid': worker.pid,
        'version': worker.version,
        'python_version': worker.python_version,
        'birth_date': plain(worker.birth_date),
        'last_heartbeat': plain(worker.last_heartbeat),
        'shutdown_requested_date': attempt(lambda: worker.shutdown_requested_date),
        'death_date': attempt(lambda: worker.death_date),
        'successful_job_count': worker.successful_job_count,
        'failed_job_count': worker.failed_job_count,
        'total_working_time': worker.total_working_time,
        'current_job_id': attempt(worker.get_current_job_id),
        'redis_ttl': worker.connection.ttl(worker.key),
    }
    if hasattr(worker, 'get_current_executions'):
        report['current_executions'] = attempt(
            lambda: [describe_execution(item) for item in worker.get_current_executions(refresh=True)]
        )
    return report


def describe_queue(queue: Queue, cleanup: bool) -> dict[str, Any]:
    """The queue and all its registries; ``cleanup`` lets rq run registry maintenance first."""
    report: dict[str, Any] = {
        'queue': queue.name,
        'queued': queue.get_job_ids(),
        'intermediate': [text(item) for item in queue.connection.lrange(queue.intermediate_queue_key, 0, -1)],
        'registries': {},
        'scheduler_pid': attempt(lambda: queue.scheduler_pid),
        'workers': sorted(worker.name for worker in Worker.all(queue=queue)),
    }
    for name, cls in REGISTRIES.items():
        registry = cls(queue=queue)
        if cleanup:
            registry.cleanup()
        entries = queue.connection.zrange(registry.key, 0, -1, withscores=True)
        report['registries'][name] = {
            'count': len(entries),
            'job_ids': registry.get_job_ids(cleanup=False) if accepts_cleanup(registry) else registry.get_job_ids(),
            'scores': {text(member): plain(score) for member, score in entries},
        }
    return report


def accepts_cleanup(registry: Any) -> bool:
    """rq 1.x has no ``cleanup`` argument."""
    code = registry.get_job_ids.__func__.__code__
    return 'cleanup' in code.co_varnames[: code.co_argcount]


# --------------------------------------------------------------------------
# Commands
# --------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def connection(url: str) -> Redis:
    # Each of the threads of `serve` may take a few at once; redis-py allows 100 in all.
    return Redis.from_url(url, max_connections=8 * THREADS)


class Client:
    """One connection plus the chosen serializer."""

    def __init__(self, url: str, serializer: str):
        self.connection = connection(url)
        self.serializer = SERIALIZERS[serializer]

    def queue(self, name: str) -> Queue:
        return Queue(name, connection=self.connection, serializer=self.serializer)

    def job(self, job_id: str) -> Job:
        return Job.fetch(job_id, connection=self.connection, serializer=self.serializer)


def cmd_version(client: Client, _args: argparse.Namespace) -> Any:
    return {
        'rq': rq.VERSION,
        'redis_py': redis.__version__,
        'python': platform.python_version(),
        'redis_server': text(client.connection.info('server')['redis_version']),
    }


def cmd_enqueue(client: Client, args: argparse.Namespace) -> Any:
    if args.at and args.delay is not None:
        raise UsageError('--at and --in exclude each other')
    queue = client.queue(args.queue)
    if args.method_of is not None:
        args.func = getattr(args.method_of, args.func)
    options: dict[str, Any] = {
        'description': args.description,
        'result_ttl': args.result_ttl,
        'failure_ttl': args.failure_ttl,
        'ttl': args.ttl,
        'meta': dict(args.meta) or None,
        'at_front': args.at_front,
        'on_success': callback(args.on_success, args.callback_timeout),
        'on_failure': callback(args.on_failure, args.callback_timeout),
        'on_stopped': callback(args.on_stopped, args.callback_timeout),
    }
    if args.retry:
        options['retry'] = Retry(max=args.retry, interval=args.interval or 0)
    if args.repeat:
        if Repeat is None:
            raise UsageError('--repeat needs rq 2.3 or later')
        options['repeat'] = Repeat(times=args.repeat, interval=args.repeat_interval or 0)
    if args.rate_limit:
        if RateLimit is None:
            raise UsageError('--rate-limit needs rq 3.0 or later')
        options['rate_limit'] = RateLimit(*args.rate_limit)
    if args.webhook:
        options['webhooks'] = args.webhook
    if args.unique:
        options['unique'] = True
    if args.depends_on:
        options['depends_on'] = Dependency(
            jobs=args.depends_on, allow_failure=args.allow_failure, enqueue_at_front=args.dependent_at_front
        )

    created = []
    for number in range(args.count):
        job_id = args.job_id if args.count == 1 else (f'{args.job_id}-{number}' if args.job_id else None)
        created.append(submit(client, queue, args, job_id, dict(options)))
    return describe_job(created[0]) if args.count == 1 else {'count': len(created), 'ids': [job.id for job in created]}


def submit(client: Client, queue: Queue, args: argparse.Namespace, job_id: str | None, options: dict[str, Any]) -> Job:
    """Put one job on the queue, on the schedule, or in a group."""
    positional, keyword = tuple(args.arg), dict(args.kwarg)
    if args.group:
        if Group is None:
            raise UsageError('--group needs rq 2.0 or later')
        allowed = ('description', 'result_ttl', 'failure_ttl', 'ttl', 'meta', 'at_front', 'retry')
        data = Queue.prepare_data(
            args.func, args=positional, kwargs=keyword, job_id=job_id, timeout=args.timeout,
            **{name: value for name, value in options.items() if name in allowed},
        )
        return Group.create(connection=client.connection, name=args.group).enqueue_many(queue, [data])[0]

    options = {name: value for name, value in options.items() if value is not None}
    options.update(args=positional, kwargs=keyword, job_id=job_id, job_timeout=args.timeout)
    if args.at:
        return queue.enqueue_at(args.at, args.func, **options)
    if args.delay is not None:
        return queue.enqueue_in(timedelta(seconds=args.delay), args.func, **options)
    return queue.enqueue(args.func, **options)


def callback(name: str | None, timeout: str | None) -> Callback | None:
    return Callback(name, timeout=timeout) if name else None


def cmd_job(client: Client, args: argparse.Namespace) -> Any:
    return describe_job(client.job(args.job_id))


def cmd_wait(client: Client, args: argparse.Namespace) -> Any:
    wanted = tuple(args.status) or TERMINAL
    deadline = time.monotonic() + args.timeout
    while True:
        job = client.job(args.job_id)
        if plain(job.get_status()) in wanted:
            # Its other fields were read before the status; one that is gone meanwhile is told as it was.
            with contextlib.suppress(NoSuchJobError):
                job = client.job(args.job_id)
            return describe_job(job)
        if time.monotonic() >= deadline:
            report = describe_job(job)
            report['timed_out'] = True
            args.exit_status = EXIT_TIMEOUT
            return report
        time.sleep(POLL_SECONDS)


def cmd_registries(client: Client, args: argparse.Namespace) -> Any:
    return describe_queue(client.queue(args.queue), cleanup=args.cleanup)


def cmd_queues(client: Client, _args: argparse.Namespace) -> Any:
    queues = sorted(Queue.all(connection=client.connection, serializer=client.serializer))
    return [{'name': queue.name, 'key': text(queue.key), 'count': queue.count} for queue in queues]


def cmd_workers(client: Client, args: argparse.Namespace) -> Any:
    if args.queue:
        workers: Iterable[Worker] = Worker.all(queue=client.queue(args.queue))
    else:
        workers = Worker.all(connection=client.connection)
    return sorted((describe_worker(worker) for worker in workers), key=lambda report: report['name'])


def cmd_suspend(client: Client, args: argparse.Namespace) -> Any:
    suspend(client.connection, ttl=args.ttl)
    return suspension_state(client)


def cmd_resume(client: Client, _args: argparse.Namespace) -> Any:
    resume(client.connection)
    return suspension_state(client)


def suspension_state(client: Client) -> dict[str, Any]:
    return {
        'suspended': bool(is_suspended(client.connection)),
        'redis_ttl': client.connection.ttl(WORKERS_SUSPENDED),
    }


def cmd_suspended(client: Client, _args: argparse.Namespace) -> Any:
    return suspension_state(client)


def cmd_stop_job(client: Client, args: argparse.Namespace) -> Any:
    send_stop_job_command(client.connection, args.job_id, serializer=client.serializer)
    return {'sent': 'stop-job', 'job_id': args.job_id, 'worker': client.job(args.job_id).worker_name}


def cmd_stop_execution(client: Client, args: argparse.Namespace) -> Any:
    try:
        from rq.command import send_stop_execution_command
    except ImportError:
        raise UsageError('stop-execution needs rq 3.0 or later') from None
    send_stop_execution_command(client.connection, args.job_id, args.execution_id)
    return {'sent': 'stop-execution', 'job_id': args.job_id, 'execution_id': args.execution_id}


def cmd_kill_horse(client: Client, args: argparse.Namespace) -> Any:
    send_kill_horse_command(client.connection, args.worker)
    return {'sent': 'kill-horse', 'worker': args.worker}


def cmd_shutdown(client: Client, args: argparse.Namespace) -> Any:
    send_shutdown_command(client.connection, args.worker)
    return {'sent': 'shutdown', 'worker': args.worker}


def cmd_cancel(client: Client, args: argparse.Namespace) -> Any:
    job = client.job(args.job_id)
    job.cancel(enqueue_dependents=args.enqueue_dependents)
    return describe_job(client.job(args.job_id))


def cmd_requeue(client: Client, args: argparse.Namespace) -> Any:
    client.job(args.job_id).requeue(at_front=args.at_front)
    return describe_job(client.job(args.job_id))


def cmd_latest(client: Client, args: argparse.Namespace) -> Any:
    return describe_optional(client.job(args.job_id).latest_result(timeout=args.timeout))


def cmd_raw(client: Client, args: argparse.Namespace) -> Any:
    return plain_reply(client.connection.execute_command(*args.words))


def plain_reply(reply: Any) -> Any:
    """What the server answered, with bytes as text."""
    if isinstance(reply, bytes):
        return reply.decode('utf-8', 'backslashreplace')
    if isinstance(reply, dict):
        return {plain_reply(key): plain_reply(value) for key, value in reply.items()}
    if isinstance(reply, (list, tuple, set)):
        return [plain_reply(item) for item in reply]
    return plain(reply)


def cmd_delete(client: Client, args: argparse.Namespace) -> Any:
    client.job(args.job_id).delete(delete_dependents=args.delete_dependents)
    return {'deleted': args.job_id, 'exists': Job.exists(args.job_id, connection=client.connection)}


# --------------------------------------------------------------------------
# Command line
# --------------------------------------------------------------------------


def json_or_text(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


class Stranger:
    """A class that no reader of plain values knows."""


def evaluated(word: str) -> Any:
    """A Python expression of ours; types that JSON cannot tell apart need one."""
    names = {'zones': zones, 'datetime': datetime, 'date': date, 'timedelta': timedelta, 'timezone': timezone,
             'Decimal': decimal.Decimal, 'UUID': uuid.UUID, 'Stranger': Stranger}
    return eval(word, names)  # noqa: S307 - the tests' own words


def zones(local: datetime) -> list[datetime]:
    """The same wall clock in a zone of each library that applications use."""
    import zoneinfo

    import pytz
    from dateutil import tz

    place = 'Asia/Jerusalem'
    others = [zoneinfo.ZoneInfo(place), pytz.utc, pytz.FixedOffset(-90), tz.tzutc(), tz.tzoffset('X', 3600), tz.gettz(place)]
    return [pytz.timezone(place).localize(local)] + [local.replace(tzinfo=zone) for zone in others]


def pair(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition('=')
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'expected NAME=VALUE, got {word!r}')
    return name, json_or_text(value)


def seconds_list(word: str) -> int | list[int]:
    """``60`` or ``10,30,60``."""
    try:
        numbers = [int(part) for part in word.split(',')]
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected seconds or a comma separated list, got {word!r}') from None
    return numbers[0] if len(numbers) == 1 else numbers


def webhook(word: str) -> Any:
    from rq import Webhook

    return Webhook.from_dict(json.loads(word))


def moment(word: str) -> datetime:
    try:
        when = datetime.fromisoformat(word.replace('Z', '+00:00'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected an ISO 8601 time, got {word!r}') from None
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


def build_parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        '--redis',
        metavar='URL',
        default=os.environ.get('RQ_REDIS_URL', 'redis://127.0.0.1:6379/0'),
        help='Redis to talk to (environment: RQ_REDIS_URL; default: %(default)s)',
    )
    shared.add_argument('--serializer', choices=sorted(SERIALIZERS), default='pickle', help='default: %(default)s')

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog='rq_client.py'
    )
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    def command(name: str, run: Callable[[Client, argparse.Namespace], Any], summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary, parents=[shared])
        sub.set_defaults(run=run, exit_status=EXIT_OK)
        return sub

    command('version', cmd_version, 'versions of rq, redis-py, Python and the server')

    sub = command('enqueue', cmd_enqueue, 'create a job; prints what `job` prints')
    sub.add_argument('--queue', default='default')
    sub.add_argument('--func', required=True, help='dotted path of the function')
    sub.add_argument('--arg', type=json_or_text, action='append', default=[], help='positional argument (repeat)')
    sub.add_argument('--eval', type=evaluated, action='append', dest='arg', help='positional argument as Python')
    sub.add_argument('--method-of', type=evaluated, help='the object, as Python, of which --func names a method')
    sub.add_argument('--kwarg', type=pair, action='append', default=[], metavar='NAME=VALUE')
    sub.add_argument('--meta', type=pair, action='append', default=[], metavar='NAME=VALUE')
    sub.add_argument('--timeout', help='seconds or text such as 30m; -1 for none')
    sub.add_argument('--result-ttl', help='0 drops the job at once, -1 keeps it for ever')
    sub.add_argument('--failure-ttl')
    sub.add_argument('--ttl', help='how long the job may wait')
    sub.add_argument('--job-id')
    sub.add_argument('--description')
    sub.add_argument('--at-front', action='store_true')
    sub.add_argument('--retry', type=int, metavar='MAX')
    sub.add_argument('--interval', type=seconds_list, metavar='S[,S...]', help='between retries')
    sub.add_argument('--repeat', type=int, metavar='TIMES', help='run again after success')
    sub.add_argument('--repeat-interval', type=seconds_list, metavar='S[,S...]')
    sub.add_argument('--at', type=moment, metavar='TIME', help='ISO 8601; UTC when no offset is given')
    sub.add_argument('--in', dest='delay', type=float, metavar='SECONDS')
    sub.add_argument('--depends-on', action='append', default=[], metavar='ID')
    sub.add_argument('--allow-failure', action='store_true', help='run even when a dependency failed')
    sub.add_argument('--dependent-at-front', action='store_true')
    sub.add_argument('--on-success', metavar='FUNC')
    sub.add_argument('--on-failure', metavar='FUNC')
    sub.add_argument('--on-stopped', metavar='FUNC')
    sub.add_argument('--callback-timeout')
    sub.add_argument('--webhook', type=webhook, action='append', help='a webhook as JSON (repeat; rq 2.10 or later)')
    sub.add_argument('--unique', action='store_true', help='refuse a second job with the same --job-id')
    sub.add_argument('--rate-limit', type=pair, metavar='KEY=CONCURRENCY')
    sub.add_argument('--group', metavar='NAME')
    sub.add_argument('--count', type=int, default=1, help='create that many; prints only their ids')

    sub = command('job', cmd_job, 'everything rq knows about a job')
    sub.add_argument('job_id')

    sub = command('wait', cmd_wait, 'wait for a status (default: any final one), then print the job')
    sub.add_argument('job_id')
    sub.add_argument('--timeout', type=float, default=30.0)
    sub.add_argument('--status', action='append', default=[])

    sub = command('registries', cmd_registries, 'a queue, its registries and their scores')
    sub.add_argument('--queue', default='default')
    sub.add_argument(
        '--cleanup', action='store_true', help='let rq clean the registries first, as `rq info` does; may fail jobs'
    )

    command('queues', cmd_queues, 'all queues rq knows')

    sub = command('workers', cmd_workers, 'all registered workers')
    sub.add_argument('--queue')

    sub = command('suspend', cmd_suspend, 'stop all workers from taking jobs')
    sub.add_argument('--ttl', type=int, help='seconds until they resume by themselves')
    command('resume', cmd_resume, 'undo suspend')
    command('suspended', cmd_suspended, 'tell whether workers are suspended')

    sub = command('stop-job', cmd_stop_job, 'ask the worker running the job to stop it')
    sub.add_argument('job_id')
    sub = command('stop-execution', cmd_stop_execution, 'stop one execution of a job (rq 3)')
    sub.add_argument('job_id')
    sub.add_argument('execution_id')
    sub = command('kill-horse', cmd_kill_horse, 'kill the job a worker is running')
    sub.add_argument('worker')
    sub = command('shutdown', cmd_shutdown, 'ask a worker to shut down')
    sub.add_argument('worker')

    sub = command('cancel', cmd_cancel, 'cancel a job')
    sub.add_argument('job_id')
    sub.add_argument('--enqueue-dependents', action='store_true')
    sub = command('requeue', cmd_requeue, 'put a failed job back on its queue')
    sub.add_argument('job_id')
    sub.add_argument('--at-front', action='store_true')
    sub = command('latest', cmd_latest, 'the newest result, waiting for one')
    sub.add_argument('job_id')
    sub.add_argument('--timeout', type=int, default=0)
    sub = command('raw', cmd_raw, 'a command of the server itself')
    sub.add_argument('words', nargs='+')
    sub = command('delete', cmd_delete, 'delete a job')
    sub.add_argument('job_id')
    sub.add_argument('--delete-dependents', action='store_true')
    return parser


def show(document: Any) -> None:
    # Build the whole text first, so that a failure never leaves half a document behind.
    sys.stdout.write(json.dumps(plain(document), indent=2, sort_keys=True, ensure_ascii=False) + '\n')


def run(parser: argparse.ArgumentParser, argv: list[str] | None) -> tuple[int, Any]:
    """One command: its exit status and its document."""
    args = parser.parse_args(argv)
    try:
        document = args.run(Client(args.redis, args.serializer), args)
    except UsageError as error:
        return EXIT_USAGE, {'error': str(error), 'type': 'UsageError'}
    except Exception as error:  # noqa: BLE001 - every failure is reported as JSON
        return EXIT_ERROR, {'error': str(error), 'type': type(error).__name__}
    return args.exit_status, document


def serve() -> int:
    """Takes ``{"id": n, "argv": [...]}`` a line, many at a time, and answers each with its status and document."""
    parser, writing = build_parser(), threading.Lock()

    def answer(line: str) -> None:
        asked = json.loads(line)
        try:
            status, document = run(parser, asked['argv'])
        except SystemExit as error:
            status, document = EXIT_USAGE, {'error': f'usage: {error}', 'type': 'UsageError'}
        text = json.dumps({'id': asked['id'], 'status': status, 'document': plain(document)})
        with writing:
            sys.stdout.write(text + '\n')
            sys.stdout.flush()

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for line in sys.stdin:
            pool.submit(answer, line)
    return EXIT_OK


def main(argv: list[str] | None = None) -> int:
    # Reading what is deprecated is on purpose.
    warnings.simplefilter('ignore')
    argv = sys.argv[1:] if argv is None else argv
    if argv == ['serve']:
        return serve()
    status, document = run(build_parser(), argv)
    show(document)
    return status


if __name__ == '__main__':
    sys.exit(main())
