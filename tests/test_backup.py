"""Backups of a library in use, and their way back; files that only look like backups."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import WHOLE
from PIL import Image

from imgsearch import IndexSettings, Library
from imgsearch.data.connection import SCHEMA_VERSION, connect_read_only
from imgsearch.data.lock import writer_lock
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import (
    BackupFailed,
    BackupInvalid,
    LibraryBusy,
    LibraryDamaged,
    LibraryFull,
    LibraryNotFound,
)
from imgsearch.search.query import Query, terms_of

SETTINGS = IndexSettings(decode_workers=1, batch_size=4)


def photo(folder: Path, name: str, colour: str) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of four photos, and a backup of it."""
    place = tmp_path_factory.mktemp("backup")
    for colour in ("red", "green", "blue", "white"):
        photo(place / "photos", colour, colour)
    with Library.open(place / "library", model=FakeEncoder()) as one:
        one.index(place / "photos", settings=SETTINGS)
        one.save_search("mine", Query(terms=terms_of("red", None, ())))
        one.backup(place / "a.backup")
    return place


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    """A backup, to be spoilt."""
    return Path(shutil.copy(made / "a.backup", tmp_path / "a.backup"))


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Iterator[Library]:
    """A copy of the library that was backed up."""
    shutil.copytree(made / "library", tmp_path / "library")
    with Library.open(tmp_path / "library", model=FakeEncoder()) as one:
        yield one


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Library]:
    """A library of one other photo."""
    photo(tmp_path / "others", "cyan", "cyan")
    with Library.open(tmp_path / "other", model=FakeEncoder()) as one:
        one.index(tmp_path / "others", settings=SETTINGS)
        yield one


def names(library: Library) -> set[str]:
    return {hit.name for hit in library.search("red", limit=999, **WHOLE)}


ALL = {"red.png", "green.png", "blue.png", "white.png"}


def test_a_backup_is_one_file_and_becomes_a_library(backup: Path, tmp_path: Path) -> None:
    with Library.open(tmp_path / "new", model=FakeEncoder()) as new:
        summary = new.restore(backup)

        assert (summary.pictures, summary.vectors, summary.kept_as) == (4, 4, None)
        assert names(new) == ALL
        assert list(new.saved_searches()) == ["mine"]
        assert new.doctor().is_healthy
    assert sorted(os.listdir(backup.parent)) == ["a.backup", "new"]


def test_a_backup_does_not_replace_a_file_unasked(library: Library, backup: Path) -> None:
    before = backup.read_bytes()

    with pytest.raises(BackupInvalid, match="--force"):
        library.backup(backup)
    assert backup.read_bytes() == before
    backup.write_bytes(b"old")
    assert library.backup(backup, force=True).pictures == 4


@pytest.mark.parametrize(
    ("target", "says"),
    [("nowhere/a", "no folder"), ("library", "a folder"), ("library/catalog.sqlite", "itself")],
)
def test_places_where_a_backup_cannot_be(
    library: Library, tmp_path: Path, target: str, says: str
) -> None:
    with pytest.raises(BackupInvalid, match=says):
        library.backup(tmp_path / target, force=True)
    assert names(library) == ALL


def test_a_library_that_is_not_there_or_damaged_is_not_backed_up(
    library: Library, tmp_path: Path
) -> None:
    with pytest.raises(LibraryNotFound):
        Library.open(tmp_path / "none").backup(tmp_path / "b")
    with closing(sqlite3.connect(library.path / "catalog.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,)] = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_file_1'"
        )
    with (library.path / "catalog.sqlite").open("rb+") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))

    with pytest.raises((BackupFailed, LibraryDamaged), match="doctor"):
        library.backup(tmp_path / "b")
    assert not [path for path in tmp_path.iterdir() if path != library.path]


