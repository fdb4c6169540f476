"""Putting a backup in the place of the catalog, while others read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from imgsearch.data.connection import (
    APPLICATION_ID,
    BUSY_TIMEOUT_SECONDS,
    CACHE_FOLDER,
    SCHEMA_VERSION,
    catalog_path,
    connect_read_only,
    schema_version,
    translated_errors,
)
from imgsearch.data.copies import copy_database, draft_of, flush, flush_folder
from imgsearch.data.lock import writer_lock
from imgsearch.data.migrations import migrate_in_place
from imgsearch.data.schema_check import differences
from imgsearch.errors import BackupInvalid, LibraryError

_HEADER = b"SQLite format 3\0"
# As SQLite makes them; a copy page by page needs the same size on both sides.
_PAGE_BYTES = 4096
_GENERATION = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'generation'"


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What a library holds now, and where the catalog that it held before was put, if any."""

    pictures: int
    vectors: int
    kept_as: str | None


def restore_backup(library: Path, source: Path, *, force: bool = False) -> RestoreSummary:
    """Let the library hold what the backup `source` holds.

    The file is not trusted: it is copied, and the copy is checked from end to end before anything
    is replaced. A library that holds something is replaced only with `force`, and its catalog kept
    under another name. Other processes may read meanwhile; they go over to the new content. A
    process that dies in the middle leaves the library as it was.

    Raises BackupInvalid for a file that is no intact backup, or a library that holds something;
    LibraryBusy while another process indexes; LibraryFull or another LibraryError.
    """
    _check_source(source)
    target = catalog_path(library)
    with translated_errors(library):
        library.mkdir(parents=True, exist_ok=True)
    with writer_lock(library), translated_errors(library), draft_of(target) as draft:
        held = _state_of(library)
        if held.holds_something and not force:
            raise BackupInvalid(
                f"The library {library} is not empty. To replace it: imgsearch restore --force "
                f"{source} (what it holds now is kept under another name)"
            )
        shutil.copyfile(source, draft)
        summary = _prepare(draft, source, held.generation)
        kept = _switch(library, draft, held)
        flush_folder(library)
    for path in (library / CACHE_FOLDER).glob("model-*"):
        with suppress(OSError):
            path.unlink()
    return RestoreSummary(*summary, None if kept is None else str(kept))


@dataclass(frozen=True, slots=True)
class _State:
    """What is in the place of the catalog: something worth keeping? A database that works?"""

    exists: bool
    works: bool
    holds_something: bool
    generation: int = 0


def _check_source(source: Path) -> None:
    if not source.is_file():
        raise BackupInvalid(f"There is no file {source}.")
    try:
        with source.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise BackupInvalid(f"{source} cannot be read: {error.strerror}.") from error
    if head[:16] != _HEADER or int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        raise BackupInvalid(f"{source} is no backup of an imgsearch library.")
    log = Path(f"{source}-wal")
    if log.is_file() and log.stat().st_size:
        raise BackupInvalid(
            f"{source} is a catalog in use, of which {log.name} is a part. Make a backup of it: "
            "imgsearch backup FILE --library DIR"
        )


def _state_of(library: Path) -> _State:
    if not catalog_path(library).exists():
        return _State(exists=False, works=True, holds_something=False)
    try:
        with closing(connect_read_only(library)) as connection:
            version = schema_version(connection)
            if version == 0:
                return _State(exists=True, works=True, holds_something=False)
            [(verdict,), *_] = connection.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                return _State(exists=True, works=False, holds_something=True)
            tables = ["root", "picture", "file", *(["saved_search"] if version > 1 else [])]
            some = any(
                connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in tables
            )
            row = connection.execute(_GENERATION).fetchone()
            return _State(True, True, some, row[0] if row else 0)
    except (sqlite3.Error, LibraryError, UnicodeDecodeError):
        return _State(exists=True, works=False, holds_something=True)


