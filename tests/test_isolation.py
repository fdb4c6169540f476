"""A decoder that crashes, hangs or eats memory costs its one file and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import WHOLE, MakePhoto
from PIL import Image

from imgsearch import (
    DecodeLimits,
    HeatMapUnavailable,
    ImageUnreadable,
    IndexSettings,
    Library,
    UsageError,
)
from imgsearch.settings import decode_limits

# What attacks them, or kills them, meets processes as users start them.
pytestmark = pytest.mark.usefixtures("started_anew")

# Loaded by every decoding process at its start: pictures that begin with these bytes attack it.
SABOTAGE = """
import mmap, os, signal, time
from PIL import Image
opened = Image.open
def attacked(stream, *arguments, **options):
    stream.seek(0)
    start = stream.read(5)
    stream.seek(0)
    if start == b"CRASH":
        os.kill(os.getpid(), signal.SIGSEGV)
    if start == b"ABORT":
        os.abort()
    if start == b"KILLS":
        os.kill(os.getpid(), signal.SIGKILL)
    if start == b"SLEEP":
        time.sleep(600)
    while start == b"SPINS":
        pass
    hoard = []
    while start == b"ARRAY":
        hoard.append(bytearray(1 << 24))
    while start == b"SHARE":
        hoard.append(mmap.mmap(-1, 1 << 24))
        hoard[-1].write(b"x" * (1 << 24))
    while start == b"MMAPS":
        hoard.append(mmap.mmap(-1, 1 << 24, flags=mmap.MAP_PRIVATE))
        hoard[-1].write(b"x" * (1 << 24))
    return opened(stream, *arguments, **options)
