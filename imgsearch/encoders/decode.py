"""From the bytes of an image file to an upright RGB picture, within limits.

Only formats whose decoders are part of Pillow or pillow-heif are opened; those that run other
programs (EPS) or are no pictures (PDF, SVG) are not. What is opened may still crash its decoder:
this is for the processes of `indexer.worker`, which may die.
"""

from __future__ import annotations

import errno
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from imgsearch.encoders.base import Preprocessing
from imgsearch.encoders.preprocess import draft_size
from imgsearch.errors import ImageUnreadable
from imgsearch.settings import DecodeLimits

FORMATS = ("AVIF BMP DIB GIF HEIF ICO ICNS JPEG JPEG2000 PCX PNG PPM PSD SGI TGA TIFF WEBP").split()
# The modules of Pillow that bring them (an MPO opens as a JPEG); HEIF comes from pillow-heif.
_PLUGINS = ("Avif Bmp Gif Icns Ico Jpeg Jpeg2K Mpo Pcx Png Ppm Psd Sgi Tga Tiff WebP").split()
_ORIENTATION_TAG = 0x0112
_TIFF_XMP, _TIFF_IPTC = 700, 33723
# Where IPTC stands among the blocks that Photoshop puts into a JPEG.
_PHOTOSHOP_IPTC = 0x0404
# Real XMP packets have 2 to 20 kB, with the history of a Photoshop file some hundreds.
_MAX_METADATA = 1 << 20
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The profiles of cameras and phones have about 500 to 3,000 bytes, those of printers megabytes.
_MAX_PROFILE = 4096
# The decoders of these formats make room for the pixels, or decode, when a file is opened.
_HUNGRY_AT_OPENING = {b"\0\0\1\0": ("ICO",), b"RIFF": ("WEBP",)}
# Formats whose headers tell how many pictures a file holds. Of the others only the first is found.
_COUNTED = ("AVIF", "HEIF", "PNG", "WEBP")
# Above so many pixels (no JPEG, which is decoded reduced) a copy of all of them is too much.
_MAX_WHOLE_PIXELS = 32_000_000
_BAND_PIXELS = 4_000_000
# Formats whose decoders turn the picture upright themselves.
_UPRIGHT_BY_DECODER = ("HEIF", "TIFF")
# What Pillow and its plugins raise on damaged input, pixels and EXIF: observed on fuzzed files.
HOSTILE_INPUT_ERRORS = (
    OSError,
    struct.error,
    ImageCms.PyCMSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    OverflowError,
    LookupError,
    zlib.error,
)
# What documents that are no pictures begin with, and what to call them.
_DOCUMENTS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"<svg", "an SVG drawing"),
    (b"<!DOCTYPE svg", "an SVG drawing"),
    (b"<!DOCTYPE html", "a web page"),
    (b"<html", "a web page"),
)
_HEAD_BYTES = 1_024
_MAX_REASON = 200
TOO_MUCH_MEMORY = "decoding needs more memory than is allowed"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says besides its pixels, unjudged; each may be empty.

    `xmp` is an XML packet and `iptc` a row of IPTC-IIM data sets, both of at most 1 MiB.
    """

    exif: Image.Exif
    xmp: bytes = b""
    iptc: bytes = b""


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded picture: `rgb` stands upright; `width` and `height` are those of the full picture.

    With a reduced decode `rgb` is smaller than that; `icc_profile` says what the colours of `rgb`
    mean where that is not sRGB.
    """

    rgb: Image.Image
    width: int
    height: int
    format: str
    orientation: int
    metadata: Metadata
    icc_profile: bytes | None = None


def decode(data: bytes, limits: DecodeLimits, reduce_for: Preprocessing | None = None) -> Photo:
    """Decode the bytes of an image file.

    With `reduce_for`, a JPEG is decoded at a fraction of its size as far as that preprocessing
    allows. Raises ImageUnreadable with a reason that makes sense to the photo's owner.
    """
    register_formats()
    if not data:
        raise ImageUnreadable("the file is empty")
    with warnings.catch_warnings():
        # Pillow warns about odd but readable files; the limits below are the ones that count.
        warnings.simplefilter("ignore")
        try:
            return _decode(data, limits, reduce_for)
        except UnidentifiedImageError as error:
            raise ImageUnreadable(_why_unknown(data[:_HEAD_BYTES])) from error
        except Image.DecompressionBombError as error:
            raise _too_large(limits) from error
        except MemoryError as error:
            raise ImageUnreadable(TOO_MUCH_MEMORY) from error
        except HOSTILE_INPUT_ERRORS as error:
            raise ImageUnreadable(_why_damaged(error)) from error


