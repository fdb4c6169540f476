"""The facts read from EXIF, honest and hostile."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import WHOLE
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from imgsearch import IndexSettings, Library, PictureFacts
from imgsearch.encoders.decode import decode, read_metadata, register_formats
from imgsearch.indexer.facts import read_details, read_facts
from imgsearch.indexer.iptc import read_iptc
from imgsearch.indexer.keywords import clean_keywords
from imgsearch.indexer.xmp import XmpFacts, read_xmp
from imgsearch.settings import DecodeLimits


def facts_of(exif: Image.Exif | bytes) -> PictureFacts:
    """Return what is read from a picture with this EXIF block."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "JPEG", exif=exif)
    return read_facts(decode(buffer.getvalue(), DecodeLimits()))


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Canon"
    exif[ExifTags.Base.Model] = "Canon EOS R6"
    exif[ExifTags.Base.Orientation] = 6
    detail = exif.get_ifd(ExifTags.IFD.Exif)
    detail[ExifTags.Base.DateTimeOriginal] = "2023:06:01 12:30:05"
    detail[ExifTags.Base.LensModel] = "RF 50mm F1.8\0junk"
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef] = "S"
    place[ExifTags.GPS.GPSLatitude] = (33.0, 52.0, 10.0)
    place[ExifTags.GPS.GPSLongitudeRef] = "E"
    place[ExifTags.GPS.GPSLongitude] = (151.0, 12.0, 30.0)
    return exif


def test_camera_lens_time_and_place() -> None:
    facts = facts_of(camera_exif())

    assert facts.camera == "Canon EOS R6"
    assert facts.lens == "RF 50mm F1.8"
    assert facts.taken_at == "2023-06-01T12:30:05"
    assert facts.latitude == pytest.approx(-33.86944, abs=1e-4)
    assert facts.longitude == pytest.approx(151.20833, abs=1e-4)
    assert (facts.width, facts.height, facts.orientation, facts.format) == (10, 20, 6, "JPEG")


def test_facts_reach_the_search_result(
    library: Library, folder: Path, settings: IndexSettings
) -> None:
    Image.new("RGB", (20, 10), "red").save(folder / "a.jpg", exif=camera_exif())
    library.index(folder, settings=settings)

    [hit] = library.search("red", **WHOLE)

    assert hit.facts == facts_of(camera_exif())
    assert hit.byte_size == (folder / "a.jpg").stat().st_size


def test_maker_and_model_are_joined_when_they_differ() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "SONY"
    exif[ExifTags.Base.Model] = "ILCE-7M3"

    assert facts_of(exif).camera == "SONY ILCE-7M3"


