"""Spoilt and hostile image files: each costs itself alone, and is recorded with a clear reason.

The long form is benchmarks/soak; its mutants are made by the same lines.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import struct
import subprocess
import sys
import zlib
from dataclasses import asdict, fields
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from conftest import WHOLE, MakePhoto
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from imgsearch import DecodeLimits, ImageUnreadable, IndexSettings, Library, PictureFacts
from imgsearch.data.filters import Filters
from imgsearch.data.places import Near
from imgsearch.encoders.decode import FORMATS, Metadata, decode, read_metadata, register_formats
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.encoders.frames import FrameError, read_frame
from imgsearch.encoders.onnx_folder import read_description
from imgsearch.errors import ModelInvalid, QueryInvalid
from imgsearch.indexer.facts import read_details
from imgsearch.indexer.iptc import read_iptc
from imgsearch.indexer.xmp import XmpFacts, read_xmp
from imgsearch.search.query import Query, Term, split_picture
from imgsearch.search.saved import from_json, to_json

# What attacks them, or kills them, meets processes as users start them.
pytestmark = pytest.mark.usefixtures("started_anew")

SOAK = Path(__file__).parent.parent / "benchmarks" / "soak"


def soak_module(name: str) -> ModuleType:
    """Return a module of the soak, which is no package."""
    found = importlib.util.spec_from_file_location(name, SOAK / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Its dataclasses look themselves up there.
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def test_spoilt_images_cost_themselves_alone(
    library: Library, folder: Path, make_photo: MakePhoto
) -> None:
    mutants = soak_module("mutants")
    intact = [
        make_photo(f"{number}-intact.png", "red", mark=number) for number in range(0, 300, 20)
    ]
    seeds = mutants.seeds()
    made = [mutants.mutant(seeds, 1, number) for number in range(300)]
    for one in made:
        (folder / one.name).write_bytes(one.data)

    library.index(folder, settings=IndexSettings(decode_workers=2))

    reasons = {Path(one.path).name: one.reason for one in library.failures()}
    hits = library.search("red", limit=1000, **WHOLE)
    indexed = {Path(path).name for hit in hits for path in (hit.path, *hit.duplicates)}
    assert {path.name for path in intact} <= indexed
    assert {one.name for one in made} <= indexed | set(reasons)
    assert len(reasons) > 100
    assert len(indexed) > 100
    assert all(reason and reason.isprintable() and len(reason) < 400 for reason in reasons.values())


def test_every_seed_of_the_mutants_is_a_picture() -> None:
    mutants = soak_module("mutants")

    for seed in mutants.seeds():
        assert decode(seed.data, DecodeLimits()).rgb.width > 0, seed.name


# --- What is no image here ---

SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SVG, "an SVG drawing"),
        (b"\xef\xbb\xbf\n<svg/>", "an SVG drawing"),
        (b"%PDF-1.7\n", "a PDF document"),
        (EPS, "a PostScript document"),
        (b"\xc5\xd0\xd3\xc6" + bytes(28) + EPS, "a PostScript document"),
        (b"<!doctype html><img src=x>", "a web page"),
        (b"\xd7\xcd\xc6\x9a" + bytes(100), "not an image"),
        (b"SIMPLE  =                    T", "not an image"),
    ],
)
def test_documents_are_no_images(content: bytes, reason: str) -> None:
    with pytest.raises(ImageUnreadable, match=f"^{reason}"):
        decode(content, DecodeLimits())
    with pytest.raises(ImageUnreadable):
        read_metadata(io.BytesIO(content), DecodeLimits())


def test_documents_are_no_images_whatever_they_are_called(
    library: Library, folder: Path, settings: IndexSettings
) -> None:
    for name, content in (("a.jpg", SVG), ("b.png", b"%PDF-1.7"), ("c.tif", EPS), ("d.gif", EPS)):
        (folder / name).write_bytes(content)
    for name in ("e.svg", "f.pdf", "g.eps", "no suffix"):
        (folder / name).write_bytes(SVG)

    report = library.index(folder, settings=settings)

    assert report.added == 0
    assert {Path(one.path).name: one.reason.partition(",")[0] for one in report.failures} == {
        "a.jpg": "an SVG drawing",
        "b.png": "a PDF document",
        "c.tif": "a PostScript document",
        "d.gif": "a PostScript document",
    }


def test_only_pinned_formats_are_opened_and_no_program_is_started(tmp_path: Path) -> None:
    """The plugins that run Ghostscript or open other files are out of reach, and all programs."""
    attempt = tmp_path / "attempt.py"
    attempt.write_text(
        "import os, subprocess, sys\n"
        "def refuse(event, _):\n"
        "    assert event not in ('subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn',\n"
        "        'socket.connect', 'os.fork'), event\n"
        "from imgsearch.encoders.decode import decode, register_formats\n"
        "from imgsearch.errors import ImageUnreadable\n"
        "from imgsearch.settings import DecodeLimits\n"
        "register_formats()\n"
        "sys.addaudithook(refuse)\n"
        f"for content in ({SVG!r}, {EPS!r}, b'%PDF-1.7', b'junk' * 99):\n"
        "    try:\n"
        "        decode(content, DecodeLimits())\n"
        "    except ImageUnreadable:\n"
        "        continue\n"
        "    raise SystemExit('opened')\n"
        "from PIL import Image\n"
        "print(*sorted(set(Image.OPEN)))\n"
    )

    ended = subprocess.run([sys.executable, attempt], capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr
    opened = set(ended.stdout.split())
    assert opened <= {*FORMATS, "MPO"}
    assert not opened & {"EPS", "PDF", "WMF", "GBR", "FITS", "HDF5", "GRIB", "BUFR", "MPEG", "FPX"}
    assert set(FORMATS) <= opened


# --- Limits before decoding ---


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)  # type: ignore[arg-type]
    return target.getvalue()


def bomb(kind: str) -> bytes:
    """Return a file that claims far more pixels than it has bytes."""
    small = Image.new("RGB", (64, 64))
    if kind == "PNG":
        return png_of(30_000, 30_000, chunk(b"IDAT", b""))
    if kind == "ICO":
        inner = png_of(30_000, 30_000, chunk(b"IDAT", zlib.compress(bytes(1 << 20))))
        return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(inner), 22) + inner
    if kind == "JPEG":
        data = saved(small, kind)
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", 30_000, 30_000) + data[at + 4 :]
    if kind == "GIF":
        data = saved(small, kind)
        return data[:6] + struct.pack("<HH", 30_000, 30_000) + data[10:]
    if kind == "BMP":
        data = saved(small, kind)
        return data[:18] + struct.pack("<ii", 30_000, 30_000) + data[26:]
    if kind == "WEBP":
        frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        at = data.index(b"VP8X") + 12
        return data[:at] + (29_999).to_bytes(3, "little") * 2 + data[at + 6 :]
    if kind == "TIFF":
        data = saved(small, kind)
        for tag in (256, 257):
            entry = struct.pack("<HHII", tag, 4, 1, 30_000)
            at = data.index(struct.pack("<H", tag), struct.unpack_from("<I", data, 4)[0])
            data = data[:at] + entry + data[at + 12 :]
        return data
    register_formats()
    data = saved(small, kind)
    size = struct.pack(">II", 64, 64)
    assert size in data
    # libavif has a limit of its own, which is above ours.
    edge = 16_000 if kind == "AVIF" else 30_000
    return data.replace(size, struct.pack(">II", edge, edge))


@pytest.mark.parametrize(
    "kind", ["PNG", "ICO", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "HEIF"]
)
def test_a_bomb_of_any_format_is_refused_in_little_memory(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "bomb"
    place.write_bytes(bomb(kind))
    attempt = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from imgsearch.encoders.decode import decode, register_formats\n"
        "from imgsearch.errors import ImageUnreadable\n"
        "from imgsearch.settings import DecodeLimits\n"
        "register_formats()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    decode(Path(sys.argv[1]).read_bytes(), DecodeLimits())\n"
        "except ImageUnreadable as error:\n"
        "    print(error)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert grown < 100_000, grown\n"
    )

    ended = subprocess.run([sys.executable, "-c", attempt, place], capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr
    assert "too large" in ended.stdout or "limit" in ended.stdout, ended.stdout


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "AVIF", "HEIF"])
def test_the_number_of_frames_is_limited_where_the_header_tells_it(kind: str) -> None:
    register_formats()
    frames = [Image.new("RGB", (64, 64), (number * 40, 9, 9)) for number in range(4)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])

    assert decode(data, DecodeLimits(max_frames=4)).rgb.size == (64, 64)
    with pytest.raises(ImageUnreadable, match="too many pictures in one file: 4; the limit is 3"):
        decode(data, DecodeLimits(max_frames=3))


def test_a_progressive_jpeg_that_needs_too_much_is_refused_before_it_is_decoded() -> None:
    data = saved(Image.new("RGB", (1000, 1000)), "JPEG", progressive=True, subsampling=2)

    # 1.5 values of 2 bytes a pixel.
    assert decode(data, DecodeLimits(memory_bytes=3_000_000)).rgb.size == (1000, 1000)
    with pytest.raises(ImageUnreadable, match="more memory than is allowed"):
        decode(data, DecodeLimits(memory_bytes=2_999_999))


def test_metadata_are_read_again_within_the_limits() -> None:
    for kind in ("ICO", "WEBP", "PNG"):
        with pytest.raises(ImageUnreadable):
            read_metadata(io.BytesIO(bomb(kind)), DecodeLimits())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA", "I;16"])
def test_a_large_picture_is_reduced_in_bands_as_it_would_be_whole(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgsearch.encoders import decode as decoding
    from imgsearch.encoders.base import Preprocessing
    from imgsearch.encoders.preprocess import to_pixels

    across = Image.linear_gradient("L").resize((900, 700))
    picture = Image.merge(
        "RGB", (across, across.rotate(180), across.transpose(2).resize((900, 700)))
    )
    if mode == "I;16":
        stored = Image.fromarray(__import__("numpy").asarray(across, dtype="uint16") * 257)
    else:
        stored = picture.quantize(64) if mode == "P" else picture.convert(mode)
    data, geometry = saved(stored, "PNG"), Preprocessing(size=32)
    whole = to_pixels(decode(data, DecodeLimits()).rgb, geometry).astype(int)
    monkeypatch.setattr(decoding, "_MAX_WHOLE_PIXELS", 1_000)
    monkeypatch.setattr(decoding, "_BAND_PIXELS", 50_000)

    photo = decode(data, DecodeLimits(), reduce_for=geometry)
    unreduced = decode(data, DecodeLimits())

    assert (photo.width, photo.height) == (900, 700)
    assert photo.rgb.size == (129, 100)
    assert abs(to_pixels(photo.rgb, geometry).astype(int) - whole).max() <= 6
    assert unreduced.rgb.size == (900, 700)
    assert abs(to_pixels(unreduced.rgb, geometry).astype(int) - whole).max() == 0


# --- EXIF, XMP and IPTC ---


def details_of(exif: bytes, xmp: bytes = b"", iptc: bytes = b"") -> PictureFacts:
    """Return what is read of these blocks, checked as the indexer checks it."""
    block = Image.Exif()
    try:
        block.load(b"Exif\0\0" + exif)
    except Exception:  # the reader of files guards this; here it is what comes next that counts
        block = Image.Exif()
    found = read_details(Metadata(block, xmp, iptc))
    through_json = json.loads(json.dumps(found))
    return PictureFacts.from_json({"width": 1, "height": 1, "format": "JPEG"} | through_json)


numbers = st.one_of(
    st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
)
entries = st.tuples(
    st.sampled_from(
        (
            *(0x010F, 0x0110, 0x0112, 0x0132, 0x4746, 0x4749, 0x8769, 0x8825, 0x9003, 0x9C9E),
            *(0xA434, 1, 2, 3, 4),
        )
    ),
    st.integers(0, 14),
    numbers,
    numbers,
)
directories = st.lists(entries, max_size=12)


@given(directories, directories, st.binary(max_size=64))
def test_structured_nonsense_in_exif_gives_facts_in_range(
    outer: list[tuple[int, int, int, int]], inner: list[tuple[int, int, int, int]], rest: bytes
) -> None:
    child = 8 + 2 + 12 * len(outer) + 4
    # Types, counts and offsets are anything; the blocks of details and of the place are there.
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", len(outer))
    for tag, kind, count, value in outer:
        points = tag in (0x8769, 0x8825)
        block += struct.pack(
            "<HHII", tag, 4 if points else kind, 1 if points else count, child if points else value
        )
    block += bytes(4) + struct.pack("<H", len(inner))
    block += b"".join(struct.pack("<HHII", *entry) for entry in inner) + bytes(4) + rest

    facts = details_of(block)

    assert facts.latitude is None or math.isfinite(facts.latitude)


@pytest.mark.parametrize(
    ("latitude", "place"),
    [
        ([(1, 0), (2, 1), (3, 1)], None),
        ([(0xFFFFFFFF, 1), (0, 1), (0, 1)], None),
        ([(0, 0), (0, 0), (0, 0)], None),
        ([(90, 1), (0, 1), (1, 100)], None),
        ([(90, 1), (0, 1), (0, 1)], -90.0),
    ],
)
def test_rationals_without_sense_are_no_place(
    latitude: list[tuple[int, int]], place: float | None
) -> None:
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[1], gps[3] = "S", "E"
    gps[2], gps[4] = (7.0, 7.0, 7.0), (1.0, 0.0, 0.0)
    raw = exif.tobytes()[6:]
    order = "<" if raw[:2] == b"II" else ">"
    marker = struct.pack(order + "II", 7, 1) * 3
    assert marker in raw

    # Pillow would not write these.
    spoilt = raw.replace(marker, b"".join(struct.pack(order + "II", *pair) for pair in latitude))

    facts = details_of(spoilt)

    assert facts.latitude == place
    assert (facts.longitude is None) == (place is None)


@pytest.mark.parametrize(
    "moment",
    ["9999:99:99 99:99:99", "0000:01:01 00:00:00", "2023:02:29 00:00:00", "2023:01:01 24:00:00"],
)
def test_days_that_are_not_in_the_calendar_are_no_time(moment: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = moment

    assert details_of(exif.tobytes()[6:]).taken_at is None


HEAD = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:rdf='
    b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/">'
)
WORD = b"<dc:subject><rdf:li>%s</rdf:li></dc:subject></x:xmpmeta>"


@pytest.mark.parametrize(
    "declared",
    [
        b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>',
        b'<!DOCTYPE l [<!ENTITY d SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE l [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>',
        b'<!DOCTYPE l SYSTEM "http://127.0.0.1:9/x.dtd">',
        b'<!DOCTYPE l [<!ATTLIST l a CDATA "b">]>',
    ],
)
def test_documents_that_would_grow_or_reach_out_say_nothing(declared: bytes) -> None:
    assert read_xmp(declared + HEAD + WORD % b"&d;") == XmpFacts()
    assert read_xmp(declared + HEAD + WORD % b"word") == XmpFacts()
    assert read_xmp(HEAD + WORD % b"word").words == ("word",)


def test_an_undeclared_entity_says_nothing() -> None:
    assert read_xmp(HEAD + WORD % b"&nobody;") == XmpFacts()


@pytest.mark.parametrize(
    "inside",
    [
        b"<a>" * 60_000,
        b'<a b="' + b"x" * 900_000 + b'"/>',
        b"<a " + b" ".join(b'a%d="1"' % number for number in range(50_000)) + b"/>",
        b"<" + b"n" * 900_000 + b"/>",
        b"".join(b'<a xmlns:n%d="u%d"/>' % (n, n) for n in range(30_000)),
        b"<dc:subject>" + b"<rdf:li>w</rdf:li>" * 40_000 + b"</dc:subject>",
        b"<dc:subject><rdf:li>" + b"w" * 900_000 + b"</rdf:li></dc:subject>",
        b"<!--" + b"-x" * 400_000 + b"-->",
    ],
)
def test_packets_without_measure_are_read_in_bounded_time_and_room(inside: bytes) -> None:
    found = read_xmp(HEAD + inside + b'<b xmp:Rating="3"/></x:xmpmeta>')

    assert len(found.words) <= 1_000
    assert all(len(word) <= 1_024 for word in found.words)


_XMP_PIECES = st.sampled_from(
    (
        *(b"<rdf:li>", b"</rdf:li>", b"<dc:subject>", b"</dc:subject>", b"&#xD800;", b"&#0;"),
        *(b"]]>", b"<![CDATA[", b"<?xml version='1.1'?>", b"\xff\xfe", b'xmp:Rating="', b"&a;"),
        *(b"<!DOCTYPE x", b"<xmp:Rating>", b"</xmp:Rating>", b"1e400", b"-9", b"nan", b"5", b"\0"),
        *(b"a|b", b'"', b">"),
    )
)


@given(st.lists(st.one_of(_XMP_PIECES, st.binary(max_size=4)), max_size=20))
def test_xmp_of_any_pieces_gives_facts_in_range(pieces: list[bytes]) -> None:
    facts = details_of(b"", xmp=HEAD + b"".join(pieces) + b"</x:xmpmeta>")

    assert facts.rating in (None, -1, 0, 1, 2, 3, 4, 5)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x1C, 0x1D]),
            st.sampled_from([(1, 90), (2, 25), (2, 0), (255, 255)]),
            st.sampled_from([0, 1, 5, 300, 0x7FFF, 0x8000, 0x8004, 0xFFFF]),
            st.binary(max_size=12),
        ),
        max_size=10,
    )
)
def test_iptc_of_any_lengths_gives_words_that_can_be_stored(
    sets: list[tuple[int, tuple[int, int], int, bytes]],
) -> None:
    block = b"".join(
        bytes((marker, *number)) + struct.pack(">H", length) + value
        for marker, number, length, value in sets
    )

    facts = details_of(b"", iptc=block)

    assert all(word.encode() for word in facts.keywords)
    assert len(read_iptc(block)) <= 10


# --- What a decoding process answers ---


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"format":' * 5_000, b"\xff", b"1e999"])
def test_a_model_description_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.json").write_bytes(content)

    with pytest.raises(ModelInvalid, match=r"cannot be read|does not hold an object"):
        read_description(tmp_path / "model.json", "source")


def test_a_message_of_any_depth_is_none() -> None:
    text = b"[" * 100_000

    with pytest.raises(FrameError):
        read_frame(io.BytesIO(struct.pack(">II", len(text), 0) + text))


HONEST = asdict(PictureFacts(3, 2, "PNG", 1, "2023-01-01T00:00:00", "C", "L", 1.5, 2.5, 3, ("a",)))


@pytest.mark.parametrize(
    "lie",
    [
        {"width": "3"}, {"width": -1}, {"height": 1 << 70}, {"height": True}, {"format": None},
        {"format": 7}, {"orientation": 9}, {"orientation": None}, {"taken_at": "yesterday"},
        {"taken_at": 5}, {"camera": 0}, {"camera": []}, {"lens": "\x1b[31m"}, {"lens": "\ud800"},
        {"latitude": math.nan}, {"latitude": 91.0}, {"longitude": "2"}, {"rating": 6},
        {"rating": 3.0}, {"keywords": [1]}, {"keywords": ["\ud800"]}, {"keywords": None},
        {"more": 1},
    ],
)  # fmt: skip
def test_facts_that_no_picture_has_are_refused(lie: dict[str, object]) -> None:
    assert PictureFacts.from_json(HONEST) == PictureFacts.from_json(dict(HONEST))
    with pytest.raises((TypeError, ValueError)):
        PictureFacts.from_json(HONEST | lie)


LIAR = """
import json, sys
from imgsearch.indexer import worker
honest = worker._answer
def lying(request, *more):
    header, body = honest(request, *more)
    for name in ("facts", "hash", "size", "reason"):
        if name in header and f"lie {name}" in request.get("path", ""):
            lies = {"facts": {"width": ""}, "hash": "00", "size": 1 << 70, "reason": "\\x1b\\ud800"}
            header[name] = lies[name]
    return header, body
