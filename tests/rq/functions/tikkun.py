"""The service's own functions for testing in Python, under their names and with their parameters.

A Python worker beside the service runs them, and so does `tikkun run` in front of one.
"""

import time


def noop():
    """Does nothing, well."""


def echo(*positional, **named):
    """Returns its arguments unchanged."""
    return {"positional": list(positional), "named": named}


def sleep(seconds, deaf=False):
    """Takes its time, and hears nothing of a drain."""
    time.sleep(seconds)
    return {"slept": seconds}


def fail(message):
    """Fails."""
    raise RuntimeError(message)


def again(max):
    """Asks to be run again."""
    from rq import Retry

    return Retry(max=max)


def note(job, connection, *_error):
    """A callback: says on the server that it was called."""
    connection.set("noted", job.id)
