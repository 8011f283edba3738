"""What stands between Tikkun's order to run a job and that job's end: RQ's own code alone, or more."""

from . import leaves

# Code after these, in an override or a wrapper, may look at the job's end in Redis.
_AROUND_THE_END = (
    "execute_job",
    "main_work_horse",
    "perform_job",
    "handle_job_success",
    "handle_job_failure",
    "handle_job_retry",
    "handle_exception",
)


class Way:
    """The way of a worker's jobs. It is looked at before functions of RQ are replaced."""

    def __init__(self, worker):
        # Nothing but RQ's own code runs before a job's own and after it, so that a job begins at once.
        self.is_rqs_own = _is_rqs_own(worker)
        # Code around a job's end may look at that end in Redis, so that it must be there by then.
        self.is_looked_at = _is_looked_at(worker)


def _is_rqs_own(worker):
    if any(name in vars(worker) for cls in type(worker).__mro__ for name in _functions(cls)):
        return False
    classes = [type(worker), worker.job_class, worker.queue_class, worker.death_penalty_class]
    classes += [type(queue) for queue in worker.queues]
    return all(_is_untouched(part) for cls in set(classes) for part in cls.__mro__ if part is not object)


def _functions(cls):
    """A class's own functions by name, but those that belong to Python itself, such as comparisons, and that
    in which Tikkun takes over."""
    return {
        name: value
        for name, value in vars(cls).items()
        if hasattr(value, "__code__") and not name.startswith("__") and not hasattr(value, "__tikkun__")
    }


def _is_untouched(cls):
    """Whether a class is as RQ has made it."""
    own = cls.__module__.startswith("rq.")
    return own and all(leaves.is_rqs_own(function) for function in _functions(cls).values())


def _is_looked_at(worker):
    for name in _AROUND_THE_END:
        method = getattr(type(worker), name, None)
        if method is None or leaves.is_rqs_own(method):
            continue
        # Sentry's wrapper looks only at the job object.
        code = getattr(method, "__code__", None)
        if code is not None and "sentry_sdk" in code.co_filename:
            continue
        return True
    return False