@pytest.mark.parametrize(
    "moment", ["0000:00:00 00:00:00", "2023:13:45 99:99:99", "yesterday", "", "2023:06:01"]
)
def test_a_senseless_time_is_no_time(moment: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = moment

    assert facts_of(exif).taken_at is None


@pytest.mark.parametrize("latitude", [(200.0, 0.0, 0.0), (89.0, 600.0, 0.0), (1.0, 2.0)])
def test_a_senseless_place_is_no_place(latitude: tuple[float, ...]) -> None:
    exif = camera_exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = latitude

    facts = facts_of(exif)

    assert (facts.latitude, facts.longitude) == (None, None)


def test_control_characters_do_not_get_in() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "\x1b[31mred\x07 camera\n"

    assert facts_of(exif).camera == "[31mred camera"


@given(st.binary(max_size=400))
def test_random_exif_never_breaks_a_picture(block: bytes) -> None:
    facts = facts_of(b"Exif\0\0" + block)

    assert (facts.width, facts.height) in ((20, 10), (10, 20))


@given(st.integers(0, 300), st.binary(min_size=1, max_size=8))
def test_damaged_exif_never_breaks_a_picture(position: int, damage: bytes) -> None:
    block = bytearray(camera_exif().tobytes())
    block[position : position + len(damage)] = damage

    facts = facts_of(bytes(block))

    assert facts.taken_at is None or len(facts.taken_at) == 19
    assert facts.camera is None or facts.camera.isprintable()


# --- Rating and keywords ---


def packet(*, attributes: str = "", inside: str = "") -> bytes:
    """Return an XMP packet as Lightroom, digiKam and exiftool write it."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:lr="http://ns.adobe.com/lightroom/1.0/"'
        f' xmlns:ms="http://ns.microsoft.com/photo/1.0/" {attributes}>{inside}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def bag(name: str, *words: str) -> str:
    items = "".join(f"<rdf:li>{word}</rdf:li>" for word in words)
    return f"<{name}><rdf:Bag>{items}</rdf:Bag></{name}>"


def iptc(*words: bytes, charset: bytes = b"") -> bytes:
    """Return IPTC data sets: a character set, a title, and keywords."""
    sets = [(1, 90, charset)] if charset else []
    sets += [(2, 5, b"a title"), *((2, 25, word) for word in words)]
    return b"".join(
        bytes((0x1C, record, number)) + len(value).to_bytes(2, "big") + value
        for record, number, value in sets
    )


def with_app13(jpeg: bytes, block: bytes) -> bytes:
    """Return a JPEG with an IPTC block among the resources of Photoshop."""
    resource = (
        b"8BIM\x04\x04\0\0" + len(block).to_bytes(4, "big") + block + b"\0" * (len(block) % 2)
    )
    body = b"Photoshop 3.0\0" + resource
    return jpeg[:2] + b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def file_of(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(buffer, form, **options)
    return buffer.getvalue()


LABELLED = packet(
    attributes='xmp:Rating="4"',
    inside=bag("dc:subject", "Beach", "Été &amp; fun") + bag("lr:hierarchicalSubject", "a|b|beach"),
)


def labelled_file(form: str) -> bytes:
    """Return a picture of this format that carries LABELLED."""
    if form == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", LABELLED.decode())
        return file_of("PNG", pnginfo=text)
    if form == "TIFF":
        return file_of("TIFF", tiffinfo={700: LABELLED})
    return file_of(form, xmp=LABELLED)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_xmp_is_read_from_every_format_with_and_without_the_pixels(form: str) -> None:
    register_formats()
    data = labelled_file(form)

    facts = read_facts(decode(data, DecodeLimits()))
    details = read_details(read_metadata(io.BytesIO(data), DecodeLimits()))

    assert (facts.rating, facts.keywords) == (4, ("Beach", "Été & fun"))
    assert (details["rating"], details["keywords"]) == (facts.rating, facts.keywords)


def test_iptc_is_read_from_jpeg_and_tiff() -> None:
    jpeg = with_app13(file_of("JPEG"), iptc(b"one", b"two"))
    tiff = file_of("TIFF", tiffinfo={33723: iptc(b"one", b"two")})

    for data in (jpeg, tiff):
        assert read_facts(decode(data, DecodeLimits())).keywords == ("one", "two")


def test_rating_and_keywords_of_windows() -> None:
    exif = Image.Exif()
    exif[0x4746] = 3
    exif[0x9C9E] = "sea;Ärger; ;sea".encode("utf-16-le") + b"\0\0"

    facts = facts_of(exif)

    assert (facts.rating, facts.keywords) == (3, ("sea", "Ärger"))


def test_xmp_counts_before_exif_and_all_keywords_are_joined() -> None:
    exif = Image.Exif()
    exif[0x4746] = 3
    exif[0x9C9E] = "windows;BEACH".encode("utf-16-le")
    data = with_app13(file_of("JPEG", xmp=LABELLED, exif=exif), iptc(b"press"))

    facts = read_facts(decode(data, DecodeLimits()))

    assert facts.rating == 4
    assert facts.keywords == ("Beach", "press", "windows", "Été & fun")


@pytest.mark.parametrize(
    ("inside", "rating"),
    [
        ("<xmp:Rating>5</xmp:Rating>", 5),
        ("<xmp:Rating> 2.0 </xmp:Rating>", 2),
        ("<xmp:Rating>-1</xmp:Rating>", -1),
        ("<xmp:Rating>0</xmp:Rating>", 0),
        ("<xmp:Rating>6</xmp:Rating>", None),
        ("<xmp:Rating>-2</xmp:Rating>", None),
        ("<xmp:Rating>nan</xmp:Rating>", None),
        ("<xmp:Rating>1e999</xmp:Rating>", None),
        ("<xmp:Rating>good</xmp:Rating>", None),
        ("<ms:Rating>99</ms:Rating>", 5),
        ("<ms:Rating>50</ms:Rating>", 3),
        ("<ms:Rating>1</ms:Rating>", 1),
        ("<ms:Rating>101</ms:Rating>", None),
        ("<ms:Rating>99</ms:Rating><xmp:Rating>2</xmp:Rating>", 2),
    ],
)
def test_ratings_in_xmp(inside: str, rating: int | None) -> None:
    assert read_xmp(packet(inside=inside)).rating == rating


@pytest.mark.parametrize(("percent", "rating"), [(0, 0), (1, 1), (25, 2), (99, 5), (70_000, None)])
def test_a_rating_in_percent(percent: int, rating: int | None) -> None:
    exif = Image.Exif()
    exif[0x4749] = percent

    assert facts_of(exif).rating == rating


def test_xmp_that_declares_entities_says_nothing() -> None:
    entity = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    outside = b'<!DOCTYPE x SYSTEM "file:///etc/passwd">'
    words = packet(inside=bag("dc:subject", "word")).partition(b"?>")[2]

    assert read_xmp(words).words == ("word",)
    assert read_xmp(entity + words) == XmpFacts()
    assert read_xmp(outside + words) == XmpFacts()


def test_xmp_without_measure_says_nothing() -> None:
    deep = "<a>" * 100 + "</a>" * 100

    assert read_xmp(packet(inside=deep + "<xmp:Rating>5</xmp:Rating>")) == XmpFacts()
    assert read_xmp(packet(inside="<xmp:Rating>5</xmp:Rating>" + " " * (1 << 20))) == XmpFacts()


def test_keywords_are_bounded_and_printable() -> None:
    words = ["x" * 1_000, " a \x1b[31m\n b\ud800 ", "A [31M B", "", *map(str, range(200))]

    kept = clean_keywords(words)

    assert len(kept) == 100
    assert {"x" * 128, "a [31m b"} <= set(kept)
    assert "A [31M B" not in kept


def test_the_character_sets_of_iptc() -> None:
    name = "Zürich"

    assert read_iptc(iptc(name.encode(), charset=b"\x1b%G")) == (name,)
    assert read_iptc(iptc(name.encode())) == (name,)
    assert read_iptc(iptc(name.encode("latin-1"))) == (name,)
    assert read_iptc(iptc(b"whole", b"cut")[:-1]) == ("whole",)


@given(st.binary(max_size=300), st.integers(0, 700), st.binary(min_size=1, max_size=8))
def test_random_metadata_is_never_an_error(junk: bytes, position: int, damage: bytes) -> None:
    damaged = bytearray(LABELLED)
    damaged[position : position + len(damage)] = damage
    block = bytearray(iptc(b"one", b"two"))
    block[position % len(block) :][: len(damage)] = damage

    found = [read_xmp(junk), read_xmp(bytes(damaged))]
    words = [*read_iptc(junk), *read_iptc(bytes(block)), *found[0].words, *found[1].words]

    assert all(one.rating in (None, -1, 0, 1, 2, 3, 4, 5) for one in found)
    kept = clean_keywords(words)
    plain = [word.replace("\u200c", "").replace("\u200d", "") for word in kept]
    assert all(word.isprintable() for word in plain)
    assert all(0 < len(word) <= 128 for word in kept)


@given(st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP"]), st.binary(max_size=300), st.binary())
def test_random_blocks_never_break_a_picture(form: str, xmp: bytes, keywords: bytes) -> None:
    exif = Image.Exif()
    exif[0x9C9E] = keywords[:1_000]
    if form == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode("latin-1"))
        data = file_of("PNG", pnginfo=text, exif=exif)
    elif form == "TIFF":
        data = file_of("TIFF", tiffinfo={700: xmp, 33723: keywords})
    else:
        data = file_of(form, xmp=xmp, exif=exif)

    facts = read_facts(decode(data, DecodeLimits()))

    assert (facts.width, facts.height, len(facts.keywords) <= 100) == (20, 10, True)
    details = read_details(read_metadata(io.BytesIO(data), DecodeLimits()))
    assert (details["rating"], details["keywords"]) == (facts.rating, facts.keywords)
