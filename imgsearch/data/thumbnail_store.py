"""The thumbnails of a library: a cache that may be deleted at any time.

``thumbnails.sqlite`` holds one small JPEG a picture, by content hash. A database of its own, so
that the catalog stays small enough to copy; one file, because a million small ones take longer to
write, to back up and to delete. Plain sqlite3, because a page of results asks it 40 times.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from imgsearch.data.connection import BUSY_TIMEOUT_SECONDS, catalog_path
from imgsearch.data.detached import connect_immutable

FILE_NAME = "thumbnails.sqlite"
_PAGE_BYTES = 8192
_TABLE = """
CREATE TABLE IF NOT EXISTS thumbnail (
    id INTEGER PRIMARY KEY,
    content_hash BLOB NOT NULL UNIQUE,
    jpeg BLOB NOT NULL
)
"""


class ThumbnailStore:
    """Thumbnails by content hash (SHA-256). Safe to use from several threads.

    As befits a cache, nothing here raises: what cannot be read is absent, what cannot be written is
    made again when it is asked for.
    """

    def __init__(self, library: Path) -> None:
        """Use the store in the folder `library`; its file is opened, or made, at first use."""
        self._library = library
        self._path = library / FILE_NAME
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> ThumbnailStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; the store can be used again afterwards."""
        with self._lock:
            self._release()

    def get(self, content_hash: bytes) -> bytes | None:
        """Return the JPEG of a picture, or None."""
        with self._lock:
            try:
                row = self._open().execute(
                    "SELECT jpeg FROM thumbnail WHERE content_hash = ?", (content_hash,)
                )
                found = row.fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        return None if found is None else bytes(found[0])

    def add(self, thumbnails: Mapping[bytes, bytes]) -> None:
        """Keep the JPEGs, by content hash, in one transaction."""
        with self._lock:
            try:
                with self._open() as connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO thumbnail (content_hash, jpeg) VALUES (?, ?)",
                        thumbnails.items(),
                    )
            except sqlite3.Error as error:
                self._give_up(error)

    def prune(self) -> None:
        """Drop the thumbnails of pictures that the catalog does not know any more."""
        with self._lock:
            try:
                connection = self._open()
                uri = catalog_path(self._library).resolve().as_uri()
                connection.execute("ATTACH ? AS catalog", (f"{uri}?mode=ro",))
                try:
                    with connection:
                        connection.execute(
                            "DELETE FROM thumbnail WHERE content_hash NOT IN "
                            "(SELECT content_hash FROM catalog.picture)"
                        )
                finally:
                    connection.execute("DETACH catalog")
            except sqlite3.Error as error:
                self._give_up(error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                f"{self._path.resolve().as_uri()}?mode=rwc",
                uri=True,
                timeout=BUSY_TIMEOUT_SECONDS,
                check_same_thread=False,
            )
            self._connection = connection
            # In a new file: two pages a thumbnail instead of three or four, each written twice.
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError:
                # As in `connect_read_only`.
                connection.close()
                self._connection = connection = connect_immutable(self._path)
                return connection
            # A power cut may cost the last thumbnails; they are made again when asked for.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_TABLE)
        return self._connection

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up(self, error: sqlite3.Error) -> None:
        """Close the file; if it is no intact database, delete it: everything in it can be made."""
        self._release()
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR")):
            for ending in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(f"{self._path}{ending}").unlink()
