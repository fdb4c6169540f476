"""Photos on disks that are not plugged in: kept, told, and found again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import WHOLE, MakePhoto
from typer.testing import CliRunner

from imgsearch import Filters, IndexSettings, Library, SearchHit
from imgsearch.cli import app
from imgsearch.data.connection import catalog_path
from imgsearch.data.presence import same_time
from imgsearch.errors import FolderInvalid, RootUnknown


@pytest.fixture
def disk(library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings) -> Path:
    """An indexed folder of six photos."""
    for number in range(6):
        make_photo(f"{number % 2}/{number}.png", "red", mark=number)
    library.index(folder, settings=settings)
    return folder


def all_hits(library: Library, **filters: bool) -> list[SearchHit]:
    return list(library.search("red", limit=100, filters=Filters(**filters), **WHOLE))


def ids(library: Library) -> dict[str, int]:
    return {hit.content_hash: hit.picture_id for hit in all_hits(library)}


def as_if_on_another_file_system(library: Library, prefix: str = "") -> None:
    """Let the catalog remember that a folder's files were seen on a file system that is gone."""
    library.close()
    with closing(sqlite3.connect(catalog_path(library.path))) as database, database:
        [(places,)] = database.execute("SELECT value FROM meta WHERE key LIKE 'places:%'")
        changed = json.loads(places) | {prefix: [1 << 40, 1 << 50]}
        database.execute(
            "UPDATE meta SET value = ? WHERE key LIKE 'places:%'", (json.dumps(changed),)
        )


def test_an_unplugged_root_is_kept_and_told(
    library: Library, disk: Path, settings: IndexSettings
) -> None:
    disk.rename(disk.with_name("unplugged"))

    report = library.index(disk, settings=settings)

    assert (report.kept_roots, report.removed, report.failed) == ([str(disk)], 0, 0)
    assert [hit.offline for hit in all_hits(library)] == [True] * 6
    [root] = library.status().roots
    assert (root.present, root.offline, root.files) == (False, (str(disk),), 6)


