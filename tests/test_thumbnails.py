"""Thumbnails: made while indexing, made again when needed, and never a reason to fail."""

from __future__ import annotations

import io
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import WHOLE, MakePhoto
from PIL import ExifTags, Image, ImageCms

from imgsearch import IndexSettings, Library, PhotoNotFound
from imgsearch.data.thumbnail_store import FILE_NAME, ThumbnailStore, unsealed
from imgsearch.encoders.base import ModelDescription, Preprocessing, Resize
from imgsearch.encoders.fake import FakeEncoder

LONGEST = 768


class CroppingEncoder(FakeEncoder):
    """A fake whose preprocessing keeps proportions, so that thumbnails are made from its pixels."""

    @property
    def description(self) -> ModelDescription:
        """The fake's, with the geometry of CLIP."""
        return replace(super().description, preprocessing=Preprocessing(256, Resize.CROP))


def hash_of(library: Library, name: str) -> str:
    [found] = [hit for hit in library.search("red", limit=1000, **WHOLE) if hit.name == name]
    return found.content_hash


def cached(library: Library) -> dict[str, bytes]:
    """Return what the cache holds, read behind the library's back."""
    connection = sqlite3.connect(library.path / FILE_NAME)
    rows = connection.execute("SELECT content_hash, jpeg FROM thumbnail").fetchall()
    connection.close()
    return {content_hash.hex(): unsealed(jpeg) or b"" for content_hash, jpeg in rows}


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    image.load()
    return image


