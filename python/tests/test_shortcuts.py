"""What is done more quickly than RQ does it gives what RQ gives."""

import unittest

import rq.utils
from rq.serializers import DefaultSerializer, JSONSerializer, resolve_serializer
from stand_in import SHIM  # noqa: F401 - it has put the shim on the path

from tikkun_shim import shortcuts

TIMES = (
    "2026-11-29T12:00:00.000000Z",
    "2024-02-29T23:59:59.999999Z",
    "2026-11-29T12:00:00Z",
    "2026-1-2T3:4:5.6Z",
)
NO_TIMES = (
    "",
    "2026-11-29 12:00:00.000000Z",
    "2026-11-29T12:00:00.000000",
    "2026-13-29T12:00:00.000000Z",
    "2026-02-30T12:00:00.000000Z",
    "2026-11-29T12:00:60.000000Z",
    "2026-11-29T12:00:00.000000Z\n",
    "２026-11-29T12:00:00.000000Z",
)


class Shortcuts(unittest.TestCase):
    def test_times_are_read_as_rq_reads_them(self):
        parse = shortcuts._quick(rq.utils.utcparse)
        for time in TIMES:
            self.assertEqual(parse(time), rq.utils.utcparse(time), time)
            self.assertEqual(parse(time).tzinfo, rq.utils.utcparse(time).tzinfo, time)
        for time in NO_TIMES:
            try:
                expected = rq.utils.utcparse(time)
            except ValueError as error:
                with self.assertRaises(type(error), msg=time):
                    parse(time)
            else:
                self.assertEqual(parse(time), expected, time)

    def test_serializers_are_those_that_rq_finds(self):
        resolve = shortcuts._remembering(resolve_serializer)
        for serializer in (
            None,
            JSONSerializer,
            JSONSerializer,
            DefaultSerializer,
            "rq.serializers.JSONSerializer",
        ):
            self.assertIs(resolve(serializer), resolve_serializer(serializer))
        for _ in range(2):
            with self.assertRaises(NotImplementedError):
                resolve(object())


if __name__ == "__main__":
    unittest.main()
