"""What is done to Redis in each scenario, by RQ's own client. Its name is that of the function."""

import contextlib
import inspect
import time
from datetime import datetime, timedelta, timezone

import diff_app as app
from rq import Callback, Queue, Retry
from rq.job import Job
from rq.version import VERSION

MAJOR = int(VERSION.split(".")[0])
ALL = []
_KNOWN = inspect.signature(Queue.enqueue_call).parameters
try:
    from rq import Repeat
except ImportError:
    Repeat = None


class Scenario:
    def __init__(self, function, since, worker, needs):
        self.function, self.since, self.worker, self.needs = function, since, worker, needs
        self.name = function.__name__

    def exists(self):
        return MAJOR >= self.since and (not self.needs or self.needs in _KNOWN)


def scenario(since=1, worker="plain", needs=None):
    def add(function):
        ALL.append(Scenario(function, since, worker, needs))
        return function

    return add


def simple(name, function, *args, since=1, worker="plain", needs=None, **options):
    """A scenario of one job, whose options may be made when it runs."""

    def run(s):
        s.enqueue(function, *args, **{k: v() if callable(v) else v for k, v in options.items()})

    run.__name__ = name
    scenario(since, worker, needs)(run)


# Results.
for _kind in ("none", "false", "zero", "empty", "empty list", "bytes", "unicode", "dict", "large", "exception", "deep"):
    simple("result_" + _kind.replace(" ", "_"), app.give, _kind)
simple("result_unserializable", app.unserializable)
simple("result_unserializable_with_callback", app.unserializable, on_success=lambda: Callback(app.succeeded))
simple("result_of_a_generator", app.generator)
simple("arguments", app.echo, 1, "größe", [None], a=1, b={"c": (1, 2)})
simple("explicit_arguments", app.echo, args=(1, 2), kwargs={"timeout": 3})
simple("function_by_name", "diff_app.add", 1, 2)
simple("builtin_function", "builtins.len", [1, 2])
simple("coroutine", app.coroutine, 21)
simple("coroutine_that_fails", app.failing_coroutine)
simple("method", app.Basket(21).double, plus=1)
simple("class_method", app.Basket.named)
simple("class_method_by_name", "diff_app.Basket.named")
simple("static_method", app.Basket.static, 5)
simple("callable_object", app.Basket(1))

# Options of enqueue.
simple("what_a_job_sees", app.look)
simple("description", app.look, description="größe 漢字")
simple("meta", app.look, meta={"a": 1, "b": [None]})
simple("timeout_n", app.look, job_timeout=33)
simple("timeout_as_text", app.look, job_timeout="1h")
simple("timeout_none_at_all", app.look, job_timeout=-1)
for _ttl in (0, 30, -1):
    _name = str(_ttl).replace("-", "minus_")
    simple(f"result_ttl_{_name}", app.add, 1, 2, result_ttl=_ttl)
    simple(f"result_ttl_{_name}_of_none", app.nothing, result_ttl=_ttl)
    simple(f"failure_ttl_{_name}", app.fail, failure_ttl=_ttl)
simple("result_ttl_of_a_failure", app.fail, result_ttl=30)
simple("failure_ttl_of_a_success", app.nothing, failure_ttl=30)
simple("ttl_n", app.look, ttl=60)
simple("ttl_n_of_a_failure", app.fail, ttl=60)
simple("ttl_with_result_ttl", app.look, ttl=60, result_ttl=0)


@scenario()
def ttl_runs_out_in_the_queue(s):
    s.enqueue(app.nap, 1.6)
    s.enqueue(app.look, ttl=1)


@scenario()
def at_front(s):
    s.enqueue(app.nap, 0.2)
    for label in ("a", "b"):
        s.enqueue(app.mark, label)
    s.enqueue(app.mark, "first", at_front=True)


@scenario()
def queues_in_order(s):
    s.enqueue(app.nap, 0.2)
    s.enqueue(app.mark, "low")
    s.enqueue(app.mark, "high", queue="high")


@scenario()
def running(s):
    s.enqueue(app.snapshot)


@scenario()
def running_with_a_timeout(s):
    s.enqueue(app.snapshot, job_timeout=1000, ttl=100, result_ttl=9)


@scenario()
def running_again(s):
    # Both at once: the first may have run twice before the second comes.
    first = Queue.prepare_data(app.flaky, (9,), job_id=s.name(), retry=Retry(max=1))
    s.queue().enqueue_many([first, Queue.prepare_data(app.snapshot, job_id=s.name())])


