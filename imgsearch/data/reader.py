"""The read side of the catalog, for queries: plain sqlite3, nothing else imported.

Importing SQLAlchemy takes longer than a whole cold query may (about 0.3 s for the core, 0.15 s for
the ORM), and a query needs few fixed statements. The tables are those of `schema`; a test keeps
the two in step.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from imgsearch.data.connection import (
    SCHEMA_VERSION,
    catalog_path,
    connect_read_only,
    damaged,
    schema_version,
    translated_errors,
)
from imgsearch.data.detached import DetachedConnection, Seen
from imgsearch.data.paths import from_stored, to_stored
from imgsearch.data.presence import is_offline, offline_folders
from imgsearch.data.records import PictureFacts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_PAGE = 10_000
# Paths that `os.path.normpath` would change, and all others of systems that are not POSIX.
_ABNORMAL = re.compile(r"(^|/)\.{0,2}(/|$)" if os.sep == "/" else "")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that the library knows."""

    id: int
    name: str
    revision: str
    source: str
    dimension: int


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture as a result shows it; `paths` are absolute, in alphabetical order.

    Those that are on no disk that is there now come last; `offline` tells whether all are such.
    `modified` is when the oldest of its files was changed last (Unix time).
    """

    id: int
    content_hash: bytes
    paths: tuple[str, ...]
    byte_size: int
    modified: float
    facts: PictureFacts
    offline: bool = False


class CatalogReader:
    """A read-only view of ``catalog.sqlite``. Use as a context manager."""

    def __init__(self, library: Path) -> None:
        """Open the catalog in the folder `library`, migrating it first when it is older.

        Raises LibraryNotFound, LibraryDamaged or LibraryTooNew.
        """
        self.library = library
        self._identity = _identity(library)
        seen = Seen.now(catalog_path(library))
        self._connection = connect_read_only(library)
        # What does not see later commits must be opened again after them.
        self._seen = seen if isinstance(self._connection, DetachedConnection) else None
        if 0 < schema_version(self._connection) < SCHEMA_VERSION:
            self._connection.close()
            self._migrate()
            self._connection = connect_read_only(library)

    def __enter__(self) -> CatalogReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the database file."""
        self._connection.close()
        # A new file may get the number that the released one had.
        self._identity = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that is read inside this block be of one moment, whatever others write."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def is_current(self) -> bool:
        """Tell whether this view shows the library's catalog as it is: not deleted, not replaced.

        Where later commits cannot be seen, see `detached`, it is not after one of them.
        """
        if self._seen is not None and self._seen != Seen.now(catalog_path(self.library)):
            return False
        return self._identity is not None and self._identity == _identity(self.library)

    def _migrate(self) -> None:
        from imgsearch.data.catalog import Catalog

        Catalog(self.library).close()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of one SELECT. Raises a LibraryError for what SQLite reports."""
        with translated_errors(self.library):
            return self._connection.execute(statement, values).fetchall()

    def pages(self, statement: str, *values: object) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of one SELECT in pages: for those that may be too many for the memory."""
        with translated_errors(self.library):
            rows = self._connection.execute(statement, values)
            while page := rows.fetchmany(_PAGE):
                yield page

    def ids(self, statement: str, *values: object) -> npt.NDArray[np.int64]:
        """Return the single column of one SELECT: int64 [n]."""
        import numpy as np

        with translated_errors(self.library):
            rows = self._connection.execute(statement, values)
            return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def define(
        self, name: str, function: Callable[..., str | bytes | int | float | None], arguments: int
    ) -> None:
        """Let SELECTs call a function, which must not raise, from now on."""
        self._connection.create_function(name, arguments, function, deterministic=True)

    def is_uninitialised(self) -> bool:
        """Tell whether the catalog is a database without tables yet."""
        return schema_version(self._connection) == 0

    def is_empty(self) -> bool:
        """Tell whether no picture is there that a file shows."""
        return self.is_uninitialised() or not self.rows(
            "SELECT 1 FROM picture WHERE orphaned_at IS NULL LIMIT 1"
        )

    def meta(self, key: str) -> str | None:
        """Return one value of the meta table, or None."""
        rows = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def generation(self) -> int:
        """Return the number of transactions that changed what can be searched.

        Raises LibraryDamaged when what is stored is no number.
        """
        stored = self.meta("generation") or "0"
        if not (stored.isascii() and stored.isdigit()):
            raise damaged(self.library)
        return int(stored)

    def models(self) -> list[StoredModel]:
        """Return every model that the library knows."""
        rows = self.rows("SELECT id, name, revision, source, dimension FROM model ORDER BY id")
        return [StoredModel(*row) for row in rows]

    def active_model(self) -> StoredModel | None:
        """Return the model that queries use, or None in a library that was never indexed."""
        active = self.meta("active_model_id")
        return next((model for model in self.models() if str(model.id) == active), None)

    def visible_ids(self, model_id: int) -> npt.NDArray[np.int64]:
        """Return the ids, ascending, of the pictures that have a vector and a file: int64 [n]."""
        return self.ids(
            "SELECT e.picture_id FROM embedding e JOIN picture p ON p.id = e.picture_id "
            "WHERE e.model_id = ? AND p.orphaned_at IS NULL ORDER BY e.picture_id",
            model_id,
        )

    def vectors(
        self, model: StoredModel, ids: npt.NDArray[np.int64]
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]]:
        """Yield pages of (ids int64 [m], unit vectors float16 [m, dimension]) for these pictures.

        Raises LibraryDamaged when a stored vector has the wrong length.
        """
        import numpy as np

        for start in range(0, len(ids), _PAGE):
            wanted = json.dumps(ids[start : start + _PAGE].tolist())
            rows = self.rows(
                # CROSS: SQLite would otherwise walk the whole table for every page.
                "SELECT e.picture_id, e.vector FROM json_each(?) wanted "
                "CROSS JOIN embedding e ON e.picture_id = wanted.value AND e.model_id = ?",
                wanted,
                model.id,
            )
            if any(len(vector) != 2 * model.dimension for _, vector in rows):
                raise damaged(self.library)
            page = np.frombuffer(b"".join(vector for _, vector in rows), dtype="<f2")
            yield (
                np.array([picture_id for picture_id, _ in rows], dtype=np.int64),
                page.reshape(len(rows), model.dimension),
            )

    def pictures(self, ids: Sequence[int]) -> dict[int, StoredPicture]:
        """Return these pictures by id, with every path that shows them, without the unknown."""
        rows = self.rows(
            "SELECT p.id, r.path, f.path, f.mtime_ns, p.content_hash, p.byte_size, p.width,"
            " p.height, p.format, p.orientation, p.taken_at, p.camera, p.lens, p.latitude,"
            " p.longitude, p.rating, (SELECT nullif(json_group_array(CAST(word AS TEXT)),"
            " '[]') FROM (SELECT word FROM keyword WHERE picture_id = p.id ORDER BY folded))"
            " FROM json_each(?) wanted CROSS JOIN picture p ON p.id = wanted.value"
            " CROSS JOIN file f ON f.picture_id = p.id CROSS JOIN root r ON r.id = f.root_id",
            json.dumps([int(one) for one in ids]),
        )
        offline = self.offline_folders() if rows else ()
        paths: dict[int, list[tuple[bool, str]]] = {}
        modified: dict[int, int] = {}
        facts: dict[int, tuple[Any, ...]] = {}
        for id_, root, path, mtime_ns, *rest in rows:
            full = _joined(root, path)
            if full is None:
                continue
            away = bool(offline) and is_offline(full, offline)
            paths.setdefault(id_, []).append((away, full))
            modified[id_] = min(mtime_ns, modified.get(id_, mtime_ns))
            facts[id_] = tuple(rest)
        return {
            id_: StoredPicture(
                id=id_,
                content_hash=rest[0],
                paths=tuple(full for _, full in sorted(paths[id_])),
                byte_size=rest[1],
                modified=modified[id_] / 1e9,
                facts=PictureFacts(*(*rest[2:-1], tuple(json.loads(rest[-1] or "[]")))),
                offline=all(away for away, _ in paths[id_]),
            )
            for id_, rest in facts.items()
        }

    def picture_of(self, content_hash: bytes) -> StoredPicture | None:
        """Return the picture with this content (SHA-256), or None if no file shows it."""
        found = self.ids("SELECT id FROM picture WHERE content_hash = ?", content_hash)
        pictures = self.pictures(found.tolist())
        return next(iter(pictures.values()), None)

    def picture_at(self, path: str) -> int | None:
        """Return the id of the picture that the file at an absolute path shows, or None."""
        for root_id, stored in self.rows("SELECT id, path FROM root"):
            root = from_stored(stored)
            if os.path.commonpath((root, path)) != os.path.normpath(root):
                continue
            found = self.ids(
                "SELECT picture_id FROM file WHERE root_id = ? AND path = ?",
                root_id,
                to_stored(os.path.relpath(path, root)),
            )
            if len(found):
                return int(found[0])
        return None

    def offline_folders(self) -> tuple[str, ...]:
        """Return the folders of the library that are not there now; see `presence`."""
        return offline_folders(self)

    def roots(self) -> list[str]:
        """Return the absolute paths of the library's roots."""
        return [from_stored(row[0]) for row in self.rows("SELECT path FROM root")]


def _joined(root: str | bytes, path: str | bytes) -> str | None:
    """Return the absolute path of a stored file; None for one that leads out of its root.

    A catalog is a file like any other, and may say anything.
    """
    folder, inner = _normal_folder(root), from_stored(path)
    # Nearly all are so, and to normalise them takes longer than to read them from the catalog.
    if inner and not _ABNORMAL.search(inner):
        return folder + inner
    full = os.path.normpath(os.path.join(folder, inner))
    return full if full.startswith(folder) and full != folder else None


@lru_cache(maxsize=256)
def _normal_folder(stored: str | bytes) -> str:
    """Return a root as its files' paths begin, with the separator."""
    return os.path.normpath(from_stored(stored)).rstrip(os.sep) + os.sep


def _identity(library: Path) -> tuple[int, int] | None:
    """Return what tells the catalog's file from any other, or None if it is not there."""
    try:
        facts = catalog_path(library).stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
