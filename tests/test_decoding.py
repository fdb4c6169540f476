"""From file bytes to an upright RGB picture: modes, formats, limits, orientations."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from conftest import EXAMPLES
from PIL import Image

from imgsearch.encoders.base import Preprocessing, Resize
from imgsearch.encoders.decode import decode
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.errors import ImageUnreadable
from imgsearch.settings import DecodeLimits

LIMITS = DecodeLimits()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the file bytes of `image`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def colour_of(data: bytes) -> tuple[int, int, int]:
    """Return the colour in the middle of the decoded picture."""
    rgb = decode(data, LIMITS).rgb
    assert rgb.mode == "RGB"
    return rgb.getpixel((rgb.width // 2, rgb.height // 2))  # type: ignore[return-value]


def close(colour: tuple[int, int, int], wanted: tuple[int, int, int], by: int = 12) -> bool:
    """Tell whether two colours differ by at most `by` per channel (lossy formats)."""
    return max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) <= by


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "TGA", "JPEG2000", "ICO"]
)
def test_formats_of_pillow(kind: str) -> None:
    data = saved(Image.new("RGB", (64, 64), (200, 40, 60)), kind)

    assert close(colour_of(data), (200, 40, 60))


def test_heic() -> None:
    buffer = io.BytesIO()
    heif = pillow_heif.from_pillow(Image.new("RGB", (64, 64), (200, 40, 60)))
    heif.save(buffer, quality=90)

    photo = decode(buffer.getvalue(), LIMITS)

    assert photo.format == "HEIF"
    assert close(photo.rgb.getpixel((30, 30)), (200, 40, 60))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_goes_on_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    if mode == "P":
        paletted = Image.new("P", (8, 8), 0)
        data = saved(paletted, "PNG", transparency=0)
    else:
        data = saved(clear.convert(mode), "PNG")

    assert colour_of(data) == (255, 255, 255)


def test_half_transparency_is_blended() -> None:
    data = saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG")

    assert close(colour_of(data), (127, 127, 127), by=1)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.full((8, 8), 0x8040, dtype=np.uint16))

    assert colour_of(saved(grey, "PNG")) == (0x80, 0x80, 0x80)
    assert colour_of(saved(grey, "TIFF")) == (0x80, 0x80, 0x80)


@pytest.mark.parametrize(("value", "wanted"), [(0.5, 127), (200.0, 200)])
def test_float_pictures(value: float, wanted: int) -> None:
    data = saved(Image.fromarray(np.full((8, 8), value, dtype=np.float32)), "TIFF")

    assert colour_of(data) == (wanted,) * 3


def test_cmyk_grey_bilevel_and_lab() -> None:
    assert close(
        colour_of(saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG")), (254, 0, 0)
    )
    assert colour_of(saved(Image.new("L", (8, 8), 90), "PNG")) == (90, 90, 90)
    assert colour_of(saved(Image.new("1", (8, 8), 1), "PNG")) == (255, 255, 255)
    assert close(colour_of(saved(Image.new("LAB", (8, 8), (255, 128, 128)), "TIFF")), (255,) * 3)


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])

        assert close(colour_of(data), (255, 0, 0))


def two_coloured(orientation: int, kind: str = "JPEG") -> bytes:
    """Return a picture file, stored as `orientation` says, whose upright left half is red."""
    upright = Image.new("RGB", (64, 32), "blue")
    upright.paste("red", (0, 0, 32, 32))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(stored, kind, exif=exif)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_stands_upright(orientation: int, kind: str) -> None:
    photo = decode(two_coloured(orientation, kind), LIMITS)

    assert photo.rgb.size == (photo.width, photo.height) == (64, 32)
    assert close(photo.rgb.getpixel((8, 16)), (254, 0, 0))  # type: ignore[arg-type]
    assert close(photo.rgb.getpixel((56, 16)), (0, 0, 254))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_senseless_orientation_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    data = saved(Image.new("RGB", (20, 10), "red"), "PNG", exif=exif.tobytes())

    assert decode(data, LIMITS).rgb.size == (20, 10)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"\xff\xd8\xff\xe0 and then nothing",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ImageUnreadable, match=r"\w"):
        decode(data, LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    whole = saved(Image.effect_noise((200, 200), 90).convert("RGB"), kind)

    with pytest.raises(ImageUnreadable, match=r"damaged"):
        decode(whole[: len(whole) // 2], LIMITS)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of the given size without any pixel data: a bomb costs nothing to make."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    data = png_header(30_000, 30_000) + b"\0\0\0\0IDAT"

    with pytest.raises(ImageUnreadable, match="too large"):
        decode(data, LIMITS)


def test_the_pixel_limit_is_exact() -> None:
    data = saved(Image.new("RGB", (100, 100)), "PNG")

    assert decode(data, DecodeLimits(max_pixels=10_000)).width == 100
    with pytest.raises(ImageUnreadable, match="too large"):
        decode(data, DecodeLimits(max_pixels=9_999))


def test_exif_that_cannot_be_parsed_does_not_cost_the_pixels() -> None:
    data = saved(Image.new("RGB", (8, 8), "red"), "PNG", exif=b"Exif\0\0II*\0")

    assert colour_of(data) == (255, 0, 0)


def test_pillows_own_limit_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS

    with pytest.raises(ImageUnreadable):
        decode(png_header(30_000, 30_000) + b"\0\0\0\0IDAT", LIMITS)

    assert before == Image.MAX_IMAGE_PIXELS


def test_a_reduced_decode_keeps_the_size_facts() -> None:
    data = saved(Image.new("RGB", (1600, 1200), "red"), "JPEG")

    photo = decode(data, LIMITS, reduce_for=Preprocessing(size=64))

    assert (photo.width, photo.height) == (1600, 1200)
    assert photo.rgb.size == (400, 300)


@pytest.mark.parametrize("name", ["cat.jpg", "coffee.jpg", "rocket_launch.jpg", "blue_dress.jpg"])
def test_crop_equals_the_reference_processor(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    image = Image.open(EXAMPLES / name).convert("RGB")
    reference = transformers.CLIPImageProcessor(do_normalize=False, do_rescale=False)

    wanted = np.asarray(reference(image, return_tensors="np")["pixel_values"][0])
    ours = to_pixels(image, Preprocessing(size=224), exact=True).transpose(2, 0, 1)

    assert np.abs(ours.astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("resample", ["bicubic", "bilinear", "lanczos", "box", "hamming"])
def test_the_fast_filters_stay_near_the_reference(resample: str) -> None:
    for path in sorted(EXAMPLES.glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        geometry = Preprocessing(size=224, resample=resample)

        fast = to_pixels(image, geometry).astype(int)
        difference = np.abs(fast - to_pixels(image, geometry, exact=True).astype(int))

        assert (difference > 1).mean() < 0.01, path.name
        assert difference.max() <= 16, path.name


def test_squash_keeps_the_whole_picture() -> None:
    image = Image.new("RGB", (100, 20), "blue")
    image.paste("red", (0, 0, 10, 20))

    pixels = to_pixels(image, Preprocessing(size=20, resize=Resize.SQUASH))

    assert pixels.shape == (20, 20, 3)
    assert pixels[10, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1), (33, 34)])
def test_extreme_shapes_give_full_pixels(size: tuple[int, int]) -> None:
    for resize in Resize:
        pixels = to_pixels(Image.new("RGB", size, "red"), Preprocessing(size=32, resize=resize))

        assert pixels.shape == (32, 32, 3)
        assert (pixels == (255, 0, 0)).all()


def test_every_example_photo_decodes() -> None:
    photos: list[Path] = sorted(EXAMPLES.glob("*.jpg"))

    assert len(photos) >= 12
    assert all(decode(path.read_bytes(), LIMITS).rgb.width > 200 for path in photos)
