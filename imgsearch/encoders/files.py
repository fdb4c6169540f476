"""Opening files that may have turned into something else since they were listed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from imgsearch.errors import ImageUnreadable
from imgsearch.settings import DecodeLimits

# How often a file that changes while it is read is tried again.
_READ_ATTEMPTS = 3


def open_descriptor(path: str) -> tuple[int, os.stat_result]:
    """Open an ordinary file; return its descriptor and stat values. Raises OSError.

    Links are not followed, and a FIFO, socket or device is not waited for: what is no ordinary file
    raises OSError too.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("it is no ordinary file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, facts


@contextmanager
def open_regular(path: str) -> Iterator[tuple[BufferedReader, os.stat_result]]:
    """Open an ordinary file as `open_descriptor` does; yield it with its stat values."""
    descriptor, facts = open_descriptor(path)
    with os.fdopen(descriptor, "rb") as file:
        yield file, facts


def read_stable(path: str, limits: DecodeLimits) -> tuple[bytes, os.stat_result]:
    """Return a file's bytes and the stat values that belong to just these bytes.

    Raises OSError if it cannot be read, ImageUnreadable if it is too large or does not stop
    changing.
    """
    for _ in range(_READ_ATTEMPTS):
        with open_regular(path) as (file, before):
            check_size(before, limits)
            # One byte more than it should have: a file that grows must not be read for ever.
            data = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
        if same_stat(before, after) and len(data) == after.st_size:
            return data, after
    raise ImageUnreadable("it keeps changing while it is read")


def check_size(facts: os.stat_result, limits: DecodeLimits) -> None:
    """Raise ImageUnreadable for a file that is larger than allowed."""
    if facts.st_size > limits.max_file_bytes:
        raise ImageUnreadable(
            f"too large: {facts.st_size / 1e6:.0f} MB; "
            f"the limit is {limits.max_file_bytes / 1e6:.0f} MB"
        )


def same_stat(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether a file has the size and time it had before."""
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
