"""Which pictures a search may return: conditions on files, dates, places and other facts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.data.name_patterns import NamePatterns, check_pattern
from imgsearch.data.paths import from_stored, printable, to_stored
from imgsearch.data.places import Near
from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.data.records import folded
from imgsearch.errors import QueryInvalid

# Edges that differ by no more than 5 % make a square.
_SHAPES = {
    "landscape": "p.width * 100 > p.height * 105",
    "portrait": "p.height * 100 > p.width * 105",
    "square": "p.width * 100 <= p.height * 105 AND p.height * 100 <= p.width * 105",
}
# What SQLite can compare with.
_MAX_INTEGER = 2**63 - 1
_ORDERS = {
    # A file's time in the form of EXIF's, so that both can be compared as texts.
    "date": "coalesce(p.taken_at, strftime('%Y-%m-%dT%H:%M:%S',"
    " (SELECT min(mtime_ns) FROM file WHERE picture_id = p.id) / 1000000000,"
    " 'unixepoch', 'localtime')) DESC",
    "name": "(SELECT min(name_of(path)) FROM file WHERE picture_id = p.id)",
    "size": "p.byte_size DESC",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a picture must meet, all of them; several values of one are alternatives.

    `folders` are absolute paths, their subfolders included. `since` and `until` are days, both
    included, compared with when a picture was taken or else when its file was last changed.
    `cameras` and `lenses` are names in upper or lower case (of the letters A to Z); in them ``*``
    and ``?`` stand for any characters and for one. `orientations` are "landscape", "portrait" and
    "square"; `formats` are as Pillow names them ("JPEG"); `min_pixels` (included) and `max_pixels`
    (excluded) count width times height, `min_bytes` and `max_bytes` the file's size in the same
    way. `has_place` asks for pictures with, or without, a coordinate; `min_rating` for 0 to 5
    stars; `offline` asks for pictures of which every file, or not every file, is on a disk that is
    not there now; `keywords` are whole words or phrases in upper or lower case; `names` are shell
    patterns for files, see `NamePatterns`. Raises QueryInvalid for values that make no sense.

    Of a picture that several files show, one file must meet all that is asked of files: folder,
    name, and day of change.
    """

    folders: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    cameras: tuple[str, ...] = ()
    orientations: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    min_pixels: int | None = None
    max_pixels: int | None = None
    lenses: tuple[str, ...] = ()
    near: Near | None = None
    has_place: bool | None = None
    min_rating: int | None = None
    keywords: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    min_bytes: int | None = None
    max_bytes: int | None = None
    offline: bool | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            # A text is a sequence, too: of its letters.
            if field.default == () and isinstance(getattr(self, field.name), str):
                raise QueryInvalid(f"{field.name} are several: give a tuple of texts, not a text.")
        for one in self.orientations:
            if one not in _SHAPES:
                raise QueryInvalid(
                    f"There is no orientation {printable(one)!r}; use {', '.join(_SHAPES)}."
                )
        for what in ("min_pixels", "max_pixels", "min_bytes", "max_bytes"):
            value = getattr(self, what)
            if value is not None and not 0 <= value <= _MAX_INTEGER:
                raise QueryInvalid(f"A size is {value}; it cannot be less than 0, nor that large.")
        if self.min_rating is not None and not 0 <= self.min_rating <= 5:
            raise QueryInvalid(f"The rating is {self.min_rating}; give 0 to 5 stars.")
        if not all(word.strip() for word in self.keywords):
            raise QueryInvalid("A keyword is empty. Give a word that photos are labelled with.")
        for pattern in self.names:
            check_pattern(pattern)

    @property
    def any(self) -> bool:
        """Whether there is any condition at all."""
        return any(getattr(self, field.name) not in ((), None) for field in fields(self))

    @property
    def has_days(self) -> bool:
        """Whether there is a condition on the date."""
        return self.since is not None or self.until is not None


def filtered_ids(
    reader: CatalogReader, model: StoredModel, filters: Filters
) -> npt.NDArray[np.int64]:
    """Return the pictures with a vector of the model that pass: ids int64 [n], ascending."""
    source, values = _matching(reader, model, filters)
    return reader.ids(f"SELECT p.id {source} ORDER BY p.id", *values)


def count_filtered(reader: CatalogReader, model: StoredModel, filters: Filters) -> int:
    """Return how many `filtered_ids` there are."""
    source, values = _matching(reader, model, filters)
    [(count,)] = reader.rows(f"SELECT count(*) {source}", *values)
    return int(count)


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
    source, values = _matching(reader, model, filters)
    # SQLite can be made to do this, too, but takes twice as long.
    reader.define("name_of", _name_of, arguments=1)
    return reader.ids(
        f"SELECT p.id {source} ORDER BY {_ORDERS[sort]}, p.id LIMIT ? OFFSET ?",
        *values,
        limit,
        offset,
    )


def _name_of(path: str | bytes) -> str | bytes:
    """Return the name of a file as it is compared; bytes where the path is not UTF-8."""
    if isinstance(path, bytes):
        return path[path.rfind(b"/") + 1 :].lower()
    return path[path.rfind("/") + 1 :].lower()


