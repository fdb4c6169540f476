"""Reading an SQLite database in WAL mode where the files beside it cannot be made.

A reader of such a database needs a ``-shm`` file beside it. On a read-only file system, in a folder
of another user and on a full disk it cannot be made, and SQLite refuses to read. What helps:

- without a ``-wal`` file everything lies in the database itself, and `immutable` reads it so;
- with one, the last commits lie in there, which `immutable` would pass over in silence. Both files
  are then copied to where temporary files go, and the copy is read.

Neither sees what somebody else commits later: `Seen` tells when it is time to open it again.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

# What SQLite says where it cannot make, or make larger, the files beside a database.
_CANNOT_MAKE = (
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
    "SQLITE_PERM",
    "SQLITE_FULL",
    "SQLITE_IOERR_SHM",
    "SQLITE_IOERR_WRITE",
    "SQLITE_IOERR_TRUNCATE",
)
# How often a copy is tried again during which the original changed.
_COPY_ATTEMPTS = 5


class DetachedConnection(sqlite3.Connection):
    """A connection to a database as it was at one moment."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What tells whether anybody has written to a database and its WAL: sizes and times."""

    files: tuple[tuple[int, int, int] | None, ...]

    @classmethod
    def now(cls, path: Path) -> Seen:
        """Look at the database at `path`."""
        return cls((_facts(path), _facts(_wal(path))))


def wants_detaching(error: sqlite3.Error) -> bool:
    """Tell whether SQLite's error may be that of a database whose helper files cannot be made."""
    return getattr(error, "sqlite_errorname", "").startswith(_CANNOT_MAKE)


def connect_detached(path: Path) -> DetachedConnection:
    """Open the database at `path` for reading, as it is now. Raises sqlite3.Error or OSError."""
    facts = _facts(_wal(path))
    return connect_immutable(path) if facts is None or not facts[1] else _connect_copy(path)


def connect_immutable(path: Path) -> DetachedConnection:
    """Open the database at `path` without its WAL: for caches. Raises sqlite3.Error."""
    return _connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1")


def _connect_copy(path: Path) -> DetachedConnection:
    """Open a copy of the database and its WAL. Its files last no longer than the connection."""
    # Imported here because a cold query has no time for what hardly any needs.
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="imgsearch-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        for _ in range(_COPY_ATTEMPTS):
            before = Seen.now(path)
            shutil.copyfile(path, copy)
            shutil.copyfile(_wal(path), _wal(copy))
            if Seen.now(path) == before:
                break
        else:
            raise sqlite3.OperationalError("the database does not stop changing")
        connection = _connect(copy.as_uri())
        try:
            # Only a statement makes SQLite open the WAL; what is open outlives its name. Windows
            # keeps the folder for as long, and clears its temporary files by itself.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("PRAGMA query_only=ON")
        except BaseException:
            connection.close()
            raise
        return connection


def _connect(uri: str) -> DetachedConnection:
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False, factory=DetachedConnection)
    assert isinstance(connection, DetachedConnection)
    return connection


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _facts(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
