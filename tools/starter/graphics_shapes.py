"""Outlines of flat shapes, and ways to paint them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import ImageDraw

from graphics_colours import RGB

Point = tuple[float, float]
Outline = list[Point]

CURVE_POINTS = 40


def ellipse(across: float = 1.0, down: float = 1.0, at: Point = (0, 0)) -> Outline:
    """A closed curve around `at`."""
    angles = (math.tau * k / CURVE_POINTS for k in range(CURVE_POINTS))
    return [(at[0] + across * math.cos(a), at[1] + down * math.sin(a)) for a in angles]


def regular(corners: int) -> Outline:
    """A regular polygon with a corner at the top."""
    angles = (math.tau * k / corners - math.pi / 2 for k in range(corners))
    return [(math.cos(a), math.sin(a)) for a in angles]


def box(across: float, down: float) -> Outline:
    """A rectangle with half those sides."""
    return [(-across, -down), (across, -down), (across, down), (-across, down)]


def bezier(points: list[Point], steps: int = 14) -> Outline:
    """The curve of Bézier with these control points."""
    order = len(points) - 1
    curve = []
    for step in range(steps + 1):
        t = step / steps
        weights = [math.comb(order, k) * t**k * (1 - t) ** (order - k) for k in range(order + 1)]
        curve.append(
            (
                sum(w * x for w, (x, _) in zip(weights, points, strict=True)),
                sum(w * y for w, (_, y) in zip(weights, points, strict=True)),
            )
        )
    return curve


def _circle(_: random.Random) -> Outline:
    return ellipse()


def _square(rng: random.Random) -> Outline:
    side = rng.uniform(0.75, 0.95)
    return box(side, side * rng.uniform(0.97, 1.03))


def _triangle(rng: random.Random) -> Outline:
    base, height = rng.uniform(0.75, 1.0), rng.uniform(0.45, 0.9)
    return [(rng.uniform(-0.1, 0.1), -1), (base, height), (-base, height)]


def _star(rng: random.Random) -> Outline:
    spikes = rng.choice((5, 5, 5, 5, 4, 6))
    inner = rng.uniform(0.32, 0.5) if spikes < 6 else rng.uniform(0.45, 0.58)
    tips = regular(2 * spikes)
    return [
        (x * (inner if k % 2 else 1), y * (inner if k % 2 else 1)) for k, (x, y) in enumerate(tips)
    ]


def _heart(rng: random.Random) -> Outline:
    dip, width, top = rng.uniform(-0.6, -0.35), rng.uniform(1.0, 1.45), rng.uniform(-1.5, -1.1)
    belly = rng.uniform(-0.1, 0.35)
    right = bezier([(0, dip), (0.35, top), (width, top), (width, belly), (0.25, 0.55), (0, 1)])
    return right + [(-x, y) for x, y in reversed(right)]


def _diamond(rng: random.Random) -> Outline:
    narrow = rng.uniform(0.55, 0.9)
    return [(0, -1), (narrow, 0), (0, 1), (-narrow, 0)]


def _cross(rng: random.Random) -> Outline:
    arm = rng.uniform(0.22, 0.38)
    quarter = [(-arm, -1), (arm, -1), (arm, -arm)]
    turned = [quarter]
    for _ in range(3):
        turned.append([(-y, x) for x, y in turned[-1]])
    return [point for part in turned for point in part]


def _crescent(rng: random.Random) -> Outline:
    bite = rng.uniform(0.25, 0.6)
    outer = [p for p in ellipse() if p[0] <= 0.35]
    outer.sort(key=lambda p: math.atan2(p[1], p[0]) % math.tau)
    inner = [(x * bite + 0.35 * (1 - bite), y) for x, y in reversed(outer)]
    side = rng.choice((-1, 1))
    return [(side * (x + 0.3), y) for x, y in outer + inner]


def _arrow(rng: random.Random) -> Outline:
    shaft, head, neck = rng.uniform(0.15, 0.3), rng.uniform(0.55, 0.8), rng.uniform(-0.1, 0.3)
    half = [(-1, shaft), (neck, shaft), (neck, head), (1, 0)]
    outline = half + [(x, -y) for x, y in reversed(half[:-1])]
    turns = rng.randrange(4)
    for _ in range(turns):
        outline = [(-y, x) for x, y in outline]
    return outline


def _rectangle(rng: random.Random) -> Outline:
    long, short = 1.0, rng.uniform(0.35, 0.55)
    return box(long, short) if rng.random() < 0.6 else box(short, long)


def _oval(rng: random.Random) -> Outline:
    short = rng.uniform(0.4, 0.6)
    return ellipse(1, short) if rng.random() < 0.6 else ellipse(short, 1)


def _hexagon(rng: random.Random) -> Outline:
    outline = regular(6)
    return outline if rng.random() < 0.5 else [(y, x) for x, y in outline]


SHAPES: dict[str, Callable[[random.Random], Outline]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "diamond": _diamond,
    "cross": _cross,
    "crescent": _crescent,
    "arrow": _arrow,
    "rectangle": _rectangle,
    "oval": _oval,
    "hexagon": _hexagon,
}
# Singular and plural of each word for a shape.
NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "circle": (("circle", "circles"), ("circle", "circles"), ("disc", "discs"), ("dot", "dots")),
    "square": (("square", "squares"),),
    "triangle": (("triangle", "triangles"),),
    "star": (("star", "stars"),),
    "heart": (("heart", "hearts"),),
    "diamond": (("diamond", "diamonds"), ("diamond", "diamonds"), ("rhombus", "rhombuses")),
    "cross": (("cross", "crosses"), ("plus sign", "plus signs")),
    "crescent": (("crescent", "crescents"),),
    "arrow": (("arrow", "arrows"),),
    "rectangle": (("rectangle", "rectangles"),),
    "oval": (("oval", "ovals"), ("ellipse", "ellipses")),
    "hexagon": (("hexagon", "hexagons"),),
}


@dataclass(frozen=True)
class Brush:
    """How the shapes of a picture are painted: filled, outlined, or both; tilted by degrees."""

    filled: bool
    edge: RGB | None
    width: float
    tilt: float

    def paint(
        self, pen: ImageDraw.ImageDraw, outline: Outline, at: Point, radius: float, colour: RGB
    ) -> None:
        """Put the outline around `at`, as large as a circle of that radius."""
        cosine, sine = math.cos(self.tilt), math.sin(self.tilt)
        corners = [
            (at[0] + radius * (x * cosine - y * sine), at[1] + radius * (x * sine + y * cosine))
            for x, y in outline
        ]
        if self.filled:
            pen.polygon(corners, fill=colour)
        if self.edge is not None or not self.filled:
            line = max(2, round(self.width * radius))
            pen.line([*corners, *corners[:2]], self.edge or colour, line, joint="curve")


def any_brush(rng: random.Random) -> Brush:
    """Mostly filled and upright."""
    kind = rng.random()
    filled = kind < 0.88
    edge: RGB | None = None
    if 0.7 < kind < 0.88:
        level = rng.choice((rng.randint(0, 60), rng.randint(200, 255)))
        edge = (level, level, level)
    width = rng.uniform(0.05, 0.15) if filled else rng.uniform(0.18, 0.32)
    tilt = rng.gauss(0, 0.12) if rng.random() < 0.4 else 0.0
    return Brush(filled, edge, width, tilt)
