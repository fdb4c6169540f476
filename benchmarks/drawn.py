"""Pictures drawn for benchmarks/starter_breadth.py: scenes of shapes, and the plain kinds.

The style and the code are not those of tools/starter, which draws pictures for training.
"""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

Pixels = npt.NDArray[np.uint8]
RGB = tuple[int, int, int]

EDGE = 320
COLOURS: dict[str, RGB] = {
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 128, 0),
    "yellow": (255, 255, 0),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "black": (0, 0, 0),
    "pink": (255, 105, 180),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond")
NUMBERS = ("", "one", "two", "three", "four", "five")
PLACES = ("left of", "right of", "above", "below")
_SLOTS = ("number", "colour", "shape", "place", "number2", "colour2", "shape2")


@dataclass(frozen=True)
class Scene:
    """Two groups of shapes, the first somewhere beside the second."""

    number: int
    colour: str
    shape: str
    place: str
    number2: int
    colour2: str
    shape2: str

    def words(self) -> str:
        """Such as "two red circles left of one blue square"."""
        first = f"{NUMBERS[self.number]} {self.colour} {_noun(self.shape, self.number)}"
        second = f"{NUMBERS[self.number2]} {self.colour2} {_noun(self.shape2, self.number2)}"
        return f"{first} {self.place} {second}"

    def others(self) -> list[Scene]:
        """All scenes whose words differ from these in one; a plural counts with its number."""
        found = []
        for slot, options in zip(
            _SLOTS,
            (range(1, 5), COLOURS, SHAPES, PLACES, range(1, 5), COLOURS, SHAPES),
            strict=True,
        ):
            mine = getattr(self, slot)
            found += [replace(self, **{slot: other}) for other in options if other != mine]
        return found


def _noun(shape: str, number: int) -> str:
    return shape if number == 1 else f"{shape}s"


def random_scene(rng: random.Random) -> Scene:
    """Two groups of different colours and shapes."""
    colour, colour2 = rng.sample(list(COLOURS), 2)
    shape, shape2 = rng.sample(SHAPES, 2)
    numbers = rng.randint(1, 4), rng.randint(1, 4)
    return Scene(numbers[0], colour, shape, rng.choice(PLACES), numbers[1], colour2, shape2)


def draw_scene(scene: Scene, rng: random.Random) -> Pixels:
    """A drawing [EDGE, EDGE, 3] on white or light paper; the shapes of a group are alike."""
    image = Image.new("RGB", (3 * EDGE, 3 * EDGE), rng.choice(((255,) * 3, (236,) * 3)))
    far = scene.place in ("right of", "below")
    side_by_side = scene.place in ("left of", "right of")
    groups = ((scene.number, scene.colour, scene.shape),)
    groups += ((scene.number2, scene.colour2, scene.shape2),)
    for turn, (number, colour, shape) in enumerate(groups):
        start = 0.5 if far is (turn == 0) else 0.0
        _draw_row(image, number, COLOURS[colour], shape, start, side_by_side, rng)
    return np.asarray(image.resize((EDGE, EDGE), Image.Resampling.LANCZOS))


def _draw_row(
    image: Image.Image,
    number: int,
    colour: RGB,
    shape: str,
    start: float,
    upright: bool,
    rng: random.Random,
) -> None:
    """Put the shapes of a group in a row in one half of the picture."""
    side, pen = image.width, ImageDraw.Draw(image)
    radius = side * min(0.17, 0.42 / number) * rng.uniform(0.6, 0.95)
    across = side * (start + 0.25 + rng.uniform(-0.04, 0.04))
    for k in range(number):
        along = side * (k + 0.5 + rng.uniform(-0.1, 0.1)) / number
        x, y = (across, along) if upright else (along, across)
        if shape == "circle":
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            corners = [(x + radius * a, y + radius * b) for a, b in _corners(shape)]
            pen.polygon(corners, fill=colour)


