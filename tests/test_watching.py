"""`watch` keeps a library up to date: real files, a real watch, the built-in model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from conftest import EXAMPLES, MakePhoto

from imgsearch import IndexReport, IndexSettings, Library, UsageError
from imgsearch.data.lock import writer_lock
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import FolderInvalid, LibraryEmpty, LibraryNotFound
from imgsearch.indexer.encoder_keeper import EncoderKeeper
from imgsearch.indexer.folder_events import FolderEvents
from imgsearch.indexer.run import index_changes
from imgsearch.indexer.settling import Settling

# Far longer than anything takes here: only a test that fails waits for so long.
PATIENCE_SECONDS = 90.0
SLICES = pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")


class Watching:
    """A watch in a thread of its own, and what it told."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.reports: list[IndexReport] = []
        self.notes: list[str] = []
        self.ended = threading.Event()
        self.stopping = threading.Event()

    def shown(self) -> set[str]:
        """Return the names of all files that the library shows."""
        with Library.open(self.library) as reader, suppress(LibraryEmpty, LibraryNotFound):
            hits = reader.search(sort="name", limit=10_000, group=False)
            return {Path(path).name for hit in hits for path in (hit.path, *hit.duplicates)}
        return set()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that must come; fail if it does not."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert not self.ended.is_set(), f"the watch has ended: {self.notes}"
            assert time.monotonic() < end, f"in vain: {self.shown()}, {self.reports}, {self.notes}"
            time.sleep(0.05)

    def wait_for(self, *names: str) -> None:
        """Wait until the library shows just these files."""
        self.wait_until(lambda: self.shown() == set(names))

    def wait_for_note(self, words: str) -> None:
        """Wait until it says something."""
        self.wait_until(lambda: any(words in note for note in self.notes))