@scenario()
def enqueue_many(s):
    datas = [Queue.prepare_data(app.add, (n, 1), job_id=s.name(), meta={"n": n}) for n in range(3)]
    s.queue().enqueue_many(datas)


@scenario(since=2)
def enqueue_in_a_pipeline(s):
    with s.connection.pipeline() as pipeline:
        s.enqueue(app.add, 1, 2, pipeline=pipeline)
        s.enqueue(app.fail, pipeline=pipeline)
        pipeline.execute()


@scenario()
def enqueue_a_job(s):
    s.queue().enqueue_job(Job.create(app.look, connection=s.connection, id=s.name(), origin="default"))


@scenario()
def enqueue_at(s):
    job = s.queue().enqueue_at(datetime.now(timezone.utc) - timedelta(seconds=1), app.look, job_id=s.name())
    s.until(job, "finished")


@scenario()
def enqueue_in_the_future(s):
    s.queue().enqueue_in(timedelta(seconds=600), app.look, job_id=s.name())


@scenario()
def same_id_again(s):
    s.until(s.enqueue(app.add, 1, 2, job_id="again"), "finished")
    s.settle()
    s.enqueue(app.fail, job_id="again")


@scenario()
def same_id_again_after_failure(s):
    s.until(s.enqueue(app.fail, job_id="again"), "failed")
    s.settle()
    s.enqueue(app.add, 1, 2, job_id="again")


@scenario()
def requeue_of_a_failed_job(s):
    job = s.enqueue(app.flaky, 2)
    s.until(job, "failed")
    s.settle()
    job.refresh()
    job.requeue()
    s.until(job, "finished")


@scenario()
def cancelled_in_the_queue(s):
    s.enqueue(app.nap, 0.2)
    s.enqueue(app.look).cancel()


@scenario()
def deleted_in_the_queue(s):
    s.enqueue(app.nap, 0.2)
    s.enqueue(app.look).delete()


@scenario(needs="unique")
def unique(s):
    s.enqueue(app.look, job_id="one", unique=True)
    with contextlib.suppress(Exception):
        s.enqueue(app.look, job_id="one", unique=True)


# Failures.
simple("failure", app.fail)
simple("failure_chained", app.fail_chained)
simple("failure_of_a_group", app.fail_group)
simple("failure_that_cannot_be_pickled", app.fail_no_pickle)
simple("failure_in_unicode", app.fail_unicode)
simple("failure_with_half_a_pair", app.fail_surrogate)
simple("failure_beyond_exception", app.fail_base)
simple("failure_without_text", app.fail_without_text)
simple("failure_that_cannot_be_shown", app.fail_repr)
simple("failure_of_an_assertion", app.fail_assert)
simple("failure_by_recursion", app.recurse)
simple("failure_by_wrong_arguments", app.add, 1, 2, 3, 4)
simple("sys_exit", app.leave, 3)
simple("sys_exit_0", app.leave, 0)
simple("keyboard_interrupt", app.interrupt)
simple("time_limit", app.nap, 5, job_timeout=1)
simple("time_limit_swallowed", app.swallow_timeout, job_timeout=1)
simple("time_limit_with_callback", app.nap, 5, job_timeout=1, on_failure=lambda: Callback(app.failed))
simple("segfault", app.crash)
simple("abort", app.abort)
simple("exit_hard", app.leave_hard, 3)
simple("killed", app.kill_itself)
simple("segfault_with_retries", app.crash, retry=lambda: Retry(max=1))
simple("segfault_with_callback", app.crash, on_failure=lambda: Callback(app.failed))
simple("segfault_failure_ttl", app.crash, failure_ttl=40)
simple("module_missing", "no_such_module.function", 1)
simple("function_missing", "diff_app.no_such_function", 1)
simple("module_missing_with_callback", "no_such_module.function", 1, on_failure=lambda: Callback(app.failed))
simple("module_missing_with_retries", "no_such_module.function", 1, retry=lambda: Retry(max=2))


def unreadable(name, data, **options):
    def run(s):
        s.enqueue(app.nap, 0.2)
        job = s.enqueue(app.add, 1, 2, **options)
        s.connection.hset(job.key, "data", data)

    run.__name__ = name
    scenario()(run)


unreadable("data_is_no_pickle", b"no pickle at all")
unreadable("data_is_empty", b"")
unreadable("data_is_cut", b"x\x9c\x00")


