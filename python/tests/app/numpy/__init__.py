"""Stands in for the library, as far as its generator of random numbers goes."""

from . import random  # noqa: F401
