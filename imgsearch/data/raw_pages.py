"""Reading the rows of an SQLite file page by page, whatever else in it is damaged.

SQLite comes to a row by way of the pages above it; where one of these is damaged, it does not find
hundreds of intact rows below. Here every page that is a leaf is read for itself. The format is that
of https://sqlite.org/fileformat2.html (sections 1.3 to 2.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgsearch.data.wal import Log

Value = int | float | str | bytes | None
_USUAL_PAGE = 4096
_PAGE_SIZES = frozenset(1 << power for power in range(9, 17))
_LEAF_OF_TABLE = 0x0D
_LEAF_OF_INDEX = 0x0A
_INTERIOR_OF_INDEX = 0x02
# Fields of our widest table, and some more.
_MOST_FIELDS = 64
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table, with its row id, or one entry of an index, without.

    In `garbled` ones there was text that is not UTF-8.
    """

    rowid: int | None
    values: tuple[Value, ...]
    garbled: bool = False


class _NoRecord(Exception):
    """The bytes at hand are no record."""


class RawPages:
    """The pages of a database file, with the committed pages of its log in their place."""

    def __init__(self, file: BinaryIO, log_path: Path | None, log: Log | None) -> None:
        self._file = file
        head = file.read(100).ljust(100, b"\0")
        (size,) = struct.unpack_from(">H", head, 16)
        size = 65536 if size == 1 else size
        self.page_size = size if size in _PAGE_SIZES else _USUAL_PAGE
        self._usable = self.page_size - min(head[20], 32)
        self._count = -(-file.seek(0, 2) // self.page_size)
        self._log_pages: dict[int, int] = {}
        self._log: bytes = b""
        if log_path is not None and log is not None and log.page_size == self.page_size:
            self._log_pages, self._log = log.pages, log_path.read_bytes()
        self._count = max(self._count, *self._log_pages, 0)

    def records(self) -> Iterator[Record]:
        """Yield every record that can be read, of all tables and indexes, in no telling order."""
        free = self._free_pages()
        for number in range(1, self._count + 1):
            if number not in free:
                yield from self._records_of(number)

    def _page(self, number: int) -> bytes:
        at = self._log_pages.get(number)
        if at is not None:
            return self._log[at : at + self.page_size]
        self._file.seek((number - 1) * self.page_size)
        return self._file.read(self.page_size).ljust(self.page_size, b"\0")

    def _free_pages(self) -> set[int]:
        """Return the pages that the file lists as unused: their rows were deleted on purpose."""
        free: set[int] = set()
        (trunk,) = struct.unpack_from(">I", self._page(1), 32)
        while 0 < trunk <= self._count and trunk not in free:
            free.add(trunk)
            page = self._page(trunk)
            following, leaves = struct.unpack_from(">2I", page)
            if leaves > self._usable // 4 - 2:
                break
            free.update(struct.unpack_from(f">{leaves}I", page, 8))
            trunk = following
        return free

    def _records_of(self, number: int) -> Iterator[Record]:
        page = self._page(number)
        start = 100 if number == 1 else 0
        kind = page[start]
        if kind not in (_LEAF_OF_TABLE, _LEAF_OF_INDEX, _INTERIOR_OF_INDEX):
            return
        (cells,) = struct.unpack_from(">H", page, start + 3)
        pointers = start + (12 if kind == _INTERIOR_OF_INDEX else 8)
        for cell in range(min(cells, (self.page_size - pointers) // 2)):
            (at,) = struct.unpack_from(">H", page, pointers + 2 * cell)
            try:
                yield self._record(page, at, kind)
            except (_NoRecord, IndexError, struct.error):
                continue

    def _record(self, page: bytes, at: int, kind: int) -> Record:
        if kind == _INTERIOR_OF_INDEX:
            at += 4
        length, at = _varint(page, at)
        rowid = None
        if kind == _LEAF_OF_TABLE:
            rowid, at = _varint(page, at)
        values = _values(self._payload(page, at, length, kind))
        return Record(rowid, values, any(isinstance(v, str) and "\ufffd" in v for v in values))

    def _payload(self, page: bytes, at: int, length: int, kind: int) -> bytes:
        """Return a cell's content, of which what is long lies on a chain of further pages."""
        usable = self._usable
        most = usable - 35 if kind == _LEAF_OF_TABLE else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return _exactly(page[at : at + length], length)
        if length > self._count * self.page_size:
            raise _NoRecord
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        local = local if local <= most else least
        parts = [_exactly(page[at : at + local], local)]
        (following,) = struct.unpack_from(">I", page, at + local)
        missing = length - local
        while missing > 0:
            if not 0 < following <= self._count:
                raise _NoRecord
            further = self._page(following)
            parts.append(further[4 : 4 + min(missing, usable - 4)])
            missing -= len(parts[-1])
            (following,) = struct.unpack_from(">I", further)
        return b"".join(parts)


def _exactly(content: bytes, length: int) -> bytes:
    if len(content) != length:
        raise _NoRecord
    return content


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the integer of 1 to 9 bytes at `at`, and where it ends."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | content[place] & 0x7F
        if content[place] < 0x80:
            return value, place + 1
    value = value << 8 | content[at + 8]
    return (value - (1 << 64) if value >= 1 << 63 else value), at + 9


def _values(payload: bytes) -> tuple[Value, ...]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != end or not 0 < len(kinds) <= _MOST_FIELDS:
        raise _NoRecord
    values: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise _NoRecord
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(_exactly(payload[at:end], end - at), "big", signed=True), end
    if kind == 7:
        return float(struct.unpack_from(">d", payload, at)[0]), at + 8
    if kind < 12:
        raise _NoRecord
    end = at + (kind - 12) // 2
    content = _exactly(payload[at:end], end - at)
    return (content.decode(errors="replace") if kind % 2 else content), end
