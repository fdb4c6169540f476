"""Times that tell nothing, and files that change under the reader's hands."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import WHOLE, MakePhoto

from imgsearch import IndexSettings, Library

# 1901, 1970, just before and beyond 2038, 2200 (seconds).
TIMES = [-2_177_452_800, 0, 2**31 - 1, 2**31 + 10, 7_258_118_400]


def known(library: Library) -> dict[str, str]:
    """Return the content hash that the catalog has of every file."""
    with closing(sqlite3.connect(library.path / "catalog.sqlite")) as database:
        return dict(
            database.execute(
                "SELECT path, lower(hex(content_hash)) FROM file JOIN picture ON picture.id ="
                " picture_id"
            )
        )


def present(folder: Path) -> dict[str, str]:
    """Return the content hash of every file as it is."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.png")
    }


def rewrite(path: Path, content: bytes) -> None:
    """Put content of the same size into a file and give it its old time."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("seconds", TIMES)
def test_any_time_is_kept_and_read_again_unchanged(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, seconds: int
) -> None:
    photo = make_photo("a.png")
    os.utime(photo, (seconds, seconds))
    library.index(folder, settings=settings)

    again = library.index(folder, settings=settings)

    [hit] = library.search("red", **WHOLE)
    assert (again.unchanged, again.embedded) == (1, 0)
    assert hit.path == str(photo)


def test_new_content_of_the_same_size_and_time_is_seen_by_the_next_run(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.bmp", "red")
    os.utime(photo, (1_500_000_000, 1_500_000_000))
    library.index(folder, settings=settings)
    other = make_photo("other.bmp", "blue").read_bytes()
    (folder / "other.bmp").unlink()
    rewrite(photo, other)

    report = library.index(folder, settings=settings)
    again = library.index(folder, settings=settings)

    assert (report.changed, report.embedded, again.unchanged, again.changed) == (1, 1, 1, 0)
    assert library.search("blue", **WHOLE)[0].score > 0.99


def test_damaged_content_of_the_same_size_and_time_takes_the_picture_away(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.png", "red")
    make_photo("b.png", "blue")
    library.index(folder, settings=settings)
    rewrite(photo, b"x" * photo.stat().st_size)

    report = library.index(folder, settings=settings)

    assert (report.failed, report.unchanged) == (1, 1)
    assert known(library) == {"b.png": present(folder)["b.png"]}


def test_a_part_that_was_scanned_says_nothing_of_the_rest(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("one/a.bmp", "red")
    make_photo("two/b.bmp", "green", mark=1)
    library.index(folder, settings=settings)
    other = make_photo("two/other.bmp", "blue").read_bytes()
    rewrite(photo, other)
    library.index(folder / "two", settings=settings)

    report = library.index(folder, settings=settings)

    assert report.changed == 1


def test_files_that_change_while_they_are_indexed_are_known_as_they_were_read(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    contents = [make_photo("x.png", "red", mark=mark).read_bytes() for mark in range(60)]
    (folder / "x.png").unlink()
    ever = {hashlib.sha256(one).hexdigest() for one in contents}
    for number in range(30):
        (folder / f"{number}.png").write_bytes(contents[number])
    over = threading.Event()

    def meddle() -> None:
        for turn in range(10**6):
            if over.is_set():
                return
            path = folder / f"{turn % 30}.png"
            if turn % 3 == 0:
                path.write_bytes(contents[turn % 60])
            elif turn % 3 == 1:
                path.unlink(missing_ok=True)
            else:
                draft = folder / "draft"
                draft.write_bytes(contents[(turn * 7) % 60])
                draft.replace(path)
            time.sleep(0.002)

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        for _ in range(3):
            library.index(folder, settings=settings)
            assert set(known(library).values()) <= ever
    finally:
        over.set()
        meddler.join()

    library.index(folder, settings=settings, retry_failed=True)

    assert known(library) == present(folder)
