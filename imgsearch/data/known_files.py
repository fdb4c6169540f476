"""Which scanned files are just as the catalog knows them: told in bulk, without paths in memory.

Nearly all files of a re-scan are. To look each of them up in SQLite, or to write it into a table,
would take longer than the system takes to list it. So the catalog's rows are read once, and of each
is kept a fingerprint: the 64-bit hash of root, path, size and time. A scanned file that has one of
these is as it was; all others are left to SQL (`scan_table`).

Python's hash of texts is keyed (SipHash), anew in every process. With n known files, the odds that
a new or changed one passes for known are n / 2^64, one in 18 million millions where a million are
known; the next run, under another key, sees it. Known files of equal fingerprints are left to SQL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.data.catalog import Catalog
from imgsearch.data.paths import from_stored
from imgsearch.data.records import FACTS_VERSION, ScannedRow
from imgsearch.data.scopes import Scope, without_covered

_PAGE = 10_000
# The fingerprint of (root id, path, size, time of change).
_hash: Callable[[tuple[Any, ...]], int] = hash
# Settled is a file if there is nothing to do about it as long as it is as it was: its picture has a
# vector of the model and facts of this version, and there is no failure.
_FIELDS = """
SELECT f.id, f.root_id, f.path, f.size, f.mtime_ns,
coalesce((SELECT p.facts_version >= :facts FROM picture p WHERE p.id = f.picture_id), 0)
AND EXISTS (SELECT 1 FROM embedding e WHERE e.model_id = :model AND e.picture_id = f.picture_id)
AND NOT EXISTS (SELECT 1 FROM failure x WHERE x.root_id = f.root_id AND x.path = f.path)
FROM file f WHERE f.root_id = :root
"""
_IN_RANGE = f"{_FIELDS} AND f.path >= :low AND f.path < :high"


class KnownFiles:
    """Fingerprints of the files that the catalog has in some scopes: 17 bytes a file."""

    def __init__(
        self,
        prints: npt.NDArray[np.int64],
        ids: npt.NDArray[np.int64],
        settled: npt.NDArray[np.bool_],
        doubtful: npt.NDArray[np.int64],
    ) -> None:
        """Use `read`. `prints`, ascending, and `settled` belong to the files `ids`: all are [n].

        `doubtful` [m] are the ids of files that have their fingerprint in common with another.
        """
        self._prints = prints
        self._ids = ids
        self._settled = settled
        self._doubtful = doubtful
        self._met = np.zeros(len(prints), dtype=np.bool_)
        self.settled = 0

    @classmethod
    def read(
        cls,
        catalog: Catalog,
        model_id: int,
        scopes: Sequence[Scope],
        pulse: Callable[[], None],
    ) -> KnownFiles:
        """Read them. `pulse` is called now and then, and may end it with an error of its own."""
        prints, ids, settled = [_NONE], [_NONE], [_NONE.astype(np.bool_)]
        with catalog.reading() as connection:
            for rows in _pages(connection, model_id, scopes):
                pulse()
                prints.append(np.fromiter(map(_print_of, rows), np.int64, len(rows)))
                ids.append(_column(rows, 0, np.int64))
                settled.append(_column(rows, 5, np.bool_))
        known = np.concatenate(prints)
        order = np.argsort(known)
        known = known[order]
        every_id, every_settled = np.concatenate(ids)[order], np.concatenate(settled)[order]
        single = _single(known)
        if single.all():
            return cls(known, every_id, every_settled, _NONE)
        return cls(known[single], every_id[single], every_settled[single], every_id[~single])

    def others(self, rows: list[ScannedRow]) -> list[ScannedRow]:
        """Return the scanned files that something may have to be done about; count the others."""
        if not len(self._prints):
            return rows
        prints = np.fromiter((_hash(row[:4]) for row in rows), np.int64, len(rows))
        places = np.searchsorted(self._prints, prints)
        places[places == len(self._prints)] = 0
        same = self._prints[places] == prints
        settled = same & self._settled[places] & ~_column(rows, 5, np.bool_)
        self.settled += int(np.count_nonzero(settled & ~self._met[places]))
        self._met[places[same]] = True
        if settled.all():
            return []
        return [rows[place] for place in np.flatnonzero(~settled)]

    def missed(self) -> Iterator[list[tuple[int]]]:
        """Yield in pages the ids of the files that no scanned one was seen to be the same as."""
        missed = np.sort(np.concatenate((self._ids[~self._met], self._doubtful)))
        for start in range(0, len(missed), _PAGE):
            yield [(id_,) for id_ in missed[start : start + _PAGE].tolist()]


_NONE = np.empty(0, dtype=np.int64)
_KnownRow = tuple[int, int, str | bytes, int, int, int]


def _pages(
    connection: sqlite3.Connection, model_id: int, scopes: Sequence[Scope]
) -> Iterator[list[_KnownRow]]:
    """Yield the catalog's files in these scopes, each once."""
    for scope in without_covered(scopes):
        asked = {"facts": FACTS_VERSION, "model": model_id, "root": scope.root_id}
        for _, low, high in scope.ranges() if scope.prefix else [(0, None, None)]:
            statement = _IN_RANGE if scope.prefix else _FIELDS
            rows = connection.execute(statement, asked | {"low": low, "high": high})
            while page := rows.fetchmany(_PAGE):
                yield page


def _column(
    rows: Sequence[tuple[Any, ...]], number: int, kind: type[np.generic]
) -> npt.NDArray[Any]:
    return np.fromiter(map(itemgetter(number), rows), kind, len(rows))


def _print_of(row: _KnownRow) -> int:
    """Return what is that of `row[:4]` of a scanned file that is just the same."""
    if isinstance(row[2], bytes):
        return _hash((row[1], from_stored(row[2]), row[3], row[4]))
    return _hash(row[1:5])


def _single(ascending: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell of each whether no other is equal to it: bool [n]."""
    equal = ascending[1:] == ascending[:-1]
    alone = np.ones(len(ascending), dtype=np.bool_)
    alone[1:] &= ~equal
    alone[:-1] &= ~equal
    return alone
