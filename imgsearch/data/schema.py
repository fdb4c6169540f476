"""The tables of ``catalog.sqlite``.

A *picture* is known by its content, a *file* is a path that shows a picture, an *embedding* belongs
to a picture and a model. Files that are moved, renamed or copied therefore share one embedding.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from imgsearch.data.paths import from_stored, to_stored
from imgsearch.data.records import FACTS_VERSION


class PathText(TypeDecorator[str]):
    """A file name: TEXT, or a BLOB of its bytes when it is not valid UTF-8."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else to_stored(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else from_stored(value)


class Base(DeclarativeBase):
    """Declarative base of the catalog."""


class Meta(Base):
    """Single values: the library's identity, the cache generation, the active model."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Root(Base):
    """A folder that was given to ``imgsearch index``; `path` is absolute."""

    __tablename__ = "root"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(PathText, unique=True)
    added_at: Mapped[float]
    scanned_at: Mapped[float | None]


class Model(Base):
    """An encoder by name and revision: vectors of different rows are never compared."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("name", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    revision: Mapped[str]
    # What loads this model again: "starter", a folder, or a hub name with its revision.
    source: Mapped[str]
    dimension: Mapped[int]


class Picture(Base):
    """Content and the facts read from it.

    `content_hash` is SHA-256 of the file's bytes; `taken_at` is local time as the camera wrote it
    (ISO 8601, no zone); `width` and `height` are pixels after the EXIF orientation is applied;
    `facts_version` is the `records.FACTS_VERSION` that the facts were read by.
    """

    __tablename__ = "picture"
    # AUTOINCREMENT: an id is never used twice, so a FAISS cache that still holds a removed
    # picture's id can never show another picture in its place.
    __table_args__ = (
        Index("picture_byte_size", "byte_size"),
        Index("picture_orphaned_at", "orphaned_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    byte_size: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    format: Mapped[str]
    orientation: Mapped[int]
    taken_at: Mapped[str | None]
    camera: Mapped[str | None]
    lens: Mapped[str | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    # Unix time since when no file shows this picture; null while one does.
    orphaned_at: Mapped[float | None]
    rating: Mapped[int | None]
    facts_version: Mapped[int] = mapped_column(default=FACTS_VERSION, server_default="1")
    # CRC-32 of the facts and keywords, by `fact_checksums`. The last column: salvage counts them.
    facts_crc: Mapped[bytes | None] = mapped_column(LargeBinary)


class Keyword(Base):
    """A word that a picture is labelled with; `folded` is what it is compared by."""

    __tablename__ = "keyword"
    __table_args__ = (Index("keyword_folded", "folded"), {"sqlite_with_rowid": False})

    picture_id: Mapped[int] = mapped_column(
        ForeignKey("picture.id", ondelete="CASCADE"), primary_key=True
    )
    folded: Mapped[str] = mapped_column(primary_key=True)
    word: Mapped[str]


class File(Base):
    """A path below a root that shows a picture, with the stat values it had when it was read."""

    __tablename__ = "file"
    __table_args__ = (UniqueConstraint("root_id", "path"), Index("file_picture_id", "picture_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    root_id: Mapped[int] = mapped_column(ForeignKey("root.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(PathText)
    size: Mapped[int]
    mtime_ns: Mapped[int]
    picture_id: Mapped[int] = mapped_column(ForeignKey("picture.id", ondelete="CASCADE"))


class Embedding(Base):
    """A unit vector, little-endian float16, of a picture under a model."""

    __tablename__ = "embedding"
    __table_args__ = (Index("embedding_model_id", "model_id", "picture_id"),)

    picture_id: Mapped[int] = mapped_column(
        ForeignKey("picture.id", ondelete="CASCADE"), primary_key=True
    )
    model_id: Mapped[int] = mapped_column(
        ForeignKey("model.id", ondelete="CASCADE"), primary_key=True
    )
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class VectorChecksum(Base):
    """The CRC-32 of a stored vector (`checksums`), by which a byte that changed is found.

    A table of its own, because a further column would make every migration write all vectors anew.
    """

    __tablename__ = "vector_checksum"
    __table_args__ = (
        ForeignKeyConstraint(
            ["picture_id", "model_id"],
            ["embedding.picture_id", "embedding.model_id"],
            ondelete="CASCADE",
        ),
        {"sqlite_with_rowid": False},
    )

    picture_id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(primary_key=True)
    crc: Mapped[bytes] = mapped_column(LargeBinary)


class Failure(Base):
    """A file that gave no picture, with the reason; `kind` is one of `records.FailureKind`."""

    __tablename__ = "failure"
    __table_args__ = (UniqueConstraint("root_id", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    root_id: Mapped[int] = mapped_column(ForeignKey("root.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(PathText)
    size: Mapped[int]
    mtime_ns: Mapped[int]
    kind: Mapped[str]
    reason: Mapped[str]
    failed_at: Mapped[float]


class SavedSearch(Base):
    """A search under a name; `query` is JSON, `crc` by `fact_checksums`."""

    __tablename__ = "saved_search"

    name: Mapped[str] = mapped_column(primary_key=True)
    query: Mapped[str]
    created_at: Mapped[float]
    crc: Mapped[bytes | None] = mapped_column(LargeBinary)
