"""Many rows a statement, in plain sqlite3: for what runs once for every photo.

A statement of its own for every row costs more than the row does: the interpreter hands its lock
over twice, and SQLite notes the last id of an AUTOINCREMENT table each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

# Rows a statement at most. With up to 20 values a row this is far below SQLite's 32,766 values.
_MOST_ROWS = 128
# Where the rows go in a statement.
ROWS = "{rows}"


def execute_rows(
    connection: sqlite3.Connection,
    statement: str,
    rows: Sequence[tuple[Any, ...]],
    *before: Any,
) -> list[Any]:
    """Run `statement` over all rows, many at a time; return all that it returns.

    `statement` holds the placeholder `ROWS` where a list of rows, ``(?, ?), (?, ?)``, belongs; all
    rows have equally many values. `before` are the values of its own placeholders, all of which
    stand in front of the rows.
    """
    found: list[Any] = []
    for part in _parts(rows):
        values = [value for row in part for value in row]
        text = _text(statement, len(part), len(part[0]))
        found += connection.execute(text, [*before, *values]).fetchall()
    return found


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Cut into lengths that are powers of two: few different statements, each prepared once."""
    start = 0
    while start < len(rows):
        length = min(_MOST_ROWS, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + length]
        start += length


@lru_cache(maxsize=256)
def _text(statement: str, rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.replace(ROWS, ", ".join([row] * rows))
