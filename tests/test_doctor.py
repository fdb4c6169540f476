"""The doctor: every kind of damage, done to a real library, is found, explained and mended."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest
from conftest import WHOLE
from PIL import Image

from imgsearch import IndexSettings, Library, LibraryNotFound
from imgsearch.data.connection import SCHEMA_VERSION
from imgsearch.data.lock import writer_lock
from imgsearch.data.thumbnail_store import ThumbnailStore
from imgsearch.data.vector_block import append_rows
from imgsearch.doctor.findings import DoctorReport, Finding
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import LibraryBusy, LibraryDamaged, LibraryReadOnly, LibraryTooNew
from imgsearch.search.query import Query, terms_of
from imgsearch.terminal import print_report

COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "white", "black")
SETTINGS = IndexSettings(decode_workers=1)
Answer = list[tuple[str, float]]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a library of them at rest, and one whose process was killed."""
    place = tmp_path_factory.mktemp("doctor")
    photos = place / "photos"
    photos.mkdir()
    with Library.open(place / "library", model=FakeEncoder()) as one:
        for half in (COLOURS[:4], COLOURS[4:]):
            keeper = None
            if half == COLOURS[4:]:
                # Whoever has it open keeps the log from being emptied.
                keeper = sqlite3.connect(place / "library" / "catalog.sqlite")
                keeper.execute("SELECT count(*) FROM picture").fetchone()
            for name in half:
                Image.new("RGB", (40, 30), name).save(photos / f"{name}.png")
            one.index(photos, settings=SETTINGS)
            if keeper is not None:
                shutil.copytree(place / "library", place / "killed")
                keeper.close()
        one.near_duplicates()
        one.save_search("mine", Query(terms=terms_of("red", None, ())))
    with closing(sqlite3.connect(place / "library" / "catalog.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return place


def contents(library: Library) -> dict[Path, bytes]:
    """Return what the files of a library hold, without SQLite's working memory."""
    return {
        path: path.read_bytes()
        for path in library.path.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


@pytest.fixture
def photos(pristine: Path) -> Path:
    return pristine / "photos"


@pytest.fixture
def ill(pristine: Path, tmp_path: Path) -> Iterator[Library]:
    """A copy of the library, to be damaged."""
    shutil.copytree(pristine / "library", tmp_path / "ill")
    with Library.open(tmp_path / "ill", model=FakeEncoder()) as one:
        yield one


@pytest.fixture
def killed(pristine: Path, tmp_path: Path) -> Iterator[Library]:
    """A copy of the library as a process that was killed leaves it, with a full log."""
    shutil.copytree(pristine / "killed", tmp_path / "killed")
    with Library.open(tmp_path / "killed", model=FakeEncoder()) as one:
        yield one


def answer(library: Library) -> Answer:
    return [
        (hit.name, round(hit.score, 3))
        for word in ("red", "yellow")
        for hit in sorted(library.search(word, limit=99, **WHOLE), key=lambda hit: hit.path)
    ]


@pytest.fixture(scope="module")
def right(pristine: Path) -> Answer:
    """What searches of the undamaged library answer."""
    with Library.open(pristine / "library", model=FakeEncoder()) as one:
        return answer(one)


def catalog(library: Library) -> Path:
    return library.path / "catalog.sqlite"


def change(library: Library, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(catalog(library))) as database, database:
        assert database.execute(statement, values).rowcount


def asked(library: Library, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(catalog(library))) as database:
        return database.execute(question).fetchall()


def found(report: DoctorReport, check: str) -> list[Finding]:
    [result] = [one for one in report.checks if one.name == check]
    return list(result.findings)


def cured(library: Library, check: str, *, says: str) -> Finding:
    """Have a fault found without a change, then mended; return what the repair said."""
    before = {path: path.stat().st_mtime_ns for path in library.path.rglob("*.sqlite")}
    [finding] = found(library.doctor(), check)
    assert (finding.fault, finding.mended) == (True, False)
    assert says in " ".join((finding.problem, *finding.items))
    assert finding.meaning
    assert finding.remedy
    assert {path: path.stat().st_mtime_ns for path in library.path.rglob("*.sqlite")} == before
    report = library.doctor(repair=True)
    assert report.left == []
    [mended] = found(report, check)
    assert mended.mended
    again = library.doctor()
    assert [finding for finding in again.findings if finding.fault] == []
    return mended


def test_a_healthy_library_is_said_to_be_and_not_touched(ill: Library) -> None:
    before = contents(ill)

    report = ill.doctor()

    assert report.findings == []
    assert report.is_healthy
    assert contents(ill) == before
    assert ill.doctor(repair=True).findings == []


def test_where_there_is_no_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound, match="imgsearch index FOLDER"):
        Library.open(tmp_path / "nowhere").doctor()


# --- Schema ---------------------------------------------------------------------------------------


def to_schema_2(library: Library) -> None:
    change(library, "UPDATE meta SET value = value")
    with closing(sqlite3.connect(catalog(library))) as database:
        database.executescript(
            "DROP TABLE vector_checksum; ALTER TABLE picture DROP COLUMN facts_crc;"
            "ALTER TABLE saved_search DROP COLUMN crc; PRAGMA user_version=2"
        )


def test_an_older_library_is_migrated_with_a_backup(ill: Library, right: Answer) -> None:
    to_schema_2(ill)

    [note] = found(ill.doctor(), "catalog")
    version = asked(ill, "PRAGMA user_version")
    report = ill.doctor(repair=True)

    assert (note.fault, version) == (False, [(2,)])
    assert (len(report.mended), report.left) == (1, [])
    assert (ill.path / "catalog.sqlite.v2.backup").is_file()
    assert asked(ill, "SELECT count(*) FROM vector_checksum") == [(8,)]
    assert answer(ill) == right


def test_a_newer_library_is_not_touched(ill: Library) -> None:
    with closing(sqlite3.connect(catalog(ill))) as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    (ill.path / "writer.lock").unlink(missing_ok=True)
    before = contents(ill)

    report = ill.doctor(repair=True)

    assert "newer imgsearch" in report.left[0].problem
    assert contents(ill) == before
    with pytest.raises(LibraryTooNew):
        ill.search("red")


@pytest.mark.parametrize(
    "half",
    [
        "PRAGMA user_version=3",
        "ALTER TABLE picture DROP COLUMN facts_crc",
        "ALTER TABLE saved_search DROP COLUMN crc",
        "DROP TABLE vector_checksum",
        "ALTER TABLE picture DROP COLUMN facts_version",
        "DROP INDEX file_picture_id",
        "CREATE TRIGGER t AFTER INSERT ON file BEGIN DELETE FROM root; END",
    ],
)
def test_a_half_migrated_library_is_made_whole(ill: Library, right: Answer, half: str) -> None:
    with closing(sqlite3.connect(catalog(ill))) as database:
        database.executescript(half)

    cured(ill, "catalog", says="is")

    assert answer(ill) == right
    assert list(ill.saved_searches()) == ["mine"]


# --- Damage to the catalog ------------------------------------------------------------------------


def page_of(library: Library, table: str) -> int:
    """Return the page of a table or index, which in so small a library is one."""
    question = f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'"
    [(page,)] = asked(library, question)
    assert isinstance(page, int)
    assert catalog(library).read_bytes()[(page - 1) * 4096] in (0x0D, 0x0A)
    return page


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(at)
        file.write(content)


@pytest.mark.parametrize(
    ("table", "embedded"),
    [
        ("file", 0),
        ("picture", 8),
        ("embedding", 8),
        ("model", 8),
        ("root", 0),
        ("meta", 0),
        ("keyword", 0),
        ("sqlite_autoindex_file_1", 0),
        ("sqlite_autoindex_picture_1", 0),
        ("vector_checksum", 0),
    ],
)
def test_a_lost_page_costs_what_was_on_it_and_no_more(
    ill: Library, photos: Path, right: Answer, table: str, embedded: int
) -> None:
    change(ill, "INSERT INTO keyword SELECT id, 'word', 'word' FROM picture")
    page = page_of(ill, table)
    overwrite(catalog(ill), (page - 1) * 4096, os.urandom(4096))

    finding = cured(ill, "catalog", says="damaged")
    report = ill.index(photos, settings=SETTINGS)

    assert report.embedded == embedded
    assert answer(ill) == right
    assert list(ill.saved_searches()) == ["mine"]
    [kept] = ill.path.glob("catalog.sqlite.damaged-*.backup")
    assert kept.name in finding.meaning
    assert ill.doctor().is_healthy


def test_rows_longer_than_a_page_are_saved_and_deleted_ones_are_not(ill: Library) -> None:
    for length in (20_000, 30_000):
        change(
            ill,
            "INSERT INTO keyword SELECT id, long, long FROM"
            f" (SELECT min(id) AS id, printf('%.*c', {length}, 'x') AS long FROM picture)",
        )
    change(ill, "DELETE FROM keyword WHERE length(word) = 30000")
    overwrite(catalog(ill), (page_of(ill, "file") - 1) * 4096, os.urandom(4096))

    cured(ill, "catalog", says="damaged")

    with closing(sqlite3.connect(catalog(ill))) as database:
        lengths = [row[0] for row in database.execute("SELECT length(word) FROM keyword")]
    assert sorted(lengths)[-1] == 20_000
    assert 30_000 not in lengths


def test_what_stands_in_one_row_only_is_named_when_it_is_lost(ill: Library) -> None:
    page = page_of(ill, "saved_search")
    overwrite(catalog(ill), (page - 1) * 4096, bytes(4096))

    finding = cured(ill, "catalog", says="damaged")

    assert "lost: 'mine'" in finding.items


@pytest.mark.parametrize("at", [0, 16, 60, 68, 100, 103, 105])
def test_a_flipped_byte_in_the_header(ill: Library, photos: Path, right: Answer, at: int) -> None:
    byte = catalog(ill).read_bytes()[at] ^ 0x40
    overwrite(catalog(ill), at, bytes([byte]))

    report = ill.doctor(repair=True)
    if at == 60:
        # The version's highest byte: it looks like that of a newer imgsearch.
        assert "newer" in report.left[0].problem
        return

    assert report.left == []
    assert ill.index(photos, settings=SETTINGS).embedded == 0
    assert answer(ill) == right


def test_a_hash_that_its_index_does_not_know_is_read_again(
    ill: Library, photos: Path, right: Answer
) -> None:
    [(digest,)] = asked(ill, "SELECT content_hash FROM picture WHERE id = 1")
    assert isinstance(digest, bytes)
    content = catalog(ill).read_bytes()
    overwrite(catalog(ill), content.index(digest), bytes([digest[0] ^ 1]))

    finding = cured(ill, "catalog", says="damaged")
    ill.index(photos, settings=SETTINGS)

    assert any("to be read again" in item for item in finding.items)
    assert (digest,) in asked(ill, "SELECT content_hash FROM picture WHERE orphaned_at IS NULL")
    assert answer(ill) == right


def test_text_that_is_no_text_is_found(ill: Library, photos: Path, right: Answer) -> None:
    change(ill, "UPDATE picture SET camera = CAST(x'ff80' AS TEXT) WHERE id = 2")

    cured(ill, "catalog", says="picture.camera")
    report = ill.index(photos, settings=SETTINGS)

    assert report.embedded == 0
    assert asked(ill, "SELECT camera FROM picture WHERE id = 2") == [(None,)]
    assert answer(ill) == right


@pytest.mark.parametrize("content", [b"", b"x", b"no database" * 1000])
def test_nothing_readable_is_said_to_be_lost(
    ill: Library, photos: Path, right: Answer, content: bytes
) -> None:
    catalog(ill).write_bytes(content)

    report = ill.doctor(repair=True)
    ill.index(photos, settings=SETTINGS)

    assert "Nothing of a library can be read" in report.left[0].problem
    assert "Restore a backup, or index" in report.left[0].remedy
    assert ill.doctor().is_healthy
    assert answer(ill) == right


def test_a_catalog_that_is_gone_or_under_another_name(ill: Library, right: Answer) -> None:
    catalog(ill).rename(ill.path / "thumbnails.sqlite")

    finding = cured(ill, "catalog", says="thumbnails.sqlite")
    back = answer(ill)
    ill.close()
    catalog(ill).unlink()

    assert "its name back" in finding.remedy
    assert back == right
    assert "gone" in ill.doctor().left[0].problem


def index_in_words(library: Library, photos: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `imgsearch index` says besides its summary."""
    print_report(library.index(photos, settings=SETTINGS))
    return capsys.readouterr().err


def test_a_new_catalog_in_the_place_of_a_lost_one_is_told_of(
    ill: Library, photos: Path, right: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    ill.backup(ill.path / "old.backup")
    ill.close()
    catalog(ill).unlink()

    with pytest.raises(LibraryNotFound, match=r"has lost its catalog.*restore .*old\.backup"):
        ill.search("red")
    stopped = ill.index(photos, settings=SETTINGS, should_stop=lambda: True)
    said = index_in_words(ill, photos, capsys)
    again = index_in_words(ill, photos, capsys)

    assert stopped.interrupted
    assert stopped.lost_catalog
    assert "saved searches" in said
    assert f"imgsearch restore --force {ill.path / 'old.backup'}" in said
    assert again == ""
    assert answer(ill) == right
    ill.restore(ill.path / "old.backup", force=True)
    assert list(ill.saved_searches()) == ["mine"]


def test_a_library_that_is_new_tells_of_no_loss(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Library.open(tmp_path / "new", model=FakeEncoder()) as new:
        (tmp_path / "new" / "faiss").mkdir(parents=True)
        (tmp_path / "new" / "faiss" / "model-1.lock").touch()
        (tmp_path / "new" / "writer.lock").touch()

        assert index_in_words(new, photos, capsys) == ""


@pytest.mark.parametrize("empty", [False, True])
def test_no_new_catalog_is_made_over_the_log_of_a_lost_one(
    killed: Library, photos: Path, empty: bool
) -> None:
    catalog(killed).unlink()
    if empty:
        catalog(killed).touch()
    log = (killed.path / "catalog.sqlite-wal").read_bytes()

    with pytest.raises(LibraryDamaged, match="doctor --repair"):
        killed.index(photos, settings=SETTINGS)

    assert (killed.path / "catalog.sqlite-wal").read_bytes() == log
    killed.doctor(repair=True)
    assert killed.index(photos, settings=SETTINGS).unchanged == 8


@pytest.mark.parametrize("log", [b"no log" * 1000, None])
def test_a_log_of_which_nothing_can_be_made_is_not_in_the_way_for_ever(
    killed: Library, photos: Path, right: Answer, log: bytes | None
) -> None:
    catalog(killed).unlink()
    path = killed.path / "catalog.sqlite-wal"
    path.write_bytes(log or path.read_bytes()[:4000])

    with pytest.raises(LibraryDamaged, match=r"delete catalog\.sqlite-wal, too"):
        killed.index(photos, settings=SETTINGS)
    killed.doctor(repair=True)
    report = killed.index(photos, settings=SETTINGS)

    assert "lost its catalog" in report.lost_catalog
    assert list(killed.path.glob("catalog.sqlite.log-*"))
    assert answer(killed) == right


def test_no_new_catalog_is_made_beside_the_old_one_under_another_name(
    ill: Library, photos: Path, right: Answer
) -> None:
    catalog(ill).rename(ill.path / "similar.sqlite")

    with pytest.raises(LibraryDamaged, match=r"under the name similar\.sqlite.*doctor --repair"):
        ill.index(photos, settings=SETTINGS)
    ill.doctor(repair=True)

    assert answer(ill) == right
    assert list(ill.saved_searches()) == ["mine"]


def test_the_database_of_another_program_stays_where_it_is(ill: Library) -> None:
    catalog(ill).unlink()
    with closing(sqlite3.connect(catalog(ill))) as database:
        database.execute("CREATE TABLE theirs (x)")
    before = catalog(ill).read_bytes()

    report = ill.doctor(repair=True)

    assert len(report.left) == 1
    assert catalog(ill).read_bytes() == before


@pytest.mark.parametrize("mark", ["16a7", "9" * 19, ""])
def test_a_time_of_a_scan_that_cannot_be_has_every_file_looked_into(
    ill: Library, photos: Path, mark: str
) -> None:
    for _ in range(2):
        ill.index(photos, settings=SETTINGS)
    red, state = photos / "red.png", (photos / "red.png").stat()
    kept = red.read_bytes()
    try:
        # Other content under the same size and time, which only the time of the scan can tell.
        red.write_bytes(kept[:-1] + b"x")
        os.utime(red, ns=(state.st_atime_ns, state.st_mtime_ns))
        change(ill, "UPDATE meta SET value = ? WHERE key LIKE 'scanned:%'", mark)

        report = ill.index(photos, settings=SETTINGS)
    finally:
        red.write_bytes(kept)
        os.utime(red, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert (report.changed + report.failed, report.unchanged) == (1, 7)
    assert asked(ill, "SELECT count(*) FROM meta WHERE key LIKE 'scanned:%'") == [(1,)]


# --- The log --------------------------------------------------------------------------------------


def test_a_log_that_was_left_behind_is_no_fault(killed: Library, right: Answer) -> None:
    report = killed.doctor()

    assert report.is_healthy
    assert found(report, "log") == []
    assert answer(killed) == right


@pytest.mark.parametrize("damage", ["flip", "cut off", "cut off at a frame", "garbage"])
def test_a_damaged_log(killed: Library, photos: Path, right: Answer, damage: str) -> None:
    log = killed.path / "catalog.sqlite-wal"
    size = log.stat().st_size
    if damage == "flip":
        overwrite(log, 5_000, bytes([log.read_bytes()[5_000] ^ 1]))
    elif damage == "garbage":
        log.write_bytes(os.urandom(size))
    else:
        os.truncate(log, 32 + 4120 if damage == "cut off at a frame" else size - 6_000)

    report = killed.doctor(repair=True)
    killed.index(photos, settings=SETTINGS)

    assert report.left == []
    [finding] = found(report, "log")
    assert "committed last is lost" in finding.meaning
    assert answer(killed) == right
    assert killed.doctor().is_healthy


def test_the_log_of_another_database_is_put_aside(
    ill: Library, tmp_path: Path, photos: Path, right: Answer
) -> None:
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(other)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE theirs (x)")
        database.commit()
        shutil.copy(f"{other}-wal", ill.path / "catalog.sqlite-wal")

    with pytest.raises(LibraryDamaged):
        ill.index(photos, settings=SETTINGS)
    cured(ill, "catalog", says="does not belong")

    assert answer(ill) == right
    assert len(list(ill.path.glob("catalog.sqlite.log-*"))) == 1


def test_a_damaged_shared_memory_file_does_no_harm(killed: Library, right: Answer) -> None:
    (killed.path / "catalog.sqlite-shm").write_bytes(os.urandom(32_768))

    assert killed.doctor(repair=True).is_healthy
    assert answer(killed) == right


# --- Rows -----------------------------------------------------------------------------------------


def flip_in_vector(library: Library, picture_id: int) -> bytes:
    """Flip the lowest bit of a stored vector on the disk; return the vector as it was."""
    [(vector,)] = asked(library, f"SELECT vector FROM embedding WHERE picture_id = {picture_id}")
    assert isinstance(vector, bytes)
    at = catalog(library).read_bytes().index(vector)
    overwrite(catalog(library), at, bytes([vector[0] ^ 1]))
    return vector


def test_a_flipped_bit_of_a_vector_is_taken_back_from_the_index(ill: Library) -> None:
    vector = flip_in_vector(ill, 3)

    finding = cured(ill, "vectors", says="wrong checksum")

    assert any("taken back from the index" in item for item in finding.items)
    assert asked(ill, "SELECT vector FROM embedding WHERE picture_id = 3") == [(vector,)]


def test_a_flipped_bit_of_a_vector_is_embedded_again_without_an_index(
    ill: Library, photos: Path, right: Answer
) -> None:
    vector = flip_in_vector(ill, 3)
    shutil.rmtree(ill.path / "faiss")

    finding = cured(ill, "vectors", says="wrong checksum")
    report = ill.index(photos, settings=SETTINGS)

    assert any("to be embedded again: /" in item for item in finding.items)
    assert report.embedded == 1
    assert asked(ill, "SELECT vector FROM embedding WHERE picture_id = 3") == [(vector,)]
    assert answer(ill) == right


@pytest.mark.parametrize(
    "vector", [b"", b"\0<", np.array([9, 9, 9, 9], "<f2").tobytes(), b"\xff\xff" * 4]
)
def test_a_vector_that_cannot_be_right_is_embedded_again(
    ill: Library, photos: Path, right: Answer, vector: bytes
) -> None:
    change(ill, "UPDATE embedding SET vector = ? WHERE picture_id = 5", vector)
    change(ill, "DELETE FROM vector_checksum WHERE picture_id = 5")

    cured(ill, "vectors", says="1 vector of fake are damaged")

    assert ill.index(photos, settings=SETTINGS).embedded == 1
    assert answer(ill) == right


def test_a_vector_without_a_checksum_gets_one(ill: Library) -> None:
    change(ill, "DELETE FROM vector_checksum WHERE picture_id = 5")

    cured(ill, "vectors", says="no checksum")

    assert asked(ill, "SELECT count(*) FROM vector_checksum") == [(8,)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE picture SET camera = 'Nikom' WHERE id = 2",
        "UPDATE picture SET taken_at = '2023-06-01T12:30:00' WHERE id = 2",
        "UPDATE picture SET width = 41 WHERE id = 2",
        "UPDATE picture SET format = 'JPEG', orientation = 3 WHERE id = 2",
        "UPDATE picture SET byte_size = byte_size + 1 WHERE id = 2",
        "UPDATE picture SET facts_version = 130 WHERE id = 2",
        "UPDATE picture SET facts_crc = NULL WHERE id = 2",
        "INSERT INTO keyword VALUES (2, 'word', 'Word')",
    ],
)
def test_facts_that_are_not_what_was_stored_are_read_again(
    ill: Library, photos: Path, damage: str
) -> None:
    rows = "SELECT * FROM picture LEFT JOIN keyword ON picture_id = id"
    before = asked(ill, rows)
    change(ill, damage)

    finding = cured(ill, "facts", says=f"to be read again: {photos / 'green.png'}")
    [note] = found(ill.doctor(), "facts")
    report = ill.index(photos, settings=SETTINGS)

    assert "1 picture " in finding.problem
    assert (note.fault, "1 picture are to be read again" in note.problem) == (False, True)
    assert (report.embedded, report.unchanged) == (0, 8)
    assert asked(ill, rows) == before
    assert found(ill.doctor(), "facts") == []


def test_facts_of_photos_that_are_away_wait_until_they_are_back(
    ill: Library, photos: Path, tmp_path: Path
) -> None:
    [before] = asked(ill, "SELECT * FROM picture WHERE id = 2")
    change(ill, "UPDATE picture SET camera = 'Nikom' WHERE id = 2")
    change(ill, "UPDATE root SET path = ?", str(tmp_path / "unplugged"))
    ill.doctor(repair=True)
    (tmp_path / "other").mkdir()
    ill.index(tmp_path / "other", settings=SETTINGS)

    waiting = found(ill.doctor(), "facts")
    change(ill, "UPDATE root SET path = ? WHERE id = 1", str(photos))
    ill.index(photos, settings=SETTINGS)

    assert len(waiting) == 1
    assert asked(ill, "SELECT * FROM picture WHERE id = 2") == [before]


def test_a_quick_look_passes_over_facts(ill: Library) -> None:
    change(ill, "UPDATE picture SET camera = 'Nikom' WHERE id = 2")

    assert ill.doctor(quick=True).is_healthy
    assert not ill.doctor().is_healthy


def test_a_saved_search_that_is_not_what_was_saved_is_named(ill: Library) -> None:
    change(ill, "UPDATE saved_search SET query = replace(query, 'red', 'rad')")

    finding = cured(ill, "searches", says="'mine' is now")

    assert "rad" in finding.items[0]
    assert list(ill.saved_searches()) == ["mine"]


def test_a_wrong_dimension_of_a_model_is_set_right(ill: Library, right: Answer) -> None:
    change(ill, "UPDATE model SET dimension = 6")

    [finding, *_] = found(ill.doctor(repair=True), "vectors")

    assert "they have 4" in finding.problem
    assert ill.doctor().is_healthy
    assert answer(ill) == right


def test_rows_that_refer_to_nothing_are_deleted(ill: Library, right: Answer) -> None:
    with closing(sqlite3.connect(catalog(ill))) as database, database:
        database.execute("PRAGMA foreign_keys=OFF")
        database.execute("INSERT INTO file VALUES (99, 1, 'x', 1, 1, 777)")
        database.execute("INSERT INTO keyword VALUES (777, 'x', 'x')")
        database.execute("INSERT INTO embedding VALUES (777, 1, x'00')")
        database.execute("INSERT INTO vector_checksum VALUES (777, 1, x'00000000')")

    cured(ill, "references", says="rows refer to nothing")

    assert answer(ill) == right


@pytest.mark.parametrize(
    ("key", "value"),
    [("generation", "1x"), ("active_model_id", "9"), ("library_id", "")],
)
def test_values_that_every_library_has(ill: Library, right: Answer, key: str, value: str) -> None:
    change(ill, "UPDATE meta SET value = ? WHERE key = ?", value, key)

    report = ill.doctor()
    cured_report = ill.doctor(repair=True)

    assert any(key in finding.problem for finding in report.left)
    assert cured_report.left == []
    assert ill.doctor().is_healthy
    assert answer(ill) == right


# --- Caches ---------------------------------------------------------------------------------------


def index_file(library: Library) -> Path:
    [path] = library.path.glob("faiss/model-1-*.rows")
    return path


def truncate_index(library: Library) -> None:
    os.truncate(index_file(library), 50)


def garble_index(library: Library) -> None:
    index_file(library).write_bytes(os.urandom(index_file(library).stat().st_size))


def garble_removed(library: Library) -> None:
    (library.path / "faiss" / "model-1-x.removed").write_bytes(b"\x7f" * 8)
    restamp(library, removed="model-1-x.removed", removed_count=1)


def garble_codes(library: Library) -> None:
    (library.path / "faiss" / "model-1-x.codes").write_bytes(os.urandom(500))
    restamp(library, codes={"model-1-x.codes": 0}, coded=8)


def restamp(library: Library, **changes: object) -> None:
    path = library.path / "faiss" / "model-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_index(library: Library, ids: list[int], colour: tuple[float, ...]) -> None:
    """Replace the index by one with these ids, and one vector for all of them."""
    path = index_file(library)
    append_rows(path, 0, 4, [np.tile(np.array(colour, dtype=np.float16), (len(ids), 1))])
    path.with_suffix(".ids").write_bytes(np.array(ids, dtype="<i8").tobytes())
    restamp(library, count=len(ids))


def flip_code(library: Library) -> None:
    [(vector,)] = asked(library, "SELECT vector FROM embedding WHERE picture_id = 2")
    assert isinstance(vector, bytes)
    path = index_file(library)
    overwrite(path, path.read_bytes().index(vector), bytes([vector[0] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate_index, "cannot be read"),
        (garble_index, "8 vectors that are not"),
        (garble_removed, "cannot be read"),
        (garble_codes, "codes that cannot be read"),
        (lambda one: restamp(one, rows=7), "cannot be read"),
        (lambda one: restamp(one, codes=["x"]), "cannot be read"),
        (lambda one: index_file(one).unlink(), "cannot be read"),
        (lambda one: (one.path / "faiss/model-1.json").write_text("{"), "cannot be read"),
        (lambda one: restamp(one, library_id="other"), "cannot be read"),
        (lambda one: restamp(one, generation=10**6), "does not have any more"),
        (
            lambda one: rewrite_index(one, [1, 2, 3, 999], (1, 0, 0, 0)),
            "lacks 5 pictures and has 1",
        ),
        (lambda one: rewrite_index(one, [1, 1, 2], (1, 0, 0, 0)), "twice"),
        (flip_code, "1 vectors that are not"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_index_that_disagrees_is_made_again(
    ill: Library, right: Answer, damage: Callable[[Library], object], says: str
) -> None:
    damage(ill)

    cured(ill, "index", says=says)

    assert answer(ill) == right


def test_an_index_of_commits_that_were_lost_is_not_believed(
    ill: Library, photos: Path, right: Answer
) -> None:
    rewrite_index(ill, list(range(1, 9)), (1, 0, 0, 0))
    restamp(ill, generation=10**6)

    assert answer(ill) == right
    rewrite_index(ill, list(range(1, 9)), (1, 0, 0, 0))
    [(generation,)] = asked(ill, "SELECT CAST(value AS INTEGER) FROM meta WHERE key='generation'")
    assert isinstance(generation, int)
    restamp(ill, generation=generation + 1)
    new = photos / "new.png"
    Image.new("RGB", (41, 30), "red").save(new)
    try:
        ill.index(photos, settings=SETTINGS)
    finally:
        new.unlink()
    # The run has made the generation that the lost index was stamped with.
    assert [entry for entry in answer(ill) if entry[0] != "new.png"] == right


def test_damaged_caches_are_deleted(ill: Library) -> None:
    for name in ("thumbnails", "similar"):
        (ill.path / f"{name}.sqlite").write_bytes(os.urandom(20_000))

    thumbnails = cured(ill, "thumbnails", says="damaged")

    assert thumbnails.items
    assert not (ill.path / "similar.sqlite").exists()
    [hit] = ill.search("red", limit=1)
    assert ill.thumbnail(hit.content_hash)


def test_signatures_of_other_lengths_are_deleted(ill: Library) -> None:
    with closing(sqlite3.connect(ill.path / "similar.sqlite")) as database, database:
        database.execute("UPDATE signature SET descriptor = x'00' WHERE id = 1")

    cured(ill, "similar", says="different lengths")


def test_a_damaged_thumbnail_is_not_shown_and_deleted(ill: Library) -> None:
    [hit] = ill.search("red", limit=1)
    digest = bytes.fromhex(hit.content_hash)
    whole = ill.thumbnail(hit.content_hash)
    with closing(sqlite3.connect(ill.path / "thumbnails.sqlite")) as database, database:
        [stored] = database.execute(
            "SELECT jpeg FROM thumbnail WHERE content_hash = ?", (digest,)
        ).fetchone()
        flipped = bytearray(stored)
        flipped[len(stored) // 2] ^= 1
        database.execute(
            "UPDATE thumbnail SET jpeg = ? WHERE content_hash = ?", (bytes(flipped), digest)
        )
    ill.close()
    with ThumbnailStore(ill.path) as store:
        assert store.get(digest) is None

    cured(ill, "thumbnails", says="1 thumbnail are damaged")

    assert ill.thumbnail(hit.content_hash) == whole


def test_damaged_vectors_of_fixed_texts_are_deleted(ill: Library) -> None:
    [path] = ill.path.glob("faiss/*-prompts-*.npy")
    overwrite(path, path.stat().st_size - 40, b"\x7f" * 40)

    cured(ill, "prompts", says="cannot be read")

    assert not path.exists()


# --- What is around -------------------------------------------------------------------------------


def test_leftovers_are_deleted_when_nobody_can_be_writing_them(ill: Library) -> None:
    names = [
        ".catalog.sqlite.1234.part",
        "faiss/model-1-abc.faiss",
        "faiss/model-1-abc.rows",
        "faiss/model-1-abc.codes",
        "faiss/draft-model-1-abc.codes",
        "faiss/model-1-abc.json",
        "faiss/model-7-def.faiss",
        "faiss/model-1-prompts-x.123.draft",
    ]
    young = ill.path / "faiss" / "model-1-young.rows"
    for path in (*(ill.path / name for name in names), young):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - 10_000, time.time() - (60 if path == young else 10_000)))

    finding = cured(ill, "leftovers", says=".part")

    assert sorted(finding.items) == sorted(names)
    assert young.exists()
    assert index_file_count(ill) == 2


def index_file_count(library: Library) -> int:
    return len(list(library.path.glob("faiss/*.rows")))


def test_a_lock_that_nobody_holds_is_said_to_do_no_harm(ill: Library) -> None:
    (ill.path / "writer.lock").write_text("12345")

    report = ill.doctor()

    [lock] = [check for check in report.checks if check.name == "lock"]
    assert lock.findings == ()
    assert "leaves no lock" in lock.seen


def test_while_somebody_indexes_it_looks_and_does_not_repair(ill: Library) -> None:
    with writer_lock(ill.path):
        [note] = found(ill.doctor(), "lock")
        with pytest.raises(LibraryBusy):
            ill.doctor(repair=True)

    assert not note.fault


def test_a_read_only_library_can_be_examined(
    ill: Library,
    tmp_path: Path,
    without_privileges: Callable[[], AbstractContextManager[None]],
) -> None:
    for parent in tmp_path.parents:
        if "pytest" in str(parent) and parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    for path in (*ill.path.rglob("*"), ill.path):
        path.chmod(0o555)

    with without_privileges():
        report = ill.doctor()
        with pytest.raises(LibraryReadOnly):
            ill.doctor(repair=True)

    [note] = found(report, "folder")
    assert not note.fault
    assert "may not be written" in note.problem
    for path in (ill.path, *ill.path.rglob("*")):
        path.chmod(0o755)


def test_a_disk_that_is_nearly_full(ill: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "imgsearch.doctor.surroundings.shutil.disk_usage",
        lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1_000_000),
    )

    [note] = found(ill.doctor(), "folder")

    assert "Only 1 MB" in note.problem


def test_a_model_that_is_not_there(ill: Library) -> None:
    report = Library.open(ill.path).doctor()

    [finding] = found(report, "models")
    assert "The model fake (1) is not there" in finding.problem
    assert not report.is_healthy


def test_photos_that_are_not_there_are_a_note(ill: Library, photos: Path) -> None:
    away = photos.with_name("unplugged")
    photos.rename(away)
    try:
        report = ill.doctor()
    finally:
        away.rename(photos)

    [note] = found(report, "photos")
    assert "(8 files)" in note.items[0]
    assert report.is_healthy


# --- The command line -----------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imgsearch", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_command_line_says_it_by_words_json_and_exit_code(ill: Library) -> None:
    truncate_index(ill)
    change(ill, "UPDATE model SET source = 'nowhere\x1b[2J'")
    place = str(ill.path)

    words = run("doctor", "--library", place)
    program = run("doctor", "--repair", "--json", "--library", place)
    facts = json.loads(program.stdout)

    assert (words.returncode, program.returncode) == (1, 1)
    assert "2 faults are left." in words.stdout
    assert "What to do:    Make it again from the catalog" in words.stdout
    assert "\x1b" not in words.stdout
    assert (facts["healthy"], facts["left"]) == (False, 1)
    [index] = [check for check in facts["checks"] if check["name"] == "index"]
    assert index["findings"][0]["mended"]
