"""What can be told of a file without decoding it: its hash, and whether it is an image at all."""

from __future__ import annotations

import hashlib
import os

from imgsearch.encoders.files import open_regular, same_stat
from imgsearch.indexer.formats import SNIFF_BYTES, looks_like_image

_MOST_AT_ONCE = 1 << 20


def hash_file(path: str) -> tuple[bytes, os.stat_result] | None:
    """Return a file's SHA-256 and stat values, or None if it cannot be read in peace."""
    try:
        with open_regular(path) as (file, before):
            digest = hashlib.sha256()
            # As large as the file: most are far smaller than the 256 kB of `hashlib.file_digest`.
            buffer = memoryview(bytearray(max(1, min(before.st_size, _MOST_AT_ONCE))))
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
            after = os.fstat(file.fileno())
    except OSError:
        return None
    return (digest.digest(), after) if same_stat(before, after) else None


def sniff(path: str) -> bool:
    """Tell from a file's first bytes whether it is an image. Raises OSError."""
    with open_regular(path) as (file, _):
        return looks_like_image(file.read(SNIFF_BYTES))
