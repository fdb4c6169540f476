"""Which pictures a search may return: conditions on folder, date, camera, shape and format."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.data.paths import from_stored, to_stored
from imgsearch.data.reader import CatalogReader, StoredModel

# Edges that differ by no more than 5 % make a square.
_SHAPES = {
    "landscape": "p.width * 100 > p.height * 105",
    "portrait": "p.height * 100 > p.width * 105",
    "square": "p.width * 100 <= p.height * 105 AND p.height * 100 <= p.width * 105",
}


# What SQLite lacks is the part of a path after its last slash: that is the path without its longest
# beginning that ends in one.
_FILE_NAME = "lower(replace(f.path, rtrim(f.path, replace(f.path, '/', '')), ''))"
_ORDERS = {
    # A file's time in the form of EXIF's, so that both can be compared as texts.
    "date": "coalesce(p.taken_at, strftime('%Y-%m-%dT%H:%M:%S',"
    " (SELECT min(mtime_ns) FROM file WHERE picture_id = p.id) / 1000000000,"
    " 'unixepoch', 'localtime')) DESC",
    "name": f"min({_FILE_NAME})",
    "size": "p.byte_size DESC",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a picture must meet, all of them; several values of one are alternatives.

    `folders` are absolute paths, their subfolders included. `since` and `until` are days, both
    included, compared with when a picture was taken or else when its file was last changed.
    `orientations` are "landscape", "portrait" and "square"; `formats` are as Pillow names them
    ("JPEG"); `min_pixels` (included) and `max_pixels` (excluded) count width times height.
    """

    folders: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    cameras: tuple[str, ...] = ()
    orientations: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    min_pixels: int | None = None
    max_pixels: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is any condition at all."""
        return any(getattr(self, field.name) not in ((), None) for field in fields(self))


def filtered_ids(
    reader: CatalogReader, model: StoredModel, filters: Filters
) -> npt.NDArray[np.int64]:
    """Return the pictures with a vector of the model that pass: ids int64 [n], ascending."""
    conditions, values = _conditions(reader, filters)
    return reader.ids(
        "SELECT DISTINCT p.id FROM picture p"
        " JOIN embedding e ON e.model_id = ? AND e.picture_id = p.id"
        " JOIN file f ON f.picture_id = p.id"
        f" WHERE {' AND '.join(conditions)} ORDER BY p.id",
        model.id,
        *values,
    )


def listed_ids(
    reader: CatalogReader,
    model: StoredModel,
    filters: Filters,
    sort: str,
    limit: int,
    offset: int,
) -> npt.NDArray[np.int64]:
    """Return the pictures that pass: ids int64 [at most `limit`].

    `sort` is "date" (newest first), "name" (of the file, not its folder) or "size" (largest first).
    """
    conditions, values = _conditions(reader, filters)
    return reader.ids(
        "SELECT p.id FROM picture p"
        " JOIN embedding e ON e.model_id = ? AND e.picture_id = p.id"
        " JOIN file f ON f.picture_id = p.id"
        f" WHERE {' AND '.join(conditions)} GROUP BY p.id"
        f" ORDER BY {_ORDERS[sort]}, p.id LIMIT ? OFFSET ?",
        model.id,
        *values,
        limit,
        offset,
    )


def _conditions(reader: CatalogReader, filters: Filters) -> tuple[list[str], list[Any]]:
    """Return SQL conditions on picture p and file f, and the values of their parameters."""
    found = [
        ("p.orphaned_at IS NULL", []),
        _one_of("p.camera", filters.cameras),
        _one_of("p.format", filters.formats),
        _in_folders(reader, filters.folders),
        _in_shapes(filters.orientations),
        _on_days(filters.since, filters.until),
    ]
    if filters.min_pixels is not None:
        found.append(("p.width * p.height >= ?", [filters.min_pixels]))
    if filters.max_pixels is not None:
        found.append(("p.width * p.height < ?", [filters.max_pixels]))
    conditions = [condition for condition, _ in found if condition]
    return conditions, [value for _, values in found for value in values]


def _one_of(column: str, values: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not values:
        return "", []
    return f"{column} IN ({', '.join('?' * len(values))})", list(values)


def _in_shapes(orientations: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not orientations:
        return "", []
    shapes = [_SHAPES[one] for one in orientations if one in _SHAPES]
    return "(" + " OR ".join(f"({shape})" for shape in shapes or ["0"]) + ")", []


def _in_folders(reader: CatalogReader, folders: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not folders:
        return "", []
    terms: list[str] = []
    values: list[Any] = []
    for root_id, stored in reader.rows("SELECT id, path FROM root"):
        root = from_stored(stored)
        for folder in folders:
            if _holds(folder, root):
                terms.append("f.root_id = ?")
                values.append(root_id)
            elif _holds(root, folder):
                low, high = _range_below(os.path.relpath(folder, root))
                # Names that are not text are stored as bytes, and come after all texts.
                terms.append(
                    "(f.root_id = ? AND (f.path >= ? AND f.path < ? OR f.path >= ? AND f.path < ?))"
                )
                values += [root_id, to_stored(low), to_stored(high)]
                values += [os.fsencode(low), os.fsencode(high)]
    return _any_of(terms or ["0"]), values


def _any_of(terms: list[str]) -> str:
    """Join with OR, as a tree: SQLite allows expressions of a depth of 1,000."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"({_any_of(terms[:middle])} OR {_any_of(terms[middle:])})"


def _holds(outer: str, inner: str) -> bool:
    outer, inner = os.path.normpath(outer), os.path.normpath(inner)
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


def _range_below(folder: str) -> tuple[str, str]:
    """Return the first text that may be a path below `folder`, and the first that comes after."""
    return folder + os.sep, folder + chr(ord(os.sep) + 1)


def _on_days(since: date | None, until: date | None) -> tuple[str, list[Any]]:
    if since is None and until is None:
        return "", []
    first = datetime.combine(since or date.min, time.min)
    after = datetime.combine(_next_day(until or date.max), time.min)
    return (
        "(p.taken_at >= ? AND p.taken_at < ?"
        " OR p.taken_at IS NULL AND f.mtime_ns >= ? AND f.mtime_ns < ?)",
        [first.isoformat(), after.isoformat(), _nanoseconds(first), _nanoseconds(after)],
    )


def _next_day(day: date) -> date:
    return day if day == date.max else day + timedelta(days=1)


def _nanoseconds(moment: datetime) -> int:
    """Return the moment, in local time, as a file system counts; far ends are cut to 64 bits."""
    try:
        seconds = moment.timestamp()
    except (OverflowError, ValueError, OSError):
        seconds = -9e9 if moment.year < 1970 else 9e9
    return int(max(-9e9, min(9e9, seconds))) * 1_000_000_000
