"""Reading files that may change, vanish or turn into something else while they are read."""

from __future__ import annotations

import hashlib
import os
import stat

from imgsearch.errors import ImageUnreadable
from imgsearch.indexer.formats import SNIFF_BYTES, looks_like_image
from imgsearch.settings import DecodeLimits

# How often a file that changes while it is read is tried again.
_READ_ATTEMPTS = 3


class FileGone(Exception):
    """The file was deleted after it was listed."""


def read_stable(path: str, limits: DecodeLimits) -> tuple[bytes, os.stat_result]:
    """Return a file's bytes and the stat values that belong to just these bytes.

    Raises FileGone, or ImageUnreadable if it cannot be read or does not stop changing.
    """
    for _ in range(_READ_ATTEMPTS):
        try:
            descriptor = _open(path)
            with os.fdopen(descriptor, "rb") as file:
                before = os.fstat(descriptor)
                _check(before, limits)
                data = file.read()
                after = os.fstat(descriptor)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileGone from error
        except OSError as error:
            raise ImageUnreadable(f"cannot be read: {error.strerror or error}") from error
        if _same(before, after) and len(data) == after.st_size:
            return data, after
    raise ImageUnreadable("it keeps changing while it is read")


def hash_file(path: str) -> tuple[bytes, os.stat_result] | None:
    """Return a file's SHA-256 and stat values, or None if it cannot be read in peace."""
    try:
        descriptor = _open(path)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return None
            digest = hashlib.file_digest(file, "sha256").digest()
            after = os.fstat(descriptor)
    except OSError:
        return None
    return (digest, after) if _same(before, after) else None


def sniff(path: str) -> bool:
    """Tell from a file's first bytes whether it is an image; False if it cannot be read."""
    try:
        descriptor = _open(path)
        with os.fdopen(descriptor, "rb") as file:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return regular and looks_like_image(file.read(SNIFF_BYTES))
    except OSError:
        return False


def _open(path: str) -> int:
    # The path may have become a link or a FIFO since the scan: neither is followed or waited for.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags | getattr(os, "O_BINARY", 0))


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _check(facts: os.stat_result, limits: DecodeLimits) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise ImageUnreadable("it is no longer an ordinary file")
    if facts.st_size > limits.max_file_bytes:
        raise ImageUnreadable(
            f"too large: {facts.st_size / 1e6:.0f} MB; "
            f"the limit is {limits.max_file_bytes / 1e6:.0f} MB"
        )
