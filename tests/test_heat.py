"""Heat maps: where in a picture words are found, drawn and written."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import EXAMPLES, WHOLE
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgsearch import (
    HeatMap,
    HeatMapUnavailable,
    IndexSettings,
    Library,
    PhotoNotFound,
    QueryInvalid,
    load_encoder,
)
from imgsearch.encoders.base import Preprocessing, Resize, unit_rows
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.errors import OutputInvalid
from imgsearch.explain_files import write_explanations
from imgsearch.search.heat import HeatMapper, heat_map


def two_colours(left: str, right: str, size: tuple[int, int] = (400, 300)) -> Image.Image:
    picture = Image.new("RGB", size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture


def jpeg(picture: Image.Image, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=95, **options)  # type: ignore[arg-type]
    return target.getvalue()


@pytest.fixture
def filled(library: Library, folder: Path, settings: IndexSettings) -> Library:
    """A library with one picture: red on the left, blue on the right."""
    (folder / "both.jpg").write_bytes(jpeg(two_colours("red", "blue")))
    library.index(folder, settings=settings)
    return library


def only_hash(library: Library) -> str:
    return library.search("red", **WHOLE)[0].content_hash


@given(seed=st.integers(0, 1_000), side=st.integers(1, 6), count=st.integers(1, 5))
def test_heat_lies_between_0_and_1(seed: int, side: int, count: int) -> None:
    rows = unit_rows(np.random.default_rng(seed).standard_normal((side * side + count + 1, 8)))
    patches, null, words = (
        rows[: side * side].reshape(side, side, 8),
        rows[-count - 1 : -1],
        rows[-1],
    )

    heat = heat_map(patches, words, null)

    assert heat.shape == (side, side)
    assert heat.dtype == np.float32
    assert 0 <= heat.min() <= heat.max() <= 1


def test_the_documented_heat() -> None:
    # Over two null prompts every cell has the cosines 0.1 and -0.1: mean 0, deviation 0.1.
    null = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    patches = np.tile(np.array([0.1, -0.1, 0], dtype=np.float32), (3, 3, 1))
    patches[0, 0, 2] = 0.9
    words = np.array([0, 0, 1], dtype=np.float32)

    heat = heat_map(patches, words, null)

    # The mean over the four neighbours that the corner has is 0.225, or 2.25 deviations of 5.
    assert heat[0, 0] == pytest.approx(0.45)
    assert heat[1, 1] == pytest.approx(0.2)
    assert heat[2, 2] == 0


def test_words_are_found_in_their_half(filled: Library) -> None:
    red = filled.heat_map(only_hash(filled), "red")
    blue = filled.heat_map(only_hash(filled), "blue")

    assert red.peak[0] < 0.5 < blue.peak[0]
    assert (red.width, red.height) == (400, 300)
    assert red.values[:, 0].min() > 0.5
    assert red.values[:, -1].max() == 0


def test_the_starter_finds_its_way_in_a_collage() -> None:
    encoder = load_encoder("starter")
    mapper = HeatMapper(encoder)
    halves = [Image.open(EXAMPLES / f"{name}.jpg").convert("RGB") for name in ("coffee", "cat")]

    for first, second in ((0, 1), (1, 0)):
        collage = Image.new("RGB", (512, 512))
        for place, which in ((0, first), (256, second)):
            collage.paste(halves[which].resize((256, 512)), (place, 0))
        pixels = to_pixels(collage, encoder.description.preprocessing)
        coffee = mapper.map(pixels, "a cup of coffee", 512, 512)
        cat = mapper.map(pixels, "a cat", 512, 512)
        assert (coffee.peak[0] < 0.5) is (first == 0)
        assert (cat.peak[0] < 0.5) is (first == 1)
        assert min(coffee.values.max(), cat.values.max()) > 0.7


def test_cells_of_the_starter_lie_where_they_are_in_the_picture() -> None:
    encoder = load_encoder("starter")
    plain = np.full((1, 256, 256, 3), 128, dtype=np.uint8)
    marked = plain.copy()
    marked[:, 32:96, 160:224] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))

    difference = np.abs(encoder.encode_patches(marked) - encoder.encode_patches(plain)).sum(axis=3)  # type: ignore[attr-defined]

    row, column = np.argwhere(difference[0] == difference[0].max())[0]
    assert row in (1, 2)
    assert column in (5, 6)


def test_the_starters_embeddings_do_not_depend_on_the_part() -> None:
    encoder = load_encoder("starter")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    before = encoder.encode_images(pixels)

    encoder.encode_patches(pixels)  # type: ignore[attr-defined]

    assert np.array_equal(encoder.encode_images(pixels), before)


@pytest.mark.parametrize(
    ("resize", "size", "seen"),
    [
        (Resize.SQUASH, (400, 100), (0, 0, 1, 1)),
        (Resize.CROP, (400, 100), (0.375, 0, 0.625, 1)),
        (Resize.CROP, (100, 200), (0, 0.25, 1, 0.75)),
        (Resize.CROP, (70, 70), (0, 0, 1, 1)),
    ],
)
def test_what_an_encoder_sees(
    resize: Resize, size: tuple[int, int], seen: tuple[float, ...]
) -> None:
    assert Preprocessing(8, resize).seen(*size) == pytest.approx(seen)


def hot_corner(seen: tuple[float, float, float, float], width: int, height: int) -> HeatMap:
    values = np.zeros((4, 4), dtype=np.float32)
    values[0, 3] = 1
    return HeatMap(values, seen, width, height)


def test_the_peak_is_a_point_of_the_whole_picture() -> None:
    # A 2:1 picture of which the middle square is seen: x from 0.25 to 0.75.
    heat = hot_corner((0.25, 0, 0.75, 1), 200, 100)

    assert heat.peak == pytest.approx((0.25 + 0.5 * 3.5 / 4, 0.5 / 4))


def test_colour_lies_over_the_hot_cell_and_not_over_what_is_not_seen() -> None:
    grey = Image.new("RGB", (200, 100), (128, 128, 128))

    drawn = Image.open(io.BytesIO(hot_corner((0.25, 0, 0.75, 1), 200, 100).overlay(jpeg(grey))))

    pixels = np.asarray(drawn).astype(int)
    changed = np.abs(pixels - 128).max(axis=2)
    assert drawn.size == (200, 100)
    assert drawn.format == "JPEG"
    # Hot is plasma's yellow: much red and green, little blue.
    red, green, blue = pixels[8, 138]
    assert red > 180
    assert green > 180
    assert blue < 90
    assert changed[:, :40].max() <= 2
    assert changed[:, 160:].max() <= 2
    assert changed[80:, 50:90].max() <= 12


def test_an_overlay_keeps_the_colour_profile() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given_ = jpeg(Image.new("RGB", (20, 20)), icc_profile=profile)

    drawn = hot_corner((0, 0, 1, 1), 20, 20).overlay(given_)

    assert Image.open(io.BytesIO(drawn)).info["icc_profile"] == profile


@pytest.mark.parametrize("size", [(4000, 3000), (1, 60_000), (60_000, 1), (3, 2)])
def test_a_layer_has_the_proportions_of_the_picture_and_a_bounded_size(
    size: tuple[int, int],
) -> None:
    seen = Preprocessing(8, Resize.CROP).seen(*size)

    layer = Image.open(io.BytesIO(hot_corner(seen, *size).layer()))

    assert layer.format == "PNG"
    assert layer.mode == "RGBA"
    assert max(layer.size) == 384
    wanted = max(1, round(384 * min(size) / max(size)))
    assert min(layer.size) == wanted


def test_what_has_no_heat_map_says_so(
    filled: Library, folder: Path, settings: IndexSettings
) -> None:
    known = only_hash(filled)

    with pytest.raises(QueryInvalid):
        filled.heat_map(known, " \n ")
    for unknown in ("0" * 64, "", "../x"):
        with pytest.raises(PhotoNotFound):
            filled.heat_map(unknown, "red")
    (folder / "both.jpg").write_bytes(jpeg(two_colours("green", "blue")))
    with pytest.raises(PhotoNotFound, match="changed"):
        filled.heat_map(known, "red")


class WithoutPatches:
    """An encoder as they were before there were heat maps."""

    def __init__(self) -> None:
        self._real = FakeEncoder()
        self.description = self._real.description
        self.encode_images = self._real.encode_images
        self.encode_texts = self._real.encode_texts


def test_an_encoder_that_cannot_is_told_apart(filled: Library) -> None:
    known = only_hash(filled)

    with Library.open(filled.path, model=WithoutPatches()) as old:
        assert not old.has_heat_maps()
        assert old.search("red", **WHOLE)[0].content_hash == known
        with pytest.raises(HeatMapUnavailable, match="cannot show where"):
            old.heat_map(known, "red")
    assert filled.has_heat_maps()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "where"


def colours_of(path: Path) -> npt.NDArray[np.int64]:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_results_are_written_as_pictures(filled: Library, folder: Path, out: Path) -> None:
    original = (folder / "both.jpg").read_bytes()

    written = write_explanations(filled, filled.search("red", **WHOLE), "red", out)

    assert written == [out / "001-both.jpg"]
    assert os.listdir(out) == ["001-both.jpg"]
    pixels = colours_of(written[0])
    assert pixels.shape == (300, 400, 3)
    # Yellow lies over the red half: green appears. The blue half is as it was.
    assert pixels[150, 50, 1] > 120
    assert np.abs(pixels[150, 380] - (0, 0, 255)).max() < 12
    assert (folder / "both.jpg").read_bytes() == original


@pytest.mark.parametrize(
    "name", ["a:b|c?.jpg", "x..jpg", " .x.jpg", "-rf *.jpg", "名" * 60 + ".jpg", "x\ty.jpg"]
)
@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be there")
def test_names_are_safe(
    library: Library, folder: Path, settings: IndexSettings, out: Path, name: str
) -> None:
    (folder / name).write_bytes(jpeg(two_colours("red", "blue")))
    library.index(folder, settings=settings)

    [path] = write_explanations(library, library.search("red", **WHOLE), "red", out)

    assert path.parent == out
    assert path.name.startswith("001-")
    assert all(c.isalnum() or c in "-_. " for c in path.name)
    assert len(os.fsencode(path.name)) <= 255
    assert path.is_file()


def test_a_second_run_replaces_its_own_pictures_only(
    filled: Library, folder: Path, out: Path, tmp_path: Path
) -> None:
    results = filled.search("red", **WHOLE)
    write_explanations(filled, results, "red", out)
    first = (out / "001-both.jpg").read_bytes()

    again = write_explanations(filled, results, "blue", out)
    assert again == [out / "001-both.jpg"]
    assert again[0].read_bytes() != first

    elsewhere = tmp_path / "elsewhere.jpg"
    elsewhere.write_bytes(b"precious")
    again[0].unlink()
    again[0].symlink_to(elsewhere)
    (out / "001-both-2.jpg").write_bytes(b"a photo of the user's")
    third = write_explanations(filled, results, "red", out)
    assert third == [out / "001-both-3.jpg"]
    assert elsewhere.read_bytes() == b"precious"
    assert (out / "001-both-2.jpg").read_bytes() == b"a photo of the user's"


def test_photos_that_are_gone_are_left_out(
    filled: Library, folder: Path, settings: IndexSettings, out: Path
) -> None:
    (folder / "red.jpg").write_bytes(jpeg(two_colours("red", "red")))
    filled.index(folder, settings=settings)
    results = filled.search("red", **WHOLE)
    (folder / "red.jpg").unlink()

    written = write_explanations(filled, results, "red", out)

    assert [hit.name for hit in results] == ["red.jpg", "both.jpg"]
    assert written == [out / "002-both.jpg"]


def test_a_folder_that_cannot_be_made_is_wrong_usage(filled: Library, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    results = filled.search("red", **WHOLE)

    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputInvalid, match="Name another folder"):
            write_explanations(filled, results, "red", place)
    with pytest.raises(QueryInvalid, match="Only words"):
        write_explanations(filled, results, " ", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("heat") / "library"
    with Library.open(place) as library:
        library.index(EXAMPLES)
    return place


def imgsearch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imgsearch", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_command_line_writes_them_beside_its_answer(examples: Path, out: Path) -> None:
    at = ["--library", str(examples)]

    done = imgsearch(
        "query", "a cup of coffee", "--all", "-n", "2", "--paths", "--explain-to", str(out), *at
    )
    refused = imgsearch("query", "--like", str(EXAMPLES / "cat.jpg"), "--explain-to", str(out), *at)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("coffee.jpg")
    assert len(done.stdout.splitlines()) == 2
    assert "Wrote 2 pictures" in done.stderr
    assert sorted(os.listdir(out))[0] == "001-coffee.jpg"
    assert refused.returncode == 2
    assert "Only words" in refused.stderr
    assert refused.stdout == ""


def test_the_starter_finds_the_coffee_in_its_photo(examples: Path) -> None:
    with Library.open(examples) as library:
        hit = library.search("a cup of coffee", **WHOLE)[0]
        heat = library.heat_map(hit.content_hash, "a cup of coffee")
        nothing = library.heat_map(hit.content_hash, "a fire engine")

    assert heat.values.max() == 1
    assert nothing.values.max() < 0.7
