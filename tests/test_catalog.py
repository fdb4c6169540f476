"""The catalog file: created, migrated, refused, shared, and in step with its plain-SQL reader."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest
from conftest import MakePhoto

from imgsearch import IndexSettings, Library
from imgsearch.data import connection as connection_module
from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import (
    SCHEMA_VERSION,
    connect_read_only,
    connect_writable,
    schema_version,
)
from imgsearch.data.lock import writer_lock
from imgsearch.data.migrations import migrate
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import (
    FailureKind,
    FileFailure,
    FileStat,
    NewPhoto,
    PictureFacts,
)
from imgsearch.errors import (
    LibraryBusy,
    LibraryDamaged,
    LibraryError,
    LibraryFull,
    LibraryNotFound,
    LibraryReadOnly,
    LibraryTooNew,
)


def catalog_file(library: Library) -> Path:
    return library.path / "catalog.sqlite"


@pytest.fixture
def indexed(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> Library:
    make_photo("a.jpg", "red")
    library.index(folder, settings=settings)
    return library


def test_everything_that_is_written_can_be_read_back(tmp_path: Path) -> None:
    facts = PictureFacts(
        width=40,
        height=30,
        format="JPEG",
        orientation=6,
        taken_at="2023-06-01T12:30:00",
        camera="Maker Model",
        lens="50mm",
        latitude=-33.5,
        longitude=151.25,
    )
    vector = np.array([0.6, 0.8], dtype="<f2")
    with Catalog(tmp_path) as catalog:
        root_id = catalog.add_root(str(tmp_path / "photos"))
        model_id = catalog.register_model("m", "1", "source", 2)
        catalog.activate_model(model_id)
        file = FileStat(root_id, "sub/a.jpg", 123, 456)
        photo = NewPhoto(file, b"h" * 32, facts, vector.tobytes())
        ids = PhotoStore(catalog, model_id).store([photo])
    with CatalogReader(tmp_path) as reader:
        [picture_id] = ids.values()
        model = reader.active_model()
        assert model is not None
        [(found, vectors)] = reader.vectors(model, reader.visible_ids(model.id))
        picture = reader.pictures([picture_id])[picture_id]

    assert (model.name, model.revision, model.source, model.dimension) == ("m", "1", "source", 2)
    assert found.tolist() == [picture_id]
    assert np.array_equal(vectors[0], vector)
    assert picture.facts == facts
    assert picture.paths == (str(tmp_path / "photos" / "sub" / "a.jpg"),)
    assert picture.byte_size == 123


def test_the_catalog_uses_wal_and_is_intact(indexed: Library) -> None:
    with closing(sqlite3.connect(catalog_file(indexed))) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_migration_keeps_a_backup_of_the_old_schema(indexed: Library) -> None:
    def add_column(database: sqlite3.Connection) -> None:
        database.execute("ALTER TABLE picture ADD COLUMN note TEXT")

    with closing(connect_writable(indexed.path)) as database:
        backup = migrate(database, indexed.path, SCHEMA_VERSION + 1, {SCHEMA_VERSION: add_column})
        columns = [row[1] for row in database.execute("PRAGMA table_info(picture)")]
        version = schema_version(database)

    assert (version, "note" in columns) == (SCHEMA_VERSION + 1, True)
    assert backup is not None
    with closing(sqlite3.connect(backup)) as old:
        assert schema_version(old) == SCHEMA_VERSION
        assert old.execute("SELECT count(*) FROM picture").fetchone() == (1,)


def test_a_failing_migration_leaves_the_old_schema_whole(indexed: Library) -> None:
    def half(database: sqlite3.Connection) -> None:
        database.execute("DROP TABLE failure")
        raise sqlite3.OperationalError("power cut")

    with closing(connect_writable(indexed.path)) as database:
        with pytest.raises(sqlite3.OperationalError):
            migrate(database, indexed.path, SCHEMA_VERSION + 1, {SCHEMA_VERSION: half})
        assert schema_version(database) == SCHEMA_VERSION

    assert indexed.failures() == []
    assert len(indexed.search("red")) == 1


def test_a_newer_library_is_refused_and_left_alone(
    indexed: Library, folder: Path, settings: IndexSettings
) -> None:
    indexed.close()
    with closing(sqlite3.connect(catalog_file(indexed))) as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = catalog_file(indexed).read_bytes()

    for action in (
        lambda: indexed.search("red"),
        indexed.status,
        lambda: indexed.index(folder, settings=settings),
    ):
        with pytest.raises(LibraryTooNew, match="pip install --upgrade"):
            action()
    assert catalog_file(indexed).read_bytes() == before


@pytest.mark.parametrize("content", [b"x", b"this is not a database" * 100, os.urandom(8192)])
def test_a_catalog_that_is_no_database_is_refused_and_left_alone(
    library: Library, folder: Path, settings: IndexSettings, content: bytes
) -> None:
    library.path.mkdir()
    catalog_file(library).write_bytes(content)

    for action in (
        lambda: library.search("red"),
        library.status,
        lambda: library.index(folder, settings=settings),
    ):
        with pytest.raises(LibraryDamaged, match="left as it is"):
            action()
    assert catalog_file(library).read_bytes() == content


def test_the_database_of_another_program_is_not_touched(library: Library, folder: Path) -> None:
    library.path.mkdir()
    with closing(sqlite3.connect(catalog_file(library))) as database:
        database.execute("CREATE TABLE theirs (x)")
    before = catalog_file(library).read_bytes()

    with pytest.raises(LibraryDamaged):
        library.index(folder)
    assert catalog_file(library).read_bytes() == before


def test_an_empty_catalog_file_becomes_a_library(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    library.path.mkdir()
    catalog_file(library).touch()

    assert library.status().pictures == 0
    assert library.index(folder, settings=settings).added == 1


def test_a_missing_library_says_what_to_do_and_creates_nothing(library: Library) -> None:
    for action in (lambda: library.search("red"), library.status, lambda: library.remove("x")):
        with pytest.raises(LibraryNotFound, match="imgsearch index FOLDER"):
            action()
    assert not library.path.exists()


def test_a_library_that_is_a_file_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "library").write_text("a file")

    with pytest.raises(LibraryError, match="not a folder"):
        Library.open(tmp_path / "library").index(folder)


def test_a_read_only_library_can_be_searched_but_not_indexed(
    indexed: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    without_privileges: Callable[[], AbstractContextManager[None]],
    tmp_path: Path,
) -> None:
    make_photo("b.jpg", "blue")
    indexed.close()
    for parent in (folder, *tmp_path.parents, tmp_path):
        if "pytest" in str(parent) and parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    for path in (*indexed.path.rglob("*"), indexed.path):
        path.chmod(0o555)

    with without_privileges():
        assert len(indexed.search("red")) == 1
        assert indexed.status().pictures == 1
        with pytest.raises(LibraryReadOnly, match="--library"):
            indexed.index(folder, settings=settings)
    for path in (indexed.path, *indexed.path.rglob("*")):
        path.chmod(0o755)

    assert indexed.index(folder, settings=settings).added == 1


def test_a_full_disk_loses_nothing_and_the_next_run_goes_on(
    indexed: Library,
    folder: Path,
    make_photo: MakePhoto,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(100):
        make_photo(f"{number}.png", "green", mark=number)
    settings = IndexSettings(decode_workers=1, batch_size=4)

    def almost_full(path: Path) -> sqlite3.Connection:
        database = connect_writable(path)
        # SQLite reports SQLITE_FULL beyond this many pages, just as when the disk is full.
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count={pages + 1}")
        return database

    with monkeypatch.context() as patch:
        patch.setattr("imgsearch.data.catalog.connect_writable", almost_full)
        with pytest.raises(LibraryFull, match="What was committed is safe"):
            indexed.index(folder, settings=settings)
    kept = indexed.status().pictures
    report = indexed.index(folder, settings=settings)

    assert 1 < kept < 101
    assert (report.added, report.unchanged) == (101 - kept, kept)


def test_a_second_writer_is_told_so(indexed: Library, folder: Path) -> None:
    with writer_lock(indexed.path), pytest.raises(LibraryBusy, match="indexing"):
        indexed.index(folder)


def test_a_locked_database_is_reported(
    indexed: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BUSY_TIMEOUT_SECONDS", 0.1)
    with closing(sqlite3.connect(catalog_file(indexed), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LibraryBusy, match="Try again"):
            indexed.index(folder)


def test_a_query_reads_while_another_process_writes(indexed: Library) -> None:
    with closing(sqlite3.connect(catalog_file(indexed), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE meta SET value = '99' WHERE key = 'generation'")

        assert len(indexed.search("red")) == 1


def test_a_path_that_leads_out_of_its_root_is_not_shown(indexed: Library) -> None:
    indexed.close()
    with closing(sqlite3.connect(catalog_file(indexed))) as database, database:
        row = "SELECT root_id, ?, 1, 1, picture_id FROM file LIMIT 1"
        for path in ("/etc/passwd", "../../../etc/passwd"):
            database.execute(
                f"INSERT INTO file (root_id, path, size, mtime_ns, picture_id) {row}", (path,)
            )

    [hit] = indexed.search("red")

    assert (Path(hit.path).name, hit.duplicates) == ("a.jpg", ())


def steps_to_read_all_vectors(library: Path, count: int, patch: pytest.MonkeyPatch) -> int:
    """Fill a catalog with `count` pictures; return SQLite's steps (in hundreds) to read them."""
    facts = PictureFacts(1, 1, "PNG")
    with Catalog(library) as catalog:
        root_id = catalog.add_root("/photos")
        model_id = catalog.register_model("m", "1", "m", 1)
        catalog.activate_model(model_id)
        PhotoStore(catalog, model_id).store(
            [
                NewPhoto(FileStat(root_id, str(n), 1, 1), n.to_bytes(32, "big"), facts, b"\0<")
                for n in range(count)
            ]
        )
    steps = 0

    def counted(path: Path) -> sqlite3.Connection:
        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        database = connect_read_only(path)
        database.set_progress_handler(step, 100)
        return database

    patch.setattr("imgsearch.data.reader.connect_read_only", counted)
    with CatalogReader(library) as reader:
        model = reader.active_model()
        assert model is not None
        pages = list(reader.vectors(model, reader.visible_ids(model.id)))
    assert sum(len(ids) for ids, _ in pages) == count
    return steps


def test_reading_vectors_is_linear_in_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = steps_to_read_all_vectors(tmp_path / "small", 500, monkeypatch)
    large = steps_to_read_all_vectors(tmp_path / "large", 2000, monkeypatch)

    assert large < 6 * small


def test_ids_of_removed_pictures_are_never_used_again(tmp_path: Path) -> None:
    facts = PictureFacts(1, 1, "PNG")
    with Catalog(tmp_path) as catalog:
        root_id = catalog.add_root("/photos")
        store = PhotoStore(catalog, catalog.register_model("m", "1", "m", 1))
        first = store.store([NewPhoto(FileStat(root_id, "a", 1, 1), b"1" * 32, facts, b"\0<")])
        changed = FileStat(root_id, "a", 2, 2)
        store.record_failures([FileFailure(changed, "damaged", FailureKind.DAMAGED)])
        store.purge_orphans(older_than_days=0)
        second = store.store([NewPhoto(FileStat(root_id, "b", 1, 1), b"1" * 32, facts, b"\0<")])

    assert set(first.values()).isdisjoint(second.values())
