"""Copies of databases: whole or not there at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Unfinished copies end so; whoever finds an old one may delete it.
DRAFT_ENDING = ".part"


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Yield a name beside `target` for its unfinished content; what is left there is deleted."""
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{DRAFT_ENDING}")
    try:
        yield draft
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{draft}{ending}").unlink()


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Copy all that is committed at this moment into the new file `target`, and onto the disk.

    The copy is one file, without a log beside it. Writers of the source are not held up, and do not
    get into the copy: all pages are read in one transaction. Raises sqlite3.Error.
    """
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        # The file is flushed as a whole at the end; until then it has no name that counts.
        copy.execute("PRAGMA synchronous=OFF")
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    flush(target)


def flush(path: Path) -> None:
    """Have a file's content reach the disk. Raises OSError."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk, where the platform can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