def test_a_full_disk_leaves_no_part_of_a_backup(library: Library, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    # Beyond this size (bytes) writing fails, as on a full disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(BackupFailed, match="free some space"):
            library.backup(place / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert os.listdir(place) == []


def test_backups_while_photos_are_indexed_are_whole(
    library: Library, made: Path, tmp_path: Path
) -> None:
    for number in range(24):
        photo(tmp_path / "more", str(number), f"rgb({number}, 9, 9)")
    writer = threading.Thread(
        target=lambda: Library.open(library.path, model=FakeEncoder()).index(
            tmp_path / "more", settings=SETTINGS
        )
    )
    writer.start()
    counts = []
    while not counts or writer.is_alive():
        counts.append(library.backup(tmp_path / f"{len(counts)}.backup").pictures)
    writer.join()

    assert counts == sorted(counts)
    for number, count in list(enumerate(counts))[-3:]:
        with Library.open(tmp_path / f"new{number}", model=FakeEncoder()) as new:
            new.restore(tmp_path / f"{number}.backup")
            assert len(names(new)) == count
            assert new.doctor().is_healthy


# --- Restoring ------------------------------------------------------------------------------------


def test_a_library_that_holds_something_is_replaced_only_by_force_and_kept(
    other: Library, backup: Path, tmp_path: Path
) -> None:
    with pytest.raises(BackupInvalid, match=r"not empty.*--force"):
        other.restore(backup)
    assert names(other) == {"cyan.png"}

    summary = other.restore(backup, force=True)

    assert names(other) == ALL
    assert summary.kept_as is not None
    with Library.open(tmp_path / "again", model=FakeEncoder()) as again:
        again.restore(summary.kept_as)
        assert names(again) == {"cyan.png"}


def test_an_open_reader_goes_over_to_what_was_restored(other: Library, backup: Path) -> None:
    with Library.open(other.path, model=FakeEncoder()) as reader:
        before = names(reader)
        other.restore(backup, force=True)

        assert (before, names(reader)) == ({"cyan.png"}, ALL)
        assert reader.status().pictures == 4


def test_a_damaged_library_is_replaced_and_kept(other: Library, backup: Path) -> None:
    other.close()
    garbage = os.urandom(5_000)
    (other.path / "catalog.sqlite").write_bytes(garbage)

    summary = other.restore(backup, force=True)

    assert names(other) == ALL
    assert Path(summary.kept_as or "").read_bytes() == garbage


def test_nothing_is_restored_while_somebody_indexes(other: Library, backup: Path) -> None:
    with writer_lock(other.path), pytest.raises(LibraryBusy):
        other.restore(backup, force=True)


def test_a_full_disk_leaves_the_library_as_it_was(other: Library, backup: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(LibraryFull):
            other.restore(backup, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert names(other) == {"cyan.png"}
    assert not list(other.path.glob(".*part*"))


def by_sql(statement: str) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.executescript(statement)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "no file"),
        (lambda path: path.write_bytes(b"hello"), "no backup"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "cannot be restored"),
        (by_sql("PRAGMA application_id=1"), "no backup"),
        (by_sql(f"PRAGMA user_version={SCHEMA_VERSION + 1}"), "newer imgsearch"),
        (by_sql("PRAGMA user_version=0"), "does not exist"),
        (by_sql("CREATE TRIGGER t AFTER INSERT ON file BEGIN SELECT 1; END"), "a trigger t"),
        (by_sql("DROP TABLE failure; CREATE VIEW failure AS SELECT 1"), "a view failure"),
        (by_sql("CREATE VIRTUAL TABLE v USING fts5(x)"), "virtual table v"),
        (by_sql("CREATE TABLE more (x)"), "more is not ours"),
        (by_sql("ALTER TABLE root ADD COLUMN x"), "root is not as it should be"),
        (by_sql("UPDATE file SET picture_id = 99"), "refer to nothing"),
        (lambda path: Path(f"{path}-wal").write_bytes(b"x"), "in use"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_backup_is_refused(
    other: Library, backup: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(backup)

    with pytest.raises(BackupInvalid, match=says):
        other.restore(backup, force=True)
    assert names(other) == {"cyan.png"}
    assert not list(other.path.glob(".*part*"))


def test_a_damaged_backup_is_refused(other: Library, backup: Path) -> None:
    content = bytearray(backup.read_bytes())
    at = content.rindex(b"red.png")
    content[at] ^= 1
    backup.write_bytes(content)

    with pytest.raises(BackupInvalid, match="damaged"):
        other.restore(backup, force=True)


def test_a_backup_of_an_older_schema_and_another_page_size(backup: Path, tmp_path: Path) -> None:
    by_sql(
        "DROP TABLE vector_checksum; ALTER TABLE picture DROP COLUMN facts_crc;"
        "ALTER TABLE saved_search DROP COLUMN crc;"
        "PRAGMA user_version=2; PRAGMA page_size=8192; VACUUM"
    )(backup)

    with Library.open(tmp_path / "new", model=FakeEncoder()) as new:
        new.restore(backup)
        assert names(new) == ALL
        assert new.doctor().is_healthy


def test_a_reader_that_closes_leaves_the_locks_of_others_alone(library: Library) -> None:
    with closing(connect_read_only(library.path)) as first:
        first.execute("SELECT count(*) FROM picture").fetchone()
        # POSIX locks go when any descriptor of the file is closed by their process.
        connect_read_only(library.path).close()
        program = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
            'c.execute("UPDATE meta SET value = value"); c.commit(); c.close()'
        )
        subprocess.run(
            [sys.executable, "-c", program, str(library.path / "catalog.sqlite")], check=True
        )

        # Whoever is the last to close a database removes its log; this was not the last.
        assert (library.path / "catalog.sqlite-wal").exists()
        assert first.execute("SELECT count(*) FROM picture").fetchone() == (4,)


def test_the_command_line(made: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "imgsearch", *arguments], capture_output=True, text=True
        )

    file, new = str(tmp_path / "b"), str(tmp_path / "new")
    first = run("backup", file, "--library", str(made / "library"))
    second = run("backup", file, "--library", str(made / "library"))
    third = run("restore", file, "--library", new, "--json")
    fourth = run("restore", file, "--library", new, "--force")

    assert (first.returncode, second.returncode) == (0, 2)
    assert "4 pictures, 4 vectors" in first.stdout
    assert json.loads(third.stdout)["pictures"] == 4
    assert "was kept as" in fourth.stdout