def _decode(data: bytes, limits: DecodeLimits, reduce_for: Preprocessing | None) -> Photo:
    image = _opened(io.BytesIO(data), data[:4], limits)
    width, height = image.size
    exif = _exif(image)
    orientation = _orientation(exif)
    if reduce_for is not None and image.format in ("JPEG", "MPO"):
        image.draft(None, draft_size(reduce_for))
    if _coefficient_bytes(image, width * height) > limits.memory_bytes:
        raise ImageUnreadable(TOO_MUCH_MEMORY)
    # Pillow raises at twice its limit, for the frames inside icons and animations too.
    with _pillow_limit(limits.max_pixels // 2):
        image.load()
    if image.format in _UPRIGHT_BY_DECODER:
        width, height = image.size
    rgb = _rgb_for(image, reduce_for)
    if image.format not in _UPRIGHT_BY_DECODER:
        if orientation in _TRANSPOSE:
            rgb = rgb.transpose(_TRANSPOSE[orientation])
        if orientation >= 5:
            width, height = height, width
    profile = _icc_profile(image)
    # Some formats keep their metadata behind the pixels.
    metadata = _metadata(image, exif)
    return Photo(rgb, width, height, image.format or "unknown", orientation, metadata, profile)


def _opened(file: BinaryIO, start: bytes, limits: DecodeLimits) -> Image.Image:
    """Open an image file that begins with the four bytes `start`, if it is within the limits."""
    # Opening mostly reads headers only; the size is judged here, where it can be told to the owner.
    formats = _HUNGRY_AT_OPENING.get(start)
    with _pillow_limit(None if formats is None else limits.max_pixels // 2):
        image = Image.open(file, formats=formats or FORMATS)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise _too_large(limits, width, height)
    if width < 1 or height < 1:
        raise ImageUnreadable("the picture has no pixels")
    frames = getattr(image, "n_frames", 1) if image.format in _COUNTED else 1
    if frames > limits.max_frames:
        raise ImageUnreadable(
            f"too many pictures in one file: {frames}; the limit is {limits.max_frames}"
        )
    return image


def _coefficient_bytes(image: Image.Image, pixels: int) -> int:
    """Return what the decoder of a progressive JPEG of so many pixels needs; 0 for others.

    It keeps all coefficients of the full picture, 2 bytes each, however reduced it decodes, and
    only says "broken" when there is no room for them.
    """
    layers = [(int(layer[1]), int(layer[2])) for layer in getattr(image, "layer", ())]
    if not layers or not image.info.get("progressive"):
        return 0
    most = max(1, max(across for across, _ in layers) * max(down for _, down in layers))
    return 2 * pixels * sum(across * down for across, down in layers) // most


def _why_damaged(error: Exception) -> str:
    """Return what to say of a file whose decoder raised this."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return TOO_MUCH_MEMORY
    # What is quoted from a file may hold anything.
    said = "".join(c if c.isprintable() else " " for c in str(error))
    return f"damaged: {' '.join(said.split())[:_MAX_REASON] or type(error).__name__}"


def _why_unknown(head: bytes) -> str:
    """Return why a file that begins so is not opened."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for start, name in _DOCUMENTS:
        if text[: len(start)].lower() == start.lower():
            return f"{name}, not an image in a supported format"
    if text.startswith(b"<") and b"<svg" in text.lower():
        return "an SVG drawing, not an image in a supported format"
    return "not an image in a supported format, or damaged"


def read_metadata(file: BinaryIO, limits: DecodeLimits) -> Metadata:
    """Read what an image file says besides its pixels, which are decoded only where it must be.

    Raises ImageUnreadable if it is no image, or the OSError of a file that cannot be read.
    """
    register_formats()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            start = file.read(4)
            file.seek(0)
            image = _opened(file, start, limits)
            metadata = _metadata(image, _exif(image))
            # Pillow reads some tags when they are asked for, and the file will be closed then.
            for block in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                with suppress(*HOSTILE_INPUT_ERRORS):
                    metadata.exif.get_ifd(block)
            return metadata
        except (*HOSTILE_INPUT_ERRORS, Image.DecompressionBombError, MemoryError) as error:
            raise ImageUnreadable("not an image in a supported format, or damaged") from error


@contextmanager
def _pillow_limit(pixels: int | None) -> Iterator[None]:
    """Set Pillow's own limit, which is the whole process's, and put it back."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _rgb_for(image: Image.Image, reduce_for: Preprocessing | None) -> Image.Image:
    """Return a decoded picture as `to_rgb` does; a large one in bands, reduced where it may be.

    A band of full rows is converted and averaged before the next, as a JPEG is decoded reduced.
    """
    width, height = image.size
    if width * height <= _MAX_WHOLE_PIXELS:
        return to_rgb(image)
    factor = 1 if reduce_for is None else min(width, height) // draft_size(reduce_for)[0]
    if image.mode in ("I", "F"):
        # Their scale is that of the brightest pixel.
        return to_rgb(image).reduce(max(1, factor))
    if factor <= 1 and _is_plain(image):
        return image
    factor = max(1, factor)
    reduced = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = max(1, _BAND_PIXELS // width // factor) * factor
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        reduced.paste(to_rgb(band).reduce(factor), (0, top // factor))
    return reduced


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture as 8-bit RGB: transparency on white, 16 bits and floats scaled to 8."""
    if _is_plain(image):
        return image
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 instead of scaling.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return _scaled_to_bytes(image).convert("RGB")
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _is_plain(image: Image.Image) -> bool:
    return image.mode == "RGB" and "transparency" not in image.info


def _scaled_to_bytes(image: Image.Image) -> Image.Image:
    """Map integers of up to 16 bits, or floats in 0..1 or 0..255, to 8-bit grey."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    peak = values.max(initial=0.0)
    if image.mode == "F" and peak <= 1.0:
        values = values * 255.0
    elif peak > 255.0:
        values = values * (255.0 / max(peak, 65_535.0))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise ImageUnreadable("its LAB colours cannot be converted")
    return converted


def _exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except HOSTILE_INPUT_ERRORS:
        # Broken facts are no reason to refuse a picture whose pixels are fine.
        return Image.Exif()


def _orientation(exif: Image.Exif) -> int:
    try:
        value = exif.get(_ORIENTATION_TAG, 1)
    except HOSTILE_INPUT_ERRORS:
        return 1
    return value if isinstance(value, int) and value in _TRANSPOSE else 1


def _metadata(image: Image.Image, exif: Image.Exif) -> Metadata:
    return Metadata(exif, _block_of(image, "xmp", _TIFF_XMP), _iptc(image))


def _iptc(image: Image.Image) -> bytes:
    blocks = image.info.get("photoshop")
    block = blocks.get(_PHOTOSHOP_IPTC) if isinstance(blocks, dict) else None
    return _bounded(block) or _block_of(image, "iptc", _TIFF_IPTC)


def _block_of(image: Image.Image, name: str, tag: int) -> bytes:
    """Return a block that Pillow keeps by a name, or in a TIFF by a tag; empty if there is none."""
    try:
        tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
        value = image.info.get(name) or tags.get(tag)
    except HOSTILE_INPUT_ERRORS:
        return b""
    return _bounded(value)


def _bounded(value: object) -> bytes:
    return value if isinstance(value, bytes) and len(value) <= _MAX_METADATA else b""


def _icc_profile(image: Image.Image) -> bytes | None:
    """Return the colour profile if it fits the pixels after `to_rgb`, and is of a sane size."""
    profile = image.info.get("icc_profile")
    usable = (
        image.mode in ("RGB", "RGBA", "P")
        and isinstance(profile, bytes)
        and len(profile) <= _MAX_PROFILE
    )
    return profile if usable else None


def _too_large(
    limits: DecodeLimits, width: int | None = None, height: int | None = None
) -> ImageUnreadable:
    what = f"{width} x {height} pixels" if width else "the picture"
    return ImageUnreadable(
        f"too large: {what}; the limit is {limits.max_pixels // 1_000_000} megapixels"
    )


@cache
def register_formats() -> None:
    """Load the decoders of all supported formats, once."""
    import pillow_heif
    from PIL import AvifImagePlugin

    # Image.init() would import every plugin there is, most of them for formats not opened here.
    for plugin in _PLUGINS:
        import_module(f"PIL.{plugin}ImagePlugin")
    # One decoding thread: the pipeline runs a process per core already.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
