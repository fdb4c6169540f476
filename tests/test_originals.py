"""Originals and pictures from outside: only the very photo comes out, nothing bad gets in."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sqlite3
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from conftest import WHOLE, MakePhoto
from PIL import ExifTags, Image
from test_isolation import SABOTAGE

from imgsearch import (
    DecodeLimits,
    ImageUnreadable,
    IndexSettings,
    Library,
    PhotoNotFound,
    PictureReference,
)
from imgsearch.data.connection import catalog_path
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import ModelNotFound

SECRET = b"the secret of this machine"


def png(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, colour).save(target, "PNG")
    return target.getvalue()


@dataclass(frozen=True)
class One:
    """A library with a single photo in a folder below its root."""

    library: Library
    root: Path
    photo: Path
    content: bytes

    @property
    def content_hash(self) -> str:
        """The photo's SHA-256."""
        return hashlib.sha256(self.content).hexdigest()

    def read(self) -> bytes:
        """Return what the library gives as the photo."""
        with self.library.open_photo(self.content_hash).stream as stream:
            return stream.read()

    def say_in_catalog(self, path: str) -> None:
        """Let the catalog claim that the photo lies elsewhere."""
        connection = sqlite3.connect(catalog_path(self.library.path))
        connection.execute("UPDATE file SET path = ?", (path,))
        connection.commit()
        connection.close()


def build(place: Path) -> One:
    """Make a library of one red photo in the folder `place`."""
    photo = place / "photos" / "sub" / "a.png"
    photo.parent.mkdir(parents=True, exist_ok=True)
    photo.write_bytes(png())
    library = Library.open(place / "library", model=FakeEncoder())
    library.index(place / "photos", settings=IndexSettings(decode_workers=1))
    return One(library, place / "photos", photo, photo.read_bytes())


@pytest.fixture
def one(folder: Path) -> Iterator[One]:
    made = build(folder.parent)
    yield made
    made.library.close()


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[One]:
    """The same, for tests that change nothing."""
    made = build(tmp_path_factory.mktemp("unchanged"))
    yield made
    made.library.close()


# --- The original ---


def test_the_original_is_the_very_file(unchanged: One) -> None:
    photo = unchanged.library.open_photo(unchanged.content_hash)

    with photo.stream as stream:
        assert stream.read() == unchanged.content
    assert (photo.path, photo.name, photo.format) == (str(unchanged.photo), "a.png", "PNG")
    assert photo.byte_size == len(unchanged.content)


def test_a_hash_may_be_written_in_capitals(unchanged: One) -> None:
    with unchanged.library.open_photo(unchanged.content_hash.upper()).stream as stream:
        assert stream.read() == unchanged.content


@pytest.mark.parametrize(
    "asked", ["", "ab", "0" * 64, "g" * 64, "0" * 128, "é" * 64, " " * 64, "../../a.png", "\0" * 64]
)
def test_only_hashes_of_the_library_open_a_photo(unchanged: One, asked: str) -> None:
    for method in (
        unchanged.library.open_photo,
        unchanged.library.preview,
        unchanged.library.thumbnail,
    ):
        with pytest.raises(PhotoNotFound, match="no such photo"):
            method(asked)


