"""Batches on their way into the catalog: in one transaction each, from a thread of its own."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from conftest import MakePhoto

from imgsearch import IndexSettings, Library
from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import connect_writable
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.records import FailureKind, FileFailure, FileStat, NewPhoto, PictureFacts
from imgsearch.errors import LibraryError

FACTS = PictureFacts(width=40, height=30, format="PNG", camera="Maker", latitude=1.5)


def photo(name: str, content: str = "", root: int = 1) -> NewPhoto:
    """Return a photo of the first root; those of equal `content` are copies."""
    digest = hashlib.sha256((content or name).encode()).digest()
    return NewPhoto(FileStat(root, name, 1, 1), digest, FACTS, b"\0<")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "library") as opened:
        opened.add_root(str(tmp_path / "photos"))
        yield opened


@pytest.fixture
def store(catalog: Catalog) -> PhotoStore:
    return PhotoStore(catalog, catalog.register_model("m", "1", "m", 1))


def rows(catalog: Catalog, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(catalog.library / "catalog.sqlite")) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("count", [1, 127, 128, 129, 700])
def test_batches_of_any_length_are_stored_whole(
    catalog: Catalog, store: PhotoStore, count: int
) -> None:
    photos = [photo(f"{number}.png") for number in range(count)]

    ids = store.store(photos)

    found = rows(
        catalog,
        "SELECT path, hex(content_hash), picture.id, camera, latitude, hex(vector) FROM file "
        "JOIN picture ON picture.id = picture_id JOIN embedding USING (picture_id)",
    )
    assert sorted(found) == sorted(
        (one.file.path, one.content_hash.hex().upper(), ids[one.content_hash], "Maker", 1.5, "003C")
        for one in photos
    )
    assert store.known_pictures(one.content_hash for one in photos) == ids


def test_copies_within_a_batch_and_of_earlier_ones_share_a_picture(
    catalog: Catalog, store: PhotoStore
) -> None:
    first = store.store([photo("a.png", "same"), photo("b.png", "same"), photo("c.png")])
    second = store.store([photo("d.png", "same"), photo("e.png")])

    shown = dict(rows(catalog, "SELECT path, picture_id FROM file"))
    assert len(first) == len(second) == 2
    assert shown["a.png"] == shown["b.png"] == shown["d.png"]
    assert rows(catalog, "SELECT count(*) FROM embedding") == [(3,)]


def test_a_file_with_new_content_leaves_an_orphan_that_comes_back(
    catalog: Catalog, store: PhotoStore
) -> None:
    old = photo("a.png", "old")
    [old_id] = store.store([old]).values()
    store.store([photo("a.png", "new")])
    left = store.orphaned([old_id])

    store.link([(FileStat(1, "b.png", 1, 1), old_id)])

    assert left == {old_id}
    assert store.orphaned([old_id]) == set()


def test_a_photo_that_can_be_read_again_is_no_failure_any_more(
    catalog: Catalog, store: PhotoStore
) -> None:
    files = [FileStat(1, f"{number}.png", 1, 1) for number in range(300)]
    store.record_failures([FileFailure(one, "cut", FailureKind.DAMAGED) for one in files])

    store.store([photo(one.path) for one in files[1:]])

    assert rows(catalog, "SELECT path, reason, kind FROM failure") == [("0.png", "cut", "damaged")]


def test_a_failing_batch_leaves_nothing_of_itself(catalog: Catalog, store: PhotoStore) -> None:
    store.store([photo("a.png")])
    before = rows(catalog, "SELECT value FROM meta WHERE key = 'generation'")

    with pytest.raises(LibraryError):
        store.store([photo("b.png"), photo("c.png", root=99)])

    assert rows(catalog, "SELECT count(*) FROM picture") == [(1,)]
    assert rows(catalog, "SELECT value FROM meta WHERE key = 'generation'") == before
    store.store([photo("b.png")])
    assert rows(catalog, "SELECT count(*) FROM file") == [(2,)]


def test_several_threads_take_turns(catalog: Catalog, store: PhotoStore) -> None:
    photos = [photo(f"{number}.png") for number in range(400)]

    def stored(number: int) -> int:
        store.store(photos[number : number + 4])
        catalog.roots()
        return len(store.known_pictures(one.content_hash for one in photos[number : number + 4]))

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(stored, range(0, 400, 4))) == {4}
    assert rows(catalog, "SELECT count(*) FROM file") == [(400,)]


def steps_to_write(folder: Path, held: int, patch: pytest.MonkeyPatch) -> int:
    """Return SQLite's steps (in hundreds) for one batch of all kinds among `held` photos."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def counted(path: Path) -> sqlite3.Connection:
        database = connect_writable(path)
        database.set_progress_handler(step, 100)
        return database

    patch.setattr("imgsearch.data.catalog.connect_writable", counted)
    with Catalog(folder) as catalog:
        catalog.add_root("/photos")
        store = PhotoStore(catalog, catalog.register_model("m", "1", "m", 1))
        ids = store.store([photo(f"old {number}.png") for number in range(held)])
        broken = [FileStat(1, f"broken {number}.png", 1, 1) for number in range(held)]
        store.record_failures([FileFailure(one, "cut", FailureKind.DAMAGED) for one in broken])
        steps = 0
        store.known_pictures(list(ids)[:50])
        store.store([photo(f"new {number}.png") for number in range(50)])
        store.store([photo(f"old {number}.png", f"new content {number}") for number in range(50)])
        store.orphaned(list(ids.values())[:50])
        changed = [FileStat(1, f"new {number}.png", 2, 2) for number in range(50)]
        store.record_failures([FileFailure(one, "cut", FailureKind.DAMAGED) for one in changed])
        return steps


def test_what_a_batch_costs_does_not_grow_with_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = steps_to_write(tmp_path / "small", 100, monkeypatch)
    large = steps_to_write(tmp_path / "large", 3000, monkeypatch)

    assert large < 1.5 * small


def test_an_error_of_the_store_ends_the_run_and_keeps_what_was_committed(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("first.png", "red")
    settings = IndexSettings(decode_workers=1, batch_size=4)
    library.index(folder, settings=settings)
    for number in range(60):
        make_photo(f"{number}.png", "green", mark=number)
    with closing(sqlite3.connect(library.path / "catalog.sqlite")) as database:
        database.execute(
            "CREATE TRIGGER enough BEFORE INSERT ON picture "
            "WHEN (SELECT count(*) FROM picture) >= 20 BEGIN SELECT RAISE(ABORT, 'enough'); END"
        )

    with pytest.raises(LibraryError, match="enough"):
        library.index(folder, settings=settings)
    kept = library.status().pictures
    with closing(sqlite3.connect(library.path / "catalog.sqlite")) as database:
        database.execute("DROP TRIGGER enough")
    report = library.index(folder, settings=settings)

    assert 1 < kept <= 20
    assert (report.added, report.unchanged) == (61 - kept, kept)


def test_many_failures_are_all_written_down(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    for number in range(250):
        (folder / f"{number}.jpg").write_text("no image")
    make_photo("good.png")

    report = library.index(folder, settings=settings)

    assert (report.added, report.failed, len(report.failures)) == (1, 250, 250)
    assert len(library.failures()) == 250