def test_an_unplugged_root_does_not_keep_others_from_being_indexed(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    other = tmp_path / "other"
    shutil.copytree(disk / "0", other)
    disk.rename(disk.with_name("unplugged"))

    report = library.index([disk, other], settings=settings)

    assert report.kept_roots == [str(disk)]
    assert len([hit for hit in all_hits(library) if not hit.offline]) == 3


def test_a_mount_point_with_other_files_in_it_is_no_disk_whose_photos_are_gone(
    library: Library, disk: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    as_if_on_another_file_system(library)
    for path in disk.rglob("*.png"):
        path.unlink()
    (disk / "not mounted.txt").touch()
    make_photo("of another disk.png", "blue", mark=99)

    report = library.index(disk, settings=settings)

    assert report.kept_roots == [str(disk)]
    assert (report.added, report.removed) == (0, 0)
    assert len(all_hits(library)) == 6


def test_a_disk_with_a_new_number_is_known_by_its_files(
    library: Library, disk: Path, settings: IndexSettings
) -> None:
    as_if_on_another_file_system(library)
    (disk / "0" / "0.png").unlink()

    report = library.index(disk, settings=settings)

    assert (report.kept_roots, report.removed, report.unchanged) == ([], 1, 5)


@pytest.mark.parametrize("left", ["empty", "missing"])
def test_a_disk_inside_a_root_is_kept_until_it_is_forgotten_by_name(
    library: Library, disk: Path, left: str, settings: IndexSettings
) -> None:
    as_if_on_another_file_system(library, "1")
    shutil.rmtree(disk / "1")
    if left == "empty":
        (disk / "1").mkdir()

    report = library.index(disk, settings=settings)
    again = library.index(disk, settings=settings)
    away = library.status().roots[0].offline
    forgotten = library.remove(disk / "1")

    assert (report.kept_roots, report.removed) == ([str(disk / "1")], 0)
    assert (again.kept_roots, away) == ([str(disk / "1")], (str(disk / "1"),))
    assert (forgotten, len(all_hits(library))) == (3, 3)
    assert library.status().roots[0].offline == ()


def test_a_folder_that_was_emptied_is_not_taken_for_a_disk(
    library: Library, disk: Path, settings: IndexSettings
) -> None:
    for path in (disk / "1").iterdir():
        path.unlink()

    assert library.index(disk, settings=settings).removed == 3


@pytest.mark.parametrize("shift", [0, 2, -3600])
def test_a_disk_at_another_mount_point_is_found_again(
    library: Library, disk: Path, tmp_path: Path, shift: int, settings: IndexSettings
) -> None:
    before, elsewhere = ids(library), tmp_path / "elsewhere"
    disk.rename(elsewhere)
    for path in elsewhere.rglob("*.png"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns + shift * 10**9))

    report = library.index(elsewhere, settings=settings)

    assert report.moved_roots == [(str(disk), str(elsewhere))]
    assert (report.embedded, report.unchanged, report.added) == (0, 6, 0)
    assert ids(library) == before
    assert [root.path for root in library.status().roots] == [str(elsewhere)]
    assert not any(hit.offline for hit in all_hits(library))


def test_a_copy_is_no_disk_at_another_place_while_the_first_is_there(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    shutil.copytree(disk, tmp_path / "copy", copy_function=shutil.copy2)

    report = library.index(tmp_path / "copy", settings=settings)

    assert (report.moved_roots, report.added, report.embedded) == ([], 6, 0)


def test_other_content_under_the_same_names_sizes_and_times_is_not_taken_for_it(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    disk.rename(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*.png"):
        facts = path.stat()
        path.write_bytes(bytes(facts.st_size))
        os.utime(path, ns=(0, facts.st_mtime_ns))

    report = library.index(tmp_path / "elsewhere", settings=settings)

    assert (report.moved_roots, report.failed) == ([], 6)
    assert len(all_hits(library)) == 6


def test_half_of_the_photos_are_not_enough_to_find_a_disk_again(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    disk.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere" / "1")

    report = library.index(tmp_path / "elsewhere", settings=settings)

    assert (report.moved_roots, report.embedded, report.added) == ([], 0, 3)
    assert len(library.status().roots) == 2


def test_of_two_that_it_may_be_none_is_guessed(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    twin, back = tmp_path / "twin", tmp_path / "back"
    shutil.copytree(disk, twin, copy_function=shutil.copy2)
    library.index(twin, settings=settings)
    disk.rename(back)
    shutil.rmtree(twin)

    report = library.index(back, settings=settings)

    assert report.moved_roots == []
    assert report.doubtful_roots == [(str(back), (str(disk), str(twin)))]


def test_a_dry_run_moves_no_root(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    disk.rename(tmp_path / "elsewhere")

    report = library.index(tmp_path / "elsewhere", settings=settings, dry_run=True)

    assert (report.moved_roots, report.unchanged) == ([(str(disk), str(tmp_path / "elsewhere"))], 6)
    assert [root.path for root in library.status().roots] == [str(disk)]


def test_a_root_is_relocated_by_name(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    before, elsewhere = ids(library), tmp_path / "elsewhere"
    disk.rename(elsewhere)
    shutil.rmtree(elsewhere / "1")
    (tmp_path / "nothing").mkdir()

    with pytest.raises(FolderInvalid, match="none of the photos"):
        library.relocate(disk, tmp_path / "nothing")
    with pytest.raises(RootUnknown, match="Its folders"):
        library.relocate(tmp_path / "nothing", elsewhere)
    count = library.relocate(disk, elsewhere)
    report = library.index(elsewhere, settings=settings)

    assert (count, report.unchanged, report.removed) == (6, 3, 3)
    assert before.items() >= ids(library).items()


def test_a_root_is_not_relocated_onto_another(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    shutil.copytree(disk, tmp_path / "copy", copy_function=shutil.copy2)
    library.index(tmp_path / "copy", settings=settings)

    for target in (tmp_path / "copy", tmp_path / "copy" / "0"):
        with pytest.raises(FolderInvalid, match="Forget that one first"):
            library.relocate(disk, target)


def test_filters_leave_offline_photos_out_or_find_just_them(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    # A copy of one photo is on a disk that is there: its picture can be seen.
    (tmp_path / "there").mkdir()
    shutil.copy(disk / "0" / "0.png", tmp_path / "there" / "z.png")
    library.index(tmp_path / "there", settings=settings)
    everything = len(all_hits(library, offline=False))
    disk.rename(tmp_path / "unplugged")

    [there] = all_hits(library, offline=False)
    away = all_hits(library, offline=True)

    assert everything == 6
    assert (Path(there.path).name, there.offline, there.duplicates) == (
        "z.png", False, (str(disk / "0" / "0.png"),),
    )  # fmt: skip
    assert (len(away), all(hit.offline for hit in away)) == (5, True)


def test_the_command_line_tells_what_is_offline(
    library: Library, disk: Path, tmp_path: Path
) -> None:
    place = ["--library", str(library.path)]
    disk.rename(tmp_path / "unplugged")

    status = CliRunner().invoke(app, ["status", *place])
    listed = CliRunner().invoke(app, ["query", "--offline", "--sort", "name", *place])
    plain = CliRunner().invoke(app, ["query", "--offline", "--json", *place])
    without = CliRunner().invoke(app, ["query", "--no-offline", "--json", *place])
    index = CliRunner().invoke(app, ["index", str(disk), "--model", "starter", *place])
    moved = CliRunner().invoke(app, ["relocate", str(disk), str(tmp_path / "unplugged"), *place])

    assert "offline: not there now" in status.output
    assert listed.output.count("(offline)") == 6
    assert [hit["offline"] for hit in json.loads(plain.stdout)["hits"]] == [True] * 6
    assert json.loads(without.stdout)["hits"] == []
    assert (index.exit_code, "Its photos were kept" in index.output) == (0, True)
    assert (moved.exit_code, "6 files" in moved.output) == (0, True)


@pytest.mark.parametrize(
    ("apart", "same"),
    [(0, True), (2, True), (3, False), (3600, True), (-3598, True), (7200, False), (1800, False)],
)
def test_times_are_compared_as_file_systems_keep_them(apart: int, same: bool) -> None:
    assert same_time(10**18, 10**18 + apart * 10**9) is same


def test_a_disk_that_vanishes_while_it_is_listed_loses_nothing(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The listing goes on from what the system has read already; no file of it can be looked at."""
    from imgsearch.indexer import scan

    real, away = scan._Listing._facts, tmp_path / "unplugged"

    def vanished(*arguments: object) -> object:
        if disk.exists():
            disk.rename(away)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scan._Listing, "_facts", vanished)
    report = library.index(disk, settings=settings)
    monkeypatch.undo()
    away.rename(disk)

    assert report.removed == 0
    assert {asdict(hit)["offline"] for hit in all_hits(library)} == {False}
    assert library.index(disk, settings=settings).unchanged == 6


def test_a_disk_that_vanishes_just_before_it_is_listed_is_missed_by_the_next_run_too(
    library: Library, disk: Path, tmp_path: Path, settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from imgsearch.indexer import scan

    as_if_on_another_file_system(library)
    real, away = scan.Scanner.walk, tmp_path / "unplugged"

    def vanished(*arguments: object) -> object:
        disk.rename(away)
        disk.mkdir()
        (disk / "not mounted.txt").touch()
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scan.Scanner, "walk", vanished)
    first = library.index(disk, settings=settings)
    monkeypatch.undo()
    second = library.index(disk, settings=settings)

    assert first.kept_roots == second.kept_roots == [str(disk)]
    assert (first.removed, second.removed, len(all_hits(library))) == (0, 0, 6)