def test_the_hash_of_another_library_opens_nothing(
    one: One, tmp_path: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    foreign = make_photo("../other/b.png", "blue")
    with Library.open(tmp_path / "second", model=FakeEncoder()) as second:
        second.index(tmp_path / "other", settings=settings)
        asked = second.search("blue", **WHOLE)[0].content_hash

    assert asked == hashlib.sha256(foreign.read_bytes()).hexdigest()
    with pytest.raises(PhotoNotFound):
        one.library.open_photo(asked)


def _link_to_secret(one: One, outside: Path) -> None:
    one.photo.unlink()
    one.photo.symlink_to(outside / "secret")


def _link_to_copy(one: One, outside: Path) -> None:
    """Even the right content is not fetched from outside of the root."""
    one.photo.rename(outside / "a.png")
    one.photo.symlink_to(outside / "a.png")


def _folder_link_to_secret(one: One, outside: Path) -> None:
    (outside / "secret").rename(outside / "a.png")
    shutil.rmtree(one.photo.parent)
    one.photo.parent.symlink_to(outside)


def _folder_link_to_copy(one: One, outside: Path) -> None:
    one.photo.rename(outside / "a.png")
    one.photo.parent.rmdir()
    one.photo.parent.symlink_to(outside)


def _pipe(one: One, outside: Path) -> None:
    one.photo.unlink()
    os.mkfifo(one.photo)


def _folder(one: One, outside: Path) -> None:
    one.photo.unlink()
    one.photo.mkdir()


def _other_content(one: One, outside: Path) -> None:
    one.photo.write_bytes(png("blue"))


def _other_content_of_that_size(one: One, outside: Path) -> None:
    one.photo.write_bytes(b"x" * len(one.content))


def _deleted(one: One, outside: Path) -> None:
    one.photo.unlink()


def _folder_deleted(one: One, outside: Path) -> None:
    shutil.rmtree(one.photo.parent)


@pytest.mark.parametrize(
    "replaced",
    [
        _link_to_secret,
        _link_to_copy,
        _folder_link_to_secret,
        _folder_link_to_copy,
        _pipe,
        _folder,
        _other_content,
        _other_content_of_that_size,
        _deleted,
        _folder_deleted,
    ],
)
def test_what_is_not_the_photo_any_more_is_not_found(
    one: One, tmp_path: Path, replaced: Callable[[One, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)

    replaced(one, outside)

    with pytest.raises(PhotoNotFound):
        one.read()
    with pytest.raises(PhotoNotFound):
        one.library.preview(one.content_hash)


def test_a_touched_photo_still_opens(one: One) -> None:
    os.utime(one.photo, (1_000_000, 1_000_000))

    assert one.read() == one.content


def test_a_photo_below_a_linked_root_opens(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, tmp_path: Path
) -> None:
    photo = make_photo("a.png")
    library.index(folder, settings=settings)
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    content = (tmp_path / "moved" / "a.png").read_bytes()

    with library.open_photo(hashlib.sha256(content).hexdigest()).stream as stream:
        assert stream.read() == content
    assert not photo.is_symlink()


def test_a_copy_stands_in_for_a_deleted_photo(one: One, settings: IndexSettings) -> None:
    shutil.copy(one.photo, one.root / "z.png")
    one.library.index(one.root, settings=settings)
    one.photo.unlink()

    assert one.read() == one.content


@pytest.mark.parametrize(
    "path",
    [
        "../../outside/a.png",
        "../outside/a.png",
        "sub/../../outside/a.png",
        "{outside}/a.png",
        "a\0",
    ],
)
def test_a_catalog_cannot_lead_out_of_its_roots(one: One, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").mkdir()
    # Its very content, so that only the place speaks against it.
    (tmp_path / "outside" / "a.png").write_bytes(one.content)
    one.say_in_catalog(path.format(outside=tmp_path / "outside"))

    for method in (one.library.open_photo, one.library.preview):
        with pytest.raises(PhotoNotFound):
            method(one.content_hash)


# --- A preview of any format ---


def _tiff(path: Path) -> None:
    Image.new("RGB", (900, 600), "red").save(path, "TIFF")


def _grey_of_16_bits(path: Path) -> None:
    Image.new("I;16", (900, 600), 0x80FF).save(path, "PNG")


def _heic(path: Path) -> None:
    pillow_heif.from_pillow(Image.new("RGB", (900, 600), "red")).save(path, quality=50)


def _turned(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (600, 900), "red").save(path, "JPEG", exif=exif)


@pytest.mark.parametrize("write", [_tiff, _grey_of_16_bits, _heic, _turned])
def test_a_preview_is_an_upright_jpeg_of_bounded_size(
    library: Library, folder: Path, settings: IndexSettings, write: Callable[[Path], None]
) -> None:
    write(folder / "a")
    library.index(folder, settings=settings)
    content_hash = hashlib.sha256((folder / "a").read_bytes()).hexdigest()

    small = Image.open(io.BytesIO(library.preview(content_hash, edge=300)))
    whole = Image.open(io.BytesIO(library.preview(content_hash)))

    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (300, 200))
    assert (whole.format, whole.size) == ("JPEG", (900, 600))


@pytest.mark.parametrize("write", [_tiff, _heic])
def test_what_cannot_be_decoded_has_no_preview(
    one: One, write: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch.settings.DecodeLimits", lambda: DecodeLimits(max_pixels=100))

    with pytest.raises(ImageUnreadable, match="too large"):
        one.library.preview(one.content_hash)


# --- A picture from outside ---


def _bomb() -> bytes:
    """Return a small file that decodes to 400 megapixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(20_000 * (1 + 20_000 // 8)), 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"garbage" * 1_000, "not an image"),
        (png()[:60], "damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (bytes(DecodeLimits().max_upload_bytes + 1), "too large; the limit is 32 MB"),
        (_bomb(), "too large: 20000 x 20000 pixels"),
    ],
    ids=["empty", "garbage", "half", "svg", "eps", "long", "bomb"],
)
def test_what_cannot_be_looked_at(unchanged: One, content: bytes, reason: str) -> None:
    with pytest.raises(ImageUnreadable, match=reason):
        unchanged.library.look_at(content)

    assert unchanged.library.look_at(unchanged.content).content_hash == unchanged.content_hash


def test_looking_at_a_photo_finds_it_first(
    one: One, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    for number, colour in enumerate(("green", "blue", "yellow")):
        make_photo(f"{colour}.png", colour, mark=number)
    one.library.index(one.root, settings=settings)

    reference = one.library.look_at(one.content)
    results = one.library.search(like=reference, **WHOLE)

    assert (results[0].content_hash, results.total) == (one.content_hash, 4)
    assert results[0].score == pytest.approx(1.0, abs=1e-3)
    assert Image.open(io.BytesIO(reference.thumbnail)).size == (40, 30)


def test_words_and_a_picture_from_outside_together(
    one: One, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("yellow.png", "yellow")
    one.library.index(one.root, settings=settings)

    results = one.library.search("green", like=one.library.look_at(one.content), **WHOLE)

    assert results[0].name == "yellow.png"


def test_a_picture_seen_by_another_model_is_refused(unchanged: One) -> None:
    reference: PictureReference = unchanged.library.look_at(unchanged.content)

    with pytest.raises(ModelNotFound, match="again"):
        unchanged.library.search(like=replace(reference, revision="2"), **WHOLE)


@pytest.fixture
def sabotaged(one: One, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> One:
    """A library whose decoder dies of b"CRASH", hangs at b"SLEEP", and has a second for each."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(site))
    limits = DecodeLimits(stall_seconds=1.0)
    monkeypatch.setattr("imgsearch.settings.DecodeLimits", lambda: limits)
    return one


@pytest.mark.parametrize(
    ("attack", "reason"), [(b"CRASH", "crashed"), (b"SLEEP", "within 1 seconds")]
)
def test_an_attack_costs_its_own_call_only(sabotaged: One, attack: bytes, reason: str) -> None:
    for _ in range(2):
        with pytest.raises(ImageUnreadable, match=reason):
            sabotaged.library.look_at(attack)

        reference = sabotaged.library.look_at(sabotaged.content)
        assert reference.content_hash == sabotaged.content_hash
        assert sabotaged.library.preview(sabotaged.content_hash)[:2] == b"\xff\xd8"


def test_a_hanging_decoder_holds_up_no_search(sabotaged: One) -> None:
    library = sabotaged.library
    library.search("red", **WHOLE)
    library.look_at(sabotaged.content)
    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(library.look_at, b"SLEEP")
        # Long enough to be at it, short enough for it to go on.
        threading.Event().wait(0.2)

        found = library.search("red", **WHOLE)

        assert not looking.done()
        assert len(found) == 1
        assert isinstance(looking.exception(), ImageUnreadable)


def test_closing_ends_the_decoder_and_the_library_goes_on(unchanged: One) -> None:
    unchanged.library.look_at(unchanged.content)
    unchanged.library.close()

    assert unchanged.library.look_at(unchanged.content).content_hash == unchanged.content_hash


# --- Many at once ---


class OneAtATime(FakeEncoder):
    """A fake that, like some models, must not be asked by two threads at once."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = threading.Lock()

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed as the fake does, slowly."""
        assert self._asked.acquire(blocking=False), "two threads at once"
        try:
            time.sleep(0.002)
            return super().encode_texts(texts)
        finally:
            self._asked.release()


def test_eight_readers_while_another_library_indexes(
    folder: Path, make_photo: MakePhoto, settings: IndexSettings, tmp_path: Path
) -> None:
    library = Library.open(tmp_path / "library", model=OneAtATime())
    for number in range(10):
        make_photo(f"{number}.png", "red", mark=number)
    library.index(folder, settings=settings)
    done = threading.Event()
    started = threading.Barrier(9)

    def read(number: int) -> int:
        rounds = 0
        started.wait()
        while not done.is_set() or not rounds:
            [hit] = library.search("red", limit=1, offset=number % 5, **WHOLE)
            jpeg = library.thumbnail(hit.content_hash)
            assert Image.open(io.BytesIO(jpeg)).size == (40, 30)
            with library.open_photo(hit.content_hash).stream as stream:
                assert hashlib.sha256(stream.read()).hexdigest() == hit.content_hash
            assert library.facets().pictures >= 10
            assert len(library.search(sort="date", limit=5)) == 5
            rounds += 1
        return rounds

    with ThreadPoolExecutor(8) as readers:
        reading = [readers.submit(read, number) for number in range(8)]
        started.wait()
        try:
            with Library.open(library.path, model=FakeEncoder()) as other:
                for turn in range(3):
                    for number in range(8):
                        make_photo(f"{turn} {number}.png", "blue", mark=10 + turn * 8 + number)
                    assert other.index(folder, settings=settings).added == 8
        finally:
            done.set()
        rounds = [one.result() for one in reading]

    assert min(rounds) >= 1
    assert library.search("blue", limit=100, **WHOLE).total == 34
    library.close()


def test_thumbnails_are_made_by_eight_threads_at_once(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    for number in range(8):
        make_photo(f"{number}.png", "red", mark=number)
    library.index(folder, settings=settings)
    hashes = [hit.content_hash for hit in library.search("red", **WHOLE)]
    library.close()
    for path in library.path.glob("thumbnails.sqlite*"):
        path.unlink()

    with ThreadPoolExecutor(8) as readers:
        made = list(readers.map(library.thumbnail, hashes * 3))

    assert made[:8] == made[8:16] == made[16:]
    assert all(jpeg[:2] == b"\xff\xd8" for jpeg in made)
