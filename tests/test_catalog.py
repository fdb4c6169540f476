"""The catalog file: created, migrated, refused, shared, and in step with its plain-SQL reader."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import WHOLE, MakePhoto
from PIL import Image

from imgsearch import IndexSettings, Library
from imgsearch.data import connection as connection_module
from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    connect_read_only,
    connect_writable,
    schema_version,
)
from imgsearch.data.fact_checksums import changed_pictures
from imgsearch.data.lock import writer_lock
from imgsearch.data.migrations import migrate
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import (
    FACTS_VERSION,
    FailureKind,
    FileFailure,
    FileStat,
    NewPhoto,
    PictureFacts,
)
from imgsearch.data.schema_check import SCHEMA_1
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
        rating=4,
        keywords=("Beach", "été"),
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


@pytest.mark.parametrize(
    "facts",
    [
        PictureFacts(1, 1, "PNG"),
        PictureFacts(1, 1, "PNG", latitude=-0.0, longitude=1e-7),
        PictureFacts(1, 1, "PNG", camera="Caméra \U0001f4f7", lens="'\"", keywords=("b", "É", "é")),
    ],
)
def test_what_is_read_back_has_the_checksum_of_what_was_written(
    tmp_path: Path, facts: PictureFacts
) -> None:
    with Catalog(tmp_path) as catalog:
        root_id, model_id = catalog.add_root("/p"), catalog.register_model("m", "1", "s", 2)
        other_model = catalog.register_model("other", "1", "s", 2)
        photo = NewPhoto(FileStat(root_id, "a", 1, 2), b"h" * 32, facts, b"1234")
        PhotoStore(catalog, model_id).store([photo])
        # Another version of a decoder may read more; what is known stays as it was written.
        more = replace(photo, facts=replace(facts, camera="More", keywords=("more",)))
        PhotoStore(catalog, other_model).store([more])
    with closing(connect_writable(tmp_path)) as connection:
        changed = list(changed_pictures(connection))
        words = connection.execute("SELECT word FROM keyword").fetchall()

    assert changed == []
    assert len(words) == len({word.casefold() for word in facts.keywords})


def test_the_catalog_uses_wal_and_is_intact(indexed: Library) -> None:
    with closing(sqlite3.connect(catalog_file(indexed))) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


TABLES_1 = ("meta", "root", "model", "picture", "file", "embedding", "failure")


def turn_into_schema_1(library: Path) -> None:
    """Rewrite a catalog as the first version would have written it."""
    path = library / "catalog.sqlite"
    new = path.rename(library / "new.sqlite")
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA_1)
        database.executescript(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version=1")
        database.execute("ATTACH ? AS new", (str(new),))
        for table in TABLES_1:
            columns = ", ".join(
                f'"{row[1]}"' for row in database.execute(f"PRAGMA table_info({table})")
            )
            database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")
        database.execute("DELETE FROM meta WHERE key LIKE 'scanned:%'")
        database.commit()
    new.unlink()


@pytest.fixture
def old_library(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> Library:
    """A library of schema 1: four photos, three of them with a keyword, and one in two places."""
    for name, word in (("a.jpg", "alpha"), ("b.jpg", "beta"), ("c.jpg", "gamma")):
        exif = Image.Exif()
        exif[0x9C9E] = word.encode("utf-16-le")
        make_photo(name, "red", mark=ord(name[0]), exif=exif)
    make_photo("plain.png", "blue")
    (folder / "copy.jpg").write_bytes((folder / "a.jpg").read_bytes())
    library.index(folder, settings=settings)
    library.close()
    turn_into_schema_1(library.path)
    return library


def keywords_of(library: Library) -> set[str]:
    return {word for hit in library.search("red", **WHOLE) for word in hit.facts.keywords}


def versions(library: Library) -> list[int]:
    with closing(sqlite3.connect(catalog_file(library))) as database:
        return [row[0] for row in database.execute("SELECT facts_version FROM picture ORDER BY id")]


def shape(database: sqlite3.Connection) -> dict[str, list[object]]:
    """Return the tables and indexes of a database, whatever the order of the columns."""
    names = [
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    return {
        name: [
            sorted(row[1:] for row in database.execute(f"PRAGMA table_info({name})")),
            sorted(row[2:] for row in database.execute(f"PRAGMA foreign_key_list({name})")),
            sorted(row[1:] for row in database.execute(f"PRAGMA index_list({name})")),
        ]
        for name in names
        if not name.startswith("sqlite_stat")
    }


def test_a_library_of_the_first_schema_is_brought_to_the_present_one(
    old_library: Library, tmp_path: Path
) -> None:
    found = old_library.search("red", **WHOLE)
    Catalog(tmp_path / "fresh").close()

    assert len(found) == 4
    assert keywords_of(old_library) == set()
    assert versions(old_library) == [1, 1, 1, 1]
    assert (old_library.path / "catalog.sqlite.v1.backup").is_file()
    with (
        closing(sqlite3.connect(catalog_file(old_library))) as migrated,
        closing(sqlite3.connect(tmp_path / "fresh" / "catalog.sqlite")) as fresh,
    ):
        assert shape(migrated) == shape(fresh)
        assert migrated.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_next_run_reads_the_new_facts_and_embeds_nothing(
    old_library: Library, folder: Path, settings: IndexSettings
) -> None:
    report = old_library.index(folder, settings=settings)

    assert (report.unchanged, report.added, report.embedded) == (5, 0, 0)
    assert keywords_of(old_library) == {"alpha", "beta", "gamma"}
    assert versions(old_library) == [FACTS_VERSION] * 4
    again = old_library.index(folder, settings=settings)
    assert (again.unchanged, keywords_of(old_library)) == (5, {"alpha", "beta", "gamma"})


def test_facts_of_a_photo_that_was_moved_meanwhile_are_read_again_at_once(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)
    with closing(sqlite3.connect(catalog_file(library))) as database:
        database.execute("UPDATE picture SET facts_version = 1")
        database.commit()
    (folder / "a.jpg").rename(folder / "b.jpg")

    report = library.index(folder, settings=settings)

    assert report.moved == 1
    assert versions(library) == [FACTS_VERSION]


def test_reading_facts_again_can_be_interrupted_and_goes_on(
    old_library: Library, folder: Path, settings: IndexSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch.indexer.reread.PICTURES_AT_ONCE", 1)
    monkeypatch.setattr("imgsearch.indexer.reread._PROGRESS_SECONDS", 0)
    done: list[int] = []

    first = old_library.index(
        folder,
        settings=settings,
        progress=lambda progress: done.append(progress.done),
        should_stop=lambda: any(done),
    )
    kept = versions(old_library).count(FACTS_VERSION)
    second = old_library.index(folder, settings=settings)

    assert (first.interrupted, first.unchanged) == (True, 5)
    assert 0 < kept < 4
    assert (second.interrupted, versions(old_library)) == (False, [FACTS_VERSION] * 4)


def test_what_cannot_be_read_again_keeps_its_facts(
    old_library: Library, folder: Path, settings: IndexSettings
) -> None:
    damaged, changed = folder / "b.jpg", folder / "c.jpg"
    before = damaged.stat()
    damaged.write_bytes(b"x" * before.st_size)
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed.write_bytes(b"no image any more")

    report = old_library.index(folder, settings=settings)

    assert (report.unchanged, report.failed) == (4, 1)
    assert keywords_of(old_library) == {"alpha"}
    [hit] = [hit for hit in old_library.search("red", **WHOLE) if hit.name == "b.jpg"]
    assert (hit.facts.format, hit.facts.width) == ("JPEG", 40)
    again = old_library.index(folder, settings=settings)
    assert (again.unchanged, again.failed) == (4, 1)
    assert sorted(versions(old_library)) == [1, *[FACTS_VERSION] * 3]


def test_keywords_go_with_their_picture(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    exif = Image.Exif()
    exif[0x9C9E] = "word".encode("utf-16-le")
    make_photo("a.jpg", exif=exif)
    library.index(folder, settings=settings)
    before = keywords_of(library)
    library.remove(folder)

    with closing(sqlite3.connect(catalog_file(library))) as database:
        assert (before, database.execute("SELECT * FROM keyword").fetchall()) == ({"word"}, [])


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
    assert len(indexed.search("red", **WHOLE)) == 1


def test_a_newer_library_is_refused_and_left_alone(
    indexed: Library, folder: Path, settings: IndexSettings
) -> None:
    indexed.close()
    with closing(sqlite3.connect(catalog_file(indexed))) as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = catalog_file(indexed).read_bytes()

    for action in (
        lambda: indexed.search("red", **WHOLE),
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
        lambda: library.search("red", **WHOLE),
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
    for action in (
        lambda: library.search("red", **WHOLE),
        library.status,
        lambda: library.remove("x"),
    ):
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
        assert len(indexed.search("red", **WHOLE)) == 1
        assert indexed.status().pictures == 1
        with pytest.raises(LibraryReadOnly, match="--library"):
            indexed.index(folder, settings=settings)
    # SQLite shares what a process opened for reading only among all of its connections.
    indexed.close()
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

        assert len(indexed.search("red", **WHOLE)) == 1


def test_a_path_that_leads_out_of_its_root_is_not_shown(indexed: Library) -> None:
    indexed.close()
    with closing(sqlite3.connect(catalog_file(indexed))) as database, database:
        row = "SELECT root_id, ?, 1, 1, picture_id FROM file LIMIT 1"
        for path in ("/etc/passwd", "../../../etc/passwd"):
            database.execute(
                f"INSERT INTO file (root_id, path, size, mtime_ns, picture_id) {row}", (path,)
            )

    [hit] = indexed.search("red", **WHOLE)

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
