"""Pixels on their way from decoding processes: in shared memory where there is such, or by pipe."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conftest import MakePhoto

from imgsearch import IndexSettings, Library
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.encoders.shared_pixels import SharedPixels, can_share
from imgsearch.indexer.buffers import Rooms

COLOURS = ("red", "green", "blue", "yellow", "white")
only_with_shared_memory = pytest.mark.skipif(not can_share(), reason="no shared memory here")


def vectors(place: Path, folder: Path) -> dict[str, str]:
    """Index `folder` into a new library in batches of three; return path -> vector, as hex."""
    settings = IndexSettings(decode_workers=1, batch_size=3)
    with Library.open(place, model=FakeEncoder()) as library:
        assert library.index(folder, settings=settings).failed == 4
    with closing(sqlite3.connect(place / "catalog.sqlite")) as database:
        query = "SELECT path, hex(vector) FROM file JOIN embedding USING (picture_id)"
        return dict(database.execute(query).fetchall())


@only_with_shared_memory
def test_shared_memory_and_the_pipe_bring_the_same(
    tmp_path: Path, folder: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than there are rooms for, so that each is used again; in between what gives no pixels.
    for number in range(60):
        make_photo(f"{number:02}.png", COLOURS[number % 5], mark=number)
        if number % 15 == 7:
            (folder / f"{number:02} damaged.jpg").write_bytes(b"\xff\xd8\xff damaged")

    shared = vectors(tmp_path / "shared", folder)
    monkeypatch.setattr("imgsearch.indexer.decode_process.can_share", lambda: False)
    piped = vectors(tmp_path / "piped", folder)

    assert len(shared) == 60
    assert shared == piped
    assert len(set(shared.values())) >= len(COLOURS)


@only_with_shared_memory
def test_a_child_cannot_shorten_what_its_parent_reads() -> None:
    pixels = SharedPixels()
    pixels.reserve(1)

    with pytest.raises(PermissionError):
        os.ftruncate(pixels.number, 0)

    pixels.close()


@only_with_shared_memory
def test_rooms_are_bounded_and_used_again() -> None:
    rooms = Rooms(room_bytes=5_000_000, most=2)
    first, second = rooms.take(), rooms.take()
    assert first is not None
    assert second is not None
    rooms.look(first)[:] = 1
    rooms.look(second)[:] = 2

    none_left = rooms.take()
    rooms.give_back(first)

    assert none_left is None
    assert rooms.take() == first
    assert set(rooms.look(first).tolist()) == {1}
    assert set(rooms.look(second).tolist()) == {2}
    rooms.close()