Image.open = attacked
"""
NO_MEMORY = "decoding needs more memory than is allowed"


@pytest.fixture
def sabotage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.mark.usefixtures("sabotage")
def test_crash_and_hang_cost_one_file_each(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    for number in range(6):
        make_photo(f"{number}.png", "green", mark=number)
    (folder / "2 crash.jpg").write_bytes(b"CRASH")
    (folder / "3 sleep.jpg").write_bytes(b"SLEEP")
    settings = IndexSettings(decode_workers=1, limits=DecodeLimits(stall_seconds=3))

    report = library.index(folder, settings=settings)

    reasons = {Path(one.path).name: one.reason for one in library.failures()}
    assert (report.added, report.failed) == (6, 2)
    assert reasons == {
        "2 crash.jpg": "its decoder crashed (SIGSEGV)",
        "3 sleep.jpg": "it was not read and decoded within 3 seconds",
    }


@pytest.mark.usefixtures("sabotage")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces all these limits")
def test_the_limits_of_a_decoder_bite_whatever_it_does(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("fine.png")
    for attack in ("SPINS", "ARRAY", "SHARE", "MMAPS", "ABORT"):
        (folder / f"{attack}.jpg").write_bytes(attack.encode())
    limits = DecodeLimits(timeout_seconds=1, memory_bytes=300 << 20)

    report = library.index(folder, settings=IndexSettings(decode_workers=1, limits=limits))

    reasons = {Path(one.path).stem: one.reason for one in library.failures()}
    assert report.added == 1
    assert reasons == {
        "SPINS": "decoding took longer than 1 seconds of processor time",
        "ARRAY": NO_MEMORY,
        "MMAPS": NO_MEMORY,
        "SHARE": NO_MEMORY,
        "ABORT": "its decoder crashed (SIGABRT)",
    }


@pytest.mark.usefixtures("sabotage")
def test_what_was_no_fault_of_the_file_is_tried_again(library: Library, folder: Path) -> None:
    (folder / "killed.jpg").write_bytes(b"KILLS")
    (folder / "crash.jpg").write_bytes(b"CRASH")
    settings = IndexSettings(decode_workers=1)
    library.index(folder, settings=settings)

    report = library.index(folder, settings=settings)

    # As when the system ran out of memory; what crashed its decoder would do so again.
    [again] = report.failures
    assert Path(again.path).name == "killed.jpg"
    assert again.reason.startswith("the system ended its decoder (SIGKILL)")


@pytest.mark.usefixtures("sabotage")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"CRASH", r"its decoder crashed \(SIGSEGV\)"),
        (b"KILLS", r"the system ended its decoder \(SIGKILL\)"),
        (b"ARRAY", NO_MEMORY),
        (b"SLEEP", "not read and decoded within 2 seconds"),
        (b"SPINS", "longer than 1 seconds of processor time"),
    ],
)
def test_a_picture_to_search_by_cannot_end_the_one_who_asks(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    reason: str,
) -> None:
    monkeypatch.setenv("IMGSEARCH_DECODE_SECONDS", "1")
    monkeypatch.setenv("IMGSEARCH_DECODE_MEMORY_MB", "300")
    if content == b"SLEEP":
        monkeypatch.setenv("IMGSEARCH_STALL_SECONDS", "2")
    fine = make_photo("fine.png")
    library.index(folder, settings=IndexSettings(decode_workers=1))
    hostile = folder / "hostile.jpg"
    hostile.write_bytes(content)

    with pytest.raises(ImageUnreadable, match=rf"Cannot search by .*hostile\.jpg: .*{reason}"):
        library.search(like=hostile)
    with pytest.raises(ImageUnreadable, match=reason):
        library.look_at(content)

    assert [hit.path for hit in library.search(like=fine, cut_off=False)] == [str(fine)]


@pytest.mark.usefixtures("sabotage")
def test_a_photo_that_became_hostile_costs_its_views_only(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    photo, fine = make_photo("a.png"), make_photo("b.png", "blue")
    library.index(folder, settings=IndexSettings(decode_workers=1))
    named = {hit.path: hit.content_hash for hit in library.search("red", **WHOLE)}
    before = photo.stat()
    photo.write_bytes(b"CRASH".ljust(before.st_size))
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    (library.path / "thumbnails.sqlite").unlink()
    library.close()

    for view in (library.thumbnail, library.preview, lambda digest: library.heat_map(digest, "x")):
        with pytest.raises((ImageUnreadable, HeatMapUnavailable)):
            view(named[str(photo)])

    assert library.preview(named[str(fine)]).startswith(b"\xff\xd8")


def test_the_command_line_says_what_is_wrong_with_a_picture(
    folder: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    make_photo("a.png")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SABOTAGE)
    (tmp_path / "asked.jpg").write_bytes(b"CRASH")
    command = [sys.executable, "-m", "imgsearch", "query", "--like", str(tmp_path / "asked.jpg")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    }
    with Library.open(tmp_path / "starter") as starter:
        starter.index(folder, settings=IndexSettings(decode_workers=1))

    ended = subprocess.run(
        [*command, "--library", str(tmp_path / "starter")],
        env=environment,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert "its decoder crashed (SIGSEGV)" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("sabotage")
def test_stopping_does_not_wait_for_a_hanging_decoder(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("a.jpg")
    (folder / "b.jpg").write_bytes(b"SLEEP")
    settings = IndexSettings(decode_workers=2, limits=DecodeLimits(timeout_seconds=60))
    started = time.monotonic()

    report = library.index(
        folder, settings=settings, should_stop=lambda: time.monotonic() - started > 4
    )

    assert report.interrupted
    assert report.added == 1
    assert time.monotonic() - started < 30


def test_a_picture_that_needs_too_much_memory_is_refused(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("small.png")
    Image.new("RGB", (12_000, 12_000)).save(folder / "large.png")
    settings = IndexSettings(decode_workers=1, limits=DecodeLimits(memory_bytes=300 << 20))

    report = library.index(folder, settings=settings)

    assert report.added == 1
    assert [one.reason for one in report.failures] == ["decoding needs more memory than is allowed"]


def test_limits_of_size_are_recorded_as_reasons(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    make_photo("a.png")
    make_photo("many pixels.png").unlink()
    Image.new("L", (3000, 1000)).save(folder / "many pixels.png")
    (folder / "many bytes.jpg").write_bytes(b"\xff\xd8\xff" + b"\0" * 2_000_000)
    limits = DecodeLimits(max_pixels=2_000_000, max_file_bytes=1_000_000)

    report = library.index(folder, settings=IndexSettings(decode_workers=1, limits=limits))

    reasons = {Path(one.path).name: one.reason for one in report.failures}
    assert report.added == 1
    assert reasons == {
        "many pixels.png": "too large: 3000 x 1000 pixels; the limit is 2 megapixels",
        "many bytes.jpg": "too large: 2 MB; the limit is 1 MB",
    }


def test_a_module_in_the_working_folder_is_not_imported(
    library: Library,
    folder: Path,
    make_photo: MakePhoto,
    settings: IndexSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_photo("a.jpg")
    (folder / "numpy.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(folder)

    assert library.index(folder, settings=settings).added == 1


def test_limits_come_from_the_environment(
    library: Library, folder: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo("a.png")
    Image.new("L", (3000, 1000)).save(folder / "many pixels.png")
    monkeypatch.setenv("IMGSEARCH_MAX_MEGAPIXELS", "2")

    report = library.index(folder)

    assert report.added == 1
    assert [one.reason for one in report.failures] == [
        "too large: 3000 x 1000 pixels; the limit is 2 megapixels"
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IMGSEARCH_MAX_MEGAPIXELS", "many"),
        ("IMGSEARCH_MAX_FILE_MB", "-1"),
        ("IMGSEARCH_MAX_FRAMES", "nan"),
        ("IMGSEARCH_DECODE_SECONDS", "0"),
        ("IMGSEARCH_STALL_SECONDS", "inf"),
        ("IMGSEARCH_DECODE_MEMORY_MB", "10"),
    ],
)
def test_a_limit_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(UsageError, match=variable):
        decode_limits()
