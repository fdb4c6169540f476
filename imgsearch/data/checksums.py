"""Checksums of what is stored, so that a byte that changed on the disk is found.

CRC-32 finds every single changed bit, every burst of up to 32 bits, and all but one in 4 billion of
other accidents. It is no protection against somebody who means it.
"""

from __future__ import annotations

import sqlite3
import zlib

CHECKSUM_BYTES = 4


def checksum(content: bytes) -> bytes:
    """Return the CRC-32 of some bytes, big-endian, 4 bytes."""
    return zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "big")


def define_checksum(connection: sqlite3.Connection) -> None:
    """Let the statements of a connection call ``checksum(blob)``."""
    connection.create_function("checksum", 1, checksum, deterministic=True)