def _prepare(draft: Path, source: Path, generation: int) -> tuple[int, int]:
    """Check and migrate the copy; return its numbers of pictures and vectors."""
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            copy.execute("PRAGMA trusted_schema=OFF")
            copy.execute("PRAGMA cell_size_check=ON")
            # A log has no part in a backup, and its header may ask for one.
            copy.execute("PRAGMA journal_mode=DELETE")
            _check(copy, source)
            migrate_in_place(copy, SCHEMA_VERSION)
            # A number that neither catalog had: whoever holds an index in memory sees the change.
            (own,) = copy.execute(_GENERATION).fetchone() or (0,)
            copy.execute(
                "INSERT OR REPLACE INTO meta VALUES ('generation', ?)",
                (str(max(_sane(own), _sane(generation)) + 1),),
            )
            if copy.execute("PRAGMA page_size").fetchone() != (_PAGE_BYTES,):
                copy.execute(f"PRAGMA page_size={_PAGE_BYTES}")
                copy.execute("VACUUM")
            pictures, vectors = (
                copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("picture", "embedding")
            )
    except UnicodeDecodeError as error:
        raise _refused(source, "it is damaged") from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise
        raise _refused(source, str(error)) from error
    flush(draft)
    return pictures, vectors


def _sane(generation: object) -> int:
    """Return a number that can be counted up; a backup may say anything."""
    return generation if isinstance(generation, int) and 0 <= generation < 1 << 62 else 0


def _check(copy: sqlite3.Connection, source: Path) -> None:
    """Refuse what is not an intact catalog. Raises BackupInvalid or sqlite3.DatabaseError."""
    version = schema_version(copy)
    if version > SCHEMA_VERSION:
        raise _refused(
            source,
            f"it was written by a newer imgsearch (schema {version}; this one knows "
            f"{SCHEMA_VERSION})",
        )
    wrong = differences(copy)
    if wrong:
        raise _refused(source, f"its tables are not ours: {wrong[0]}")
    [(verdict,), *_] = copy.execute("PRAGMA integrity_check(1)").fetchall()
    if verdict != "ok":
        raise _refused(source, f"it is damaged ({verdict})")
    if copy.execute("PRAGMA foreign_key_check").fetchone():
        raise _refused(source, "it holds rows that refer to nothing")


def _refused(source: Path, reason: str) -> BackupInvalid:
    return BackupInvalid(f"{source} cannot be restored: {reason}. The library was left as it is.")


def _switch(library: Path, draft: Path, held: _State) -> Path | None:
    """Put the draft in the catalog's place in one step; return where the old one was kept."""
    kept = None
    if held.works:
        if held.holds_something:
            kept = aside_name(library, "replaced")
            with closing(connect_read_only(library)) as old, draft_of(kept) as copy:
                copy_database(old, copy)
                os.replace(copy, kept)
        write_over(library, draft)
    else:
        kept = put_aside(library, "replaced")
        os.replace(draft, catalog_path(library))
    return kept


def write_over(library: Path, content: Path) -> None:
    """Replace all of the catalog's content in one transaction.

    Not the file: readers have it open, and the log beside it belongs to it by name. So they see the
    old content until they see the new, and a process that dies leaves the old.
    """
    with (
        closing(sqlite3.connect(content)) as source,
        closing(
            sqlite3.connect(
                catalog_path(library), timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None
            )
        ) as target,
    ):
        target.execute("PRAGMA journal_mode=WAL")
        # The one transaction that must not be lost in a power cut: the file has gone before.
        target.execute("PRAGMA synchronous=FULL")
        source.backup(target)


def aside_name(library: Path, why: str) -> Path:
    """Return an unused name beside the catalog that tells what happened to it, and when."""
    moment = time.strftime("%Y%m%d-%H%M%S")
    path = catalog_path(library)
    number = 0
    while True:
        more = f".{number}" if number else ""
        name = path.with_name(f"{path.name}.{why}-{moment}{more}.backup")
        if not os.path.lexists(name):
            return name
        number += 1


def put_aside(library: Path, why: str) -> Path:
    """Keep the catalog's file, and the log that belongs to it, under another name; return that.

    The file itself stays where it is until the caller replaces it, so that at any moment there is
    one. Its log is gone afterwards: beside another database it would do harm.
    """
    kept = aside_name(library, why)
    path = catalog_path(library)
    for ending in ("", "-wal"):
        with suppress(FileNotFoundError):
            _same_under(Path(f"{path}{ending}"), Path(f"{kept}{ending}"))
    for ending in ("-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
    return kept


def _same_under(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except FileNotFoundError:
        raise
    except OSError:
        # A file system without links.
        shutil.copyfile(path, name)