@contextmanager
def watching(library: Path, *roots: Path, **options: object) -> Iterator[Watching]:
    """Watch some folders, or all of the library, inside this block, from the first look on."""
    told = Watching(library)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with Library.open(library) as opened:
                opened.watch(
                    roots or None,
                    stop=told.stopping.is_set,
                    on_change=told.reports.append,
                    on_note=told.notes.append,
                    settings=IndexSettings(decode_workers=1),
                    **options,  # type: ignore[arg-type]
                )
        except BaseException as error:  # raised again in the test's own thread
            errors.append(error)
        told.ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        told.stopping.set()
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the library is."""
    return tmp_path / "library"


def test_files_are_followed_wherever_they_go(place: Path, folder: Path) -> None:
    shutil.copy(EXAMPLES / "bricks.jpg", folder)
    with watching(place, folder) as told:
        told.wait_for_note("Watching")

        shutil.copy(EXAMPLES / "coffee.jpg", folder / "photo.jpg")
        told.wait_for("bricks.jpg", "photo.jpg")
        with Library.open(place) as reader:
            assert reader.search("a cup of coffee")[0].path == str(folder / "photo.jpg")

        shutil.copy(EXAMPLES / "cat.jpg", folder / "photo.jpg")
        told.wait_until(lambda: told.reports[-1].changed == 1)
        with Library.open(place) as reader:
            assert reader.search("cat")[0].path == str(folder / "photo.jpg")

        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "photo.jpg").rename(folder / "deep" / "er" / "moved.jpg")
        told.wait_for("bricks.jpg", "moved.jpg")
        (folder / "deep").rename(folder / "other")
        told.wait_until(lambda: sum(report.moved for report in told.reports) == 2)
        with Library.open(place) as reader:
            assert reader.search("cat")[0].path == str(folder / "other" / "er" / "moved.jpg")

        shutil.rmtree(folder / "other")
        told.wait_for("bricks.jpg")
    # No vector was computed for what only moved.
    assert sum(report.embedded for report in told.reports) == 3


def test_what_happened_before_is_caught_up_with(
    place: Path, folder: Path, make_photo: MakePhoto
) -> None:
    gone = make_photo("gone.jpg", mark=1)
    with Library.open(place) as library:
        library.index(folder, settings=IndexSettings(decode_workers=1))
    gone.unlink()
    make_photo("new.jpg", "blue", mark=2)

    with watching(place) as told:
        told.wait_for_note("Watching")

        assert told.shown() == {"new.jpg"}
        assert (told.reports[0].added, told.reports[0].removed) == (1, 1)


def test_a_burst_is_a_few_batches(place: Path, folder: Path, make_photo: MakePhoto) -> None:
    with watching(place, folder) as told:
        told.wait_for_note("Watching")

        names = [f"{number}.jpg" for number in range(200)]
        for number, name in enumerate(names):
            make_photo(name, "green", mark=number)

        told.wait_for(*names)
        told.wait_until(lambda: sum(report.added for report in told.reports) == 200)
        assert len(told.reports) < 20


def test_a_file_that_was_read_half_written_is_read_again(
    place: Path, folder: Path, make_photo: MakePhoto
) -> None:
    content = make_photo("whole.png", "red", mark=5).read_bytes()
    growing = folder / "growing.png"
    half = len(content) // 2
    with watching(place, folder) as told:
        told.wait_for_note("Watching")
        # Of its final size from the beginning, and written from behind.
        growing.write_bytes(bytes(half) + content[half:])
        told.wait_until(lambda: told.reports[-1].failed == 1)
        before = growing.stat()

        with growing.open("r+b") as file:
            file.write(content[:half])
        # Copying programs give the copy the original's time, so that not even that tells.
        os.utime(growing, ns=(before.st_atime_ns, before.st_mtime_ns))

        told.wait_for("whole.png", "growing.png")
        with Library.open(place) as library:
            assert library.failures() == []


def test_a_folder_that_vanishes_keeps_its_photos_and_may_come_back(
    place: Path, folder: Path, tmp_path: Path, make_photo: MakePhoto
) -> None:
    make_photo("old.jpg", mark=1)
    away = tmp_path / "away"
    with watching(place, folder) as told:
        told.wait_for("old.jpg")
        told.wait_for_note("Watching")

        folder.rename(away)
        told.wait_for_note("is not there now")
        shutil.copy(away / "old.jpg", away / "copy.jpg")
        assert told.shown() == {"old.jpg"}

        away.rename(folder)
        told.wait_for("old.jpg", "copy.jpg")
        # It is watched again, too.
        make_photo("new.jpg", "blue", mark=2)
        told.wait_for("old.jpg", "copy.jpg", "new.jpg")


def test_a_folder_made_anew_is_watched(place: Path, folder: Path, make_photo: MakePhoto) -> None:
    make_photo("a/old.jpg", mark=1)
    with watching(place, folder) as told:
        told.wait_for("old.jpg")
        told.wait_for_note("Watching")

        # At once, so that there may be no moment at which it is missed.
        shutil.rmtree(folder)
        make_photo("b/new.jpg", "blue", mark=2)

        told.wait_for("new.jpg")
        make_photo("b/newer.jpg", "blue", mark=3)
        told.wait_for("new.jpg", "newer.jpg")


def test_an_empty_folder_keeps_its_photos_until_it_has_others(
    place: Path, folder: Path, tmp_path: Path, make_photo: MakePhoto
) -> None:
    make_photo("old.jpg", mark=1)
    with watching(place, folder) as told:
        told.wait_for("old.jpg")
        told.wait_for_note("Watching")

        # As where a disk was mounted.
        folder.rename(tmp_path / "away")
        folder.mkdir()
        told.wait_for_note("is empty")
        assert told.shown() == {"old.jpg"}

        make_photo("new.jpg", "blue", mark=2)
        told.wait_for("new.jpg")


def test_a_folder_that_is_not_there_yet_is_waited_for(
    place: Path, tmp_path: Path, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("a.jpg")
    disk = tmp_path / "disk"
    with watching(place, folder, disk) as told:
        told.wait_for_note(f"{disk} is not there now")
        told.wait_for("a.jpg")

        shutil.copytree(EXAMPLES, disk)

        told.wait_for("a.jpg", *(path.name for path in EXAMPLES.glob("*.jpg")))


def test_another_writer_is_waited_for(place: Path, folder: Path, make_photo: MakePhoto) -> None:
    with watching(place, folder) as told:
        told.wait_for_note("Watching")

        with writer_lock(place):
            make_photo("a.jpg")
            told.wait_for_note("Another imgsearch")
            assert told.shown() == set()

        told.wait_for("a.jpg")


def test_only_what_a_scan_would_find_is_followed(
    place: Path, folder: Path, tmp_path: Path, make_photo: MakePhoto
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    with watching(place, folder, excludes=["raw*"]) as told:
        told.wait_for_note("Watching")

        for unwanted in (".hidden.jpg", ".dir/a.jpg", "raw1.jpg", "rawer/b.jpg", "c.txt.jpg"):
            make_photo(unwanted, mark=len(unwanted))
        (folder / "c.txt.jpg").rename(folder / "c.txt")
        make_photo("good.jpg", "blue", mark=1).rename(outside / "behind.jpg")
        make_photo("good.jpg", "blue", mark=2)

        told.wait_for("good.jpg")
        time.sleep(1.5)
        assert told.shown() == {"good.jpg"}


@SLICES
def test_a_name_that_is_not_utf8_does_not_end_the_watch(
    place: Path, folder: Path, make_photo: MakePhoto
) -> None:
    with watching(place, folder) as told:
        told.wait_for_note("Watching")

        make_photo("odd.jpg", mark=1).rename(folder / os.fsdecode(b"\xff.jpg"))
        told.wait_for(os.fsdecode(b"\xff.jpg"))

        make_photo("b.jpg", "blue", mark=2)
        told.wait_for(os.fsdecode(b"\xff.jpg"), "b.jpg")


def test_a_folder_that_is_removed_from_the_library_is_not_added_again(
    place: Path, folder: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch.indexer.watch._LIBRARY_SECONDS", 0.5)
    make_photo("a.jpg", mark=1)
    with watching(place, folder) as told:
        told.wait_for("a.jpg")
        told.wait_for_note("Watching")

        with Library.open(place) as library:
            library.remove(folder)
        make_photo("b.jpg", "blue", mark=2)

        assert told.ended.wait(PATIENCE_SECONDS)
        assert "removed from the library" in told.notes[-1]
        assert told.shown() == set()


def test_a_folder_that_may_not_be_read_does_not_end_the_watch(
    place: Path,
    folder: Path,
    make_photo: MakePhoto,
    without_privileges: Callable[[], AbstractContextManager[None]],
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0)
    for parent in folder.parents:
        if "pytest" in str(parent):
            parent.chmod(0o755)
    events = FolderEvents(should_stop=lambda: False)
    # Where Python itself lies may be closed to others as well.
    events.watch([str(folder)])
    try:
        with without_privileges():
            events.watch([str(folder)])
        make_photo("a.jpg")

        assert str(folder / "a.jpg") in events.wait(PATIENCE_SECONDS).paths
    finally:
        closed.chmod(0o700)
        events.close()


def test_folders_can_be_looked_through_instead(
    place: Path, folder: Path, make_photo: MakePhoto
) -> None:
    with watching(place, folder, poll_seconds=1.0) as told:
        told.wait_for_note("Watching")

        photo = make_photo("a.jpg", mark=1)
        told.wait_for("a.jpg")
        make_photo("b.jpg", "blue", mark=2)
        photo.unlink()
        told.wait_for("b.jpg")


def test_what_cannot_be_watched_is_refused(place: Path, folder: Path) -> None:
    (folder / "a.txt").touch()

    with Library.open(place) as library:
        with pytest.raises(FolderInvalid):
            library.watch([folder / "a.txt"], stop=lambda: False)
        with pytest.raises(FolderInvalid):
            library.watch([""], stop=lambda: False)
        with pytest.raises(LibraryNotFound):
            library.watch(stop=lambda: False)
        library.index(folder)
        library.remove(folder)
        with pytest.raises(UsageError):
            library.watch(stop=lambda: False)


def start(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start `imgsearch watch` in a process of its own."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "imgsearch", "watch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return the next line of output that holds these words."""
    assert process.stdout is not None
    limit = threading.Timer(PATIENCE_SECONDS, process.kill)
    limit.start()
    try:
        for line in process.stdout:
            if words in line:
                return line
    finally:
        limit.cancel()
    pytest.fail(f"it ended without a word about {words!r}")


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_tells_of_batches_and_ends_when_told_to(
    place: Path, folder: Path, make_photo: MakePhoto, number: int
) -> None:
    make_photo("a.jpg")
    with start(str(folder), "--library", str(place)) as process:
        assert "Added 1" in read_until(process, "Added")
        read_until(process, "Watching 1 folder.")
        (folder / "bad\x1b[31m.jpg").write_bytes(b"nonsense")
        line = read_until(process, "  failed:")
        process.send_signal(number)

        assert process.wait(PATIENCE_SECONDS) == 0
    assert "bad\\x1b[31m.jpg" in line


