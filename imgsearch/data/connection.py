"""Opening ``catalog.sqlite``, and turning SQLite's complaints into errors with a way out."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgsearch.data.detached import connect_detached, wants_detaching
from imgsearch.errors import (
    ImgsearchError,
    LibraryBusy,
    LibraryDamaged,
    LibraryError,
    LibraryFaulty,
    LibraryFull,
    LibraryReadOnly,
    LibraryTooNew,
)

CATALOG_NAME = "catalog.sqlite"
# The folder of the caches that belong to models (see `vector_cache`).
CACHE_FOLDER = "faiss"
SCHEMA_VERSION = 4
# "imgs" in ASCII, kept in the SQLite header so that another program's database is never touched.
APPLICATION_ID = 0x696D6773
# No page of a database is smaller (bytes).
_SMALLEST_DATABASE = 512
# What Python's sqlite3 says, without a code, of text that is not UTF-8.
NO_TEXT = "Could not decode to UTF-8"
# How long a writer or reader waits for another process's transaction (seconds); batches are short.
BUSY_TIMEOUT_SECONDS = 30.0
# The shared memory of a WAL database begins with 32 kB (bytes); less space than twice that is none.
_SPACE_TO_WORK = 65_536


def catalog_path(library: Path) -> Path:
    """Return where the catalog of the library folder lies."""
    return library / CATALOG_NAME


def connect_writable(library: Path) -> sqlite3.Connection:
    """Open the catalog for writing in WAL mode, creating folder and file when they are missing.

    Raises LibraryReadOnly, LibraryDamaged, LibraryTooNew or LibraryFull.
    """
    path = catalog_path(library)
    with translated_errors(library):
        library.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            # First without the right to write: whoever closes a database that he may write copies
            # the log beside it into it, and that log may be damaged or another database's.
            connect_read_only(library).close()
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            check_identity(connection, library)
            connection.execute("PRAGMA journal_mode=WAL")
            # In WAL mode NORMAL cannot corrupt the file; a power cut may cost the last commits,
            # which the next run embeds again.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
    return connection


def connect_read_only(library: Path) -> sqlite3.Connection:
    """Open an existing catalog for reading; works on a read-only mount and a full disk, too.

    There it is a `DetachedConnection`, which does not see what is committed later. Raises
    LibraryNotFound, LibraryDamaged or LibraryTooNew.
    """
    path = catalog_path(library)
    if not path.is_file():
        from imgsearch.data.lost_catalog import catalog_not_found

        raise catalog_not_found(library)
    with translated_errors(library):
        check_size(library)
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA schema_version")
        except sqlite3.OperationalError as error:
            connection.close()
            if not wants_detaching(error):
                raise
            connection = connect_detached(path)
        try:
            check_identity(connection, library)
        except BaseException:
            connection.close()
            raise
    return connection


def check_size(library: Path) -> None:
    """Refuse a catalog file that is too short for a database, which SQLite would overwrite.

    So is an empty one beside a log that is not: SQLite would delete the log.

    Nothing here opens the file: closing it would release the locks that SQLite holds for other
    connections of this process (POSIX locks belong to a process and a file).
    """
    size = catalog_path(library).stat().st_size
    if size == 0:
        from imgsearch.data.lost_catalog import lost_catalog

        lost_catalog(library)
    elif size < _SMALLEST_DATABASE:
        raise damaged(library)


def check_identity(connection: sqlite3.Connection, library: Path) -> None:
    """Refuse a database that is not ours or was written by a newer imgsearch."""
    # In one statement: another process may be making the catalog at this moment.
    application_id, tables, version = connection.execute(
        "SELECT application_id, (SELECT count(*) FROM sqlite_master), user_version"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application_id != APPLICATION_ID and tables:
        raise damaged(library)
    if version > SCHEMA_VERSION:
        raise LibraryTooNew(
            f"The library {library} was written by a newer imgsearch (schema {version}, this one "
            f"knows {SCHEMA_VERSION}). Upgrade with: pip install --upgrade imgsearch-engine"
        )


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the schema version of the open catalog; 0 when it is still empty."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def damaged(library: Path) -> LibraryDamaged:
    """Return the error for a catalog that is not ours or not readable."""
    return LibraryDamaged(
        f"{catalog_path(library)} is not a readable imgsearch catalog; it was left as it is. "
        "See what can be saved: imgsearch doctor"
    )


@contextmanager
def translated_errors(library: Path) -> Iterator[None]:
    """Raise SQLite's and the file system's errors about `library` as errors with a way out."""
    try:
        yield
    except ImgsearchError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise translate(error, library) from error
    except UnicodeDecodeError as error:
        # Python's sqlite3 where SQLite quotes a damaged name in its complaint.
        raise damaged(library) from error


def translate(error: sqlite3.Error | OSError, library: Path) -> LibraryError:
    """Return the user-facing error for what SQLite or the file system said about `library`."""
    # Not from the message, which may hold any path.
    name = getattr(error, "sqlite_errorname", "") or ""
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith(NO_TEXT):
        return damaged(library)
    number = getattr(error, "errno", None)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or number in (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
    ):
        return LibraryReadOnly(
            f"The library {library} cannot be written. Give another folder with --library, or "
            "change its permissions."
        )
    full = name.startswith("SQLITE_FULL") or number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    faulty = name.startswith("SQLITE_IOERR") or number == errno.EIO
    if full or (faulty and _has_no_space(library)):
        return LibraryFull(
            f"The disk that holds the library {library} is full. What was committed is safe; free "
            "some space and run the same command again."
        )
    if faulty:
        return LibraryFaulty(
            f"The disk that holds the library {library} reports an error ({error}). What was "
            "committed is as safe as the disk is: check it and its cable, make a backup, then run "
            "the same command again."
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LibraryBusy(
            f"Another process has been writing the library {library} for "
            f"{BUSY_TIMEOUT_SECONDS:.0f} seconds. Try again when it is done."
        )
    if number in (errno.EEXIST, errno.ENOTDIR):
        return LibraryError(f"The library {library} is not a folder. Give one with --library.")
    # SQLITE_ERROR with an unknown table or column: the schema is not what its version says.
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR")):
        return damaged(library)
    return LibraryError(f"The library {library} cannot be used: {error}.")


def _has_no_space(library: Path) -> bool:
    """Tell whether a disk is so full that SQLite cannot work: it then speaks of I/O errors."""
    try:
        facts = os.statvfs(library)
    except (OSError, AttributeError):
        return False
    return facts.f_bavail * facts.f_frsize < _SPACE_TO_WORK
