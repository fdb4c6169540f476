"""The plain values that go in and out of the catalog; shared by the indexer and the search."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from imgsearch.data.paths import printable

# SQLite's integers have 64 bits; a file system may hold a time beyond the year 2262.
_MAX_INTEGER = 2**63 - 1
# An ISO 8601 moment without a zone: 2023-06-01T12:30:05.
_MOMENT_LENGTH = 19
# Goes up when more is read from files: the next run of the indexer then reads the metadata of all
# pictures that were read by an older version. 1: EXIF's time, camera, lens and place. 2: also
# rating and keywords, from EXIF, XMP and IPTC.
FACTS_VERSION = 2
# The version of facts that were found to be damaged: the next run decodes the picture again.
SUSPECT_VERSION = 0


@dataclass(frozen=True, slots=True)
class FileStat:
    """A file as the scan or the reader saw it; `path` is relative to its root."""

    root_id: int
    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, root_id: int, path: str, size: int, mtime_ns: int) -> FileStat:
        """Return the record with the time brought into the range that SQLite can store."""
        return cls(root_id, path, size, storable_ns(mtime_ns))

    def with_stat(self, facts: os.stat_result) -> FileStat:
        """Return the record of the same file with the stat values of an open descriptor."""
        return FileStat.of(self.root_id, self.path, facts.st_size, facts.st_mtime_ns)


# A file met by a scan, as plain values, because there may be millions: the id of its root, its path
# below that, size (bytes) and time of change (ns, from `storable_ns`); whether only its content can
# tell if it is an image; whether that may have changed even where size and time have not (see
# `scan_marks`).
ScannedRow = tuple[int, str, int, int, bool, bool]


def storable_ns(mtime_ns: int) -> int:
    """Return a time (ns) brought into the range that SQLite can store."""
    if -_MAX_INTEGER <= mtime_ns <= _MAX_INTEGER:
        return mtime_ns
    return _MAX_INTEGER if mtime_ns > 0 else -_MAX_INTEGER


class FailureKind(Enum):
    """What a failure means for the next run."""

    # The bytes are at fault: tried again when they change, or when it is asked for.
    DAMAGED = "damaged"
    # The file could not be read at all: tried again in every run.
    UNREADABLE = "unreadable"
    # Its name said nothing and its first bytes say that it is no image: not shown to anybody.
    NO_IMAGE = "no image"


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that gave no picture, and why.

    `replaced`: its content is not what the catalog knows of it, whatever its size and time say.
    """

    file: FileStat
    reason: str
    kind: FailureKind
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture's bytes say about it. See `schema.Picture` for the units.

    `rating` is 0 to 5 stars, or -1 for a picture that was rejected; `keywords` are each there once,
    in alphabetical order.
    """

    width: int
    height: int
    format: str
    orientation: int = 1
    taken_at: str | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    rating: int | None = None
    keywords: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PictureFacts:
        """Undo `dataclasses.asdict` and JSON, which knows no tuples.

        The values come from a process that reads hostile files. Raises TypeError or ValueError for
        those that no picture has.
        """
        facts = cls(**values)
        _check_number(facts.width, int, 0, _MAX_INTEGER)
        _check_number(facts.height, int, 0, _MAX_INTEGER)
        _check_number(facts.orientation, int, 1, 8)
        if facts.rating is not None:
            _check_number(facts.rating, int, -1, 5)
        for degrees, most in ((facts.latitude, 90), (facts.longitude, 180)):
            if degrees is not None:
                _check_number(degrees, float, -most, most)
        if facts.taken_at is not None and len(facts.taken_at) != _MOMENT_LENGTH:
            raise ValueError(f"{facts.taken_at!r} is no moment")
        _checked_text(facts.format)
        for text in (facts.format, facts.taken_at, facts.camera, facts.lens):
            if text is not None and not _checked_text(text).isprintable():
                raise ValueError(f"{text!r} cannot be shown")
        for word in facts.keywords:
            _checked_text(word)
        return replace(facts, keywords=tuple(facts.keywords))


def _check_number(value: object, kind: type[int] | type[float], least: int, most: int) -> None:
    if type(value) is not kind or not least <= value <= most:
        raise ValueError(f"{value!r} is not from {least} to {most}")


def _checked_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    # Halves of surrogate pairs cannot be stored: UnicodeEncodeError is a ValueError.
    value.encode("utf-8")
    return value


def folded(word: str) -> str:
    """Return what two words have in common that differ in upper and lower case only."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", word).casefold())


@dataclass(frozen=True, slots=True)
class NewPhoto:
    """A file that was read: its content, and its vector unless the catalog has it already.

    `vector` is a unit vector as little-endian float16 bytes (2 * dimension bytes).
    """

    file: FileStat
    content_hash: bytes
    facts: PictureFacts
    vector: bytes


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be read, and why. `path` is absolute."""

    path: str
    reason: str

    @property
    def shown_path(self) -> str:
        """The path, safe to show anywhere."""
        return printable(self.path)


@dataclass(frozen=True, slots=True)
class RootStatus:
    """A folder of the library and what is known below it; `scanned_at` is Unix time.

    `offline` are the folders that are not there now: its own path, or disks mounted inside it.
    """

    path: str
    files: int
    failed: int
    present: bool
    scanned_at: float | None
    offline: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model that has vectors in the library."""

    name: str
    revision: str
    dimension: int
    embeddings: int
    active: bool


@dataclass(frozen=True, slots=True)
class ModelListing:
    """A model that can be used: the built-in one, those of the library, those with a short name.

    `short_name`, `megabytes` and all from `languages` on are those of `encoders.registry`, empty or
    None where nothing is known. `on_disk` tells whether it can be loaded without a download.
    """

    name: str
    revision: str
    dimension: int
    embeddings: int
    active: bool
    short_name: str = ""
    megabytes: int | None = None
    on_disk: bool = True
    languages: str = ""
    licence: str = ""
    imagenet: float | None = None
    retrieval: float | None = None
    retrieval_on: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class LibraryStatus:
    """What ``imgsearch status`` shows; sizes in bytes."""

    library: str
    roots: tuple[RootStatus, ...]
    pictures: int
    files: int
    failed: int
    models: tuple[ModelStatus, ...]
    catalog_bytes: int
    cache_bytes: int
    thumbnail_bytes: int
    similar_bytes: int = 0
