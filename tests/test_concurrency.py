"""Several processes at one library: what each sees, and who waits for whom."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from conftest import WHOLE, MakePhoto

from imgsearch import IndexSettings, Library
from imgsearch.data.cache_lock import cache_turn
from imgsearch.data.lock import writer_lock
from imgsearch.data.reader import CatalogReader, StoredPicture
from imgsearch.encoders.fake import FakeEncoder

INDEX = """
import sys
from imgsearch import IndexSettings, Library
from imgsearch.errors import LibraryBusy
from imgsearch.encoders.fake import FakeEncoder
with Library.open(sys.argv[1], model=FakeEncoder()) as library:
    sys.stdin.read(1)
    try:
        report = library.index(sys.argv[2], settings=IndexSettings(decode_workers=1, batch_size=4))
        print(report.embedded)
    except LibraryBusy:
        print("busy")
"""


def names(hits: Sequence[object]) -> list[str]:
    return sorted(Path(hit.path).name for hit in hits)  # type: ignore[attr-defined]


def test_of_two_runs_at_the_same_moment_one_says_so_or_comes_later(
    tmp_path: Path, folder: Path, make_photo: MakePhoto
) -> None:
    for number in range(30):
        make_photo(f"{number}.png", mark=number)
    library = tmp_path / "library"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", INDEX, str(library), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for one in runs:
        assert one.stdin is not None
        one.stdin.write("x")
        one.stdin.flush()

    said = [one.communicate() for one in runs]

    assert all(one.returncode == 0 for one in runs), said
    assert sum(int(out) for out, _ in said if out != "busy\n") == 30
    with Library.open(library, model=FakeEncoder()) as opened:
        assert opened.status().pictures == 30


def test_a_search_shows_one_moment_whatever_is_written_meanwhile(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_photo("one/a.jpg", "red")
    make_photo("two/b.jpg", "red", mark=1)
    library.index([folder / "one", folder / "two"], settings=settings)
    library.search("red", **WHOLE)
    read = CatalogReader.pictures
    removals = iter([folder / "one", folder / "two"])

    def read_after_others_have_written(
        reader: CatalogReader, ids: Sequence[int]
    ) -> dict[int, StoredPicture]:
        root = next(removals, None)
        if root is not None:
            Library.open(library.path, model=FakeEncoder()).remove(root)
        return read(reader, ids)

    monkeypatch.setattr(CatalogReader, "pictures", read_after_others_have_written)

    during = library.search("red", **WHOLE)
    after = library.search("red", **WHOLE) if next(removals, None) is None else during

    assert names(during) == ["a.jpg", "b.jpg"]
    assert names(after) == names(during)


def test_a_dry_run_needs_no_lock_and_holds_none(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    gone = make_photo("gone.jpg", mark=1)
    library.index(folder, settings=settings)
    make_photo("new.jpg", mark=2)
    gone.unlink()
    with (
        writer_lock(library.path),
        closing(sqlite3.connect(library.path / "catalog.sqlite", timeout=0)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")

        report = library.index(folder, settings=settings, dry_run=True)
        asked: list[bool] = []

        def write() -> bool:
            other.execute("UPDATE meta SET value = value WHERE key = 'generation'")
            other.execute("COMMIT")
            other.execute("BEGIN IMMEDIATE")
            asked.append(True)
            return False

        library.index(folder, settings=settings, dry_run=True, should_stop=write)

    assert (report.added, report.removed, report.unchanged) == (1, 1, 1)
    assert library.status().pictures == 2


def test_a_dry_run_above_a_known_root_knows_its_photos(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("inner/a.jpg")
    (folder / "inner" / "no image.jpg").write_bytes(b"?")
    make_photo("b.jpg", mark=1)
    library.index(folder / "inner", settings=settings)
    before = library.status()

    report = library.index(folder, settings=settings, dry_run=True)

    assert (report.added, report.unchanged, report.removed, report.failed) == (1, 1, 0, 1)
    assert library.status() == before


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
@pytest.mark.parametrize("inner", [b"inner", b"inner\xff"])
def test_a_root_is_absorbed_with_all_its_names(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, inner: bytes
) -> None:
    place = os.fsencode(folder) + b"/" + inner
    os.mkdir(place)
    photo = make_photo("a.jpg").read_bytes()
    (folder / "a.jpg").unlink()
    for name in ("ä.jpg".encode(), b"\xff.jpg"):
        Path(os.fsdecode(place + b"/" + name)).write_bytes(photo)
    library.index(os.fsdecode(place), settings=settings)

    report = library.index(folder, settings=settings)

    assert (report.unchanged, report.added, report.removed) == (2, 0, 0)
    assert [root.path for root in library.status().roots] == [str(folder)]


def test_a_run_can_be_stopped_while_it_scans(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_photo("a.jpg")
    gone = make_photo("b.jpg", mark=1)
    library.index(folder, settings=settings)
    gone.unlink()
    monkeypatch.setattr("imgsearch.indexer.scan._PULSE_SECONDS", 0)

    stopped = library.index(folder, settings=settings, should_stop=lambda: True)
    kept = library.status().files
    report = library.index(folder, settings=settings)

    assert (stopped.interrupted, stopped.removed, kept) == (True, 0, 2)
    assert (report.interrupted, report.removed) == (False, 1)


def test_many_files_that_are_gone_are_forgotten_in_pages_and_moves_are_seen(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgsearch.data.scan_table._GONE_PAGE", 2)
    photos = [make_photo(f"{number}.png", mark=number) for number in range(9)]
    library.index(folder, settings=settings)
    for number, photo in enumerate(photos[:8]):
        photo.rename(folder / f"new {number}.png") if number < 3 else photo.unlink()

    report = library.index(folder, settings=settings)

    assert (report.moved, report.removed, report.unchanged, report.embedded) == (3, 5, 1, 0)


def test_thumbnails_deleted_under_a_reader_are_made_again(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)
    [hit] = library.search("red", **WHOLE)
    before = library.thumbnail(hit.content_hash)
    for path in library.path.glob("thumbnails.sqlite*"):
        path.unlink()

    again = library.thumbnail(hit.content_hash)

    assert again == before
    with closing(sqlite3.connect(library.path / "thumbnails.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM thumbnail").fetchall() == [(1,)]


def test_while_another_process_writes_the_cache_a_search_does_without_writing(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)
    cache = library.path / "faiss"
    for path in cache.glob("model-1*.rows"):
        path.unlink()

    with cache_turn(cache, 1) as ours:
        found = library.search("red", **WHOLE)
        written = list(cache.glob("model-1*.rows"))
    library.close()
    library.search("red", **WHOLE)

    assert (ours, names(found), written) == (True, ["a.jpg"], [])
    assert len(list(cache.glob("model-1*.rows"))) == 1


def test_the_thumbnails_of_a_batch_are_there_before_its_photos(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("a.jpg")
    settings = IndexSettings(decode_workers=1)
    library.index(folder, settings=settings)
    make_photo("b.jpg", mark=1)
    with closing(sqlite3.connect(library.path / "catalog.sqlite")) as database:
        database.execute(
            "CREATE TRIGGER never BEFORE INSERT ON picture BEGIN SELECT RAISE(ABORT, 'never'); END"
        )
    with pytest.raises(Exception, match="never"):
        library.index(folder, settings=settings)

    with closing(sqlite3.connect(library.path / "thumbnails.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM thumbnail").fetchall() == [(2,)]
