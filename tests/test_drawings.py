"""The built-in model's part for drawings: what is where in them, and that photos notice nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imgsearch import Library, load_encoder
from imgsearch.encoders.preprocess import to_pixels

EXAMPLES = Path(__file__).parents[1] / "examples" / "photos"
# How many of a vector's numbers, the last ones, are of drawings (docs/model-card.md).
OF_DRAWINGS = 64
RED, BLUE, GREEN = (225, 25, 30), (30, 50, 220), (20, 140, 50)
EDGE = 300

Colour = tuple[int, int, int]
# What it is, its colour, and where its middle is.
Shape = tuple[str, Colour, int, int]


def circle_pair(colour: Colour, x: int) -> list[Shape]:
    """Two circles, one above the other."""
    return [("circle", colour, x, 80), ("circle", colour, x, 220)]


def drawn(name: str, folder: Path, *shapes: Shape) -> None:
    """Save a drawing of shapes."""
    image = Image.new("RGB", (EDGE, EDGE), "white")
    pen = ImageDraw.Draw(image)
    for what, colour, x, y in shapes:
        box = (x - 35, y - 35, x + 35, y + 35)
        (pen.ellipse if what == "circle" else pen.rectangle)(box, fill=colour)
    image.save(folder / f"{name}.png")


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of drawings that differ in one thing each, and of photos."""
    folder = tmp_path_factory.mktemp("drawings")
    circles, beside = circle_pair(RED, 75), ("square", BLUE, 225, 150)
    drawn("asked-for", folder, *circles, beside)
    drawn("one-circle", folder, ("circle", RED, 75, 150), beside)
    drawn("turned", folder, *circle_pair(RED, 225), ("square", BLUE, 75, 150))
    drawn("green", folder, *circle_pair(GREEN, 75), beside)
    drawn("squares", folder, *(("square", RED, x, y) for _, _, x, y in circles), beside)
    with Library.open(tmp_path_factory.mktemp("library") / "library") as library:
        library.index([folder, EXAMPLES])
        yield library


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("two red circles left of one blue square", "asked-for"),
        ("a blue square to the right of two red circles", "asked-for"),
        ("one red circle left of one blue square", "one-circle"),
        ("two red circles right of a blue square", "turned"),
        ("two green circles left of one blue square", "green"),
        ("two red squares left of one blue square", "squares"),
    ],
)
def test_a_drawing_is_told_from_others_that_differ_in_a_word(
    drawings: Library, words: str, name: str
) -> None:
    first = drawings.search(words)[0]

    assert Path(first.path).stem == name


def test_photos_and_what_is_asked_of_them_have_nothing_of_drawings() -> None:
    encoder = load_encoder("starter")
    preprocessing = encoder.description.preprocessing
    photos = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.jpg"))]

    pictures = encoder.encode_images(np.stack([to_pixels(one, preprocessing) for one in photos]))
    texts = encoder.encode_texts(
        ["a cup of coffee", "two dogs running left of a tree", "a red car", "boats", ""]
    )

    assert not pictures[:, -OF_DRAWINGS:].any()
    assert not texts[:, -OF_DRAWINGS:].any()


def test_a_query_for_a_drawing_finds_no_photo(drawings: Library) -> None:
    shown = drawings.search("two red circles left of one blue square")

    assert {Path(hit.path).suffix for hit in shown} == {".png"}