def _corners(shape: str) -> list[tuple[float, float]]:
    if shape == "star":
        spokes = [(1.0 if k % 2 == 0 else 0.38, math.pi * k / 5) for k in range(10)]
        return [(r * math.sin(a), -r * math.cos(a)) for r, a in spokes]
    if shape == "heart":
        angles = [math.tau * k / 50 for k in range(50)]
        curve = [13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) for a in angles]
        return [(math.sin(a) ** 3, -c / 15) for a, c in zip(angles, curve, strict=True)]
    if shape == "triangle":
        return [(0, -1), (0.87, 0.6), (-0.87, 0.6)]
    if shape == "diamond":
        return [(0, -1), (0.7, 0), (0, 1), (-0.7, 0)]
    return [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture [h, w, 3] of a kind, and the query that asks for it."""

    kind: str
    query: str
    pixels: Pixels


GROUND: dict[str, RGB] = {
    "red": (220, 20, 30),
    "blue": (30, 60, 220),
    "green": (30, 160, 50),
    "yellow": (250, 230, 30),
    "orange": (255, 140, 20),
    "purple": (130, 40, 170),
    "pink": (255, 160, 200),
    "brown": (125, 75, 35),
    "black": (5, 5, 5),
    "white": (252, 252, 252),
    "gray": (128, 128, 128),
    "turquoise": (64, 205, 200),
    "beige": (236, 224, 196),
    "light blue": (160, 205, 245),
    "dark green": (8, 70, 28),
    "dark red": (115, 10, 15),
    "navy blue": (12, 16, 78),
    "gold": (212, 172, 45),
}


def single_colours(rng: random.Random) -> list[Picture]:
    """Two of every colour, one of them grainy."""
    pictures = []
    for name, level in GROUND.items():
        noise = np.random.default_rng(rng.randrange(2**32))
        for grain in (0.0, 6.0):
            pixels = np.array(level) + noise.normal(0, 1, (EDGE, EDGE, 1)) * grain
            shown = np.clip(pixels + np.zeros((EDGE, EDGE, 3)), 0, 255).astype(np.uint8)
            pictures.append(Picture("single colours", f"a plain {name} picture", shown))
    return pictures


def gradients(rng: random.Random) -> list[Picture]:
    """From one side to the other, straight or slanting."""
    basic = list(GROUND)[:11]
    pairs = [(a, b) for a in basic for b in basic if a < b]
    pictures = []
    for first, second in rng.sample(pairs, 40):
        x, y = np.meshgrid(np.linspace(0, 1, EDGE), np.linspace(0, 1, EDGE))
        share = rng.choice((x, y, (x + y) / 2, 1 - x, 1 - y))[:, :, None]
        pixels = (1 - share) * np.array(GROUND[first]) + share * np.array(GROUND[second])
        query = f"a gradient from {first} to {second}"
        pictures.append(Picture("gradients", query, pixels.astype(np.uint8)))
    return pictures


Photos = Sequence[tuple[Path, str]]


def changed_photos(photos: Photos, rng: random.Random, each: int = 40) -> list[Picture]:
    """Photos (with a caption each) in grey, as if at night, as sketches and as drawings."""
    changes: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {
        "black and white": ("a black and white photo of {}", ImageOps.grayscale),
        "night": ("{} at night", _night),
        "sketches": ("a pencil sketch of {}", _sketch),
        "drawings": ("a drawing of {}", _drawing),
    }
    drawn = rng.sample(list(photos), each * len(changes))
    pictures = []
    for turn, (kind, (query, change)) in enumerate(changes.items()):
        for path, caption in drawn[turn * each : (turn + 1) * each]:
            with Image.open(path) as opened:
                changed = change(opened.convert("RGB")).convert("RGB")
            words = query.format(caption.rstrip(" .").lower())
            pictures.append(Picture(kind, words, np.asarray(changed)))
    return pictures


def _night(image: Image.Image) -> Image.Image:
    dark = np.asarray(image, dtype=np.float32) * 0.3
    return Image.fromarray(np.clip(dark * (0.8, 0.9, 1.3), 0, 255).astype(np.uint8))


def _sketch(image: Image.Image) -> Image.Image:
    grey = image.convert("L")
    fine, coarse = (grey.filter(ImageFilter.GaussianBlur(radius)) for radius in (1.0, 2.2))
    lines = np.asarray(fine, dtype=np.float32) - np.asarray(coarse, dtype=np.float32)
    return Image.fromarray(np.clip(250 + 9 * np.minimum(lines, 0), 0, 255).astype(np.uint8))


def _drawing(image: Image.Image) -> Image.Image:
    flat = image.filter(ImageFilter.MedianFilter(7))
    return ImageOps.posterize(ImageOps.autocontrast(flat), 2)


SENTENCES = (
    "The committee meets again on Thursday to look at the figures of the last quarter.",
    "Please send the signed form back by the end of the month, together with a copy.",
    "Our train leaves at half past seven, so breakfast has to wait until we are there.",
    "Turn left after the bridge and follow the road until the second set of lights.",
    "The results were checked twice and agree with what was found the year before.",
)
_SCREENS = {
    "a screenshot of text": ((255, 255, 255), (20, 20, 20)),
    "a page of text": ((250, 247, 240), (35, 30, 25)),
    "white text on a black background": ((0, 0, 0), (240, 240, 240)),
    "a terminal window with text": ((18, 18, 28), (110, 230, 120)),
}


def screens(rng: random.Random) -> list[Picture]:
    """Nothing but text: ten pages for each of four queries."""
    pictures = []
    for query, (paper, ink) in _SCREENS.items():
        for _ in range(10):
            image = Image.new("RGB", (480, 480), paper)
            pen, size = ImageDraw.Draw(image), rng.randint(13, 24)
            font, y = ImageFont.load_default(size), 16
            while y < rng.randint(300, 470):
                for line in textwrap.wrap(rng.choice(SENTENCES), round(820 / size)):
                    pen.text((16, y), line, fill=ink, font=font)
                    y += round(1.3 * size)
                y += round(0.6 * size)
            pictures.append(Picture("text only", query, np.asarray(image)))
    return pictures


def line_drawings(rng: random.Random) -> list[Picture]:
    """Five each of eight things in a few thin strokes."""
    pictures = []
    for name, strokes in _STROKES.items():
        for _ in range(5):
            image = Image.new("RGB", (400, 400), "white")
            pen, scale = ImageDraw.Draw(image), rng.uniform(2.4, 3.8)
            x, y = (rng.uniform(0, 400 - 100 * scale) for _ in range(2))
            ink = rng.choice(("black", "black", "darkblue", "darkred"))
            for stroke in strokes:
                if len(stroke) == 3:
                    a, b, r = (float(number) for number in stroke)
                    box = (x + scale * (a - r), y + scale * (b - r))
                    pen.ellipse(
                        (*box, box[0] + 2 * r * scale, box[1] + 2 * r * scale), outline=ink, width=4
                    )
                else:
                    points = list(zip(stroke[0::2], stroke[1::2], strict=True))
                    pen.line([(x + scale * a, y + scale * b) for a, b in points], ink, width=4)
            pictures.append(Picture("line drawings", f"a drawing of a {name}", np.asarray(image)))
    return pictures


_TURN = [(math.cos(math.tau * k / 8), math.sin(math.tau * k / 8)) for k in range(8)]
_RAYS = [(50 + 26 * c, 50 + 26 * s, 50 + 42 * c, 50 + 42 * s) for c, s in _TURN]
_PETALS = [(50 + 17 * c, 30 + 17 * s, 7) for c, s in _TURN]
# On a sheet of 100 x 100; three numbers are a circle (x, y, radius), more are points of a line.
_STROKES: dict[str, Sequence[Sequence[float]]] = {
    "house": (
        (20, 95, 20, 45, 80, 45, 80, 95, 20, 95),
        (12, 48, 50, 12, 88, 48),
        (55, 95, 55, 68, 70, 68, 70, 95),
    ),
    "tree": ((46, 95, 46, 60), (54, 95, 54, 60), (50, 38, 24)),
    "sun": ((50, 50, 20), *_RAYS),
    "face": ((50, 50, 40), (36, 40, 5), (64, 40, 5), (32, 64, 42, 72, 58, 72, 68, 64)),
    "boat": ((12, 65, 88, 65, 74, 88, 26, 88, 12, 65), (48, 65, 48, 10, 82, 55, 48, 55)),
    "flower": ((50, 30, 9), *_PETALS, (50, 55, 50, 98), (50, 80, 68, 68)),
    "fish": (
        (10, 50, 28, 34, 52, 34, 72, 50, 52, 66, 28, 66, 10, 50),
        (72, 50, 94, 34, 94, 66, 72, 50),
        (26, 46, 3),
    ),
    "car": (
        (8, 70, 8, 52, 28, 48, 38, 32, 68, 32, 80, 50, 94, 54, 94, 70, 8, 70),
        (28, 72, 10),
        (74, 72, 10),
    ),
}


def plain_pictures(photos: Photos, seed: int) -> list[Picture]:
    """All plain kinds."""
    rng = random.Random(seed)
    return [
        *single_colours(rng),
        *gradients(rng),
        *changed_photos(photos, rng),
        *screens(rng),
        *line_drawings(rng),
    ]