@scenario()
def data_is_missing(s):
    s.enqueue(app.nap, 0.2)
    s.connection.hdel(s.enqueue(app.add, 1, 2).key, "data")
    s.until_worker("idle")
    time.sleep(0.3)
    s.stuck = "stuck"


@scenario()
def created_at_is_missing(s):
    s.enqueue(app.nap, 0.2)
    s.connection.hdel(s.enqueue(app.add, 1, 2).key, "created_at")


@scenario()
def timeout_is_missing(s):
    s.enqueue(app.nap, 0.2)
    s.connection.hdel(s.enqueue(app.look).key, "timeout")


@scenario()
def meta_cannot_be_read(s):
    s.enqueue(app.nap, 0.2)
    s.connection.hset(s.enqueue(app.add, 1, 2, meta={"a": 1}).key, "meta", b"no pickle")


# Callbacks.
simple("callback_of_success", app.add, 1, 2, on_success=lambda: Callback(app.succeeded))
simple("callback_of_success_by_name", app.add, 1, 2, on_success=lambda: Callback("diff_app.succeeded"))
simple("callback_of_success_fails", app.add, 1, 2, on_success=lambda: Callback(app.succeeded_ill))
simple(
    "callback_of_success_fails_with_both",
    app.add,
    1,
    2,
    on_success=lambda: Callback(app.succeeded_ill),
    on_failure=lambda: Callback(app.failed),
)
simple("callback_of_success_too_slow", app.add, 1, 2, on_success=lambda: Callback(app.succeeded_slowly, timeout=1))
simple("callback_of_success_changes_the_job", app.add, 1, 2, on_success=lambda: Callback(app.succeeded_changing))
simple("callback_of_success_missing", app.add, 1, 2, on_success=lambda: Callback("diff_app.no_such_callback"))
simple("callback_of_success_with_ttl_0", app.add, 1, 2, result_ttl=0, on_success=lambda: Callback(app.succeeded))
simple("callback_of_failure", app.fail, on_failure=lambda: Callback(app.failed))
simple("callback_of_failure_fails", app.fail, on_failure=lambda: Callback(app.failed_ill))
simple("callback_of_failure_too_slow", app.fail, on_failure=lambda: Callback(app.failed_slowly, timeout=1))
simple("callback_of_failure_missing", app.fail, on_failure=lambda: Callback("diff_app.no_such_callback"))
simple("callback_of_failure_with_retries", app.fail, on_failure=lambda: Callback(app.failed), retry=lambda: Retry(max=2))
simple("callback_of_failure_gives_retries", app.fail, on_failure=lambda: Callback(app.failed_retrying))


def stopping(name, since=1, worker="plain", **options):
    def run(s):
        from rq.command import send_stop_job_command

        job = s.enqueue(app.nap_openly, **{k: v() for k, v in options.items()})
        s.until_it_naps(job)
        s.until_worker("busy")
        send_stop_job_command(s.connection, job.id)
        s.until(job, "stopped")

    run.__name__ = name
    scenario(since, worker)(run)


stopping("stopped")
stopping("stopped_with_callback", on_stopped=lambda: Callback(app.stopped))
# RQ 1 and 2 end their whole worker then.
stopping("stopped_with_callback_that_fails", since=3, on_stopped=lambda: Callback(app.stopped_ill))
stopping("stopped_with_retries", retry=lambda: Retry(max=3), on_failure=lambda: Callback(app.failed))


@scenario()
def kill_horse_command(s):
    from rq.command import send_kill_horse_command

    job = s.enqueue(app.nap_openly)
    s.until_it_naps(job)
    s.until_worker("busy")
    send_kill_horse_command(s.connection, s.worker())
    s.until(job, "failed")


# Retries.
for _max in (1, 3):
    simple(f"retry_{_max}_in_vain", app.flaky, 9, retry=(lambda n: lambda: Retry(max=n))(_max))
simple("retry_to_success", app.flaky, 3, retry=lambda: Retry(max=3))
simple("retry_later", app.flaky, 9, retry=lambda: Retry(max=2, interval=600))
simple("retry_later_and_later", app.flaky, 9, retry=lambda: Retry(max=3, interval=[0, 600, 6000]))
simple("retry_with_few_intervals", app.flaky, 9, retry=lambda: Retry(max=3, interval=[0]))
simple("retry_with_result_ttl_0", app.flaky, 2, result_ttl=0, retry=lambda: Retry(max=3))
simple("retry_with_failure_ttl_0", app.flaky, 9, failure_ttl=0, retry=lambda: Retry(max=1))


