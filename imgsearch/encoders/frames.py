"""The messages between a process and its children: a JSON header and raw bytes.

Not pickle: a decoding process handles hostile files, and whoever takes it over must not be able to
run code in the indexer through what it answers.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")
# A header is a path and a few numbers, a body one picture's pixels; anything larger is no answer.
_MAX_HEADER = 1 << 20
_MAX_BODY = 1 << 26
# What a pipe holds, unless it was made larger.
_PIPE_BYTES = 1 << 16


class FrameError(Exception):
    """The other side closed the pipe or sent what is no frame."""


def write_frame(stream: BinaryIO, header: dict[str, Any], *body: bytes | memoryview) -> None:
    """Write one message, whose body may come in parts, and flush it."""
    put_frame(stream, header, *body)
    stream.flush()


def put_frame(stream: BinaryIO, header: dict[str, Any], *body: bytes | memoryview) -> None:
    """Write one message, whose body may come in parts; it may stay in the stream's buffer."""
    # ASCII-only JSON escapes the lone surrogates of file names that are not UTF-8.
    text = json.dumps(header).encode("ascii")
    stream.write(_LENGTHS.pack(len(text), sum(map(len, body))) + text)
    for part in body:
        stream.write(part)


def read_frame(stream: BinaryIO, max_body: int = _MAX_BODY) -> tuple[dict[str, Any], bytes]:
    """Read one message, its body of at most `max_body` bytes. Raises FrameError."""
    header_length, body_length = _lengths(_read_exactly(stream, _LENGTHS.size), max_body)
    header = _header(_read_exactly(stream, header_length))
    return header, _read_exactly(stream, body_length)


class FrameReader:
    """Reads messages from a pipe, as many at a time as are there. Nobody else may read from it."""

    def __init__(self, pipe: int) -> None:
        """`pipe` is a file descriptor."""
        self._pipe = pipe
        self._came = bytearray()

    def wait(self) -> tuple[dict[str, Any], bytes]:
        """Return the next message as soon as it is there. Raises FrameError or OSError."""
        while (message := self.next()) is None:
            part = os.read(self._pipe, max(_PIPE_BYTES, self._missing()))
            if not part:
                raise FrameError("the stream ended")
            self._came += part
        return message

    def next(self) -> tuple[dict[str, Any], bytes] | None:
        """Return the next message if it has come with one before. Raises FrameError."""
        came = self._came
        if len(came) < _LENGTHS.size:
            return None
        header_length, body_length = _lengths(came, _MAX_BODY)
        start = _LENGTHS.size + header_length
        if len(came) < start + body_length:
            return None
        header = _header(came[_LENGTHS.size : start])
        body = bytes(came[start : start + body_length])
        del came[: start + body_length]
        return header, body

    def _missing(self) -> int:
        """Return how many bytes the next message lacks, as far as that is known."""
        if len(self._came) < _LENGTHS.size:
            return 0
        return _LENGTHS.size + sum(_lengths(self._came, _MAX_BODY)) - len(self._came)


def _lengths(data: bytes | bytearray, max_body: int) -> tuple[int, int]:
    header_length: int
    body_length: int
    header_length, body_length = _LENGTHS.unpack_from(data)
    if header_length > _MAX_HEADER or body_length > max_body:
        raise FrameError("a message is too long")
    return header_length, body_length


def _header(data: bytes | bytearray) -> dict[str, Any]:
    try:
        # As text: of bytes, the encoding would be guessed first.
        header = json.loads(str(data, "ascii"))
    except (ValueError, RecursionError) as error:
        raise FrameError("a header is not JSON") from error
    if not isinstance(header, dict):
        raise FrameError("a header is not an object")
    return header


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise FrameError("the stream ended")
    return data
