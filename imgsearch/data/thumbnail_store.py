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

from imgsearch.data.checksums import CHECKSUM_BYTES, checksum
from imgsearch.data.connection import BUSY_TIMEOUT_SECONDS, catalog_path
from imgsearch.data.detached import connect_immutable, wants_detaching

FILE_NAME = "thumbnails.sqlite"
_PAGE_BYTES = 8192
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_TABLE = """
CREATE TABLE IF NOT EXISTS thumbnail (
    id INTEGER PRIMARY KEY,
    content_hash BLOB NOT NULL UNIQUE,
    jpeg BLOB NOT NULL
)
"""


def unsealed(stored: bytes) -> bytes | None:
    """Return the JPEG of what is stored, which ends with its checksum; None if that is wrong.

    Earlier versions stored the JPEG alone.
    """
    jpeg, seal = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
    if checksum(jpeg) == seal:
        return jpeg
    return stored if stored.startswith(_JPEG_START) and stored.endswith(_JPEG_END) else None


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
        # What tells the open file from one that has taken its place.
        self._identity: tuple[int, int] | None = None

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
        """Return the JPEG of a picture, or None if it is not there or not what was stored."""
        with self._lock:
            try:
                row = self._open().execute(
                    "SELECT jpeg FROM thumbnail WHERE content_hash = ?", (content_hash,)
                )
                found = row.fetchone()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                self._give_up(error)
                return None
        return unsealed(found[0]) if found is not None and isinstance(found[0], bytes) else None

    def add(self, thumbnails: Mapping[bytes, bytes]) -> None:
        """Keep the JPEGs, by content hash, in one transaction."""
        with self._lock:
            try:
                with self._open() as connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO thumbnail (content_hash, jpeg) VALUES (?, ?)",
                        [(key, jpeg + checksum(jpeg)) for key, jpeg in thumbnails.items()],
                    )
            except (sqlite3.Error, UnicodeDecodeError) as error:
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
            except (sqlite3.Error, UnicodeDecodeError) as error:
                self._give_up(error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity != self._present():
            # Deleted, by hand or as damaged: what is added would be lost with the old file.
            self._release()
        if self._connection is None:
            self._connect()
            self._identity = self._present()
        assert self._connection is not None
        return self._connection

    def _present(self) -> tuple[int, int] | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def _connect(self) -> None:
        uri = self._path.resolve().as_uri()
        self._connection = connection = sqlite3.connect(
            f"{uri}?mode=rwc", uri=True, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False
        )
        # In a new file: two pages a thumbnail instead of three or four, each written twice.
        connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not wants_detaching(error):
                raise
            # As in `connect_read_only`.
            connection.close()
            self._connection = connect_immutable(self._path)
            return
        # A power cut may cost the last thumbnails; they are made again when asked for.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_TABLE)

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up(self, error: sqlite3.Error | UnicodeDecodeError) -> None:
        """Close the file; if it is no intact database, delete it: everything in it can be made."""
        self._release()
        name = getattr(error, "sqlite_errorname", "")
        damaged = name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR"))
        # Python's sqlite3 where SQLite quotes a damaged name in its complaint.
        if damaged or isinstance(error, UnicodeDecodeError):
            for ending in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(f"{self._path}{ending}").unlink()