def test_a_limit_of_the_system_is_explained_and_lived_with(
    place: Path, folder: Path, make_photo: MakePhoto
) -> None:
    # A namespace of its own, whose limit is nobody else's.
    limited = ("unshare", "-Ur", "sh", "-c")
    lowered = "echo 3 > /proc/sys/user/max_inotify_watches"
    if shutil.which("unshare") is None or subprocess.run([*limited, lowered]).returncode:
        pytest.skip("this system lets nobody lower the limit of watched folders")
    for name in "abcdef":
        (folder / name).mkdir()
    command = f'{lowered}; exec "$@"'
    with start(str(folder), "--library", str(place), before=(*limited, command, "sh")) as process:
        assert "sysctl fs.inotify.max_user_watches" in read_until(process, "system cannot tell")
        read_until(process, "Watching")
        make_photo("a/new.jpg")
        assert "Added 1" in read_until(process, "Added")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


# What is behind it.


def changes(library: Path, *paths: Path, present: bool = True) -> IndexReport:
    """Index just these paths."""
    return index_changes(
        library,
        [str(path) for path in paths],
        FakeEncoder(),
        excludes=(),
        is_present=lambda _: present,
        progress=lambda _: None,
        should_stop=lambda: False,
        settings=IndexSettings(decode_workers=1),
    )


