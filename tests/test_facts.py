"""The facts read from EXIF, honest and hostile."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from imgsearch import IndexSettings, Library, PictureFacts
from imgsearch.encoders.decode import decode
from imgsearch.indexer.facts import read_facts
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

    [hit] = library.search("red")

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
