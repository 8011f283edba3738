"""One generator for the whole process, seeded when it is imported."""

import random as _random

_generator = _random.Random(1)


def seed():
    _generator.seed()


def random():
    return _generator.random()