def _matching(reader: CatalogReader, model: StoredModel, filters: Filters) -> tuple[str, list[Any]]:
    """Return FROM and WHERE for the pictures p that pass, and the values of their parameters."""
    found = [
        # Unary plus: nearly all rows have NULL there, so that its index is only a detour.
        ("+p.orphaned_at IS NULL", []),
        _shown_by(reader, filters),
        _called("p.camera", filters.cameras),
        _called("p.lens", filters.lenses),
        _one_of("p.format", filters.formats),
        _in_shapes(filters.orientations),
        _near(reader, filters.near),
        _labelled(filters.keywords),
        _offline(reader, filters.offline),
        _at_least("p.rating", filters.min_rating),
        _at_least("p.width * p.height", filters.min_pixels),
        _below("p.width * p.height", filters.max_pixels),
        _at_least("p.byte_size", filters.min_bytes),
        _below("p.byte_size", filters.max_bytes),
    ]
    if filters.has_place is not None:
        word = "NOT NULL" if filters.has_place else "NULL"
        found.append((f"p.latitude IS {word} AND p.longitude IS {word}", []))
    return (
        "FROM picture p JOIN embedding e ON e.model_id = ? AND e.picture_id = p.id WHERE "
        + " AND ".join(condition for condition, _ in found if condition),
        [model.id, *(value for _, values in found for value in values)],
    )


def _shown_by(reader: CatalogReader, filters: Filters) -> tuple[str, list[Any]]:
    """Ask for pictures of which one file meets all that is asked of files."""
    found = [
        _in_folders(reader, filters.folders),
        _on_days(filters.since, filters.until),
        _named(reader, filters.names),
    ]
    found = [one for one in found if one[0]]
    if not found:
        return "", []
    taken = " CROSS JOIN picture q ON q.id = f.picture_id"
    return (
        f"p.id IN (SELECT f.picture_id FROM file f{taken if filters.has_days else ''}"
        f" WHERE {' AND '.join(condition for condition, _ in found)})",
        [value for _, values in found for value in values],
    )


def _at_least(expression: str, value: int | None) -> tuple[str, list[Any]]:
    return ("", []) if value is None else (f"{expression} >= ?", [value])


def _below(expression: str, value: int | None) -> tuple[str, list[Any]]:
    return ("", []) if value is None else (f"{expression} < ?", [value])


def _called(column: str, names: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not names:
        return "", []
    literal = [re.sub(r"[%_\\]", r"\\\g<0>", _storable(name)) for name in names]
    patterns = [name.replace("*", "%").replace("?", "_") for name in literal]
    return _any_of([f"{column} LIKE ? ESCAPE '\\'"] * len(patterns)), patterns


def _offline(reader: CatalogReader, wanted: bool | None) -> tuple[str, list[Any]]:
    folders = () if wanted is None else reader.offline_folders()
    if not folders:
        return ("0", []) if wanted else ("", [])
    away, values = _in_folders(reader, folders)
    there = f"p.id IN (SELECT f.picture_id FROM file f WHERE NOT {away})"
    return f"NOT {there}" if wanted else there, values


def _labelled(keywords: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not keywords:
        return "", []
    words = [folded(" ".join(_storable(word).split())) for word in keywords]
    marks = ", ".join("?" * len(words))
    return f"p.id IN (SELECT picture_id FROM keyword WHERE folded IN ({marks}))", words


def _near(reader: CatalogReader, near: Near | None) -> tuple[str, list[Any]]:
    if near is None:
        return "", []

    is_within = near.test()

    def is_near(latitude: object, longitude: object) -> bool:
        # A catalog is a file like any other: the columns may hold anything.
        if isinstance(latitude, float) and isinstance(longitude, float):
            return is_within(latitude, longitude)
        return False

    reader.define("is_near", is_near, arguments=2)
    longitudes = near.longitudes()
    ranges = " OR ".join(["p.longitude BETWEEN ? AND ?"] * len(longitudes))
    return (
        f"p.latitude BETWEEN ? AND ? AND ({ranges}) AND is_near(p.latitude, p.longitude)",
        [*near.latitudes(), *(edge for pair in longitudes for edge in pair)],
    )


def _named(reader: CatalogReader, names: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not names:
        return "", []
    patterns = NamePatterns(names)
    roots: dict[object, str] = {}
    if patterns.need_folders:
        rows = reader.rows("SELECT id, path FROM root")
        roots = {id_: from_stored(path).rstrip(os.sep) + os.sep for id_, path in rows}
    match = patterns.match

    def is_named(stored: object, root_id: object) -> bool:
        path = from_stored(stored) if isinstance(stored, str | bytes) else ""
        return match(roots.get(root_id, "") + path if roots else path)

    reader.define("is_named", is_named, arguments=2)
    return "is_named(f.path, f.root_id)", []


def _one_of(column: str, values: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not values:
        return "", []
    return f"{column} IN ({', '.join('?' * len(values))})", [_storable(one) for one in values]


def _storable(text: str) -> str:
    """Return a text that SQLite takes; one with halves of surrogate pairs equals nothing there."""
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= c <= "\udfff" else c for c in text)


def _in_shapes(orientations: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not orientations:
        return "", []
    return "(" + " OR ".join(f"({_SHAPES[one]})" for one in orientations) + ")", []


def _in_folders(reader: CatalogReader, folders: tuple[str, ...]) -> tuple[str, list[Any]]:
    if not folders:
        return "", []
    terms: list[str] = []
    values: list[Any] = []
    for root_id, stored in reader.rows("SELECT id, path FROM root"):
        root = from_stored(stored)
        for folder in folders:
            if _holds(folder, root):
                # Unary plus: reading all files in their order is faster than by their paths.
                terms.append("+f.root_id = ?")
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
    # Picture q is that of file f.
    first = datetime.combine(since or date.min, time.min)
    after = datetime.combine(_next_day(until or date.max), time.min)
    return (
        "(q.taken_at >= ? AND q.taken_at < ?"
        " OR q.taken_at IS NULL AND f.mtime_ns >= ? AND f.mtime_ns < ?)",
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