def top_red_bottom_blue(size: tuple[int, int]) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, "red")
    image.paste("blue", (0, height // 2, width, height))
    return image


# --- What a thumbnail looks like ---


# Name -> size of the picture as it stands upright. All are red above and blue below.
PICTURES = {
    "large.png": (2000, 1500),
    "large.jpg": (2400, 1600),
    "tall.png": (800, 1600),
    "medium.png": (400, 300),
    "small.png": (40, 30),
    "strip.png": (12, 4000),
    "wide strip.png": (4000, 12),
    "dot.png": (2, 2),
    **{f"turned {tag}.jpg": (1200, 900) for tag in range(2, 9)},
    "turned 6.png": (600, 1000),
}
UNDO = {
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}


@dataclass(frozen=True)
class Wall:
    """A library of `PICTURES`, and its thumbnails as they are right after indexing."""

    library: Library
    thumbnails: dict[str, bytes]


@pytest.fixture(scope="module", params=[FakeEncoder(), CroppingEncoder()], ids=["own", "encoder's"])
def wall(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Wall]:
    place = tmp_path_factory.mktemp("wall")
    (place / "photos").mkdir()
    for name, size in PICTURES.items():
        image = top_red_bottom_blue(size)
        exif = Image.Exif()
        if name.startswith("turned"):
            tag = int(name.split()[1][0])
            exif[ExifTags.Base.Orientation] = tag
            for method in UNDO[tag]:
                image = image.transpose(method)
        image.save(place / "photos" / name, exif=exif)
    with Library.open(place / "library", model=request.param) as library:
        library.index(place / "photos", settings=IndexSettings(decode_workers=2))
        hits = library.search("red", limit=1000, **WHOLE)
        held = cached(library)
        assert held.keys() == {hit.content_hash for hit in hits}
        yield Wall(library, {hit.name: held[hit.content_hash] for hit in hits})


def test_every_picture_has_a_thumbnail_after_indexing(wall: Wall) -> None:
    assert wall.thumbnails.keys() == PICTURES.keys()


@pytest.mark.parametrize("name", PICTURES)
def test_a_thumbnail_is_an_upright_jpeg_of_bounded_size(wall: Wall, name: str) -> None:
    width, height = PICTURES[name]

    image = opened(wall.thumbnails[name])

    assert (image.format, image.mode) == ("JPEG", "RGB")
    assert max(image.size) <= min(LONGEST, max(width, height))
    assert image.height * width == pytest.approx(image.width * height, abs=max(width, height))
    if min(image.size) < 8:
        return  # JPEG halves the resolution of colours.
    top = image.getpixel((image.width // 2, 0))
    bottom = image.getpixel((image.width // 2, image.height - 1))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[0] > top[2] + 60, "red should be above"
    assert bottom[2] > bottom[0] + 60, "blue should be below"


def test_small_pictures_keep_their_size(wall: Wall) -> None:
    assert opened(wall.thumbnails["small.png"]).size == (40, 30)
    assert opened(wall.thumbnails["dot.png"]).size == (2, 2)


def test_large_pictures_stay_large_enough_to_show(wall: Wall) -> None:
    assert min(opened(wall.thumbnails["large.png"]).size) == 256


def test_the_cache_is_what_the_library_gives(wall: Wall) -> None:
    name = "large.jpg"

    assert wall.library.thumbnail(hash_of(wall.library, name)) == wall.thumbnails[name]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (0, 0, 255, 0), (255, 255, 255)),
        ("L", 200, (200, 200, 200)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 0x80FF, (128, 128, 128)),
        ("P", 0, (0, 0, 0)),
        ("CMYK", (0, 255, 255, 0), (254, 0, 0)),
    ],
)
def test_any_mode_becomes_rgb(
    library: Library,
    folder: Path,
    settings: IndexSettings,
    mode: str,
    colour: int | tuple[int, ...],
    expected: tuple[int, int, int],
) -> None:
    Image.new(mode, (40, 30), colour).save(folder / "a.tif")
    library.index(folder, settings=settings)

    image = opened(library.thumbnail(hash_of(library, "a.tif")))

    assert image.mode == "RGB"
    assert image.getpixel((20, 15)) == pytest.approx(expected, abs=3)


def test_of_the_metadata_only_the_colour_profile_is_kept(
    library: Library, folder: Path, settings: IndexSettings
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Secret Camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    Image.new("RGB", (400, 300), "red").save(
        folder / "a.jpg", icc_profile=profile, exif=exif, comment=b"secret"
    )
    library.index(folder, settings=settings)

    content = library.thumbnail(hash_of(library, "a.jpg"))

    image = opened(content)
    assert image.info["icc_profile"] == profile
    assert not image.getexif()
    assert b"ecret" not in content


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_the_profile_of_a_picture_that_becomes_rgb_is_kept(
    library: Library, folder: Path, settings: IndexSettings, mode: str
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (40, 30), "red").convert(mode).save(folder / "a.png", icc_profile=profile)
    library.index(folder, settings=settings)

    image = opened(library.thumbnail(hash_of(library, "a.png")))

    assert image.info.get("icc_profile") == profile


# --- A cache may be anything at all ---


@dataclass(frozen=True)
class One:
    """A closed library with a single photo, and the photo's thumbnail."""

    library: Library
    photo: Path
    content_hash: str
    thumbnail: bytes

    @property
    def cache(self) -> Path:
        """Where the thumbnails lie."""
        return self.library.path / FILE_NAME

    def forget(self) -> None:
        """Delete the cache."""
        for ending in ("", "-wal", "-shm"):
            Path(f"{self.cache}{ending}").unlink(missing_ok=True)


@pytest.fixture
def one(library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings) -> One:
    photo = make_photo("a.png", "red")
    library.index(folder, settings=settings)
    content_hash = hash_of(library, "a.png")
    library.close()
    return One(library, photo, content_hash, cached(library)[content_hash])


def test_a_deleted_cache_is_made_again(one: One) -> None:
    one.forget()

    made = one.library.thumbnail(one.content_hash)

    assert made == one.thumbnail
    assert cached(one.library) == {one.content_hash: made}


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty", "pages", "other table"])
def test_a_damaged_cache_is_replaced(one: One, damage: str) -> None:
    generator = random.Random(0)
    content = one.cache.read_bytes()
    if damage == "garbage":
        one.cache.write_bytes(generator.randbytes(5_000))
    elif damage == "truncated":
        os.truncate(one.cache, len(content) // 2)
    elif damage == "empty":
        os.truncate(one.cache, 0)
    elif damage == "pages":
        one.cache.write_bytes(content[:100] + generator.randbytes(len(content) - 100))
    else:
        one.forget()
        connection = sqlite3.connect(one.cache)
        connection.execute("CREATE TABLE thumbnail (other)")
        connection.close()

    assert one.library.thumbnail(one.content_hash) == one.thumbnail
    assert one.library.thumbnail(one.content_hash) == one.thumbnail
    assert cached(one.library) == {one.content_hash: one.thumbnail}


def test_a_damaged_cache_does_not_disturb_indexing(
    one: One, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    one.cache.write_bytes(b"garbage" * 1_000)
    make_photo("b.png", "blue")

    assert one.library.index(folder, settings=settings).added == 1
    for name in ("a.png", "b.png"):
        assert opened(one.library.thumbnail(hash_of(one.library, name))).size == (40, 30)


def test_a_cache_that_cannot_be_opened_does_not_disturb(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.png")
    (library.path / FILE_NAME / "inside").mkdir(parents=True)

    report = library.index(folder, settings=settings)

    assert (report.added, report.failed) == (1, 0)
    assert opened(library.thumbnail(hash_of(library, "a.png"))).size == (40, 30)
    assert library.remove(folder) == 1
    assert (library.path / FILE_NAME / "inside").is_dir()


def open_to_all(tmp_path: Path) -> None:
    """Let the user that `without_privileges` becomes reach, and only read, the test's folder."""
    for parent in (tmp_path, *tmp_path.parents):
        if "pytest" in str(parent):
            parent.chmod(0o755)


def test_a_library_that_cannot_be_written_shows_what_it_has(
    one: One,
    tmp_path: Path,
    without_privileges: Callable[[], AbstractContextManager[None]],
) -> None:
    open_to_all(tmp_path)
    one.library.path.chmod(0o555)
    one.photo.unlink()

    with without_privileges():
        shown = one.library.thumbnail(one.content_hash)
    one.library.path.chmod(0o755)

    assert shown == one.thumbnail


def test_a_library_that_cannot_be_written_makes_what_it_has_not(
    one: One,
    tmp_path: Path,
    without_privileges: Callable[[], AbstractContextManager[None]],
) -> None:
    open_to_all(tmp_path)
    one.forget()
    one.library.path.chmod(0o555)
    # That user cannot start this interpreter everywhere: the decoding process runs already.
    one.library.look_at(one.photo.read_bytes())

    with without_privileges():
        shown = one.library.thumbnail(one.content_hash)
    one.library.path.chmod(0o755)

    assert shown == one.thumbnail
    assert not one.cache.exists()


def test_a_thumbnail_outlives_its_photo(one: One) -> None:
    one.photo.unlink()

    assert one.library.thumbnail(one.content_hash) == one.thumbnail


# --- What is gone is gone ---


def test_a_removed_root_takes_its_thumbnails_along(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("gone/a.png", "red")
    make_photo("kept/b.png", "blue")
    library.index([folder / "gone", folder / "kept"], settings=settings)
    gone, kept = hash_of(library, "a.png"), hash_of(library, "b.png")
    library.thumbnail(gone)

    library.remove(folder / "gone")

    assert cached(library).keys() == {kept}
    assert library.thumbnail(kept)
    with pytest.raises(PhotoNotFound):
        library.thumbnail(gone)


def test_thumbnails_of_forgotten_photos_are_dropped(one: One, make_photo: MakePhoto) -> None:
    make_photo("b.png", "blue")
    one.photo.unlink()

    one.library.index(one.photo.parent, settings=IndexSettings(decode_workers=1, orphan_days=0.0))

    assert cached(one.library).keys() == {hash_of(one.library, "b.png")}


def test_a_photo_that_has_changed_gives_no_thumbnail(one: One, make_photo: MakePhoto) -> None:
    one.forget()
    make_photo("a.png", "blue", mark=3)

    with pytest.raises(PhotoNotFound, match="changed"):
        one.library.thumbnail(one.content_hash)
    assert cached(one.library) == {}


def test_a_photo_that_changes_unnoticed_gives_no_thumbnail(one: One, make_photo: MakePhoto) -> None:
    before = one.photo.stat()
    one.forget()
    make_photo("a.png", "blue", mark=3)
    content = one.photo.read_bytes().ljust(before.st_size, b"\0")
    one.photo.write_bytes(content[: before.st_size])
    os.utime(one.photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert one.photo.stat().st_size == before.st_size

    with pytest.raises(PhotoNotFound, match="changed"):
        one.library.thumbnail(one.content_hash)


@pytest.mark.parametrize("asked", ["", "00", "0" * 64, "g" * 64, "A" * 63, "é" * 64, " " * 64])
def test_an_unknown_hash_gives_no_thumbnail(wall: Wall, asked: str) -> None:
    with pytest.raises(PhotoNotFound):
        wall.library.thumbnail(asked)


def test_the_store_is_usable_after_closing(tmp_path: Path) -> None:
    key = b"\x01" * 32
    with ThumbnailStore(tmp_path) as store:
        store.add({key: b"first"})
        store.close()
        store.add({key: b"second"})

        assert (store.get(key), store.get(b"\x02" * 32)) == (b"second", None)