@scenario()
def retry_by_the_scheduler(s):
    s.until(s.enqueue(app.flaky, 2, retry=Retry(max=1, interval=1)), "finished")


@scenario()
def retry_behind_others(s):
    s.enqueue(app.nap, 0.2)
    s.enqueue(app.flaky, 2, retry=Retry(max=1))
    s.enqueue(app.mark, "other")


if "enqueue_at_front" in inspect.signature(Retry.__init__).parameters:

    @scenario()
    def retry_before_others(s):
        s.enqueue(app.nap, 0.2)
        s.enqueue(app.flaky, 2, retry=Retry(max=1, enqueue_at_front=True))
        s.enqueue(app.mark, "other")


# A returned `Retry`.
simple("returned_retry", app.retry_once, since=2)
simple("returned_retry_exhausted", app.retry_again, 2, since=2)
simple("returned_retry_exhausted_failure_ttl", app.retry_again, 1, since=2, failure_ttl=50)
simple("returned_retry_later", app.retry_again, 2, 600, since=2)
simple("returned_retry_and_own_retries", app.retry_or_fail, since=2, retry=lambda: Retry(max=1))
simple("returned_retry_with_callback", app.retry_once, since=2, on_success=lambda: Callback(app.succeeded))
simple("returned_retry_with_result_ttl", app.retry_once, since=2, result_ttl=20)
simple("returned_retry_with_result_ttl_0", app.retry_once, since=2, result_ttl=0)


@scenario(since=2)
def returned_retry_with_dependents(s):
    first = s.enqueue(app.retry_once)
    s.enqueue(app.look, depends_on=first)


@scenario(since=3)
def returned_retry_at_front(s):
    s.enqueue(app.nap, 0.2)
    s.enqueue(app.retry_again, 1, enqueue_at_front=True)
    s.enqueue(app.mark, "other")


# Repeats.
simple("repeat_at_once", app.flaky, 0, since=2, repeat=lambda: Repeat(times=2))
simple("repeat_later", app.flaky, 0, since=2, repeat=lambda: Repeat(times=2, interval=600))
simple("repeat_at_intervals", app.flaky, 0, since=2, repeat=lambda: Repeat(times=3, interval=[0, 0, 600]))
simple("repeat_at_few_intervals", app.flaky, 0, since=2, repeat=lambda: Repeat(times=3, interval=[0, 500]))
simple("repeat_of_a_failure", app.fail, since=2, repeat=lambda: Repeat(times=2))
simple("repeat_with_result_ttl_0", app.flaky, 0, since=2, result_ttl=0, repeat=lambda: Repeat(times=1))
simple("repeat_with_callback", app.add, 1, since=2, repeat=lambda: Repeat(times=1), on_success=lambda: Callback(app.succeeded))
simple("repeat_with_retries", app.flaky, 2, since=2, retry=lambda: Retry(max=1), repeat=lambda: Repeat(times=1))


# Dependents.
def dependents(name, function, *args, allow=False, options=None, second=None):
    def run(s):
        from rq.job import Dependency

        s.enqueue(app.nap, 0.2)
        first = s.enqueue(function, *args, **(options() if options else {}))
        on = Dependency(jobs=[first], allow_failure=True) if allow else first
        middle = s.enqueue(second or app.look, depends_on=on)
        s.enqueue(app.look, depends_on=middle)

    run.__name__ = name
    scenario()(run)


dependents("dependents", app.add, 1, 2)
dependents("dependents_that_read", app.add, 1, 2, second=app.read_dependency)
dependents("dependents_of_a_failure", app.fail)
dependents("dependents_of_a_failure_allowed", app.fail, allow=True)
dependents("dependents_of_a_result_ttl_0", app.add, 1, 2, options=lambda: {"result_ttl": 0})
dependents("dependents_of_a_failure_ttl_0", app.fail, allow=True, options=lambda: {"failure_ttl": 0})
dependents("dependents_of_a_segfault", app.crash, allow=True)
dependents("dependents_of_retries", app.flaky, 2, options=lambda: {"retry": Retry(max=1)})
dependents("dependents_of_what_deletes_itself", app.delete_itself)
dependents("dependents_of_what_cancels_itself", app.cancel_itself)


