"""What a Python worker beside the service runs under the names of the service's own functions."""

import time


def noop():
    """Does nothing, well."""


def sleep(seconds):
    """Takes its time."""
    time.sleep(seconds)


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
