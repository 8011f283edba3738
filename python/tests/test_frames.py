import unittest

import stand_in  # noqa: F401 - puts the shim on the path

from tikkun_shim import frames


class Frames(unittest.TestCase):
    def test_a_frame_is_read_byte_by_byte(self):
        data = frames.encode(frames.JOB, "id", b"\x00\xff", {"a": None}, "")
        decoder = frames.Decoder()
        for byte in data[:-1]:
            decoder.feed(bytes([byte]))
            self.assertIsNone(decoder.frame())
        decoder.feed(data[-1:])
        self.assertEqual(decoder.frame(), (frames.JOB, [b"id", b"\x00\xff", b'{"a": null}', b""]))
        self.assertIsNone(decoder.frame())

    def test_the_layout_is_that_of_the_protocol(self):
        self.assertEqual(frames.encode(1, "7"), b"\x06\x00\x00\x00\x01\x01\x00\x00\x007")
        self.assertEqual(frames.encode(2), b"\x01\x00\x00\x00\x02")

    def test_text_that_is_not_utf8_survives(self):
        decoder = frames.Decoder()
        decoder.feed(frames.encode(1, frames.text(b"\xff\xfe")))
        self.assertEqual(decoder.frame()[1], [b"\xff\xfe"])

    def test_a_frame_that_is_too_long_names_its_size(self):
        limit, frames.MAX_FRAME = frames.MAX_FRAME, 100
        try:
            with self.assertRaisesRegex(frames.FrameError, "105 bytes .* 100 bytes"):
                frames.encode(1, b"x" * 100)
            decoder = frames.Decoder()
            decoder.feed(b"\x65\x00\x00\x00\x01")
            with self.assertRaisesRegex(frames.FrameError, "101 bytes"):
                decoder.frame()
        finally:
            frames.MAX_FRAME = limit

    def test_a_field_that_leaves_its_frame_is_an_error(self):
        decoder = frames.Decoder()
        decoder.feed(b"\x06\x00\x00\x00\x01\x02\x00\x00\x007")
        with self.assertRaises(frames.FrameError):
            decoder.frame()
