"""Valid pictures of many formats, and seeded ways to spoil them: blindly, and where it hurts.

Every mutant is told by its number and the seed alone, so that one that breaks something can be made
again: ``mutant(seeds(), seed, number)``.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

T = TypeVar("T")
_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'xmp:Rating="4" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag>'
    b"<rdf:li>beach</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)
# Ways that multiply, one after the other, would fill the disk.
_LARGEST = 1 << 20
# Its square is below the limit of pixels, and takes all the memory that a decoder may have.
# The others break arithmetic: nothing, one, the ends of signed and unsigned 8 to 32 bits.
_LARGE = 15_000
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Seed:
    """A valid file to be spoilt; `suffix` begins with a dot."""

    name: str
    suffix: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Mutant:
    """A spoilt file; `how` says what was done to which seed."""

    name: str
    how: str
    data: bytes


def seeds() -> list[Seed]:
    """Return valid pictures of every format, with metadata, colours of all kinds and frames."""
    pillow_heif.register_heif_opener(thumbnails=False)
    picture = _picture(64, 48)
    exif, icc = _exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [_picture(64, 48, turn) for turn in (1, 2)]
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    text.add_text("Comment", "hello" * 20, zip=True)
    labelled: dict[str, Any] = {"exif": exif, "icc_profile": icc, "xmp": _XMP}
    moving: dict[str, Any] = {"save_all": True, "append_images": frames}
    made: list[tuple[str, str, Image.Image, str, dict[str, Any]]] = [
        ("jpeg", ".jpg", picture, "JPEG", labelled),
        ("jpeg-progressive", ".jpg", picture, "JPEG", {"progressive": True, "subsampling": 0}),
        ("jpeg-cmyk", ".jpg", picture.convert("CMYK"), "JPEG", {}),
        ("jpeg-grey", ".jpg", picture.convert("L"), "JPEG", {"restart_marker_rows": 1}),
        ("mpo", ".mpo", picture, "MPO", moving),
        ("png", ".png", picture, "PNG", {"exif": exif, "icc_profile": icc, "pnginfo": text}),
        ("png-palette", ".png", picture.quantize(16), "PNG", {"transparency": 3}),
        ("png-alpha", ".png", picture.convert("RGBA"), "PNG", {}),
        ("png-16", ".png", _grey16(), "PNG", {}),
        ("apng", ".png", picture, "PNG", moving),
        ("webp", ".webp", picture, "WEBP", labelled),
        ("webp-lossless", ".webp", picture.convert("RGBA"), "WEBP", {"lossless": True}),
        ("webp-moving", ".webp", picture, "WEBP", moving),
        ("gif", ".gif", picture.quantize(32), "GIF", {}),
        ("gif-moving", ".gif", picture, "GIF", moving),
        ("tiff", ".tif", picture, "TIFF", {"exif": exif, "icc_profile": icc}),
        ("tiff-lzw", ".tif", picture, "TIFF", {"compression": "tiff_lzw", "tiffinfo": {700: _XMP}}),
        ("tiff-deflate", ".tif", picture, "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("tiff-jpeg", ".tif", picture, "TIFF", {"compression": "jpeg"}),
        ("tiff-fax", ".tif", picture.convert("1"), "TIFF", {"compression": "group4"}),
        ("tiff-pages", ".tif", picture, "TIFF", moving),
        ("tiff-16", ".tif", _grey16(), "TIFF", {}),
        ("heic", ".heic", picture, "HEIF", labelled),
        ("heic-many", ".heic", picture, "HEIF", moving),
        ("avif", ".avif", picture, "AVIF", labelled | {"speed": 10}),
        ("avif-moving", ".avif", picture, "AVIF", moving | {"speed": 10}),
        ("bmp", ".bmp", picture, "BMP", {}),
        ("bmp-palette", ".bmp", picture.quantize(200), "BMP", {}),
        ("ico", ".ico", picture, "ICO", {"sizes": [(16, 16), (32, 32)]}),
        ("ico-bmp", ".ico", picture, "ICO", {"sizes": [(16, 16)], "bitmap_format": "bmp"}),
        ("jpeg2000", ".jp2", picture, "JPEG2000", {}),
        ("tga", ".tga", picture, "TGA", {"compression": "tga_rle"}),
        ("icns", ".icns", _picture(128, 128), "ICNS", {}),
    ]
    found = [Seed(name, suffix, _saved(*how)) for name, suffix, *how in made]
    jpeg = next(seed for seed in found if seed.name == "jpeg")
    return [*found, Seed("jpeg-iptc", ".jpg", _with_iptc(jpeg.data))]


def mutant(all_seeds: Sequence[Seed], seed: int, number: int) -> Mutant:
    """Return the mutant of that number. Formats take turns; every second way knows the format."""
    dice = random.Random(f"{seed}/{number}")
    chosen = all_seeds[number % len(all_seeds)]
    ways: Sequence[Callable[[bytes, random.Random], bytes]] = _BLIND
    if dice.random() < 0.5:
        ways = [*_KNOWING.get(chosen.name.partition("-")[0], _BLIND)]
    data, told = chosen.data, []
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        way = dice.choice(ways)
        data = way(data, dice)[:_LARGEST]
        told.append(way.__name__)
    if dice.random() < 0.05:
        other = dice.choice(all_seeds)
        data, told = data + other.data, [*told, f"with {other.name} behind it"]
    # Now and then under another format's name.
    suffix = dice.choice(all_seeds).suffix if dice.random() < 0.05 else chosen.suffix
    how = f"{chosen.name}: {', '.join(told)}"
    return Mutant(f"{number:06d}-{chosen.name}{suffix}", how, data)


# --- Blind ways ---


def flip_bits(data: bytes, dice: random.Random) -> bytes:
    """Flip 1 to 8 bits."""
    spoilt = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        if spoilt:
            spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
    return bytes(spoilt)


def flip_bits_of_the_head(data: bytes, dice: random.Random) -> bytes:
    """Flip bits where headers are."""
    return flip_bits(data[:256], dice) + data[256:]


def splice(data: bytes, dice: random.Random) -> bytes:
    """Put a piece of the file in another place of it, over what is there or between."""
    start, length, to = (
        dice.randrange(len(data) or 1),
        dice.randint(1, 64),
        dice.randrange(len(data) or 1),
    )
    behind = to + length if dice.random() < 0.5 else to
    return data[:to] + data[start : start + length] + data[behind:]


def noise(data: bytes, dice: random.Random) -> bytes:
    """Write random bytes over a piece."""
    to, length = dice.randrange(len(data) or 1), dice.randint(1, 32)
    return data[:to] + dice.randbytes(length) + data[to + length :]


def truncate(data: bytes, dice: random.Random) -> bytes:
    """Cut the end off."""
    return data[: dice.randrange(len(data) or 1)]


def cut_out(data: bytes, dice: random.Random) -> bytes:
    """Cut a piece out of the middle."""
    start = dice.randrange(len(data) or 1)
    return data[:start] + data[start + dice.randint(1, 200) :]


def repeat(data: bytes, dice: random.Random) -> bytes:
    """Repeat a piece many times."""
    start, length = dice.randrange(len(data) or 1), dice.randint(1, 64)
    piece = data[start : start + length]
    return data[:start] + _times(piece, dice.randint(2, 500)) + data[start:]


def edge_number(data: bytes, dice: random.Random) -> bytes:
    """Write a number that breaks arithmetic anywhere, in either order of bytes."""
    width = dice.choice((1, 2, 4))
    value = dice.choice(_EDGES) & ((1 << 8 * width) - 1)
    at = dice.randrange(max(1, len(data) - width))
    order = dice.choice(("big", "little"))
    return data[:at] + value.to_bytes(width, order) + data[at + width :]


# --- Ways that know the format ---


def jpeg_segment_length(data: bytes, dice: random.Random) -> bytes:
    """Give a segment another length."""
    at = _any_of([at for at, _, _ in _jpeg_segments(data)], dice)
    return _put(data, at + 2, struct.pack(">H", dice.choice(_EDGES) & 0xFFFF))


def jpeg_size(data: bytes, dice: random.Random) -> bytes:
    """Declare other dimensions, or another number of components."""
    frames = [at for at, marker, _ in _jpeg_segments(data) if marker in (0xC0, 0xC1, 0xC2)]
    at = _any_of(frames, dice)
    if dice.random() < 0.3:
        return _put(data, at + 9, bytes([dice.choice((0, 1, 2, 4, 5, 255))]))
    size = struct.pack(">HH", dice.choice((0, 1, 65_535, _LARGE)), dice.choice((1, 65_535, _LARGE)))
    return _put(data, at + 5, size)


def jpeg_doubled_segment(data: bytes, dice: random.Random) -> bytes:
    """Repeat a segment: two frames, two tables, a thousand comments."""
    at, _, end = _any_of(_jpeg_segments(data), dice, (0, 0, 0))
    return data[:end] + _times(data[at:end], dice.choice((1, 2, 100, 1_000))) + data[end:]


def png_chunk_length(data: bytes, dice: random.Random) -> bytes:
    """Give a chunk another length, or write over its content with the right checksum."""
    at, end = _any_of(_png_chunks(data), dice, (0, 0))
    if dice.random() < 0.4:
        return _put(data, at, struct.pack(">I", dice.choice(_EDGES)))
    content = edge_number(data[at + 8 : end - 4], dice)
    return data[:at] + _chunk(data[at + 4 : at + 8], content) + data[end:]


def png_header(data: bytes, dice: random.Random) -> bytes:
    """Declare other dimensions, depths and kinds, with the right checksum."""
    width, height = dice.choice((0, 64, _LARGE, 0x7FFFFFFF)), dice.choice((48, _LARGE, 0x7FFFFFFF))
    depth, kind = dice.choice((1, 2, 4, 8, 16, 7)), dice.choice((0, 2, 3, 4, 6, 9))
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, dice.choice((0, 1)))
    return data[:8] + _chunk(b"IHDR", header) + data[33:]


def png_doubled_chunk(data: bytes, dice: random.Random) -> bytes:
    """Repeat a chunk, or put it in another place."""
    at, end = _any_of(_png_chunks(data), dice, (0, 0))
    _, to = _any_of(_png_chunks(data), dice, (0, 0))
    return data[:to] + _times(data[at:end], dice.choice((1, 2, 1_000))) + data[to:]


def png_text_bomb(data: bytes, dice: random.Random) -> bytes:
    """Add a compressed text, profile or picture that grows a thousandfold."""
    squeezed = _squeezed_zeros(dice.choice((1 << 20, 1 << 26)))
    kind, head = dice.choice(
        ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"IDAT", b""))
    )
    return data[:33] + _chunk(kind, head + squeezed) + data[33:]


def tiff_entry(data: bytes, dice: random.Random) -> bytes:
    """Give an entry of a directory another tag, type, count or offset."""
    order = "<" if data[:2] == b"II" else ">"
    entries = _tiff_entries(data)
    at = _any_of(entries, dice)
    part, width = dice.choice(((0, 2), (2, 2), (4, 4), (8, 4)))
    if part == 0:
        value = dice.choice((256, 257, 258, 259, 273, 278, 279, 322, 324, 330, 34665, 34853, 700))
    else:
        value = dice.choice((*_EDGES, _LARGE, *entries[:3], len(data)))
    return _put(
        data, at + part, struct.pack(order + ("H" if width == 2 else "I"), value % (1 << 8 * width))
    )


def tiff_loop(data: bytes, dice: random.Random) -> bytes:
    """Let a directory be its own successor, or its own child."""
    if len(data) < 8:
        return data
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    entries = _tiff_entries(data)
    if dice.random() < 0.5 or not entries:
        end = start + 2 + 12 * len(entries)
        return _put(data, end, struct.pack(order + "I", start))
    child = struct.pack(order + "HHII", dice.choice((330, 34665, 34853)), 4, 1, start)
    return _put(data, _any_of(entries, dice), child)


def box_size(data: bytes, dice: random.Random) -> bytes:
    """Give a box of an ISO file (HEIC, AVIF) another size, up to 64 bits."""
    boxes = list(_boxes(data))
    at, _ = _any_of(boxes, dice, (0, b""))
    if dice.random() < 0.2:
        huge = (
            struct.pack(">I", 1)
            + data[at + 4 : at + 8]
            + struct.pack(">Q", dice.choice((0, 1 << 62, 1 << 40)))
        )
        return data[:at] + huge + data[at + 8 :]
    return _put(data, at, struct.pack(">I", dice.choice((*_EDGES, 8, len(data)))))


def box_content(data: bytes, dice: random.Random) -> bytes:
    """Write edge numbers where boxes count and measure: ispe, iloc, iinf, pitm, clap, stsz."""
    named = [at for at, kind in _boxes(data) if kind in _COUNTING_BOXES]
    at = _any_of(named, dice)
    return _put(data, at + 8 + 4 * dice.randrange(5), struct.pack(">I", dice.choice(_EDGES)))


def box_doubled(data: bytes, dice: random.Random) -> bytes:
    """Repeat a box."""
    at, _ = _any_of(list(_boxes(data)), dice, (0, b""))
    size = struct.unpack_from(">I", data.ljust(at + 4, b"\0"), at)[0]
    return (
        data[: at + size] + _times(data[at : at + size], dice.choice((1, 50))) + data[at + size :]
    )


def riff_size(data: bytes, dice: random.Random) -> bytes:
    """Give a chunk of a WebP another size, or the canvas other dimensions."""
    chunks = [at for at in range(12, len(data) - 8) if data[at : at + 4] in _WEBP_CHUNKS]
    at = _any_of(chunks, dice)
    if dice.random() < 0.4:
        return _put(data, at + 8 + dice.randrange(10), dice.randbytes(3))
    return _put(data, at + 4, struct.pack("<I", dice.choice(_EDGES)))


def gif_block(data: bytes, dice: random.Random) -> bytes:
    """Give the screen or a frame other dimensions, or repeat the frames."""
    if dice.random() < 0.4:
        return _put(data, 6, struct.pack("<HH", _LARGE, dice.choice((1, _LARGE, 65_535))))
    frames = [at for at in range(13, len(data)) if data[at] == 0x2C]
    at = _any_of(frames, dice)
    if dice.random() < 0.5:
        return data[:-1] + _times(data[at:-1], dice.choice((2, 1_000))) + data[-1:]
    size = struct.pack("<HHHH", *(dice.choice((0, 1, 48, 65_535)) for _ in range(4)))
    return _put(data, at + 1, size)


def bmp_header(data: bytes, dice: random.Random) -> bytes:
    """Write edge numbers into the headers of a BMP."""
    at = dice.choice((2, 10, 14, 18, 22, 28, 30, 34, 46))
    return _put(data, at, struct.pack("<I", dice.choice((*_EDGES, _LARGE))))


def ico_entry(data: bytes, dice: random.Random) -> bytes:
    """Write edge numbers into the directory of an icon, or a bomb into its picture."""
    if dice.random() < 0.3:
        header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
        bomb = b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", _squeezed_zeros(1 << 22))
        entry = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(bomb), 22)
        return entry + bomb
    at = dice.choice((4, 6, 7, 10, 12, 14, 18))
    return _put(data, at, struct.pack("<I", dice.choice(_EDGES)))


_BLIND = (
    flip_bits, flip_bits_of_the_head, splice, noise, truncate, cut_out, repeat, edge_number,
)  # fmt: skip
_JPEG = (jpeg_segment_length, jpeg_size, jpeg_doubled_segment, flip_bits_of_the_head)
_PNG = (png_chunk_length, png_header, png_doubled_chunk, png_text_bomb)
_ISO = (box_size, box_content, box_doubled)
_KNOWING: dict[str, Sequence[Callable[[bytes, random.Random], bytes]]] = {
    "jpeg": _JPEG,
    "mpo": _JPEG,
    "png": _PNG,
    "apng": _PNG,
    "tiff": (tiff_entry, tiff_entry, tiff_loop),
    "heic": _ISO,
    "avif": _ISO,
    "webp": (riff_size,),
    "gif": (gif_block,),
    "bmp": (bmp_header,),
    "ico": (ico_entry,),
    "jpeg2000": _ISO,
}
_CONTAINERS = (b"meta", b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl", b"jp2h")
_COUNTING_BOXES = (
    b"ispe", b"iloc", b"iinf", b"pitm", b"irot", b"clap", b"iref", b"ipma", b"hvcC", b"av1C",
    b"stsz", b"stsc", b"stco", b"stts", b"mdhd", b"tkhd", b"ihdr", b"grid", b"pixi", b"colr",
)  # fmt: skip
_WEBP_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"XMP ", b"ICCP")


def _any_of(found: Sequence[T], dice: random.Random, otherwise: T | None = None) -> T:
    """Return one of what was found; a spoilt file may hold nothing of the kind any more."""
    if found:
        return dice.choice(found)
    return 0 if otherwise is None else otherwise


@cache
def _squeezed_zeros(number: int) -> bytes:
    return zlib.compress(b"\0" * number, 9)


def _times(piece: bytes, number: int) -> bytes:
    return piece * max(1, min(number, _LARGEST // max(1, len(piece))))


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def _jpeg_segments(data: bytes) -> list[tuple[int, int, int]]:
    """Return (start, marker, end) of the segments before the pixels."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and len(found) < 100:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        found.append((at, data[at + 1], end))
        if data[at + 1] == 0xDA:
            break
        at = end
    return found


