"""What `index` does to a library as the photos under it come, change, move and go."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import NOBODY, WHOLE, MakePhoto
from PIL import Image

from imgsearch import (
    DecodeLimits,
    ImgsearchError,
    IndexReport,
    IndexSettings,
    Library,
    Progress,
)
from imgsearch.encoders.fake import FakeEncoder


def counts(report: IndexReport) -> dict[str, int]:
    """Return the six counts that are not zero."""
    names = ("added", "unchanged", "moved", "changed", "removed", "failed")
    return {name: asdict(report)[name] for name in names if asdict(report)[name]}


def found(library: Library, text: str = "red") -> set[str]:
    """Return the names of all files that a search can show."""
    hits = library.search(text, limit=1000, **WHOLE)
    return {Path(path).name for hit in hits for path in (hit.path, *hit.duplicates)}


def give_to_nobody(library: Path, tmp_path: Path) -> None:
    """Let the user that `without_privileges` becomes write the library."""
    if os.geteuid() != 0:
        return
    subprocess.run(["chown", "-R", str(NOBODY), library], check=True)
    for parent in (tmp_path, *tmp_path.parents):
        if "pytest" in str(parent):
            parent.chmod(0o755)


def test_new_photos_are_added_and_found(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    make_photo("deep/er/b.png", "blue")

    report = library.index(folder, settings=settings)

    assert counts(report) == {"added": 2}
    assert report.embedded == 2
    assert library.search("blue", **WHOLE)[0].path == str(folder / "deep" / "er" / "b.png")


def test_a_second_run_reads_no_file(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)

    def read(*_: object) -> None:
        raise AssertionError("something is read")

    monkeypatch.setattr("imgsearch.indexer.run.Pipeline", read)

    assert counts(library.index(folder, settings=settings)) == {"unchanged": 1}


def test_a_changed_photo_is_embedded_again(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    make_photo("b.jpg", "green")
    library.index(folder, settings=settings)
    make_photo("a.jpg", "blue", mark=3)

    report = library.index(folder, settings=settings)

    assert counts(report) == {"changed": 1, "unchanged": 1}
    best = library.search("blue", **WHOLE)[0]
    assert (Path(best.path).name, best.score > 0.99) == ("a.jpg", True)
    assert len(library.search("red", **WHOLE)) == 2


def test_a_touched_photo_is_not_embedded_again(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.jpg")
    library.index(folder, settings=settings)
    os.utime(photo, (1_000_000, 1_000_000))

    first = library.index(folder, settings=settings)
    second = library.index(folder, settings=settings)

    assert (counts(first), first.embedded) == ({"unchanged": 1}, 0)
    assert counts(second) == {"unchanged": 1}


def test_a_moved_photo_is_not_embedded_again(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.jpg")
    library.index(folder, settings=settings)
    (folder / "new").mkdir()
    photo.rename(folder / "new" / "renamed.jpg")

    report = library.index(folder, settings=settings)

    assert (counts(report), report.embedded) == ({"moved": 1}, 0)
    assert found(library) == {"renamed.jpg"}


def test_a_copy_is_a_duplicate_of_one_picture(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.jpg")
    shutil.copy(photo, folder / "copy in the same run.jpg")
    first = library.index(folder, settings=settings)
    shutil.copy(photo, folder / "later.jpg")
    second = library.index(folder, settings=settings)

    assert (first.added, first.embedded) == (2, 1)
    assert (counts(second), second.embedded) == ({"added": 1, "unchanged": 2}, 0)
    [hit] = library.search("red", **WHOLE)
    assert len(hit.duplicates) == 2


def test_copies_among_many_new_photos_of_the_same_size(
    library: Library, folder: Path, settings: IndexSettings
) -> None:
    def bitmap(name: str, grey: int) -> Path:
        Image.new("L", (8, 8), grey).save(folder / name)
        return folder / name

    known = [bitmap(f"known{number}.bmp", 200 + number) for number in range(3)]
    library.index(folder, settings=settings)
    for number in range(12):
        bitmap(f"later-a{number:02}.bmp", number)
    for photo in known[:2]:
        shutil.copy(photo, folder / f"later-b {photo.name}")
    known[2].rename(folder / "later-c.bmp")

    report = library.index(folder, settings=settings)

    assert counts(report) == {"added": 14, "unchanged": 2, "moved": 1}
    assert report.embedded == 12
    assert len(found(library)) == 17


def test_known_content_is_not_decoded_again(
    library: Library, folder: Path, settings: IndexSettings
) -> None:
    for number in range(40):
        Image.new("L", (8, 8), number).save(folder / f"{number}.bmp")
    library.index(folder, settings=settings)
    (folder / "moved").mkdir()
    for path in folder.glob("*.bmp"):
        path.rename(folder / "moved" / path.name)

    # Whatever is decoded, fails.
    strict = replace(settings, limits=DecodeLimits(max_pixels=1))
    report = library.index(folder, settings=strict)

    assert counts(report) == {"moved": 40}


def test_moving_one_of_two_copies_counts_as_a_move(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.jpg")
    shutil.copy(photo, folder / "b.jpg")
    library.index(folder, settings=settings)
    (folder / "b.jpg").rename(folder / "c.jpg")

    report = library.index(folder, settings=settings)

    assert counts(report) == {"moved": 1, "unchanged": 1}


def test_a_deleted_photo_is_forgotten(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    gone = make_photo("b.jpg", "green")
    library.index(folder, settings=settings)
    gone.unlink()

    report = library.index(folder, settings=settings)

    assert counts(report) == {"removed": 1, "unchanged": 1}
    assert found(library) == {"a.jpg"}


def test_a_move_between_roots_in_two_runs_keeps_the_embedding(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("one/a.jpg")
    make_photo("one/stays.jpg", "green")
    make_photo("two/b.jpg", "blue")
    library.index([folder / "one", folder / "two"], settings=settings)
    photo.rename(folder / "two" / "a.jpg")

    left = library.index(folder / "one", settings=settings)
    arrived = library.index(folder / "two", settings=settings)

    assert counts(left) == {"removed": 1, "unchanged": 1}
    assert (counts(arrived), arrived.embedded) == ({"moved": 1, "unchanged": 1}, 0)
    assert found(library) == {"a.jpg", "b.jpg", "stays.jpg"}


def test_orphans_are_purged_after_their_time(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("stays.jpg", "green")
    gone = make_photo("a.jpg")
    settings = IndexSettings(decode_workers=1, orphan_days=0)
    library.index(folder, settings=settings)
    gone.unlink()
    library.index(folder, settings=settings)
    make_photo("a.jpg")

    report = library.index(folder, settings=settings)

    assert (counts(report), report.embedded) == ({"added": 1, "unchanged": 1}, 1)


def test_dry_run_says_what_a_run_would_do_and_writes_nothing(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    make_photo("b.jpg", "green")
    new = library.index(folder, dry_run=True, settings=settings)
    created = library.path.exists()
    library.index(folder, settings=settings)
    (folder / "b.jpg").unlink()
    make_photo("a.jpg", "blue", mark=1)
    make_photo("c.jpg", "white")

    later = library.index(folder, dry_run=True, settings=settings)

    assert (counts(new), created) == ({"added": 2}, False)
    assert counts(later) == {"added": 1, "changed": 1, "removed": 1}
    assert library.status().pictures == 2


def test_a_folder_below_a_root_is_part_of_that_root(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("2020/a.jpg", "red")
    make_photo("2021/b.jpg", "green")
    library.index(folder, settings=settings)
    (folder / "2020" / "a.jpg").unlink()
    (folder / "2021" / "b.jpg").unlink()
    make_photo("2020/new.jpg", "blue")

    report = library.index(folder / "2020", settings=settings)

    assert counts(report) == {"added": 1, "removed": 1}
    assert found(library) == {"b.jpg", "new.jpg"}
    assert [root.path for root in library.status().roots] == [str(folder)]


def test_a_folder_above_a_root_takes_it_in(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("2020/a.jpg", "red")
    make_photo("2020/broken.jpg").write_bytes(b"no image")
    make_photo("2021/b.jpg", "green")
    library.index(folder / "2020", settings=settings)

    report = library.index(folder, settings=settings)

    assert counts(report) == {"added": 1, "unchanged": 1, "failed": 1}
    assert [root.path for root in library.status().roots] == [str(folder)]


def test_hidden_and_excluded_names_are_left_out(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    for name in (".hidden/a.jpg", ".b.jpg", "@eaDir/c.jpg", "raw/d.jpg", "x/e_small.png", "ok.jpg"):
        make_photo(name)

    report = library.index(folder, excludes=["raw", "x/*_small.png"], settings=settings)

    assert counts(report) == {"added": 1}
    assert found(library) == {"ok.jpg"}


def test_links_are_not_followed_and_loops_end(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, tmp_path: Path
) -> None:
    photo = make_photo("a.jpg")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "link.jpg").symlink_to(photo)
    (folder / "dangling.jpg").symlink_to(tmp_path / "nowhere")

    report = library.index(folder, settings=settings)

    assert (counts(report), report.links_skipped) == ({"added": 1}, 3)


def test_special_files_are_not_opened(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    os.mkfifo(folder / "pipe.jpg")

    assert counts(library.index(folder, settings=settings)) == {"added": 1}


def test_images_are_recognised_by_content(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg").rename(folder / "no suffix")
    make_photo("b.webp", "green").rename(folder / "b.strange")
    make_photo("c.png", "blue").rename(folder / "says-jpeg-is-png.jpg")
    (folder / "notes").write_text("not an image")

    report = library.index(folder, settings=settings)
    again = library.index(folder, settings=settings)

    assert counts(report) == {"added": 3}
    assert counts(again) == {"unchanged": 3}


def test_failed_files_are_recorded_and_tried_again_when_they_change(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("good.jpg")
    (folder / "empty.jpg").touch()
    whole = make_photo("cut.png", "blue").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.gif").write_text("hello")

    report = library.index(folder, settings=settings)
    reasons = {Path(one.path).name: one.reason for one in library.failures()}
    again = library.index(folder, settings=settings)
    (folder / "cut.png").write_bytes(whole)
    mended = library.index(folder, settings=settings)

    assert counts(report) == {"added": 1, "failed": 3}
    assert set(reasons) == {"empty.jpg", "cut.png", "text.gif"}
    assert reasons["empty.jpg"] == "the file is empty"
    assert (counts(again), again.failures) == ({"unchanged": 1, "failed": 3}, [])
    assert counts(mended) == {"added": 1, "unchanged": 1, "failed": 2}


def test_a_photo_that_becomes_unreadable_is_no_longer_found(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    make_photo("b.jpg", "green")
    library.index(folder, settings=settings)
    (folder / "a.jpg").write_bytes(b"damaged")

    report = library.index(folder, settings=settings)

    assert counts(report) == {"failed": 1, "unchanged": 1}
    assert found(library) == {"b.jpg"}


def test_the_failure_of_a_deleted_file_is_forgotten(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    (folder / "bad.jpg").touch()
    library.index(folder, settings=settings)
    (folder / "bad.jpg").unlink()

    library.index(folder, settings=settings)

    assert library.failures() == []


def test_an_unreadable_folder_keeps_what_is_known_of_it(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    without_privileges: Callable[[], AbstractContextManager[None]],
    tmp_path: Path,
) -> None:
    make_photo("open/a.jpg")
    make_photo("locked/b.jpg", "green")
    library.index(folder, settings=settings)
    (folder / "locked").chmod(0)
    give_to_nobody(library.path, tmp_path)

    with without_privileges():
        report = library.index(folder, settings=settings)
    (folder / "locked").chmod(0o755)

    assert counts(report) == {"unchanged": 1}
    assert len(report.unreadable) == 1
    assert found(library) == {"a.jpg", "b.jpg"}


def test_a_root_that_is_suddenly_empty_is_kept(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.jpg")
    library.index(folder, settings=settings)
    photo.unlink()

    report = library.index(folder, settings=settings)

    assert report.kept_roots == [str(folder)]
    assert found(library) == {"a.jpg"}


def test_a_new_model_embeds_everything_and_takes_over(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    library.index(folder, settings=settings)
    other = Library.open(library.path, model=FakeEncoder(revision="2"))

    report = other.index(folder, settings=settings)

    assert (counts(report), report.embedded) == ({"unchanged": 1}, 1)
    active = [model for model in library.status().models if model.active]
    assert [(model.revision, model.embeddings) for model in active] == [("2", 1)]
    other.close()


def test_a_failure_of_the_model_does_not_cost_what_is_known(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    library.index(folder, settings=settings)
    limits = DecodeLimits(max_pixels=1)
    strict = IndexSettings(decode_workers=1, limits=limits)

    with Library.open(library.path, model=FakeEncoder(revision="2")) as other:
        failed = other.index(folder, settings=strict)

    assert counts(failed) == {"failed": 1}
    assert found(library) == {"a.jpg"}
    assert counts(library.index(folder, settings=settings)) == {"unchanged": 1}


def test_damaged_files_are_tried_again_when_asked(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    strict = IndexSettings(decode_workers=1, limits=DecodeLimits(max_pixels=1))
    library.index(folder, settings=strict)

    assert counts(library.index(folder, settings=settings)) == {"failed": 1}
    assert counts(library.index(folder, settings=settings, retry_failed=True)) == {"added": 1}


def test_a_decoding_process_that_cannot_work_ends_the_run(
    library: Library, folder: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo("a.jpg")
    monkeypatch.setattr("sys.executable", "/no/such/python")

    with pytest.raises(ImgsearchError, match="decoding process"):
        library.index(folder)
    assert library.failures() == []


def test_times_beyond_what_sqlite_can_store(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    os.utime(make_photo("future.jpg"), (10_413_792_000, 10_413_792_000))
    os.utime(make_photo("past.jpg", "blue"), (-1000, -1000))

    assert counts(library.index(folder, settings=settings)) == {"added": 2}
    assert counts(library.index(folder, settings=settings)) == {"unchanged": 2}


@pytest.mark.parametrize("order", [("", "sub"), ("sub", ""), ("", ""), ("sub", "", "sub")])
def test_overlapping_folders_are_one(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    order: tuple[str, ...],
) -> None:
    make_photo("a.jpg", "red")
    make_photo("sub/b.jpg", "blue")
    (folder / "link").symlink_to(folder)
    paths = [folder / name for name in order]

    dry = library.index(paths, dry_run=True, settings=settings)
    report = library.index(paths, settings=settings)

    assert counts(dry) == counts(report) == {"added": 2}
    assert report.links_skipped == 1
    assert [root.path for root in library.status().roots] == [str(folder)]


def test_a_dry_run_takes_known_inner_roots_into_account(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("sub/b.jpg", "blue")
    make_photo("a.jpg", "red")
    (folder / "text without suffix").write_text("hello")
    library.index(folder / "sub", settings=settings)

    dry = library.index(folder, dry_run=True, settings=settings)

    assert counts(dry) == {"added": 1, "unchanged": 1}
    assert [root.path for root in library.status().roots] == [str(folder / "sub")]


def test_a_folder_behind_a_hidden_name_keeps_its_own_root(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    make_photo(".private/b.jpg", "blue")
    library.index(folder / ".private", settings=settings)
    library.index(folder, settings=settings)

    report = library.index(folder, settings=settings)

    assert counts(report) == {"unchanged": 1}
    assert found(library) == {"a.jpg", "b.jpg"}


def test_an_unplugged_inner_root_is_kept(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("disk/a.jpg", "red")
    make_photo("b.jpg", "blue")
    library.index(folder / "disk", settings=settings)
    photo.unlink()
    library.index(folder, settings=settings)
    kept = found(library)
    make_photo("disk/a.jpg", "red")

    back = library.index(folder, settings=settings)

    assert kept == {"a.jpg", "b.jpg"}
    assert counts(back) == {"unchanged": 2}
    assert [root.path for root in library.status().roots] == [str(folder)]


def test_a_move_and_a_copy_are_told_apart(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("a.jpg")
    library.index(folder, settings=settings)
    shutil.copy(photo, folder / "c.jpg")
    photo.rename(folder / "b.jpg")

    assert counts(library.index(folder, settings=settings)) == {"moved": 1, "added": 1}


def test_a_file_without_suffix_that_is_no_image_any_more_is_forgotten(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("stays.jpg", "blue")
    make_photo("a.jpg", "red").rename(folder / "a")
    library.index(folder, settings=settings)
    (folder / "a").write_text("only text now")

    library.index(folder, settings=settings)

    assert found(library) == {"stays.jpg"}
    assert library.failures() == []


def test_one_exclude_pattern_may_be_a_plain_string(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", "red")
    make_photo("raw1/b.jpg", "blue")

    assert counts(library.index(folder, excludes="raw*", settings=settings)) == {"added": 1}


def test_a_root_is_removed_by_the_name_it_has(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, tmp_path: Path
) -> None:
    make_photo("a.jpg", "red")
    library.index(folder, settings=settings)
    moved = folder.rename(tmp_path / "moved")
    folder.symlink_to(moved)
    library.index(moved, settings=settings)

    library.remove(folder)

    assert [root.path for root in library.status().roots] == [str(moved)]


def test_a_file_that_cannot_be_looked_at_is_not_gone(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    without_privileges: Callable[[], AbstractContextManager[None]],
    tmp_path: Path,
) -> None:
    make_photo("listed/a.jpg", "red")
    library.index(folder, settings=settings)
    # Names can be listed, but nothing in it can be looked at.
    (folder / "listed").chmod(0o444)
    give_to_nobody(library.path, tmp_path)

    with without_privileges():
        report = library.index(folder, settings=settings)
    (folder / "listed").chmod(0o755)

    assert (report.removed, len(report.unreadable)) == (0, 1)
    assert found(library) == {"a.jpg"}


def test_stopping_keeps_what_is_done_and_the_next_run_goes_on(
    library: Library, folder: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the pipeline shall ask whether to stop: how often the scan does depends on the clock.
    monkeypatch.setattr("imgsearch.indexer.scan._PULSE_SECONDS", 1e9)
    for number in range(30):
        make_photo(f"{number}.png", "green", mark=number)
    settings = IndexSettings(decode_workers=1, batch_size=4, batches_ahead=1)
    answers = iter([False] * 2)

    stopped = library.index(folder, settings=settings, should_stop=lambda: next(answers, True))
    kept = library.status().pictures
    resumed = library.index(folder, settings=settings)

    assert stopped.interrupted
    assert 0 < kept == stopped.added < 30
    assert counts(resumed) == {"added": 30 - kept, "unchanged": kept}


def test_progress_ends_at_the_total(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    make_photo("b.jpg", "blue")
    seen: list[Progress] = []

    library.index(folder, settings=settings, progress=seen.append)

    assert (seen[-1].done, seen[-1].total, seen[-1].remaining_seconds) == (2, 2, 0)


def test_files_that_change_between_scan_and_reading(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    for name in ("deleted", "changed", "linked", "pipe", "folder", "untouched"):
        make_photo(f"{name}.png", "red", mark=len(name))

    def meddle_once() -> bool:
        # The first question comes after the scan and before the first photo is read.
        if (folder / "deleted.png").exists():
            for name in ("deleted", "linked", "pipe", "folder"):
                (folder / f"{name}.png").unlink()
            (folder / "linked.png").symlink_to(folder / "untouched.png")
            os.mkfifo(folder / "pipe.png")
            (folder / "folder.png").mkdir()
            make_photo("changed.png", "blue")
        return False

    report = library.index(folder, settings=settings, should_stop=meddle_once)
    again = library.index(folder, settings=settings)

    assert report.added == 2
    assert {Path(one.path).stem for one in report.failures} == {"linked", "pipe", "folder"}
    assert library.search("blue", **WHOLE)[0].path == str(folder / "changed.png")
    assert (counts(again), library.failures()) == ({"unchanged": 2}, [])


def test_removing_a_root_forgets_only_what_it_alone_shows(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    photo = make_photo("one/a.jpg")
    make_photo("one/only here.jpg", "blue")
    (folder / "two").mkdir()
    shutil.copy(photo, folder / "two" / "same.jpg")
    library.index([folder / "one", folder / "two"], settings=settings)

    count = library.remove(folder / "one")

    assert count == 2
    assert found(library) == {"same.jpg"}
    assert photo.exists()


def test_photos_are_never_written(library: Library, folder: Path, settings: IndexSettings) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10), "red").save(folder / "a.jpg", exif=exif)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}

    library.index(folder, settings=settings)
    library.remove(folder)

    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert after == before


@pytest.mark.parametrize(
    "name",
    [
        "with space.jpg",
        "quotes\"'.jpg",
        "new\nline.jpg",
        "emoji 🏖️.jpg",
        "percent%20#?.jpg",
        os.fsdecode(b"invalid-\xff\xfe.jpg"),
        "<img src=x onerror=alert(1)>.jpg",
        "$(rm -rf x).jpg",
        "-rf.jpg",
    ],
)
def test_any_file_name_goes_in_and_comes_out(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, name: str
) -> None:
    make_photo("plain.jpg").rename(folder / name)

    library.index(folder, settings=settings)

    [hit] = library.search("red", **WHOLE)
    assert hit.path == os.path.join(folder, name)
    assert library.index(folder, settings=settings).unchanged == 1
