"""The messages between a process and its children: a JSON header and raw bytes.

Not pickle: a decoding process handles hostile files, and whoever takes it over must not be able to
run code in the indexer through what it answers.
"""

from __future__ import annotations

import json
import struct
from io import BufferedReader
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_LENGTHS = struct.Struct(">II")
# A header is a path and a few numbers, a body one picture's pixels; anything larger is no answer.
_MAX_HEADER = 1 << 20
_MAX_BODY = 1 << 26


class FrameError(Exception):
    """The other side closed the pipe or sent what is no frame."""


def write_frame(stream: BinaryIO, header: dict[str, Any], *body: bytes | memoryview) -> None:
    """Write one message, whose body may come in parts, and flush it."""
    # ASCII-only JSON escapes the lone surrogates of file names that are not UTF-8.
    text = json.dumps(header).encode("ascii")
    stream.write(_LENGTHS.pack(len(text), sum(map(len, body))))
    stream.write(text)
    for part in body:
        stream.write(part)
    stream.flush()


def read_frame(stream: BinaryIO, max_body: int = _MAX_BODY) -> tuple[dict[str, Any], bytes]:
    """Read one message, its body of at most `max_body` bytes. Raises FrameError."""
    header, length = read_header(stream, max_body)
    return header, read_body(stream, length)


def read_header(stream: BinaryIO, max_body: int = _MAX_BODY) -> tuple[dict[str, Any], int]:
    """Read a message up to its body; return the header and the body's length in bytes.

    Raises FrameError.
    """
    header_length, body_length = _LENGTHS.unpack(_read_exactly(stream, _LENGTHS.size))
    if header_length > _MAX_HEADER or body_length > max_body:
        raise FrameError("a message is too long")
    try:
        # As text: of bytes, the encoding would be guessed first.
        header = json.loads(str(_read_exactly(stream, header_length), "ascii"))
    except (ValueError, RecursionError) as error:
        raise FrameError("a header is not JSON") from error
    if not isinstance(header, dict):
        raise FrameError("a header is not an object")
    return header, body_length


def read_body(stream: BinaryIO, length: int) -> bytes:
    """Read so many bytes of a body. Raises FrameError."""
    return _read_exactly(stream, length)


def read_into(stream: BufferedReader, array: npt.NDArray[np.uint8]) -> None:
    """Fill a contiguous array with the next bytes of a body. Raises FrameError."""
    if stream.readinto(array.data) != array.nbytes:
        raise FrameError("the stream ended")


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise FrameError("the stream ended")
    return data
