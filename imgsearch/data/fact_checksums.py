"""Checksums of what rows say: the facts and keywords of pictures, and saved searches.

A vector has its checksum in a table of its own; these are columns of the rows that they are about.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from imgsearch.data.checksums import checksum
from imgsearch.data.records import FACTS_VERSION, SUSPECT_VERSION, PictureFacts, folded

# The facts that are columns of the table of pictures.
FACT_COLUMNS = tuple(one.name for one in fields(PictureFacts) if one.name != "keywords")
_fact_values = attrgetter(*FACT_COLUMNS)
_LATITUDE, _LONGITUDE = (FACT_COLUMNS.index(name) for name in ("latitude", "longitude"))
_PAGE = 10_000
_PICTURES = f"""
SELECT id, facts_crc, facts_version, content_hash, byte_size, {", ".join(FACT_COLUMNS)}
FROM picture WHERE
"""
_KEYWORDS = """
SELECT picture_id, folded, word FROM json_each(?) wanted CROSS JOIN keyword
ON picture_id = wanted.value ORDER BY picture_id, folded
"""


class _Described(NamedTuple):
    """What the rows of a picture say, and the checksum that they had when they were written."""

    id: int
    crc: bytes | None
    version: int
    said: bytes


def fact_values(facts: PictureFacts) -> tuple[Any, ...]:
    """Return the values of `FACT_COLUMNS`, as SQLite gives them back: it knows no -0.0."""
    values: tuple[Any, ...] = _fact_values(facts)
    if values[_LATITUDE] is None and values[_LONGITUDE] is None:
        return values
    return tuple(value + 0.0 if isinstance(value, float) else value for value in values)


def keyword_rows(facts: PictureFacts) -> list[tuple[str, str]]:
    """Return (folded, word) for each keyword, in the order of the catalog's rows."""
    words: dict[str, str] = {}
    for word in facts.keywords:
        words.setdefault(folded(word), word)
    return sorted(words.items())


def facts_checksum(
    content_hash: bytes,
    byte_size: int,
    values: Sequence[Any],
    keywords: Sequence[tuple[str, str]],
) -> bytes:
    """Return the CRC-32 of all that the catalog says about a picture's content, 4 bytes.

    `values` are those of `FACT_COLUMNS`, `keywords` those of `keyword_rows`. Left out is what
    changes without the content: its id, whether a file shows it, the version of the facts.
    """
    return _checksum_of((content_hash, byte_size, *values, *keywords))


def search_checksum(name: str, query: str) -> bytes:
    """Return the CRC-32 of a saved search, 4 bytes."""
    return _checksum_of((name, query))


def _checksum_of(values: tuple[Any, ...]) -> bytes:
    # Unlike repr, ascii knows nothing of Unicode: its text is the same in every version of Python.
    return checksum(ascii(values).encode())


def changed_pictures(connection: sqlite3.Connection) -> Iterator[int]:
    """Yield the ids, ascending, of the pictures of which the catalog does not say what was stored.

    Those whose facts are to be read again anyway are passed over.
    """
    for page in _pages(connection):
        for one in page:
            if one.version == SUSPECT_VERSION:
                continue
            if one.crc != one.said or not SUSPECT_VERSION < one.version <= FACTS_VERSION:
                yield one.id


def changed_searches(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return name and query of the saved searches that are not what was saved."""
    rows = connection.execute("SELECT name, query, crc FROM saved_search ORDER BY name")
    return [(name, query) for name, query, crc in rows if crc != search_checksum(name, query)]


def seal_missing(connection: sqlite3.Connection) -> None:
    """Take all rows without a checksum as they are, in the caller's transaction."""
    for page in _pages(connection, "AND facts_crc IS NULL"):
        _seal(connection, page)
    seal_searches(
        connection,
        connection.execute("SELECT name, query FROM saved_search WHERE crc IS NULL").fetchall(),
    )


def seal_pictures(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Take what the rows of these pictures say as right, in the caller's transaction."""
    wanted = json.dumps(list(ids))
    among = "id IN (SELECT value FROM json_each(?))"
    _seal(connection, _described(connection, among, wanted))


def seal_searches(connection: sqlite3.Connection, searches: Iterable[tuple[str, str]]) -> None:
    """Take these saved searches (name, query) as right, in the caller's transaction."""
    connection.executemany(
        "UPDATE saved_search SET crc = ? WHERE name = ?",
        [(search_checksum(name, query), name) for name, query in searches],
    )


def _seal(connection: sqlite3.Connection, pictures: Sequence[_Described]) -> None:
    connection.executemany(
        "UPDATE picture SET facts_crc = ? WHERE id = ?", [(one.said, one.id) for one in pictures]
    )


def _pages(connection: sqlite3.Connection, also: str = "") -> Iterator[list[_Described]]:
    last = -(2**63)
    while True:
        condition = f"id > ? {also} ORDER BY id LIMIT {_PAGE}"
        page = _described(connection, condition, last)
        if not page:
            return
        yield page
        last = page[-1].id


def _described(connection: sqlite3.Connection, condition: str, *values: object) -> list[_Described]:
    rows = connection.execute(_PICTURES + condition, values).fetchall()
    found = connection.execute(_KEYWORDS, (json.dumps([row[0] for row in rows]),))
    words = {
        id_: [(folded_, word) for _, folded_, word in group]
        for id_, group in groupby(found, key=lambda row: row[0])
    }
    return [
        _Described(id_, crc, version, facts_checksum(content_hash, size, facts, words.get(id_, [])))
        for id_, crc, version, content_hash, size, *facts in rows
    ]
