"""A decoder that crashes, hangs or eats memory costs its one file and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import MakePhoto
from PIL import Image

from imgsearch import DecodeLimits, IndexSettings, Library

# Loaded by every decoding process at its start: pictures that begin with these bytes attack it.
SABOTAGE = """
import os, signal, time
from PIL import Image
opened = Image.open
def attacked(stream, *arguments, **options):
    start = stream.getvalue()[:5]
    if start == b"CRASH":
        os.kill(os.getpid(), signal.SIGSEGV)
    if start == b"SLEEP":
        time.sleep(600)
    return opened(stream, *arguments, **options)
Image.open = attacked
"""


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
    settings = IndexSettings(decode_workers=1, limits=DecodeLimits(timeout_seconds=3))

    report = library.index(folder, settings=settings)

    reasons = {Path(one.path).name: one.reason for one in library.failures()}
    assert (report.added, report.failed) == (6, 2)
    assert reasons == {
        "2 crash.jpg": "its decoder crashed (SIGSEGV)",
        "3 sleep.jpg": "decoding took longer than 3 seconds",
    }


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