@scenario()
def dependent_on_two(s):
    s.enqueue(app.nap, 0.2)
    two = [s.enqueue(app.add, 1), s.enqueue(app.add, 2)]
    s.enqueue(app.look, depends_on=two)


@scenario()
def dependent_on_good_and_bad(s):
    s.enqueue(app.nap, 0.2)
    two = [s.enqueue(app.add, 1), s.enqueue(app.fail)]
    s.enqueue(app.look, depends_on=two)


@scenario()
def dependent_at_front(s):
    from rq.job import Dependency

    s.enqueue(app.nap, 0.2)
    first = s.enqueue(app.add, 1)
    s.enqueue(app.mark, "other")
    s.enqueue(app.mark, "dependent", depends_on=Dependency(jobs=[first], enqueue_at_front=True))


@scenario()
def dependent_in_another_queue(s):
    first = s.enqueue(app.nap, 0.3)
    s.enqueue(app.look, depends_on=first, queue="high")


@scenario()
def dependent_on_a_finished_job(s):
    first = s.enqueue(app.add, 1)
    s.until(first, "finished")
    s.settle()
    s.enqueue(app.look, depends_on=first)


# What a job does to itself and others.
simple("saves_meta", app.save_meta)
simple("saves_the_job", app.save_job)
simple("fetches_itself", app.fetch_itself)
simple("sends_a_heartbeat", app.heartbeat)
simple("changes_result_ttl", app.change, args=(), kwargs={"result_ttl": 44})
simple("changes_failure_ttl", app.change_and_fail, args=(), kwargs={"failure_ttl": 44})
simple("changes_retries_left", app.change_and_fail, args=(), kwargs={"retries_left": 0}, retry=lambda: Retry(max=1))
simple("changes_description", app.change, args=(), kwargs={"description": "not saved"})
simple("changes_much", app.change, args=(), kwargs={"description": "größe", "timeout": 77, "ttl": 1000, "meta": {"a": 1}})
simple("changes_much_and_fails", app.change_and_fail, args=(), kwargs={"description": "größe", "timeout": 77, "meta": {"a": 1}})
simple("changes_its_arguments", app.change, args=(), kwargs={"args": (5,)})
simple("changes_itself_and_is_tried_again", app.change_and_fail, args=(), kwargs={"description": "x", "meta": {"a": 1}}, retry=lambda: Retry(max=1))
simple("changes_itself_and_waits_for_a_retry", app.change_and_fail, args=(), kwargs={"timeout": 77, "meta": {"a": 1}}, retry=lambda: Retry(max=1, interval=1))
simple("changes_itself_and_returns_a_retry", app.change_and_ask, args=(), kwargs={"description": "x", "meta": {"a": 1}}, since=2)
simple("changes_itself_and_is_repeated", app.change, args=(), kwargs={"description": "x", "meta": {"a": 1}}, since=2, repeat=lambda: Repeat(times=1))
simple("deletes_itself", app.delete_itself)
simple("deletes_itself_with_callback", app.delete_itself, on_success=lambda: Callback(app.succeeded))
simple("cancels_itself", app.cancel_itself)
simple("cancels_itself_and_fails", app.cancel_and_fail)
simple("enqueues_another", app.enqueue_other, "other")
simple("enqueues_another_elsewhere", app.enqueue_other, "other", origin="high")
simple("enqueues_its_dependent", app.enqueue_dependent_on_itself, "other")
simple("runs_a_subprocess", app.subprocess_job)
simple("leaves_a_thread", app.leave_thread)
simple("prints_much", app.print_much)


@scenario()
def leaves_a_changed_process(s):
    s.enqueue(app.change_process)
    s.enqueue(app.left_behind)


# Groups, rate limits, webhooks.
@scenario(since=2)
def group(s):
    from rq.group import Group

    datas = [Queue.prepare_data(app.add, (n,), job_id=s.name()) for n in range(2)]
    datas.append(Queue.prepare_data(app.fail, job_id=s.name(), result_ttl=0))
    Group.create(connection=s.connection, name="family").enqueue_many(s.queue(), datas)


@scenario(since=2)
def group_with_result_ttl_0(s):
    from rq.group import Group

    datas = [Queue.prepare_data(app.add, (n,), job_id=s.name(), result_ttl=0) for n in range(2)]
    Group.create(connection=s.connection, name="family").enqueue_many(s.queue(), datas)


