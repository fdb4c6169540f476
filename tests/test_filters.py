"""What filters let through, in which order it comes, and on which page."""

from __future__ import annotations

import math
import os
import re
import sqlite3
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import WHOLE, MakePhoto
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from imgsearch import (
    Filters,
    IndexSettings,
    Library,
    Near,
    PhotoNotFound,
    PictureReference,
    SearchResults,
)
from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import catalog_path
from imgsearch.data.name_patterns import NamePatterns
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import QueryInvalid

EVERYTHING = 10_000
NO_TEXT = os.fsdecode(b"b\xff")
NO_TEXT_FILE = os.fsdecode(b"\xfe")


# --- Real pictures, indexed once ---


def save(
    path: Path,
    size: tuple[int, int],
    *,
    taken: str | None = None,
    camera: str | None = None,
    orientation: int = 1,
    changed: str = "2018-01-01T00:00:00",
) -> None:
    """Write a picture with these facts; `changed` is local time."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if camera:
        exif[ExifTags.Base.Model] = camera
    if taken:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path, exif=exif)
    moment = datetime.fromisoformat(changed).timestamp()
    os.utime(path, (moment, moment))


@dataclass(frozen=True)
class Album:
    """A library of seven pictures in two roots."""

    library: Library
    first: Path
    second: Path

    def names(self, filters: Filters) -> set[str]:
        """Return the stems of what passes, asked for in two ways that must agree."""
        found = self.library.search("red", filters=filters, limit=EVERYTHING, **WHOLE)
        listed = self.library.search(filters=filters, sort="date", limit=EVERYTHING)
        assert {hit.picture_id for hit in found} == {hit.picture_id for hit in listed}
        assert found.total == listed.total == len(found)
        return {Path(hit.path).stem for hit in found}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Album]:
    place = tmp_path_factory.mktemp("album")
    first, second = place / "first", place / "second"
    save(first / "a/exif.jpg", (40, 30), taken="2023:06:01 12:30:05", camera="Canon EOS R6")
    save(first / "a/deep/start.png", (30, 40), changed="2020-05-10T00:00:00")
    save(first / "ab/end.png", (40, 40), changed="2020-05-10T23:59:59")
    save(
        first / NO_TEXT / "turned.jpg",
        (40, 31),
        taken="2020:05:10 23:59:59",
        camera="Nikon Z6",
        orientation=6,
    )
    save(first / f"a/{NO_TEXT_FILE}.png", (100, 100))
    save(second / "a/wide.webp", (1000, 500), changed="2022-02-02T12:00:00")
    save(second / "top.bmp", (104, 100), changed="2020-05-11T00:00:00")
    with Library.open(place / "library", model=FakeEncoder()) as library:
        report = library.index([first, second], settings=IndexSettings(decode_workers=1))
        assert report.added == 7
        yield Album(library, first, second)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["first/a"], {"exif", "start", NO_TEXT_FILE}),
        (["first/a/"], {"exif", "start", NO_TEXT_FILE}),
        (["first/a/deep/../deep"], {"start"}),
        (["first/ab"], {"end"}),
        ([f"first/{NO_TEXT}"], {"turned"}),
        (["first"], {"exif", "start", "end", "turned", NO_TEXT_FILE}),
        (["second"], {"wide", "top"}),
        (["second/a", "first/ab"], {"wide", "end"}),
        (["first/a/deep", "first/a"], {"exif", "start", NO_TEXT_FILE}),
        ([""], {"exif", "start", "end", "turned", NO_TEXT_FILE, "wide", "top"}),
        (["fir"], set()),
        (["first/A"], set()),
        (["first/a%"], set()),
        (["first/a/exif.jpg"], set()),
        (["elsewhere"], set()),
    ],
)
def test_folder(album: Album, folders: list[str], expected: set[str]) -> None:
    paths = tuple(f"{album.first.parent}/{folder}" for folder in folders)

    assert album.names(Filters(folders=paths)) == expected


def test_the_root_of_the_file_system_holds_everything(album: Album) -> None:
    assert len(album.names(Filters(folders=(os.sep,)))) == 7


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2020-05-10", "2020-05-10", {"start", "end", "turned"}),
        ("2020-05-11", None, {"top", "wide", "exif"}),
        (None, "2020-05-09", {NO_TEXT_FILE}),
        ("2023-06-01", "2023-06-01", {"exif"}),
        ("2023-06-02", None, set()),
        ("2023-06-01", "2023-05-31", set()),
        # By their files alone, "exif" and "turned" are of 2018.
        (None, "2018-12-31", {NO_TEXT_FILE}),
        (
            "0001-01-01",
            "9999-12-31",
            {"exif", "start", "end", "turned", NO_TEXT_FILE} | {"wide", "top"},
        ),
    ],
)
def test_days(album: Album, since: str | None, until: str | None, expected: set[str]) -> None:
    days = [None if day is None else date.fromisoformat(day) for day in (since, until)]

    assert album.names(Filters(since=days[0], until=days[1])) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(cameras=("Canon EOS R6",)), {"exif"}),
        (Filters(cameras=("Canon EOS R6", "Nikon Z6")), {"exif", "turned"}),
        (Filters(cameras=("canon eos r6",)), {"exif"}),
        (Filters(cameras=("canon*", "*z?")), {"exif", "turned"}),
        (Filters(cameras=("canon",)), set()),
        (Filters(cameras=("%", "Canon_EOS_R6", "\\%")), set()),
        (Filters(cameras=("\udcff",)), set()),
        (Filters(keywords=("\udcff",)), set()),
        (Filters(names=("*.PNG",)), {"start", "end", NO_TEXT_FILE}),
        (Filters(names=("start*", "a/*.webp")), {"start", "wide"}),
        (Filters(names=("deep/*",)), {"start"}),
        (Filters(names=("eep/*",)), set()),
        (Filters(has_place=True), set()),
        (Filters(formats=("BMP",), min_bytes=31_000, max_bytes=32_000), {"top"}),
        (Filters(cameras=("' OR 1=1 --",)), set()),
        (Filters(orientations=("landscape",)), {"exif", "wide"}),
        (Filters(orientations=("portrait",)), {"start", "turned"}),
        (Filters(orientations=("square",)), {"end", NO_TEXT_FILE, "top"}),
        (
            Filters(orientations=("square", "portrait")),
            {"end", NO_TEXT_FILE, "top", "start", "turned"},
        ),
        (Filters(formats=("JPEG",)), {"exif", "turned"}),
        (Filters(formats=("WEBP", "BMP")), {"wide", "top"}),
        (Filters(formats=("GIF",)), set()),
        (Filters(min_pixels=10_000), {NO_TEXT_FILE, "top", "wide"}),
        (Filters(min_pixels=10_001), {"top", "wide"}),
        (Filters(max_pixels=1_240), {"exif", "start"}),
        (Filters(max_pixels=1_241), {"exif", "start", "turned"}),
        (Filters(min_pixels=1_240, max_pixels=10_000), {"turned", "end"}),
        (Filters(formats=("JPEG",), orientations=("portrait",)), {"turned"}),
        (Filters(formats=("JPEG",), orientations=("square",)), set()),
    ],
)
def test_facts(album: Album, filters: Filters, expected: set[str]) -> None:
    assert album.names(filters) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Filters(orientations=("round",)), "landscape"),
        (lambda: Filters(min_pixels=-1), "size"),
        (lambda: Filters(max_bytes=2**70), "size"),
        (lambda: Filters(min_rating=6), "rating"),
        (lambda: Filters(keywords=("a", " ")), "keyword"),
        (lambda: Filters(names=("",)), "pattern"),
        (lambda: Filters(names=("x" * 300,)), "pattern"),
        (lambda: Near(90.1, 0), "place"),
        (lambda: Near(float("nan"), 0), "place"),
        (lambda: Near(0, -181), "place"),
        (lambda: Near(0, 0, 0), "kilometres"),
        (lambda: Near(0, 0, float("inf")), "kilometres"),
    ],
)
def test_values_that_make_no_sense(make: Callable[[], object], message: str) -> None:
    with pytest.raises(QueryInvalid, match=message):
        make()


# The corners of the earth, and places near each other.
PLACES = [
    (latitude, longitude)
    for latitude in (-90.0, -89.9, -33.87, 0.0, 52.5, 89.99, 90.0)
    for longitude in (-180.0, -179.9, 0.0, 13.4, 13.5, 180.0)
]


def test_known_distances() -> None:
    berlin = Near(52.5200, 13.4050, 1.0)

    assert berlin.distance(48.8566, 2.3522) == pytest.approx(877.5, abs=1)
    assert Near(0, 179.9, 1.0).distance(0, -179.9) == pytest.approx(22.24, abs=0.01)
    assert Near(90, 0, 1.0).distance(-90, 77) == pytest.approx(20_015, abs=1)


@given(
    st.sampled_from(PLACES) | st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    st.sampled_from((0.001, 7.0, 300.0, 5_000.0, 20_015.0)),
    st.floats(0, 2 * math.pi),
    st.floats(0, 1.1),
)
def test_the_box_around_a_place_leaves_nothing_out(
    place: tuple[float, float], kilometres: float, bearing: float, share: float
) -> None:
    near = Near(*place, kilometres)
    latitude, longitude = destination(*place, bearing, kilometres * share)
    inside = near.test()(latitude, longitude)

    # 1 mm and the rounding of angles near the antipode.
    assume(abs(near.distance(latitude, longitude) - kilometres) > 1e-6 + kilometres * 1e-6)
    assert inside == (near.distance(latitude, longitude) < kilometres)
    if inside:
        south, north = near.latitudes()
        assert south <= latitude <= north
        assert any(west <= longitude <= east for west, east in near.longitudes())


@pytest.mark.parametrize(
    ("near", "inside", "outside"),
    [
        (Near(0, -179.9, 30), [(0, 179.95), (0, -180), (0, 180), (0, -179.7)], [(0, 179.8)]),
        (Near(0, 179.9, 30), [(0, -179.95), (0, -180), (0, 180), (0, 179.7)], [(0, -179.8)]),
        (Near(89.9, 0, 30), [(89.9, 180), (90, 77)], [(89.8, 180)]),
        (Near(-89.9, 0, 30), [(-89.9, 180), (-90, 77)], [(-89.8, 180)]),
        # In the box, and not in the circle.
        (Near(50, 10, 100), [(50.89, 10), (50, 11.39)], [(50.85, 11.3), (50.91, 10)]),
        # Near the pole the circle reaches 87 degrees to the east, at its own latitude 62.
        (Near(60, 0, 3_330), [(88, 84), (60, 59)], [(60, 66)]),
    ],
)
def test_edges_of_the_earth(
    tmp_path: Path,
    near: Near,
    inside: list[tuple[float, float]],
    outside: list[tuple[float, float]],
) -> None:
    write_rows(tmp_path, [Row(place=place) for place in (*inside, *outside)])
    with Library.open(tmp_path, model=FakeEncoder()) as library:
        found = library.search(like=QUERY, filters=Filters(near=near), **WHOLE)

    assert sorted(ids_of(found)) == list(range(1, len(inside) + 1))


def destination(
    latitude: float, longitude: float, bearing: float, kilometres: float
) -> tuple[float, float]:
    """Return where a way ends that begins in a direction, in radians from north."""
    a, b, arc = math.radians(latitude), math.radians(longitude), kilometres / 6371.0088
    up = math.sin(a) * math.cos(arc) + math.cos(a) * math.sin(arc) * math.cos(bearing)
    c = math.asin(max(-1.0, min(1.0, up)))
    east = math.sin(bearing) * math.sin(arc) * math.cos(a)
    d = b + math.atan2(east, math.cos(arc) - math.sin(a) * math.sin(c))
    return math.degrees(c), (math.degrees(d) + 540) % 360 - 180


@given(st.text(max_size=30), st.text(max_size=60))
def test_any_pattern_can_be_asked_for(pattern: str, path: str) -> None:
    assume(pattern)

    assert NamePatterns([pattern]).match(path) in (True, False)


def test_a_thousand_folders_are_no_damage(album: Album) -> None:
    many = tuple(f"{album.first}/{number}" for number in range(1_000))

    assert album.names(Filters(folders=(*many, f"{album.first}/ab"))) == {"end"}


def test_no_condition_is_no_filter(album: Album) -> None:
    assert not Filters().any
    assert Filters(min_pixels=0).any
    assert Filters(since=date.min).any


def test_without_a_query_the_newest_come_first(album: Album) -> None:
    results = album.library.search(sort="date")

    assert [Path(hit.path).stem for hit in results] == [
        "exif",
        "wide",
        "top",
        "end",
        "turned",
        "start",
        NO_TEXT_FILE,
    ]
    assert {(hit.score, hit.strength) for hit in results} == {(None, None)}


def test_the_order_by_name_looks_at_names_and_not_at_folders_or_case(tmp_path: Path) -> None:
    names = ("z/Alpha.png", "a/beta.png", "m/GAMMA.png", "a/" + NO_TEXT_FILE + ".png")
    for width, name in enumerate(names, start=8):
        save(tmp_path / "photos" / name, (width, 8))
    with Library.open(tmp_path / "library", model=FakeEncoder()) as library:
        library.index([tmp_path / "photos"])

        found = [os.path.basename(hit.path) for hit in library.search(sort="name")]

    assert found == ["Alpha.png", "beta.png", "GAMMA.png", NO_TEXT_FILE + ".png"]


def test_the_matches_of_a_query_by_date(album: Album) -> None:
    results = album.library.search("red", sort="date", limit=2, offset=1, **WHOLE)

    assert [Path(hit.path).stem for hit in results] == ["wide", "top"]
    assert all(hit.score is not None and hit.score > 0.9 for hit in results)
    assert results.total == 7


def test_the_facets_are_what_can_be_filtered_by(album: Album) -> None:
    facets = album.library.facets()

    assert facets.pictures == 7
    assert facets.cameras == {"Canon EOS R6": 1, "Nikon Z6": 1}
    assert (facets.lenses, facets.keywords, facets.ratings, facets.placed) == ({}, {}, {}, 0)
    assert facets.formats == {"PNG": 3, "JPEG": 2, "BMP": 1, "WEBP": 1}
    assert set(facets.roots) == {str(album.first), str(album.second)}
    assert facets.absent_folders == ()
    assert facets.folders == {
        str(album.first): "first",
        str(album.first / "a"): "first/a",
        str(album.first / "a/deep"): "first/a/deep",
        str(album.first / "ab"): "first/ab",
        str(album.first / NO_TEXT): r"first/b\udcff",
        str(album.second): "second",
        str(album.second / "a"): "second/a",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "red", "sort": "age"}, "no order 'age'"),
        ({"text": "red", "offset": -1}, "offset is -1"),
        ({"text": "red", "limit": 0}, "limit is 0"),
        ({"text": " \n"}, "empty"),
        ({"filters": Filters(formats=("PNG",))}, "empty"),
        ({"sort": "date", "offset": -1}, "offset is -1"),
    ],
)
def test_what_cannot_be_asked(album: Album, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(QueryInvalid, match=message):
        album.library.search(**arguments, **WHOLE)  # type: ignore[arg-type]


def test_pictures_come_in_the_order_asked_for_without_the_unknown(album: Album) -> None:
    known = [hit.picture_id for hit in album.library.search("red", **WHOLE)]

    got = album.library.pictures([known[3], 999, known[0], -1, 2**70])

    assert [hit.picture_id for hit in got] == [known[3], known[0]]
    assert got[0].score is None


def test_a_picture_of_the_library_finds_itself(album: Album) -> None:
    asked = album.library.search("red", filters=Filters(formats=("WEBP",)))[0]

    found = album.library.search(
        like=asked.picture_id, filters=Filters(folders=(str(album.second),)), **WHOLE
    )

    assert found[0].score == pytest.approx(1.0, abs=1e-3)
    assert len(found) == 2


@pytest.mark.parametrize("unknown", [999, 0, -1, 2**53])
def test_a_picture_that_is_not_in_the_library(album: Album, unknown: int) -> None:
    with pytest.raises(PhotoNotFound):
        album.library.search(like=unknown, **WHOLE)


def test_facets_of_labels_and_places(tmp_path: Path) -> None:
    write_rows(
        tmp_path,
        [
            Row(lens="a", rating=3, keywords=("Sea", "sun"), place=(1.0, 2.0)),
            Row(lens="a", rating=-1, keywords=("sea",)),
            Row(rating=3),
        ],
    )
    with Library.open(tmp_path, model=FakeEncoder()) as library:
        facets = library.facets()

    assert facets.lenses == {"a": 2}
    assert facets.keywords == {"Sea": 2, "sun": 1}
    assert facets.ratings == {3: 2, -1: 1}
    assert facets.placed == 1


def test_facets_follow_a_root_that_became_part_of_another(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("inner/a.jpg")
    library.index(folder / "inner", settings=settings)
    before = library.facets().roots

    library.index(folder, settings=settings)

    assert (before, library.facets().roots) == ((str(folder / "inner"),), (str(folder),))


def test_facets_tell_an_absent_root(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings, tmp_path: Path
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)
    before = library.facets().absent_folders
    folder.rename(tmp_path / "unplugged")

    assert (before, library.facets().absent_folders) == ((), (str(folder),))


# --- Rows without pictures, for what needs many ---


@dataclass(frozen=True)
class Shown:
    """A file that shows a picture: its root (0 or 1), folder below it, and time in seconds.

    The number of its picture is added to `name`, so that no two are equal.
    """

    root: int
    folder: str
    changed: int
    name: str = ""


@dataclass(frozen=True)
class Row:
    """A picture; those of one `level` are equally near to `QUERY`, nearer than those above."""

    level: int = 0
    size: tuple[int, int] = (40, 30)
    format: str = "PNG"
    camera: str | None = None
    taken: str | None = None
    lens: str | None = None
    place: tuple[float, float] | None = None
    rating: int | None = None
    keywords: tuple[str, ...] = ()
    byte_size: int = 1
    files: tuple[Shown, ...] = (Shown(0, "", 0),)


ROOTS = ("/one", "/one and two")
QUERY = PictureReference(np.array([1, 0, 0, 0], dtype=np.float32), "fake", "1", b"", "")


def name_of(file: Shown, number: int, copy: int) -> str:
    return f"{file.name}{number} {copy}"


def write_rows(library: Path, rows: Sequence[Row]) -> None:
    """Make a library of these rows; the first gets id 1, the second 2 and so on."""
    with Catalog(library) as catalog:
        roots = [catalog.add_root(path) for path in ROOTS]
        model = catalog.register_model("fake", "1", "fake", 4)
        catalog.activate_model(model)
        photos = []
        for number, row in enumerate(rows):
            angle = row.level * 0.25
            vector = np.array([np.cos(angle), np.sin(angle), 0, 0], dtype="<f2").tobytes()
            facts = PictureFacts(
                *row.size,
                row.format,
                taken_at=row.taken,
                camera=row.camera,
                lens=row.lens,
                latitude=row.place[0] if row.place else None,
                longitude=row.place[1] if row.place else None,
                rating=row.rating,
                keywords=row.keywords,
            )
            for copy, file in enumerate(row.files):
                path = os.path.join(file.folder, name_of(file, number, copy))
                stat = FileStat(roots[file.root], path, row.byte_size, file.changed * 10**9)
                photos.append(NewPhoto(stat, number.to_bytes(32, "big"), facts, vector))
        ids = PhotoStore(catalog, model).store(photos)
    assert list(ids.values()) == list(range(1, len(rows) + 1))


def ids_of(results: SearchResults) -> list[int]:
    return [hit.picture_id for hit in results]


def pages(library: Library, size: int, total: int, filters: Filters, sort: str) -> list[int]:
    """Return what all pages show, one after the other, and the empty page behind them."""
    like = QUERY if sort == "match" else None
    found: list[int] = []
    for offset in range(0, total + size, size):
        page = library.search(
            like=like, filters=filters, sort=sort, limit=size, offset=offset, **WHOLE
        )
        assert page.total == total
        assert len(page) == min(size, max(0, total - offset))
        found += ids_of(page)
    return found


DAYS = [date(2020, 5, 9) + timedelta(days=number) for number in range(4)]
MOMENTS = [datetime.combine(day, datetime.min.time()) for day in DAYS]
MOMENTS += [moment - timedelta(seconds=1) for moment in MOMENTS]
FOLDERS = ("", "a", "a/b", "ab", "a.b", "a/" + NO_TEXT, NO_TEXT)
SIZES = ((40, 30), (30, 40), (105, 100), (106, 100), (100, 100))

some_files = st.builds(
    Shown,
    st.sampled_from((0, 1)),
    st.sampled_from(FOLDERS),
    st.sampled_from([int(moment.timestamp()) for moment in MOMENTS]),
    st.sampled_from(("", "IMG_", "img [x] é", NO_TEXT)),
)
some_places = st.sampled_from(PLACES) | st.tuples(
    st.floats(-90, 90, allow_nan=False), st.floats(-180, 180, allow_nan=False)
)
some_keywords = st.lists(
    st.sampled_from(("beach", "Été", "straße", "two words", "100%_")), unique=True, max_size=3
)
some_rows = st.builds(
    Row,
    level=st.integers(0, 5),
    size=st.sampled_from(SIZES),
    format=st.sampled_from(("PNG", "JPEG")),
    camera=st.sampled_from((None, "X", "Y")),
    taken=st.none() | st.sampled_from([moment.isoformat() for moment in MOMENTS]),
    lens=st.sampled_from((None, "50mm F1.8", "50MM f1.8 II", "a%b_c\\d")),
    place=st.none() | some_places,
    rating=st.sampled_from((None, -1, 0, 3, 5)),
    keywords=some_keywords.map(tuple),
    byte_size=st.sampled_from((1, 1_000, 2**40)),
    files=st.lists(some_files, min_size=1, max_size=2).map(tuple),
)


def _one_or_two(values: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2).map(tuple)


_CONDITIONS: dict[str, st.SearchStrategy[object]] = {
    "folders": _one_or_two([os.path.join(root, folder) for root in ROOTS for folder in FOLDERS]),
    "since": st.sampled_from(DAYS),
    "until": st.sampled_from(DAYS),
    "cameras": _one_or_two(("X", "Y", "Z")),
    "orientations": _one_or_two(("landscape", "portrait", "square")),
    "formats": _one_or_two(("PNG", "JPEG", "GIF")),
    "min_pixels": st.sampled_from((1_200, 10_500)),
    "max_pixels": st.sampled_from((1_201, 10_500)),
    "lenses": _one_or_two(
        ("50mm f1.8", "50mm*", "*", "5?mm F1.8", "a%b_c\\d", "%", "_" * 9, "a*d")
    ),
    "near": st.builds(
        lambda place, kilometres: Near(*place, kilometres),
        some_places,
        st.sampled_from((0.001, 7.0, 111.0, 5_000.0, 20_000.0, 99_999.0)),
    ),
    "has_place": st.booleans(),
    "min_rating": st.sampled_from((0, 1, 4, 5)),
    "keywords": _one_or_two(
        ("BEACH", "éTÉ", "E\u0301té", "STRASSE", " two  words ", "two", "100%_")
    ),
    "names": _one_or_two(
        (
            "IMG_*",
            "*1*",
            "img_? 0",
            "img [[]x] É*",
            "a/*",
            "/one/*",
            "two/a*/*0",
            "*\udcff*",
            "[0-3] ?",
        )
    ),
    "min_bytes": st.sampled_from((0, 2, 1_000)),
    "max_bytes": st.sampled_from((1_000, 1_001)),
}
# Few conditions at once, so that something passes.
some_filters = st.lists(st.sampled_from(sorted(_CONDITIONS)), max_size=2).flatmap(
    lambda names: st.builds(Filters, **{name: _CONDITIONS[name] for name in names})
)


def passes(number: int, row: Row, filters: Filters) -> bool:
    """Tell what the filters are documented to tell; `number` is that of the row, from 0."""
    width, height = row.size
    pixels = width * height
    ratio = max(row.size) / min(row.size)
    shape = "square" if ratio <= 1.05 else "landscape" if width > height else "portrait"
    return (
        _is_called(row.camera, filters.cameras)
        and _is_called(row.lens, filters.lenses)
        and _is_near(row.place, filters.near)
        and (filters.has_place is None or filters.has_place == (row.place is not None))
        and (
            filters.min_rating is None
            or (row.rating is not None and row.rating >= filters.min_rating)
        )
        and (not filters.keywords or bool(_keys(row.keywords) & _keys(filters.keywords)))
        and (filters.min_bytes is None or row.byte_size >= filters.min_bytes)
        and (filters.max_bytes is None or row.byte_size < filters.max_bytes)
        and (not filters.formats or row.format in filters.formats)
        and (not filters.orientations or shape in filters.orientations)
        and (filters.min_pixels is None or pixels >= filters.min_pixels)
        and (filters.max_pixels is None or pixels < filters.max_pixels)
        and any(
            _file_passes(file, name_of(file, number, copy), row.taken, filters)
            for copy, file in enumerate(row.files)
        )
    )


def _is_called(name: str | None, wanted: Sequence[str]) -> bool:
    patterns = [re.escape(one).replace(r"\*", ".*").replace(r"\?", ".") for one in wanted]
    found = [re.fullmatch(one, name or "", re.IGNORECASE | re.ASCII) for one in patterns]
    return not wanted or (name is not None and any(found))


def _keys(words: Sequence[str]) -> set[str]:
    return {unicodedata.normalize("NFC", " ".join(word.split())).casefold() for word in words}


def _is_near(place: tuple[float, float] | None, near: Near | None) -> bool:
    """Tell by the angle between vectors from the centre of the earth."""
    if near is None or place is None:
        return near is None
    a, b = _on_the_ball(*place), _on_the_ball(near.latitude, near.longitude)
    # More exact for small angles than the arc cosine of the product.
    angle = math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))
    distance = angle * 6371.0088
    assume(abs(distance - near.kilometres) > 1e-6)
    return distance < near.kilometres


def _on_the_ball(latitude: float, longitude: float) -> npt.NDArray[np.float64]:
    a, b = math.radians(latitude), math.radians(longitude)
    return np.array([math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)])


def _is_named(file: Shown, name: str, patterns: Sequence[str]) -> bool:
    path = os.path.join(ROOTS[file.root], file.folder, name).lower()
    ends = [path, name.lower()] + [path[at + 1 :] for at, c in enumerate(path) if c == "/"]
    return not patterns or any(
        fnmatchcase(end, pattern.lower())
        for pattern in patterns
        for end in (ends if "/" in pattern else [name.lower()])
    )


def _file_passes(file: Shown, name: str, taken: str | None, filters: Filters) -> bool:
    changed = datetime.fromtimestamp(file.changed)
    day = (datetime.fromisoformat(taken) if taken else changed).date()
    folder = Path(ROOTS[file.root], file.folder)
    inside = [folder.is_relative_to(one) for one in filters.folders]
    return (
        (filters.since is None or day >= filters.since)
        and (filters.until is None or day <= filters.until)
        and (not filters.folders or any(inside))
        and _is_named(file, name, filters.names)
    )


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(some_rows, min_size=2, max_size=20), filters=some_filters, size=st.integers(2, 8)
)
def test_ranking_and_paging_equal_brute_force(rows: list[Row], filters: Filters, size: int) -> None:
    passing = [number + 1 for number, row in enumerate(rows) if passes(number, row, filters)]
    ranked = sorted(passing, key=lambda id_: (rows[id_ - 1].level, id_))
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), rows)
        with Library.open(folder, model=FakeEncoder()) as library:
            assert pages(library, size, len(passing), filters, "match") == ranked

            by_date = pages(library, size, len(passing), filters, "date")
            assert sorted(by_date) == passing
            dates = [hit.date for hit in library.pictures(by_date)]
            assert dates == sorted(dates, reverse=True)


def test_ties_at_the_end_of_a_page_go_to_the_lower_id(tmp_path: Path) -> None:
    write_rows(tmp_path, [Row(level=1), Row(level=1), Row(level=1), Row(level=0)])
    with Library.open(tmp_path, model=FakeEncoder()) as library:
        first = library.search(like=QUERY, limit=2, **WHOLE)
        second = library.search(like=QUERY, limit=2, offset=2, **WHOLE)

    assert ids_of(first) + ids_of(second) == [4, 1, 2, 3]


def test_the_order_by_date_is_that_of_the_dates_shown(tmp_path: Path) -> None:
    days = [int(moment.timestamp()) for moment in MOMENTS[:3]]
    copies = (Shown(0, "a", days[2]), Shown(0, "b", days[0]))
    write_rows(tmp_path, [Row(files=copies), Row(files=(Shown(0, "a", days[1]),))])
    with Library.open(tmp_path, model=FakeEncoder()) as library:
        results = library.search(sort="date", filters=Filters(folders=("/one/a",)))

    dates = [hit.date for hit in results]
    assert dates == sorted(dates, reverse=True)


def test_a_page_behind_the_last_is_empty(tmp_path: Path) -> None:
    write_rows(tmp_path, [Row(), Row()])
    with Library.open(tmp_path, model=FakeEncoder()) as library:
        results = library.search(like=QUERY, offset=5, **WHOLE)

    assert (len(results), results.total) == (0, 2)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd"])
def test_facets_of_a_catalog_that_lies_about_paths(tmp_path: Path, path: str) -> None:
    write_rows(tmp_path, [Row()])
    connection = sqlite3.connect(catalog_path(tmp_path))
    connection.execute("UPDATE file SET path = ?", (path,))
    connection.commit()
    connection.close()

    with Library.open(tmp_path, model=FakeEncoder()) as library:
        folders = library.facets().folders

    assert all(Path(os.path.normpath(one)).is_relative_to("/one") for one in folders)


def test_a_text_in_the_place_of_several_is_refused() -> None:
    with pytest.raises(QueryInvalid, match="cameras are several"):
        Filters(cameras="Pixel 8")  # type: ignore[arg-type]
