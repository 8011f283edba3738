"""What a Python worker beside the service runs under the names of the service's own functions."""


def noop():
    """Does nothing, well."""