def limited(name, function, *args, **options):
    def run(s):
        from rq.rate_limit import RateLimit

        made = {k: v() for k, v in options.items()}
        for _ in range(3):
            s.enqueue(function, *args, rate_limit=RateLimit("limit", 1), **made)

    run.__name__ = name
    scenario(needs="rate_limit")(run)


limited("rate_limit", app.add, 1)
limited("rate_limit_of_failures", app.fail)
limited("rate_limit_of_segfaults", app.crash)
limited("rate_limit_with_retries", app.flaky, 2, retry=lambda: Retry(max=1))
limited("rate_limit_with_later_retries", app.flaky, 2, retry=lambda: Retry(max=1, interval=600))
limited("rate_limit_with_returned_retry", app.retry_once)


def webhooks(name, function, *args, **options):
    def run(s):
        from rq.webhook import Webhook

        s.lingers = True
        hooks = [Webhook(s.url, status, method="POST") for status in ("finished", "failed")]
        s.enqueue(function, *args, webhooks=hooks, **{k: v() for k, v in options.items()})
        if function is not app.crash:
            s.until_a_webhook_came()

    run.__name__ = name
    scenario(needs="webhooks")(run)


webhooks("webhook_of_success", app.add, 1)
webhooks("webhook_of_failure", app.fail)
webhooks("webhook_of_retries", app.flaky, 2, retry=lambda: Retry(max=1))
webhooks("webhook_of_a_segfault", app.crash)
webhooks("webhook_of_returned_retries", app.retry_again, 1)

# A worker with exception handlers, and one queue.
for _does in (
    "none",
    "false",
    "true",
    "raises",
    "gives retries",
    "takes retries",
    "sets ttl",
    "saves meta",
    "deletes",
    "requeues",
    "enqueues",
):
    simple("handler_" + _does.replace(" ", "_"), app.fail, worker="handlers", meta={"handler": _does})
simple("handler_and_retries", app.fail, worker="handlers", retry=lambda: Retry(max=1))
simple("handler_takes_retries_left", app.fail, worker="handlers", meta={"handler": "takes retries"}, retry=lambda: Retry(max=1))
simple("handler_and_later_retry", app.fail, worker="handlers", retry=lambda: Retry(max=1, interval=600))
simple("handler_and_callback", app.fail, worker="handlers", on_failure=lambda: Callback(app.failed))
simple("handler_and_segfault", app.crash, worker="handlers")
simple("handler_and_time_limit", app.nap, 5, worker="handlers", job_timeout=1)
simple("handler_and_module_missing", "no_such_module.function", worker="handlers")
simple("handler_and_success", app.look, worker="handlers")
simple("handler_and_running", app.snapshot, worker="handlers")

# A worker without RQ's own way with failures.
simple("no_default_failure", app.fail, worker="bare")
simple("no_default_failure_with_retries", app.fail, worker="bare", retry=lambda: Retry(max=1))
simple("no_default_failure_of_a_segfault", app.crash, worker="bare")
stopping("no_default_failure_of_a_stopped_job", worker="bare")
simple("no_default_failure_of_what_changes_itself", app.change_and_fail, worker="bare", args=(), kwargs={"description": "x", "failure_ttl": 5})
simple("no_default_failure_with_failure_ttl_0", app.fail, worker="bare", failure_ttl=0)
simple("default_result_ttl", app.add, 1, worker="bare")

# A worker with classes and a serializer of its own.
simple("classes_success", app.look, worker="classes")
simple("classes_arguments", app.echo, 1, "größe", worker="classes", a=[1])
simple("classes_result", app.give, "unicode", worker="classes")
simple("classes_result_none", app.nothing, worker="classes")
simple("classes_unserializable", app.unserializable, worker="classes")
simple("classes_bytes", app.give, "bytes", worker="classes")
simple("classes_failure", app.fail, worker="classes")
simple("classes_retries", app.flaky, 2, worker="classes", retry=lambda: Retry(max=1))
simple("classes_result_ttl_0", app.add, 1, worker="classes", result_ttl=0)
simple("classes_meta", app.save_meta, worker="classes", meta={"a": "größe"})
simple("classes_callback", app.add, 1, worker="classes", on_success=lambda: Callback(app.succeeded))
simple("classes_segfault", app.crash, worker="classes")
stopping("classes_stopped", worker="classes")
simple("classes_returned_retry", app.retry_once, worker="classes", since=2)


@scenario(worker="classes")
def classes_dependents(s):
    first = s.enqueue(app.nap, 0.3)
    s.enqueue(app.look, depends_on=first)
