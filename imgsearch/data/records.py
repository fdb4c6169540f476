"""The plain values that go in and out of the catalog; shared by the indexer and the search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileStat:
    """A file as the scan or the reader saw it; `path` is relative to its root."""

    root_id: int
    path: str
    size: int
    mtime_ns: int


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


@dataclass(frozen=True, slots=True)
class RootStatus:
    """A folder of the library and what is known below it."""

    path: str
    files: int
    failed: int
    present: bool


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model that has vectors in the library."""

    name: str
    revision: str
    dimension: int
    embeddings: int
    active: bool


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
