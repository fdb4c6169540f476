"""The plain values that go in and out of the catalog; shared by the indexer and the search."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from imgsearch.data.paths import printable

# SQLite's integers have 64 bits; a file system may hold a time beyond the year 2262.
_MAX_INTEGER = 2**63 - 1


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
        return cls(root_id, path, size, max(-_MAX_INTEGER, min(_MAX_INTEGER, mtime_ns)))

    def with_stat(self, facts: os.stat_result) -> FileStat:
        """Return the record of the same file with the stat values of an open descriptor."""
        return FileStat.of(self.root_id, self.path, facts.st_size, facts.st_mtime_ns)


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
    """A file that gave no picture, and why."""

    file: FileStat
    reason: str
    kind: FailureKind


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture's bytes say about it. See `schema.Picture` for the units."""

    width: int
    height: int
    format: str
    orientation: int = 1
    taken_at: str | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None


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
    """A folder of the library and what is known below it; `scanned_at` is Unix time."""

    path: str
    files: int
    failed: int
    present: bool
    scanned_at: float | None


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
