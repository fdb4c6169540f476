"""What is known of a library's near-duplicates: a cache that may be deleted at any time.

``similar.sqlite`` holds one signature a picture, by content hash, and how alike those pairs are
that look alike at all. A signature is *examined* once it was compared with all others that are; so
only new ones have to be compared. Plain sqlite3, because the answer is read by every query for it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from imgsearch.data.connection import BUSY_TIMEOUT_SECONDS, translate
from imgsearch.data.detached import connect_immutable, wants_detaching

FILE_NAME = "similar.sqlite"
# Both kinds of ids are never used twice, so that what another process holds cannot change meaning.
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS signature (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    content_hash BLOB NOT NULL UNIQUE,
    examined INTEGER NOT NULL DEFAULT 0,
    descriptor BLOB NOT NULL,
    grey BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS signature_examined ON signature (examined);
CREATE TABLE IF NOT EXISTS pair (
    one INTEGER NOT NULL, other INTEGER NOT NULL, alike REAL NOT NULL,
    PRIMARY KEY (one, other)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pair_other ON pair (other);
INSERT OR IGNORE INTO meta VALUES ('round', '0');
"""
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR")


class SignaturesLost(Exception):
    """The cache was damaged and is deleted, or cannot be written any more and goes on in memory.

    Whatever was read from it is void; what was to be done has to be begun again.
    """


class SignatureStore:
    """Signatures by content hash (SHA-256), and alike pairs. Safe to use from several threads.

    Where its file cannot be written (a read-only folder, a full disk) it lives in memory. Every
    method may raise SignaturesLost, or a LibraryError such as LibraryBusy.
    """

    def __init__(self, library: Path, version: str) -> None:
        """Use the store in the folder `library`; signatures of another `version` are dropped."""
        self._library = library
        self._path = library / FILE_NAME
        self._version = version
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._in_memory = False

    def __enter__(self) -> SignatureStore:
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

    def stamp(self) -> str | None:
        """Return what the state was called when everything was last examined, or None."""
        with self._used() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'stamp'").fetchone()
        return None if row is None else str(row[0])

    def set_stamp(self, stamp: str) -> None:
        """Note that all pictures of the state with this name are examined."""
        with self._used() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('stamp', ?)", (stamp,))

    def known(self) -> set[bytes]:
        """Return the content hashes that have a signature."""
        with self._used() as connection:
            rows = connection.execute("SELECT content_hash FROM signature").fetchall()
        return {bytes(row[0]) for row in rows}

    def add(self, signatures: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        """Keep (content hash, descriptor, grey picture) of some pictures, not examined yet."""
        with self._used() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO signature (content_hash, descriptor, grey) VALUES (?, ?, ?)",
                signatures,
            )

    def descriptors(self) -> tuple[int, int, list[int], bytes]:
        """Return the round, how many are examined, all ids (the examined first), descriptors.

        The round counts what was recorded; `record` wants it back.
        """
        with self._used() as connection:
            rows = connection.execute(
                "SELECT id, examined, descriptor FROM signature ORDER BY examined DESC, id"
            ).fetchall()
            at = int(connection.execute("SELECT value FROM meta WHERE key='round'").fetchone()[0])
        return (
            at,
            sum(row[1] for row in rows),
            [row[0] for row in rows],
            b"".join(row[2] for row in rows),
        )

    def greys(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the grey pictures of these signatures, without those that are gone."""
        with self._used() as connection:
            rows = connection.execute(
                "SELECT s.id, s.grey FROM json_each(?) wanted"
                " CROSS JOIN signature s ON s.id = wanted.value",
                (json.dumps(list(ids)),),
            )
            return dict(rows.fetchall())

    def record(
        self, at: int, examined: Sequence[int], pairs: Sequence[tuple[int, int, float]]
    ) -> bool:
        """Note in one transaction which ids are examined now, and the pairs found: id, id, alike.

        False, and nothing is done, if another process has recorded something since round `at`: its
        new pictures and these have not been compared with each other.
        """
        with self._used() as connection:
            same = connection.execute(
                "UPDATE meta SET value = ? WHERE key = 'round' AND value = ?", (at + 1, str(at))
            )
            if not same.rowcount:
                return False
            connection.executemany("INSERT OR REPLACE INTO pair VALUES (?, ?, ?)", pairs)
            connection.executemany(
                "UPDATE signature SET examined = 1 WHERE id = ?", [(one,) for one in examined]
            )
        return True

    def pairs(self, at_least: float) -> list[tuple[bytes, bytes, float]]:
        """Return the content hashes of the pairs that are as alike, and how much they are."""
        with self._used() as connection:
            return connection.execute(
                "SELECT a.content_hash, b.content_hash, alike FROM pair"
                " JOIN signature a ON a.id = one JOIN signature b ON b.id = other"
                " WHERE alike >= ?",
                (at_least,),
            ).fetchall()

    def prune(self, wanted: Collection[bytes]) -> None:
        """Forget the pictures whose content hash is not among the `wanted`."""
        surplus = [(one,) for one in self.known() - set(wanted)]
        if not surplus:
            return
        with self._used() as connection:
            for column in ("one", "other"):
                connection.executemany(
                    f"DELETE FROM pair WHERE {column} ="
                    " (SELECT id FROM signature WHERE content_hash = ?)",
                    surplus,
                )
            connection.executemany("DELETE FROM signature WHERE content_hash = ?", surplus)

    def discard(self) -> NoReturn:
        """Delete everything, which cannot be what was stored. Raises SignaturesLost."""
        with self._lock:
            self._delete()
        raise SignaturesLost(str(self._path))

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction, and speak of its errors as those of a cache."""
        with self._lock:
            try:
                connection = self._open()
                with connection:
                    yield connection
            except UnicodeDecodeError as error:
                # Python's sqlite3 where SQLite quotes a damaged name in its complaint.
                self._delete()
                raise SignaturesLost(str(self._path)) from error
            except sqlite3.Error as error:
                name = getattr(error, "sqlite_errorname", "")
                if wants_detaching(error) and not self._in_memory:
                    self._release()
                    self._in_memory = True
                elif name.startswith(_DAMAGED):
                    self._delete()
                else:
                    self._release()
                    raise translate(error, self._library) from error
                raise SignaturesLost(str(self._path)) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None and not self._in_memory:
            try:
                self._connect(f"{self._path.resolve().as_uri()}?mode=rwc")
            except sqlite3.OperationalError as error:
                if not wants_detaching(error):
                    raise
                self._release()
                self._in_memory = True
        if self._connection is None:
            self._connect("file::memory:")
        assert self._connection is not None
        return self._connection

    def _connect(self, uri: str) -> None:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False
        )
        self._connection = connection
        if self._in_memory:
            # What the file knows already need not be found out again.
            with (
                contextlib.suppress(sqlite3.Error),
                contextlib.closing(connect_immutable(self._path)) as file,
            ):
                file.backup(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_TABLES)
        with connection:
            held = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
            if held is None or held[0] != self._version:
                connection.execute("DELETE FROM pair")
                connection.execute("DELETE FROM signature")
                connection.execute("DELETE FROM meta WHERE key = 'stamp'")
                connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('version', ?)", (self._version,)
                )

    def _delete(self) -> None:
        self._release()
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self._path}{ending}").unlink()

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