def _png_chunks(data: bytes) -> list[tuple[int, int]]:
    """Return (start, end) of the chunks."""
    found, at = [], 8
    while at + 12 <= len(data) and len(found) < 100:
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        found.append((at, end))
        at = end
    return found


def _tiff_entries(data: bytes) -> list[int]:
    """Return where the entries of the first directory begin."""
    if len(data) < 8:
        return []
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    if start + 2 > len(data):
        return []
    count = struct.unpack_from(order + "H", data, start)[0]
    return [start + 2 + 12 * number for number in range(min(count, 100))]


def _boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (start, kind) of the boxes, those inside others as well."""
    at, end = start, len(data) if end is None else min(end, len(data))
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        yield at, kind
        if kind in _CONTAINERS:
            yield from _boxes(data, at + (12 if kind == b"meta" else 8), at + size)
        at += size


def _picture(width: int, height: int, turn: int = 0) -> Image.Image:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    waves = [127 + 120 * np.sin(across / (5 + c) + down / 7 + turn) for c in range(3)]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def _grey16() -> Image.Image:
    return Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20)


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Canon", "Canon EOS R6"
    exif[ExifTags.Base.Orientation] = 6
    detail = exif.get_ifd(ExifTags.IFD.Exif)
    detail[ExifTags.Base.DateTimeOriginal] = "2023:06:01 12:30:05"
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef], place[ExifTags.GPS.GPSLatitude] = "S", (33.0, 52.0, 10.0)
    place[ExifTags.GPS.GPSLongitudeRef], place[ExifTags.GPS.GPSLongitude] = "E", (151.0, 1.0, 3.0)
    return exif.tobytes()


def _saved(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    target = io.BytesIO()
    # Copies: saving as JPEG leaves its settings in a picture, which TIFF then stumbles over.
    if frames := options.get("append_images"):
        options = options | {"append_images": [frame.copy() for frame in frames]}
    image.copy().save(target, kind, **options)
    return target.getvalue()


def _with_iptc(jpeg: bytes) -> bytes:
    """Return a JPEG with an IPTC keyword among the resources of Photoshop."""
    block = b"\x1c\x02\x19\0\x05beach"
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(block)) + block
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