@SLICES
def test_only_what_lies_below_a_changed_path_is_gone(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    odd = os.fsdecode(b"\xff.jpg")
    inside = ["a/1.jpg", "a/b/2.jpg", f"a/{odd}"]
    beside = ["a-/3.jpg", "a0/4.jpg", "a.jpg", "A/5.jpg", "b/a/6.jpg", odd]
    for number, name in enumerate(inside + beside):
        path = make_photo(f"{number}.jpg", mark=number)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        path.rename(folder / name)
    (folder / "a" / "bad.jpg").touch()
    (folder / "bad.jpg").touch()
    library.index(folder, settings=settings)
    shutil.rmtree(folder / "a")
    # Nobody has said anything about this one.
    (folder / "b" / "a" / "6.jpg").unlink()

    kept = changes(library.path, folder / "a", present=False)
    report = changes(library.path, folder / "a", folder / "a" / "1.jpg")

    assert kept.removed == 0
    assert report.removed == len(inside)
    hits = library.search(sort="name", limit=100)
    assert {os.path.relpath(hit.path, folder) for hit in hits} == set(beside)
    assert [Path(one.path).name for one in library.failures()] == ["bad.jpg"]


@SLICES
def test_names_that_are_not_utf8_can_be_changed_paths(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    odd = folder / os.fsdecode(b"\xfe")
    odd.mkdir()
    make_photo("a.jpg", mark=1).rename(odd / "a.jpg")
    make_photo("b.jpg", mark=2)
    library.index(folder, settings=settings)
    shutil.rmtree(odd)

    assert changes(library.path, odd).removed == 1


def test_a_path_of_no_root_is_left_alone(
    library: Library, folder: Path, tmp_path: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg", mark=1)
    library.index(folder, settings=settings)
    stranger = tmp_path / "photos-too" / "b.jpg"
    stranger.parent.mkdir()
    make_photo("b.jpg", mark=2).rename(stranger)

    report = changes(library.path, stranger, stranger.parent)

    assert not report.seen_any


def test_files_settle_before_they_are_read_but_not_for_ever() -> None:
    settling = Settling()
    settling.touch("written once", 100.0)
    taken = {"written once": 0.0, "written always": 0.0}
    for step in range(1, 60):
        now = 100.0 + step / 10
        settling.touch("written always", now)
        for path in settling.take(now):
            taken[path] = taken[path] or now

    assert 100.2 < taken["written once"] < 100.5
    assert 103.0 < taken["written always"] < 103.5


def test_an_encoder_is_let_go_when_nobody_needs_it() -> None:
    keeper = EncoderKeeper(lambda: "starter", None)
    first = keeper.get()

    keeper.release_if_idle(3600.0)
    kept = keeper.get()
    keeper.release_if_idle(0.0)

    assert kept is first
    assert keeper.get() is not first
