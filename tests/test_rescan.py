"""What a run finds in folders that it knows: most files are told as unchanged without SQL."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import WHOLE, MakePhoto

from imgsearch import DecodeLimits, IndexReport, IndexSettings, Library
from imgsearch.encoders.fake import FakeEncoder

NO_TEXT = os.fsdecode(b"sub/caf\xe9.png")


@pytest.fixture
def seven(folder: Path, make_photo: MakePhoto) -> list[Path]:
    """Seven photos in three folders, one under a name that is no text."""
    names = ["a.png", "b.png", "c.png", "sub/a.png", "sub/b.png", NO_TEXT, "sub/inner/deep/a.png"]
    return [make_photo(name, "red", mark=number) for number, name in enumerate(names)]


def counts(report: IndexReport) -> dict[str, int]:
    """Return the six counts that are not zero."""
    names = ("added", "unchanged", "moved", "changed", "removed", "failed")
    return {name: asdict(report)[name] for name in names if asdict(report)[name]}


def in_small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a handful of files fill several pages of everything."""
    for name in ("indexer.scan._PAGE", "data.scan_table._SCAN_PAGE", "data.known_files._PAGE"):
        monkeypatch.setattr(f"imgsearch.{name}", 2)


def rows(library: Library, statement: str) -> list[tuple[object, ...]]:
    """Return what a statement finds in the catalog."""
    with closing(sqlite3.connect(library.path / "catalog.sqlite")) as database:
        found = database.execute(statement).fetchall()
        database.commit()
    return found


def test_every_kind_of_change_is_told_across_pages(
    library: Library,
    folder: Path,
    seven: list[Path],
    make_photo: MakePhoto,
    settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_small_pages(monkeypatch)
    library.index(folder, settings=settings)
    make_photo("a.png", "blue")
    seven[1].unlink()
    seven[6].rename(folder / "moved.png")
    make_photo("sub/new.png", "green")

    report = library.index(folder, settings=settings)
    again = library.index(folder, settings=settings)

    assert counts(report) == {"unchanged": 4, "changed": 1, "removed": 1, "moved": 1, "added": 1}
    assert (counts(again), again.embedded) == ({"unchanged": 7}, 0)
    assert len(library.search("red", limit=100, **WHOLE)) == 7


def test_known_files_of_the_same_fingerprint_are_told_apart(
    library: Library,
    folder: Path,
    seven: list[Path],
    settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library.index(folder, settings=settings)
    monkeypatch.setattr("imgsearch.data.known_files._hash", lambda _: 7)
    seven[0].unlink()

    report = library.index(folder, settings=settings)

    assert (counts(report), report.embedded) == ({"unchanged": 6, "removed": 1}, 0)


def test_overlapping_parts_of_a_root_are_counted_once(
    library: Library, folder: Path, seven: list[Path], settings: IndexSettings
) -> None:
    library.index(folder, settings=settings)
    seven[6].unlink()
    # Below the root the pattern matches nothing; below the first of the folders it matches the
    # second, which is therefore not taken for a part of it.
    parts = [folder / "sub", folder / "sub" / "inner" / "deep"]

    report = library.index(parts, excludes="inner/*", settings=settings)
    everything = library.index(folder, settings=settings)

    assert counts(report) == {"unchanged": 3, "removed": 1}
    assert counts(everything) == {"unchanged": 6}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM embedding WHERE picture_id = 3",
        "UPDATE picture SET facts_version = 1 WHERE id = 3",
    ],
)
def test_what_an_unchanged_file_lacks_is_made_up_for(
    library: Library,
    folder: Path,
    seven: list[Path],
    settings: IndexSettings,
    statement: str,
) -> None:
    whole = "SELECT (SELECT count(*) FROM embedding), (SELECT min(facts_version) FROM picture)"
    library.index(folder, settings=settings)
    before = rows(library, whole)
    rows(library, statement)
    assert rows(library, whole) != before

    report = library.index(folder, settings=settings)

    assert counts(report) == {"unchanged": len(seven)}
    assert rows(library, whole) == before


def test_a_failure_is_remembered_as_long_as_its_unchanged_file_is_there(
    library: Library, folder: Path, seven: list[Path], settings: IndexSettings
) -> None:
    library.index(folder, settings=settings)
    strict = IndexSettings(decode_workers=1, limits=DecodeLimits(max_pixels=1))
    with Library.open(library.path, model=FakeEncoder(revision="2")) as other:
        other.index(folder, settings=strict)

    library.index(folder, settings=settings)
    remembered = len(library.failures())
    seven[0].unlink()
    library.index(folder, settings=settings)

    assert (remembered, len(library.failures())) == (7, 6)


def test_status_counts_what_each_folder_and_model_has(
    library: Library, folder: Path, seven: list[Path], settings: IndexSettings
) -> None:
    (folder / "sub").rename(folder.parent / "other")
    library.index([folder, folder.parent / "other"], settings=settings)
    with Library.open(library.path, model=FakeEncoder(revision="2")) as other:
        other.index(folder, settings=settings)
    seven[0].unlink()
    library.index(folder, settings=settings)

    status = library.status()

    assert {root.path: root.files for root in status.roots} == {
        str(folder): 2,
        str(folder.parent / "other"): 4,
    }
    assert {model.revision: model.embeddings for model in status.models} == {"1": 7, "2": 3}
    assert (status.files, status.pictures) == (6, 6)
