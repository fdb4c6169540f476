"""Writing what the indexer found: pictures, files, embeddings and failures, a batch at a time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, exists, func, select, text

from imgsearch.data.bulk import ROWS, execute_rows
from imgsearch.data.catalog import Catalog, bump_generation
from imgsearch.data.checksums import checksum
from imgsearch.data.fact_checksums import (
    FACT_COLUMNS,
    fact_values,
    facts_checksum,
    keyword_rows,
)
from imgsearch.data.keyword_store import add_keywords
from imgsearch.data.paths import to_stored
from imgsearch.data.presence import PLACES_KEY
from imgsearch.data.records import FACTS_VERSION, FileFailure, FileStat, NewPhoto
from imgsearch.data.schema import Embedding, File, Meta, Picture, Root
from imgsearch.errors import RootUnknown

_KNOWN = f"""
SELECT content_hash, id FROM picture
WHERE EXISTS (SELECT 1 FROM embedding WHERE model_id = ? AND picture_id = picture.id)
AND content_hash IN (VALUES {ROWS})
"""
_ADD_PICTURES = f"""
INSERT INTO picture (content_hash, byte_size, {", ".join(FACT_COLUMNS)}, facts_version, facts_crc)
VALUES {ROWS} ON CONFLICT DO NOTHING RETURNING content_hash, id
"""
_PICTURE_IDS = f"SELECT content_hash, id FROM picture WHERE content_hash IN (VALUES {ROWS})"
_ADD_EMBEDDINGS = f"""
INSERT INTO embedding (picture_id, model_id, vector) VALUES {ROWS} ON CONFLICT DO NOTHING
"""
_ADD_CHECKSUMS = f"""
INSERT INTO vector_checksum (picture_id, model_id, crc) VALUES {ROWS} ON CONFLICT DO NOTHING
"""
_ORPHANED = f"SELECT id FROM picture WHERE orphaned_at IS NOT NULL AND id IN (VALUES {ROWS})"
_REVIVE = f"""
UPDATE picture SET orphaned_at = NULL WHERE orphaned_at IS NOT NULL AND id IN (VALUES {ROWS})
"""
_MARK_ORPHANS = f"""
UPDATE picture SET orphaned_at = ? WHERE id IN (VALUES {ROWS}) AND orphaned_at IS NULL
AND NOT EXISTS (SELECT 1 FROM file WHERE picture_id = picture.id)
"""
_SET_FILES = f"""
INSERT INTO file (root_id, path, size, mtime_ns, picture_id) VALUES {ROWS}
ON CONFLICT (root_id, path) DO UPDATE
SET size = excluded.size, mtime_ns = excluded.mtime_ns, picture_id = excluded.picture_id
"""
# A join in this order: for (root_id, path) IN (...) SQLite reads the whole table.
_WANTED = f"WITH wanted (root, name) AS (VALUES {ROWS}) SELECT"
_AMONG_FILES = "FROM wanted CROSS JOIN file ON root_id = root AND path = name"
_FILES = f"{_WANTED} id, root_id, path, size, mtime_ns {_AMONG_FILES}"
_SHOWN_BY = f"{_WANTED} picture_id {_AMONG_FILES}"
_DELETE_FILES = f"DELETE FROM file WHERE id IN (VALUES {ROWS}) RETURNING picture_id"
_SET_FAILURES = f"""
INSERT INTO failure (root_id, path, size, mtime_ns, kind, reason, failed_at) VALUES {ROWS}
ON CONFLICT (root_id, path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
kind = excluded.kind, reason = excluded.reason, failed_at = excluded.failed_at
"""
_DELETE_FAILURES = f"""
DELETE FROM failure WHERE id IN
({_WANTED} id FROM wanted CROSS JOIN failure ON root_id = root AND path = name)
"""

_REMOVAL_CACHE_KB = 65_536
_ADD_CANDIDATES = "INSERT INTO candidate SELECT DISTINCT picture_id FROM file WHERE root_id = :root"
_DELETE_CANDIDATES = """
DELETE FROM picture WHERE id IN (SELECT id FROM candidate)
AND NOT EXISTS (SELECT 1 FROM file WHERE picture_id = picture.id)
"""


class PhotoStore:
    """The write side of the catalog for one run of the indexer under one model."""

    def __init__(self, catalog: Catalog, model_id: int) -> None:
        self._catalog = catalog
        self._model_id = model_id

    def known_pictures(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """Return, for each content hash that has a vector of the model, its picture id."""
        wanted = [(content_hash,) for content_hash in set(hashes)]
        if not wanted:
            return {}
        with self._catalog.statements() as connection:
            return dict(execute_rows(connection, _KNOWN, wanted, self._model_id))

    def store(self, photos: Sequence[NewPhoto]) -> dict[bytes, int]:
        """Store pictures, embeddings and files in one transaction; return hash -> picture id."""
        if not photos:
            return {}
        by_hash = {photo.content_hash: photo for photo in photos}
        words = {key: keyword_rows(photo.facts) for key, photo in by_hash.items()}
        pictures = [_picture_row(photo, words[key]) for key, photo in by_hash.items()]
        with self._catalog.statements() as connection:
            ids: dict[bytes, int] = dict(execute_rows(connection, _ADD_PICTURES, pictures))
            # Only of new ones: what is known of the others has its checksum, and stays as it is.
            add_keywords(connection, {id_: words[key] for key, id_ in ids.items()})
            others = [(content_hash,) for content_hash in by_hash if content_hash not in ids]
            ids.update(execute_rows(connection, _PICTURE_IDS, others))
            vectors = [
                (ids[photo.content_hash], self._model_id, photo.vector)
                for photo in by_hash.values()
            ]
            execute_rows(connection, _ADD_EMBEDDINGS, vectors)
            # A vector that was there already has its checksum already, which then stays.
            sums = [(*key, checksum(vector)) for *key, vector in vectors]
            execute_rows(connection, _ADD_CHECKSUMS, sums)
            _link(connection, [(photo.file, ids[photo.content_hash]) for photo in photos])
        return ids

    def link(self, files: Sequence[tuple[FileStat, int]]) -> None:
        """Let files show pictures that the catalog has already (a copy, a move, a touched file)."""
        if files:
            with self._catalog.statements() as connection:
                _link(connection, files)

    def orphaned(self, picture_ids: Iterable[int]) -> set[int]:
        """Return those of the pictures that no file shows at present."""
        wanted = [(picture_id,) for picture_id in set(picture_ids)]
        if not wanted:
            return set()
        with self._catalog.statements() as connection:
            return {row[0] for row in execute_rows(connection, _ORPHANED, wanted)}

    def record_failures(self, failures: Sequence[FileFailure]) -> None:
        """Remember files that gave no picture, with the reason.

        What the catalog knows of a file is dropped if the file has changed since; a file that is as
        it was keeps the picture that was read from it before.
        """
        if not failures:
            return
        now = time.time()
        with self._catalog.statements() as connection:
            execute_rows(
                connection,
                _SET_FAILURES,
                [(*_stored(one.file), one.kind.value, one.reason, now) for one in failures],
            )
            seen = {_stored(one.file) for one in failures}
            known = execute_rows(connection, _FILES, [key[:2] for key in seen])
            replaced = {_stored(one.file) for one in failures if one.replaced}
            as_it_was = seen - replaced
            outdated = [file_id for file_id, *stat in known if tuple(stat) not in as_it_was]
            if outdated:
                delete_files(connection, outdated)

    def remove_files(self, file_ids: Sequence[int]) -> None:
        """Forget files that are gone; pictures left without a file become orphans."""
        if not file_ids:
            return
        with self._catalog.statements() as connection:
            delete_files(connection, file_ids)

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
        count = session.execute(
            select(func.count()).select_from(File).where(File.root_id == root.id)
        ).scalar_one()
        # With SQLite's own 2 MB, pages of the indexes are read and written over and over: for a
        # million files that takes two thirds more time.
        session.execute(text(f"PRAGMA cache_size = -{_REMOVAL_CACHE_KB}"))
        session.execute(text("CREATE TEMPORARY TABLE candidate (id INTEGER PRIMARY KEY)"))
        session.execute(text(_ADD_CANDIDATES), {"root": root.id})
        session.execute(delete(Root).where(Root.id == root.id))
        # The next root may get the same id.
        session.execute(delete(Meta).where(Meta.key == PLACES_KEY.format(root.id)))
        # Whoever removes a folder wants it forgotten now: no grace period for its pictures.
        session.execute(text(_DELETE_CANDIDATES))
        session.execute(text("DROP TABLE temp.candidate"))
        bump_generation(session)
    return count


def delete_files(connection: sqlite3.Connection, file_ids: Sequence[int]) -> None:
    """Delete rows of files, inside the caller's transaction; their pictures may become orphans."""
    ids = [(file_id,) for file_id in file_ids]
    lost = execute_rows(connection, _DELETE_FILES, ids)
    _mark_orphans(connection, lost)
    bump_generation(connection)


def _link(connection: sqlite3.Connection, files: Sequence[tuple[FileStat, int]]) -> None:
    """Upsert the files, revive their pictures, clear their failures; counts as a new generation."""
    rows = [(*_stored(file), picture_id) for file, picture_id in files]
    keys = [row[:2] for row in rows]
    replaced = execute_rows(connection, _SHOWN_BY, keys)
    execute_rows(connection, _SET_FILES, rows)
    execute_rows(connection, _REVIVE, [(picture_id,) for _, picture_id in files])
    execute_rows(connection, _DELETE_FAILURES, keys)
    _mark_orphans(connection, replaced)
    bump_generation(connection)


def _mark_orphans(connection: sqlite3.Connection, candidates: Iterable[tuple[int]]) -> None:
    """Note of those `candidates` that no file shows any more since when that is so."""
    execute_rows(connection, _MARK_ORPHANS, sorted(set(candidates)), time.time())


def _picture_row(photo: NewPhoto, words: Sequence[tuple[str, str]]) -> tuple[Any, ...]:
    values = fact_values(photo.facts)
    crc = facts_checksum(photo.content_hash, photo.file.size, values, words)
    return photo.content_hash, photo.file.size, *values, FACTS_VERSION, crc


def _stored(file: FileStat) -> tuple[int, str | bytes, int, int]:
    return file.root_id, to_stored(file.path), file.size, file.mtime_ns
