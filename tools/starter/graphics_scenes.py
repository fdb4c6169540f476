"""Drawn scenes for training: one or two groups of shapes, and what people would call them.

Neither code nor style is that of benchmarks/drawn.py, with which the model is measured.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from graphics_colours import BASIC, COLOURS, RGB, differ, spoken
from graphics_shapes import NOUNS, SHAPES, any_brush

MOST = 5
NUMBERS = (
    ("one", "a", "1", "a single"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
)
# Shapes and colours that people name most come up more often.
USUAL_SHAPES, USUAL_COLOURS = 6, 8
USUAL = 0.75
# Words for the first group's place, seen from the second, and seen the other way round.
PLACES = {
    "across": (
        ("left of", "left of", "to the left of", "on the left of", "on the left side of"),
        ("right of", "right of", "to the right of", "on the right of", "on the right side of"),
    ),
    "down": (
        ("above", "above", "over", "on top of", "higher than"),
        ("below", "below", "under", "beneath", "underneath"),
    ),
}
Box = tuple[float, float, float, float]
# Shapes are not drawn smaller than this share of the picture (half their width).
SMALLEST = 0.045


@dataclass(frozen=True)
class Group:
    """Shapes that are alike."""

    number: int
    colour: str
    shape: str

    def words(self, rng: random.Random) -> str:
        """Such as "two red circles"."""
        noun = rng.choice(NOUNS[self.shape])[self.number > 1]
        colour = spoken(self.colour, rng)
        number = rng.choice(NUMBERS[self.number - 1])
        if number == "a" and colour[0] in "aeiou":
            number = "an"
        return f"{number} {colour} {noun}"


@dataclass(frozen=True)
class Scene:
    """Two groups; the first is on the left (`across`) or above (`down`).

    Without an axis the picture shows just the first group.
    """

    first: Group
    axis: str | None
    second: Group | None

    def words(self, rng: random.Random) -> str:
        """One of many ways to say it."""
        if self.axis is None or self.second is None:
            return self.first.words(rng)
        forward, backward = PLACES[self.axis]
        if rng.random() < 0.5:
            return f"{self.first.words(rng)} {rng.choice(forward)} {self.second.words(rng)}"
        return f"{self.second.words(rng)} {rng.choice(backward)} {self.first.words(rng)}"

    def changed(self, rng: random.Random) -> Scene:
        """A scene that differs in one word."""
        if self.axis is None or self.second is None:
            return replace(self, first=_changed(self.first, rng))
        slot = rng.randrange(7)
        if slot < 3:
            return replace(self, first=_changed(self.first, rng, slot))
        if slot < 6:
            return replace(self, second=_changed(self.second, rng, slot - 3))
        places = [(axis, turned) for axis in PLACES for turned in (False, True)]
        axis, turned = rng.choice([place for place in places if place != (self.axis, False)])
        if turned:
            return Scene(self.second, axis, self.first)
        return Scene(self.first, axis, self.second)


def _changed(group: Group, rng: random.Random, slot: int | None = None) -> Group:
    slot = rng.randrange(3) if slot is None else slot
    if slot == 0:
        numbers = [n for n in range(1, MOST + 1) if n != group.number]
        # Neighbouring numbers are the hard ones.
        near = [n for n in numbers if abs(n - group.number) == 1]
        return replace(group, number=rng.choice(near if rng.random() < 0.6 else numbers))
    if slot == 1:
        return replace(group, colour=_any_colour(rng, group.colour))
    return replace(group, shape=_any_shape(rng, group.shape))


def _any_colour(rng: random.Random, other_than: str = "") -> str:
    names = list(BASIC)[:USUAL_COLOURS] if rng.random() < USUAL else list(BASIC)
    return rng.choice([name for name in names if name != other_than])


def _any_shape(rng: random.Random, other_than: str = "") -> str:
    names = list(SHAPES)[:USUAL_SHAPES] if rng.random() < USUAL else list(SHAPES)
    return rng.choice([name for name in names if name != other_than])


# The middle of a shape, in 0..1, and the group that it belongs to.
Mark = tuple[float, float, Group]


def random_group(rng: random.Random) -> Group:
    """Any group."""
    return Group(rng.randint(1, MOST), _any_colour(rng), _any_shape(rng))


def random_scene(rng: random.Random) -> Scene:
    """Two groups that mostly share neither colour nor shape; sometimes only one."""
    first = random_group(rng)
    if rng.random() < 0.1:
        return Scene(first, None, None)
    second = Group(
        rng.randint(1, MOST),
        _any_colour(rng, first.colour if rng.random() < 0.9 else ""),
        _any_shape(rng, first.shape if rng.random() < 0.9 else ""),
    )
    return Scene(first, rng.choice(list(PLACES)), second)


def draw_scene(scene: Scene, side: int, rng: random.Random) -> tuple[Image.Image, list[Mark]]:
    """A picture [side, side] of the scene, and where its shapes are.

    Anti-aliasing is up to the caller.
    """
    groups = [group for group in (scene.first, scene.second) if group is not None]
    ground, inks = _colours([group.colour for group in groups], rng)
    image = Image.new("RGB", (side, side), ground)
    pen, brush = ImageDraw.Draw(image), any_brush(rng)
    marks = []
    for group, ink, place in zip(groups, inks, _places(scene.axis, rng), strict=False):
        points, radius = _spread(group.number, place, rng)
        outline = SHAPES[group.shape](rng)
        for x, y in points:
            size = side * radius * rng.uniform(0.93, 1.0)
            brush.paint(pen, outline, (side * x, side * y), size, ink)
            marks.append((x, y, group))
    return image, marks


def _colours(names: list[str], rng: random.Random) -> tuple[RGB, list[RGB]]:
    """A ground on which all the shapes show, and a shade for each name."""
    while True:
        inks = [COLOURS[name].draw(rng) for name in names]
        ground = _ground(rng)
        if all(differ(ink, ground) for ink in inks):
            return ground, inks


def _ground(rng: random.Random) -> RGB:
    kind = rng.random()
    if kind < 0.45:
        return (255, 255, 255)
    if kind < 0.7:
        level = rng.randint(225, 255)
        tint = [min(255, level + rng.randint(-8, 8)) for _ in range(3)]
        return tint[0], tint[1], tint[2]
    if kind < 0.78:
        level = rng.randint(0, 45)
        return level, level, level
    return COLOURS[rng.choice(list(COLOURS))].draw(rng)


def _places(axis: str | None, rng: random.Random) -> list[Box]:
    """The parts of the picture (left, top, right, bottom in 0..1) that the groups lie in."""
    border = rng.uniform(0.0, 0.06)
    low, high = border, 1 - border
    if axis is None:
        return [(low, low, high, high)]
    cut = rng.choice((0.5, rng.uniform(0.4, 0.6)))
    gap = rng.uniform(0, 0.04)
    halves = [(low, cut - gap), (cut + gap, high)]
    if axis == "across":
        return [(start, low, end, high) for start, end in halves]
    return [(low, start, high, end) for start, end in halves]


def _spread(number: int, place: Box, rng: random.Random) -> tuple[list[tuple[float, float]], float]:
    """Centres of so many shapes in that place, and their radius."""
    left, top, right, bottom = place
    width, height = right - left, bottom - top
    if rng.random() < 0.4:
        return _scatter(number, place, rng)
    # A row, mostly along the longer side.
    upright = (height > width) is (rng.random() < 0.85)
    long, short = (height, width) if upright else (width, height)
    largest = min(0.46 * short, 0.5 * long / number)
    radius = max(largest * rng.uniform(0.45, 1.0), min(largest, SMALLEST))
    step = rng.uniform(max(2.05 * radius, 0.6 * long / number), long / number)
    step = max(step, 2.05 * radius)
    start = rng.uniform(0, max(0.0, long - step * number)) + step / 2
    across = rng.uniform(radius, short - radius) if rng.random() < 0.4 else short / 2
    slack = max(0.0, step - 2 * radius) / 2
    points = []
    for turn in range(number):
        along = start + step * turn + rng.uniform(-slack, slack) * 0.8
        beside = across + rng.uniform(-0.15, 0.15) * radius
        points.append((left + beside, top + along) if upright else (left + along, top + beside))
    return points, min(radius, 0.48 * short)


def _scatter(
    number: int, place: Box, rng: random.Random
) -> tuple[list[tuple[float, float]], float]:
    """Anywhere, without touching."""
    left, top, right, bottom = place
    radius = min(right - left, bottom - top) * rng.uniform(0.2, 0.47) / number**0.4
    radius = max(radius, SMALLEST)
    while True:
        points: list[tuple[float, float]] = []
        for _ in range(60):
            x = rng.uniform(left + radius, right - radius)
            y = rng.uniform(top + radius, bottom - radius)
            if all((x - a) ** 2 + (y - b) ** 2 > (2.1 * radius) ** 2 for a, b in points):
                points.append((x, y))
            if len(points) == number:
                return points, radius
        radius *= 0.9
