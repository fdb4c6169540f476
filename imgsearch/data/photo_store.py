"""Writing what the indexer found: pictures, files, embeddings and failures, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, delete, exists, false, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from imgsearch.data.catalog import Catalog, bump_generation
from imgsearch.data.keyword_store import add_keywords, picture_columns
from imgsearch.data.records import FileFailure, FileStat, NewPhoto
from imgsearch.data.schema import Embedding, Failure, File, Picture, Root
from imgsearch.errors import RootUnknown

# SQLite limits an expression to a depth of 1,000; an OR of this many terms stays far below it.
_CHUNK = 200

T = TypeVar("T")


class PhotoStore:
    """The write side of the catalog for one run of the indexer under one model."""

    def __init__(self, catalog: Catalog, model_id: int) -> None:
        self._catalog = catalog
        self._model_id = model_id

    def known_pictures(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """Return, for each content hash that has a vector of the model, its picture id."""
        wanted = list(set(hashes))
        found: dict[bytes, int] = {}
        with self._catalog.transaction() as session:
            for chunk in _chunks(wanted):
                rows = session.execute(
                    select(Picture.content_hash, Picture.id)
                    .join(Embedding, Embedding.picture_id == Picture.id)
                    .where(Embedding.model_id == self._model_id)
                    .where(Picture.content_hash.in_(chunk))
                )
                found.update((row.content_hash, row.id) for row in rows)
        return found

    def store(self, photos: Sequence[NewPhoto]) -> dict[bytes, int]:
        """Store pictures, embeddings and files in one transaction; return hash -> picture id."""
        if not photos:
            return {}
        by_hash = {photo.content_hash: photo for photo in photos}
        with self._catalog.transaction() as session:
            session.execute(
                insert(Picture).on_conflict_do_nothing(),
                [
                    {
                        "content_hash": photo.content_hash,
                        "byte_size": photo.file.size,
                        **picture_columns(photo.facts),
                    }
                    for photo in by_hash.values()
                ],
            )
            ids = _picture_ids(session, by_hash)
            session.execute(
                insert(Embedding).on_conflict_do_nothing(),
                [
                    {
                        "picture_id": ids[photo.content_hash],
                        "model_id": self._model_id,
                        "vector": photo.vector,
                    }
                    for photo in by_hash.values()
                ],
            )
            add_keywords(session, {ids[key]: one.facts.keywords for key, one in by_hash.items()})
            _link(session, [(photo.file, ids[photo.content_hash]) for photo in photos])
        return ids

    def link(self, files: Sequence[tuple[FileStat, int]]) -> None:
        """Let files show pictures that the catalog has already (a copy, a move, a touched file)."""
        if files:
            with self._catalog.transaction() as session:
                _link(session, files)

    def orphaned(self, picture_ids: Iterable[int]) -> set[int]:
        """Return those of the pictures that no file shows at present."""
        found: set[int] = set()
        with self._catalog.transaction() as session:
            for chunk in _chunks(list(picture_ids)):
                found.update(
                    session.scalars(
                        select(Picture.id)
                        .where(Picture.id.in_(chunk))
                        .where(Picture.orphaned_at.is_not(None))
                    )
                )
        return found

    def record_failures(self, failures: Sequence[FileFailure]) -> None:
        """Remember files that gave no picture, with the reason.

        What the catalog knows of a file is dropped if the file has changed since; a file that is as
        it was keeps the picture that was read from it before.
        """
        if not failures:
            return
        now = time.time()
        with self._catalog.transaction() as session:
            statement = insert(Failure)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=[Failure.root_id, Failure.path],
                    set_={
                        name: statement.excluded[name]
                        for name in ("size", "mtime_ns", "kind", "reason", "failed_at")
                    },
                ),
                [
                    {
                        **_file_row(one.file),
                        "kind": one.kind.value,
                        "reason": one.reason,
                        "failed_at": now,
                    }
                    for one in failures
                ],
            )
            outdated: list[int] = []
            for chunk in _chunks([one.file for one in failures]):
                rows = session.execute(
                    select(File.id, File.root_id, File.path, File.size, File.mtime_ns).where(
                        _any_of(File, chunk)
                    )
                )
                outdated += [row.id for row in rows if FileStat(*row[1:]) not in chunk]
            if outdated:
                _delete_files(session, outdated)

    def remove_files(self, file_ids: Sequence[int]) -> None:
        """Forget files that are gone; pictures left without a file become orphans."""
        if not file_ids:
            return
        with self._catalog.transaction() as session:
            _delete_files(session, file_ids)

    def count_without_vectors(self) -> int:
        """Return how many pictures that a file shows have no vector of the model."""
        embedded = exists().where(
            Embedding.picture_id == Picture.id, Embedding.model_id == self._model_id
        )
        with self._catalog.transaction() as session:
            return session.execute(
                select(func.count()).where(Picture.orphaned_at.is_(None), ~embedded)
            ).scalar_one()

    def has_vectors(self) -> bool:
        """Tell whether any picture has a vector of the model."""
        with self._catalog.transaction() as session:
            one = select(Embedding.picture_id).where(Embedding.model_id == self._model_id).limit(1)
            return session.scalar(one) is not None

    def purge_orphans(self, older_than_days: float) -> bool:
        """Delete pictures that no file has shown for so long; return whether there were any."""
        limit = time.time() - older_than_days * 86_400
        with self._catalog.transaction() as session:
            old = select(Picture.id).where(Picture.orphaned_at <= limit).limit(1)
            if session.scalar(old) is None:
                return False
            session.execute(delete(Picture).where(Picture.orphaned_at <= limit))
        return True


def remove_root(catalog: Catalog, path: str) -> int:
    """Forget the root at the absolute `path` and everything only it shows; return its file count.

    Raises RootUnknown. The photos themselves are never touched.
    """
    with catalog.transaction() as session:
        root = session.scalar(select(Root).where(Root.path == path))
        if root is None:
            known = session.scalars(select(Root.path)).all()
            held = ", ".join(known) if known else "none"
            raise RootUnknown(f"{path} is not a folder of this library. Its folders: {held}.")
        pictures = select(File.picture_id).where(File.root_id == root.id)
        count = session.execute(
            select(func.count()).select_from(File).where(File.root_id == root.id)
        ).scalar_one()
        candidates = session.scalars(pictures.distinct()).all()
        session.execute(delete(Root).where(Root.id == root.id))
        for chunk in _chunks(candidates):
            # Whoever removes a folder wants it forgotten now: no grace period for its pictures.
            session.execute(delete(Picture).where(Picture.id.in_(chunk)).where(~_shown()))
        bump_generation(session)
    return count


def _delete_files(session: Session, file_ids: Sequence[int]) -> None:
    for chunk in _chunks(file_ids):
        showing = select(File.picture_id).where(File.id.in_(chunk))
        lost = session.scalars(showing.distinct()).all()
        session.execute(delete(File).where(File.id.in_(chunk)))
        _mark_orphans(session, lost)
    bump_generation(session)


def _picture_ids(session: Session, hashes: Iterable[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for chunk in _chunks(list(hashes)):
        rows = session.execute(
            select(Picture.content_hash, Picture.id).where(Picture.content_hash.in_(chunk))
        )
        ids.update((row.content_hash, row.id) for row in rows)
    return ids


def _link(session: Session, files: Sequence[tuple[FileStat, int]]) -> None:
    """Upsert the files, revive their pictures, clear their failures; counts as a new generation."""
    replaced = _shown_by(session, [file for file, _ in files])
    statement = insert(File)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[File.root_id, File.path],
            set_={name: statement.excluded[name] for name in ("size", "mtime_ns", "picture_id")},
        ),
        [{**_file_row(file), "picture_id": picture_id} for file, picture_id in files],
    )
    for chunk in _chunks(sorted({picture_id for _, picture_id in files})):
        session.execute(
            update(Picture)
            .where(Picture.id.in_(chunk), Picture.orphaned_at.is_not(None))
            .values(orphaned_at=None)
        )
    for links in _chunks(files):
        session.execute(delete(Failure).where(_any_of(Failure, [file for file, _ in links])))
    _mark_orphans(session, replaced)
    bump_generation(session)


def _any_of(table: type[File] | type[Failure], files: Sequence[FileStat]) -> ColumnElement[bool]:
    """Match the rows of the given files (by root and path)."""
    paths: dict[int, list[str]] = {}
    for file in files:
        paths.setdefault(file.root_id, []).append(file.path)
    # IN with a list of any length is one statement to SQLAlchemy, which it compiles once.
    return or_(
        false(), *(and_(table.root_id == root, table.path.in_(of)) for root, of in paths.items())
    )


def _shown_by(session: Session, files: Sequence[FileStat]) -> list[int]:
    """Return the pictures that the catalog's rows of these files show at present."""
    found: set[int] = set()
    for chunk in _chunks(files):
        found.update(session.scalars(select(File.picture_id).where(_any_of(File, chunk))))
    return sorted(found)


def _shown() -> ColumnElement[bool]:
    return exists().where(File.picture_id == Picture.id)


def _mark_orphans(session: Session, candidates: Sequence[int]) -> None:
    """Note of those `candidates` that no file shows any more since when that is so."""
    for chunk in _chunks(candidates):
        session.execute(
            update(Picture)
            .where(Picture.id.in_(chunk), Picture.orphaned_at.is_(None))
            .where(~_shown())
            .values(orphaned_at=time.time())
        )


def _file_row(file: FileStat) -> dict[str, object]:
    return {
        "root_id": file.root_id,
        "path": file.path,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
    }


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