worker._answer = lying
worker.main()
"""


def test_a_decoding_process_that_was_taken_over_cannot_break_the_run(
    folder: Path, make_photo: MakePhoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess as processes

    for number, name in enumerate(("fine", "lie facts", "lie hash", "lie size", "also fine")):
        make_photo(f"{name}.png", mark=number)
    (folder / "lie reason.png").write_bytes(b"junk")
    (tmp_path / "liar.py").write_text(LIAR)
    started = processes.Popen
    monkeypatch.setattr(
        processes,
        "Popen",
        lambda command, **options: started([sys.executable, str(tmp_path / "liar.py")], **options),
    )

    with Library.open(tmp_path / "library", model=FakeEncoder()) as library:
        report = library.index(folder, settings=IndexSettings(decode_workers=1))
        reasons = {Path(one.path).stem: one.reason for one in library.failures()}

    assert report.added == 2
    assert set(reasons) == {"lie facts", "lie hash", "lie size", "lie reason"}
    assert all(reason.isprintable() for reason in reasons.values())


# --- Saved searches, in a library from somebody else ---

SEARCH = to_json(
    Query(
        (Term("sea"), Term(3, -0.5)),
        filters=Filters(names=("*.jpg",), near=Near(1.0, 2.0, 3.0), min_rating=3, has_place=True),
        good=(1,),
    )
)


def test_a_saved_search_keeps_every_filter() -> None:
    filters = Filters(
        folders=("/photos",), since=date(2020, 1, 2), until=date(2021, 3, 4), cameras=("Pixel",),
        orientations=("portrait",), formats=("JPEG",), min_pixels=1, max_pixels=2, lenses=("50mm",),
        near=Near(1.0, 2.0, 3.0), has_place=False, min_rating=3, keywords=("sea",),
        names=("*.jpg",), min_bytes=4, max_bytes=5, offline=False,
    )  # fmt: skip

    found = from_json(to_json(Query((Term("sea"),), filters=filters)))

    assert found.filters == filters
    # One that is new belongs into this test, too.
    assert all(getattr(filters, one.name) not in ((), None) for one in fields(Filters))


@pytest.mark.parametrize(
    "lie",
    [
        {"sort": 7}, {"sort": "worst"}, {"min_strength": 101}, {"min_strength": "50"},
        {"cut_off": "no"}, {"group": None}, {"good": ["x"]}, {"good": 5}, {"bad": [-1]},
        {"bad": [1 << 63]}, {"good": [True]}, {"terms": [{"words": 5, "weight": 1}]},
        {"terms": [{"words": " ", "weight": 1}]}, {"terms": [{"words": "a", "weight": math.nan}]},
        {"terms": [{"words": "a", "weight": 1e308}]}, {"terms": [{"words": "a", "weight": 0}]},
        {"terms": [{"picture": 1.5, "weight": 1}]}, {"terms": [{"path": 5, "weight": 1}]},
        {"terms": "sea"}, {"terms": [[]]}, {"filters": []}, {"filters": {"names": "*.jpg"}},
        {"filters": {"cameras": [1]}}, {"filters": {"formats": [None]}},
        {"filters": {"has_place": 1}}, {"filters": {"min_rating": 2.5}},
        {"filters": {"near": [1, 2]}}, {"filters": {"near": [math.nan, 0, 1]}},
        {"filters": {"since": 2023}}, {"filters": {"min_pixels": True}},
        {"filters": {"nothing": 1}},
    ],
)  # fmt: skip
def test_a_saved_search_with_values_of_the_wrong_kind_is_refused(lie: dict[str, object]) -> None:
    honest = json.loads(SEARCH)

    assert to_json(from_json(SEARCH)) == SEARCH
    with pytest.raises(QueryInvalid, match="saved search"):
        from_json(json.dumps(honest | lie))


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5_000, "\ud800.png"])
def test_a_name_that_no_file_has_is_no_picture(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, name: str
) -> None:
    make_photo("a.png")
    library.index(folder, settings=settings)

    with pytest.raises(ImageUnreadable, match="Cannot search by"):
        library.search(like=name)
    assert split_picture(f"{name}:2") == (Path(name), 2.0)
