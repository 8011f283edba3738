"""Frames between Tikkun and the shim: `u32` length (little endian, of all that follows), `u8` kind, then
fields of `u32` length and bytes. Payloads are bytes of their own, so nothing here unpickles anything."""

import json
import os
import struct

# Redis' own limit for one value. A longer frame is an error on both sides.
MAX_FRAME = 512 * 1024 * 1024

# Tikkun to zygote
FORK = 1
PRELOAD = 2
# zygote to Tikkun
HELLO = 16
FORKED = 17
EXIT = 18
WARNING = 19
REFUSED = 20
PRELOADED = 21
UNFORKED = 22
# Tikkun to child
JOB = 32
CALLBACK = 33
SETTLED = 34
TRY = 35
# child to Tikkun
READY = 48
PHASE = 49
RESULT = 50
BYE = 51
CALLED = 52
IMPORTED = 53
TRIED = 54

_LENGTH = struct.Struct("<I")
_JSON = json.JSONEncoder(default=str)


class FrameError(Exception):
    """A frame that cannot be sent or was not understood."""


def text(field):
    """The text of a field."""
    return bytes(field).decode("utf-8", "surrogateescape")


def encode(kind, *fields):
    """The bytes of one frame. Text becomes UTF-8, other values become JSON."""
    parts = []
    size = 1
    for field in fields:
        if not isinstance(field, (bytes, bytearray, memoryview)):
            if not isinstance(field, str):
                field = _JSON.encode(field)
            field = field.encode("utf-8", "surrogateescape")
        parts.append(_LENGTH.pack(len(field)))
        parts.append(field)
        size += 4 + len(field)
    if size > MAX_FRAME:
        raise FrameError(f"a frame of {size} bytes is longer than the limit of {MAX_FRAME} bytes")
    return b"".join([_LENGTH.pack(size), bytes([kind])] + parts)


class Decoder:
    """Splits a stream of bytes into frames."""

    def __init__(self):
        self._buffer = bytearray()

    def feed(self, data):
        self._buffer += data

    def frame(self):
        """The next whole frame as (kind, fields), or None when more bytes are needed."""
        if len(self._buffer) < 5:
            return None
        (size,) = _LENGTH.unpack_from(self._buffer)
        if not 1 <= size <= MAX_FRAME:
            raise FrameError(f"a frame of {size} bytes is outside the limit of {MAX_FRAME} bytes")
        end = 4 + size
        if len(self._buffer) < end:
            return None
        frame = bytes(memoryview(self._buffer)[4:end])
        del self._buffer[:end]
        kind, end, at = frame[0], size, 1
        fields = []
        while at < end:
            if at + 4 > end:
                raise FrameError(f"a field's length is cut off in a frame of kind {kind}")
            (length,) = _LENGTH.unpack_from(frame, at)
            at += 4 + length
            if at > end:
                raise FrameError(f"a field of {length} bytes leaves its frame of kind {kind}")
            fields.append(frame[at - length : at])
        return kind, fields


class Channel:
    """A blocking connection that carries frames."""

    def __init__(self, sock):
        # The application's default for sockets, if it has set one, is not meant for this one.
        sock.settimeout(None)
        self.sock = sock
        self._decoder = Decoder()
        self._owner = os.getpid()
        self._held = b""

    def hold(self, kind, *fields):
        """Sends a frame together with the next one, or with `flush`."""
        self._held += encode(kind, *fields)

    def flush(self):
        """Sends what is held."""
        if self._held:
            self._send(b"")

    def send(self, kind, *fields):
        self._send(encode(kind, *fields))

    def _send(self, data):
        data, self._held = self._held + data, b""
        if os.getpid() != self._owner:
            # A job forked, and its copy ran on into RQ's code. It must not answer in the job's place.
            os._exit(1)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # Tikkun has closed its side, so nobody waits for this process.
            os._exit(0)
        except BaseException:
            # Half a frame may be out: no later one would be understood.
            os._exit(1)

    def receive(self):
        """The next frame as (kind, fields), or None when the other side is gone."""
        while True:
            frame = self._decoder.frame()
            if frame is not None:
                return frame
            try:
                # A larger buffer would be mapped and unmapped by each call.
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._decoder.feed(data)
