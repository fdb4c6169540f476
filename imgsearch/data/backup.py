"""Backups of the catalog: one file with all that cannot be made again; no caches."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgsearch.data.connection import (
    catalog_path,
    check_identity,
    connect_read_only,
    schema_version,
    translated_errors,
)
from imgsearch.data.copies import copy_database, draft_of, flush_folder
from imgsearch.errors import BackupFailed, BackupInvalid


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What a backup holds. `path` is absolute."""

    path: str
    bytes: int
    pictures: int
    vectors: int


def write_backup(library: Path, target: Path, *, force: bool = False) -> BackupSummary:
    """Write all that is committed at this moment to the new file `target`, and check it.

    Works while other processes write the library: they are not held up. The file is there whole or
    not at all. Raises BackupInvalid for a place where it cannot be (an existing file, without
    `force`), BackupFailed where it could not be finished, LibraryDamaged where the catalog itself
    is not intact, or another LibraryError.
    """
    target = Path(os.path.abspath(target))
    _check_target(library, target, force)
    with closing(connect_read_only(library)) as source, draft_of(target) as draft:
        with _writing(target):
            # Made here, so that what SQLite says below is about the catalog or about the disk.
            draft.touch(mode=0o600)
        with _writing(target), _damage_told_apart(library):
            copy_database(source, draft)
        summary = _checked(draft, target, library)
        with _writing(target):
            _publish(draft, target, force)
    flush_folder(target.parent)
    return summary


@contextmanager
def _damage_told_apart(library: Path) -> Iterator[None]:
    """Tell damage of the catalog from trouble with the copy."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not getattr(error, "sqlite_errorname", "").startswith(
            ("SQLITE_CORRUPT", "SQLITE_NOTADB")
        ):
            raise
        with translated_errors(library):
            raise


def _check_target(library: Path, target: Path, force: bool) -> None:
    if not target.parent.is_dir():
        raise BackupInvalid(
            f"There is no folder {target.parent} for the backup. Make it, or name another file."
        )
    if target.is_dir():
        raise BackupInvalid(f"{target} is a folder. Name a file for the backup.")
    own = catalog_path(library)
    if (
        target.parent == own.parent
        and target.name.removesuffix("-wal").removesuffix("-shm") == own.name
    ):
        raise BackupInvalid(f"{target} is the catalog itself. Name another file for the backup.")
    if os.path.lexists(target) and not force:
        raise BackupInvalid(
            f"{target} is there already. Name another file, or replace it with --force."
        )
    if os.path.lexists(target) and not target.is_file():
        raise BackupInvalid(f"{target} is no regular file. Name another one for the backup.")


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn what goes wrong with the copy into an error that says so."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BackupFailed(
            f"The backup {target} could not be written: {reason}. Nothing was left there; free "
            "some space, or name a file in another folder."
        ) from error


def _checked(draft: Path, target: Path, library: Path) -> BackupSummary:
    """Read the copy from end to end. Raises BackupFailed or LibraryDamaged."""
    with _writing(target), closing(sqlite3.connect(draft)) as copy:
        check_identity(copy, library)
        [(verdict,), *_] = copy.execute("PRAGMA integrity_check(1)").fetchall()
        if verdict != "ok":
            raise BackupFailed(
                f"The catalog of {library} is damaged ({verdict}); a backup of it would be, too, "
                "and was not kept. Mend it first: imgsearch doctor --repair"
            )
        counts = [0, 0]
        if schema_version(copy):
            counts = [
                copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("picture", "embedding")
            ]
        return BackupSummary(str(target), draft.stat().st_size, *counts)


def _publish(draft: Path, target: Path, force: bool) -> None:
    """Give the finished copy its name. Raises BackupInvalid if another file took it meanwhile."""
    if force:
        os.replace(draft, target)
        return
    try:
        # Unlike a rename, a link never replaces what is there.
        os.link(draft, target)
    except FileExistsError as error:
        raise BackupInvalid(f"{target} has come to be meanwhile. Name another file.") from error
    except OSError:
        # A file system without links.
        os.replace(draft, target)
