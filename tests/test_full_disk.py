"""Disks that are full, fail, or cannot be written: what is committed can be read all the same."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import WHOLE, MakePhoto

from imgsearch import IndexSettings, Library
from imgsearch.data.connection import translate
from imgsearch.data.reader import CatalogReader
from imgsearch.data.signature_store import SignaturesLost, SignatureStore
from imgsearch.errors import LibraryFaulty, LibraryFull, LibraryReadOnly

# What attacks them, or kills them, meets processes as users start them.
pytestmark = pytest.mark.usefixtures("started_anew")


@pytest.fixture
def indexed(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> Library:
    """A library of one photo."""
    make_photo("a.jpg", "red")
    library.index(folder, settings=settings)
    return library


def cannot_make_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite find no room for the files beside a database, as on a full disk."""
    real = sqlite3.connect

    class Full(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if statement == "PRAGMA schema_version":
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
                raise error
            return super().execute(statement, *values)  # type: ignore[arg-type]

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return real(*arguments, **({"factory": Full} | options))

    monkeypatch.setattr("imgsearch.data.connection.sqlite3.connect", connect)


def leave_a_wal(library: Library, statement: str) -> None:
    """Commit something into the WAL only, as a process does that is killed then."""
    library.close()
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]);"
        " c.commit(); os._exit(0)"
    )
    subprocess.run(
        [sys.executable, "-c", code, library.path / "catalog.sqlite", statement], check=True
    )


@pytest.mark.parametrize("wal", [False, True])
def test_a_full_disk_does_not_keep_anybody_from_reading_what_is_committed(
    indexed: Library, monkeypatch: pytest.MonkeyPatch, wal: bool
) -> None:
    indexed.search("red", **WHOLE)
    indexed.close()
    if wal:
        leave_a_wal(indexed, "UPDATE root SET scanned_at = 77")
    cannot_make_files(monkeypatch)

    assert len(indexed.search("red", **WHOLE)) == 1
    assert (indexed.status().roots[0].scanned_at == 77) is wal


def test_a_view_that_sees_no_later_commits_is_opened_again_after_them(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed.close()
    with monkeypatch.context() as patch:
        cannot_make_files(patch)
        reader = CatalogReader(indexed.path)
    with reader:
        before = reader.is_current()
        leave_a_wal(indexed, "UPDATE root SET scanned_at = 77")

        assert (before, reader.is_current()) == (True, False)


def test_signatures_that_cannot_be_written_any_more_go_on_in_memory(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SignatureStore(indexed.path, "1")
    store.add([(b"a" * 32, b"d", b"g")])
    with closing(sqlite3.connect(indexed.path / "similar.sqlite")) as database:
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    [(pages,)] = store._open().execute("PRAGMA page_count")
    store._open().execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(SignaturesLost):
        store.add([(bytes([n]) * 32, bytes(3_000), b"g") for n in range(50)])
    store.add([(b"b" * 32, b"d", b"g")])

    assert store.known() == {b"a" * 32, b"b" * 32}
    store.close()


@pytest.mark.parametrize(
    ("number", "error", "says"),
    [
        (errno.EIO, LibraryFaulty, "check it and its cable"),
        (errno.ENOSPC, LibraryFull, "free some space"),
        (errno.EROFS, LibraryReadOnly, "--library"),
    ],
)
def test_what_a_disk_says_is_told(
    tmp_path: Path, number: int, error: type[Exception], says: str
) -> None:
    told = translate(OSError(number, os.strerror(number)), tmp_path)

    assert isinstance(told, error)
    assert says in str(told)
