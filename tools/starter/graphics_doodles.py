"""Line drawings of things for training, in a few strokes that differ every time.

Neither code nor drawings are those of benchmarks/drawn.py, with which the model is measured. A
stroke is a list of points in a square that reaches from -1 to 1, y downwards.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from graphics_colours import COLOURS, RGB, differ
from graphics_shapes import Outline, bezier, ellipse

Strokes = list[Outline]
Draw = Callable[[random.Random], Strokes]


def _closed(points: Outline) -> Outline:
    return [*points, points[0]]


def _ring(x: float, y: float, across: float, down: float | None = None) -> Outline:
    return _closed(ellipse(across, across if down is None else down, (x, y)))


def _box(left: float, top: float, right: float, bottom: float) -> Outline:
    return _closed([(left, top), (right, top), (right, bottom), (left, bottom)])


def _rays(x: float, y: float, start: float, end: float, count: int, turn: float = 0.0) -> Strokes:
    angles = [turn + math.tau * k / count for k in range(count)]
    return [
        [
            (x + start * math.cos(a), y + start * math.sin(a)),
            (x + end * math.cos(a), y + end * math.sin(a)),
        ]
        for a in angles
    ]


def _house(rng: random.Random) -> Strokes:
    half, eaves, overhang = rng.uniform(0.5, 0.85), rng.uniform(-0.3, 0.1), rng.uniform(0, 0.2)
    door = rng.uniform(-half + 0.1, half - 0.4)
    wide, high = rng.uniform(0.2, 0.32), rng.uniform(0.4, 0.6)
    peak = rng.uniform(-0.2, 0.2) if rng.random() < 0.3 else 0.0
    strokes = [_box(-half, eaves, half, 0.95)]
    strokes.append(_closed([(-half - overhang, eaves), (peak, -0.95), (half + overhang, eaves)]))
    if rng.random() < 0.8:
        strokes.append(_box(door, 0.95 - high, door + wide, 0.95))
    if rng.random() < 0.5:
        side = 0.12
        at = -half / 2 if door > -half / 3 else half / 2
        strokes.append(_box(at - side, eaves + 0.2, at + side, eaves + 0.2 + 2 * side))
    if rng.random() < 0.35:
        strokes.append(
            [(half * 0.45, -0.55), (half * 0.45, -0.9), (half * 0.7, -0.9), (half * 0.7, -0.3)]
        )
    return strokes


def _tree(rng: random.Random) -> Strokes:
    trunk, foot = rng.uniform(0.06, 0.16), rng.uniform(0, 0.12)
    crown = rng.uniform(0.45, 0.7)
    centre = -0.95 + crown
    kind = rng.random()
    start = centre + crown * 0.9
    strokes = [[(-trunk, start), (-trunk - foot, 0.95)], [(trunk, start), (trunk + foot, 0.95)]]
    if kind < 0.4:
        return [*strokes, _ring(0, centre, crown, crown * rng.uniform(0.8, 1.1))]
    if kind < 0.7:
        bumps, outline = rng.randint(6, 10), []
        for k in range(72):
            angle = math.tau * k / 72
            reach = crown * (0.88 + 0.12 * abs(math.sin(bumps * angle / 2)))
            outline.append((reach * math.cos(angle), centre + reach * math.sin(angle)))
        return [*strokes, _closed(outline)]
    levels = rng.randint(1, 3)
    for k in range(levels):
        low = -0.95 + (start + 0.95) * (k + 1) / levels
        half = crown * (0.6 + 0.4 * (k + 1) / levels)
        strokes.append(
            _closed([(0, low - (start + 0.95) / levels * 1.2), (half, low), (-half, low)])
        )
    return strokes


def _sun(rng: random.Random) -> Strokes:
    size, count = rng.uniform(0.35, 0.55), rng.randint(7, 14)
    gap = rng.uniform(0, 0.15)
    return [_ring(0, 0, size), *_rays(0, 0, size + gap, rng.uniform(0.8, 1), count, rng.random())]


def _face(rng: random.Random) -> Strokes:
    apart, eyes, size = rng.uniform(0.25, 0.42), rng.uniform(-0.4, -0.1), rng.uniform(0.05, 0.13)
    smile, width = rng.uniform(-0.1, 0.35), rng.uniform(0.3, 0.5)
    mouth = rng.uniform(0.3, 0.45)
    strokes = [_ring(0, 0, rng.uniform(0.75, 0.95), 0.95), _ring(-apart, eyes, size)]
    strokes.append(_ring(apart, eyes, size))
    strokes.append(bezier([(-width, mouth), (0, mouth + 2 * smile), (width, mouth)]))
    if rng.random() < 0.4:
        strokes.append([(0, eyes + 0.15), (-0.08, 0.15), (0.06, 0.15)])
    if rng.random() < 0.2:
        strokes += [[(x, -0.8), (x * 1.1, -1)] for x in (-0.4, -0.2, 0, 0.2, 0.4)]
    return strokes


def _boat(rng: random.Random) -> Strokes:
    deck, keel = rng.uniform(0.25, 0.5), rng.uniform(0.75, 0.95)
    mast = rng.uniform(-0.2, 0.15)
    top, bottom = 0.95, rng.uniform(0.45, 0.75)
    strokes = [_closed([(-top, deck), (top, deck), (bottom, keel), (-bottom, keel)])]
    strokes.append([(mast, deck), (mast, -0.95)])
    reach, low = rng.uniform(0.5, 0.8), deck - rng.uniform(0.1, 0.25)
    strokes.append(_closed([(mast, -0.9), (mast + reach, low), (mast, low)]))
    if rng.random() < 0.4:
        strokes.append(_closed([(mast - 0.06, -0.7), (mast - 0.55, low), (mast - 0.06, low)]))
    return strokes


def _flower(rng: random.Random) -> Strokes:
    heart, petals = rng.uniform(0.12, 0.22), rng.randint(5, 9)
    centre = -0.4
    size = rng.uniform(0.7, 1.15) * math.pi * heart * 1.6 / petals
    strokes = [_ring(0, centre, heart)]
    for k in range(petals):
        angle = math.tau * k / petals
        reach = heart + size * 0.9
        strokes.append(_ring(reach * math.cos(angle), centre + reach * math.sin(angle), size))
    bend = rng.uniform(-0.2, 0.2)
    strokes.append(bezier([(0, centre + heart + 1.8 * size), (bend, 0.4), (0, 0.98)]))
    for side in (-1, 1):
        if rng.random() < 0.6:
            y, tip = rng.uniform(0.4, 0.75), rng.uniform(0.25, 0.45)
            leaf = bezier([(0, y), (side * tip / 2, y - 0.25), (side * tip, y - 0.2)])
            strokes.append(leaf)
            if rng.random() < 0.5:
                strokes.append(bezier([(0, y), (side * tip / 2, y + 0.05), (side * tip, y - 0.2)]))
    return strokes


def _fish(rng: random.Random) -> Strokes:
    belly, neck = rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.55)
    tail = rng.uniform(0.25, 0.45)
    upper = bezier([(-0.95, 0), (-0.5, -1.5 * belly), (0.1, -1.3 * belly), (neck, 0)])
    if rng.random() < 0.35:
        upper = [(-0.95, 0), (-0.5, -belly), (0, -belly), (neck, 0)]
    lower = [(x, -y) for x, y in upper]
    strokes = [upper, lower]
    strokes.append(_closed([(neck, 0), (0.95, -tail), (rng.uniform(0.75, 0.95), 0), (0.95, tail)]))
    strokes.append(_ring(-0.6, -0.1, rng.uniform(0.04, 0.08)))
    if rng.random() < 0.4:
        strokes.append(bezier([(-0.35, -0.3), (-0.2, 0), (-0.35, 0.3)]))
    return strokes


def _car(rng: random.Random) -> Strokes:
    roof, hood = rng.uniform(-0.55, -0.3), rng.uniform(-0.1, 0.1)
    front, back = rng.uniform(0.3, 0.5), rng.uniform(-0.75, -0.4)
    wheel, floor = rng.uniform(0.15, 0.24), 0.4
    body = [(-0.95, floor), (-0.95, hood), (back, hood - 0.03), (back + 0.2, roof)]
    body += [(front - 0.2, roof), (front, hood), (0.95, hood + 0.08), (0.95, floor)]
    strokes = [_closed(body)]
    strokes += [_ring(x, floor + 0.03, wheel) for x in (-0.52, 0.52)]
    if rng.random() < 0.5:
        middle = (back + front) / 2
        strokes.append(
            _closed(
                [
                    (back + 0.12, hood),
                    (back + 0.25, roof + 0.1),
                    (middle, roof + 0.1),
                    (middle, hood),
                ]
            )
        )
    return strokes


def _cat(rng: random.Random) -> Strokes:
    size = rng.uniform(0.6, 0.75)
    strokes = [_ring(0, 0.15, size, size * rng.uniform(0.8, 1))]
    for side in (-1, 1):
        strokes.append([(side * 0.55, -0.3), (side * 0.6, -0.9), (side * 0.15, -0.45)])
        strokes.append(_ring(side * 0.27, 0, 0.08))
        strokes += [[(side * 0.25, 0.3 + k), (side * 0.95, 0.2 + 2 * k)] for k in (0, 0.1)]
    return [*strokes, _closed([(-0.08, 0.22), (0.08, 0.22), (0, 0.32)])]


def _bird(rng: random.Random) -> Strokes:
    head = rng.uniform(0.2, 0.28)
    strokes = [_ring(-0.05, 0.15, 0.55, rng.uniform(0.3, 0.42)), _ring(-0.5, -0.3, head)]
    strokes.append([(-0.5 - head, -0.35), (-0.95, -0.25), (-0.5 - head, -0.2)])
    strokes.append(_closed([(0.45, 0.05), (0.95, -0.2), (0.9, 0.2)]))
    strokes += [[(x, 0.5), (x - 0.05, 0.9)] for x in (-0.15, 0.1)]
    return [*strokes, _ring(-0.55, -0.35, 0.04), bezier([(-0.2, 0.05), (0.1, 0.4), (0.35, 0.1)])]


def _cup(rng: random.Random) -> Strokes:
    base = rng.uniform(0.35, 0.6)
    strokes = [[(-0.6, -0.5), (-base, 0.8), (base - 0.1, 0.8), (0.5, -0.5)]]
    strokes.append(_ring(-0.05, -0.5, 0.55, rng.uniform(0.05, 0.15)))
    strokes.append(bezier([(0.47, -0.25), (1.1, -0.3), (1.0, 0.5), (0.4, 0.4)]))
    if rng.random() < 0.4:
        strokes += [
            bezier([(x, -0.65), (x + 0.1, -0.75), (x - 0.1, -0.9), (x, -0.98)]) for x in (-0.2, 0.1)
        ]
    return strokes


def _chair(rng: random.Random) -> Strokes:
    seat, tall = rng.uniform(0, 0.25), rng.uniform(-0.95, -0.7)
    strokes = [_closed([(-0.5, seat), (0.3, seat), (0.55, seat + 0.2), (-0.3, seat + 0.2)])]
    strokes += [[(-0.5, tall), (-0.5, 0.75)], [(-0.3, seat + 0.2), (-0.3, 0.95)]]
    strokes += [[(0.55, seat + 0.2), (0.55, 0.95)], [(0.3, tall), (0.3, seat)]]
    return [*strokes, [(-0.5, tall), (0.3, tall)], [(-0.5, tall + 0.3), (0.3, tall + 0.3)]]


def _table(rng: random.Random) -> Strokes:
    top = rng.uniform(-0.4, -0.1)
    strokes = [_closed([(-0.95, top + 0.2), (-0.6, top), (0.95, top), (0.7, top + 0.2)])]
    strokes += [[(x, top + 0.2), (x, 0.8)] for x in (-0.85, 0.62)]
    return [*strokes, [(0.88, top + 0.05), (0.88, 0.6)]]


def _bicycle(rng: random.Random) -> Strokes:
    size = rng.uniform(0.34, 0.42)
    strokes = [_ring(-0.55, 0.4, size), _ring(0.55, 0.4, size)]
    strokes.append([(-0.55, 0.4), (-0.25, -0.2), (0.35, -0.2), (0.0, 0.4), (-0.55, 0.4)])
    strokes += [[(0.0, 0.4), (-0.3, -0.35)], [(-0.45, -0.38), (-0.15, -0.38)]]
    return [*strokes, [(0.55, 0.4), (0.32, -0.45), (0.55, -0.5)]]


def _cloud(rng: random.Random) -> Strokes:
    bumps, outline = rng.randint(5, 8), []
    for k in range(90):
        angle = math.tau * k / 90
        reach = 0.8 + 0.2 * abs(math.sin(bumps * angle / 2))
        outline.append((reach * math.cos(angle), min(0.35, 0.6 * reach * math.sin(angle))))
    return [_closed(outline)]


def _mountain(rng: random.Random) -> Strokes:
    left, right = rng.uniform(-0.5, -0.2), rng.uniform(0.25, 0.6)
    strokes = [[(-0.98, 0.7), (left, -0.8), (0.1, 0.2), (right, -0.4), (0.98, 0.7)]]
    if rng.random() < 0.6:
        strokes.append(
            [(left - 0.14, -0.4), (left - 0.03, -0.3), (left + 0.07, -0.45), (left + 0.2, -0.37)]
        )
    return [*strokes, [(-0.98, 0.7), (0.98, 0.7)]]


def _umbrella(rng: random.Random) -> Strokes:
    dome = bezier([(-0.95, 0), (-0.9, -1.2), (0.9, -1.2), (0.95, 0)])
    ribs = rng.randint(3, 4)
    width = 1.9 / ribs
    scallops = [
        bezier(
            [
                (-0.95 + k * width, 0),
                (-0.95 + (k + 0.5) * width, -0.25),
                (-0.95 + (k + 1) * width, 0),
            ]
        )
        for k in range(ribs)
    ]
    return [
        dome,
        *scallops,
        [(0, -0.9), (0, 0.75)],
        bezier([(0, 0.75), (0, 1), (0.25, 1), (0.25, 0.75)]),
    ]


def _key(rng: random.Random) -> Strokes:
    size = rng.uniform(0.25, 0.36)
    strokes = [_ring(-0.6, 0, size), [(-0.6 + size, 0), (0.95, 0)]]
    return [*strokes, *([(x, 0), (x, rng.uniform(0.2, 0.35))] for x in (0.6, 0.75, 0.93))]


def _apple(rng: random.Random) -> Strokes:
    half = bezier([(0, -0.45), (0.5, -0.9), (1.3, -0.2), (0.6, 1.1), (0, 0.75)])
    strokes = [half, [(-x, y) for x, y in half], bezier([(0, -0.45), (0, -0.7), (0.12, -0.9)])]
    leaf = [
        bezier([(0.05, -0.7), (0.3, -1), (0.5, -0.85)]),
        bezier([(0.05, -0.7), (0.4, -0.65), (0.5, -0.85)]),
    ]
    return strokes + (leaf if rng.random() < 0.7 else [])


def _clock(rng: random.Random) -> Strokes:
    hour, minute = rng.uniform(0, math.tau), rng.uniform(0, math.tau)
    hands = [(0.45, hour), (0.65, minute)]
    strokes = [_ring(0, 0, 0.92), *_rays(0, 0, 0.75, 0.86, 12)]
    return strokes + [[(0, 0), (r * math.cos(a), r * math.sin(a))] for r, a in hands]


def _snowman(rng: random.Random) -> Strokes:
    low = rng.uniform(0.42, 0.5)
    strokes = [_ring(0, 0.95 - low, low), _ring(0, -0.2, 0.32), _ring(0, -0.65, 0.22)]
    strokes += [_ring(x, -0.7, 0.03) for x in (-0.08, 0.08)]
    return [*strokes, [(-0.3, -0.2), (-0.75, -0.5)], [(0.3, -0.2), (0.75, -0.5)]]


def _butterfly(rng: random.Random) -> Strokes:
    upper, lower = rng.uniform(0.4, 0.5), rng.uniform(0.28, 0.38)
    strokes = [_ring(0, 0, 0.06, 0.6)]
    for side in (-1, 1):
        strokes += [_ring(side * 0.5, -0.3, 0.43, upper), _ring(side * 0.4, 0.4, 0.33, lower)]
        strokes.append(bezier([(0, -0.6), (side * 0.1, -0.9), (side * 0.3, -0.95)]))
    return strokes


def _balloon(rng: random.Random) -> Strokes:
    size = rng.uniform(0.45, 0.6)
    string = bezier([(0, 0.3), (0.25, 0.5), (-0.25, 0.75), (0, 0.98)])
    return [
        _ring(0, -0.95 + size * 1.15, size, size * 1.15),
        _closed([(0, 0.2), (0.08, 0.32), (-0.08, 0.32)]),
        string,
    ]


def _lamp(rng: random.Random) -> Strokes:
    top, low = rng.uniform(0.2, 0.4), rng.uniform(0.6, 0.8)
    strokes = [_closed([(-top, -0.9), (top, -0.9), (low, -0.1), (-low, -0.1)])]
    return [
        *strokes,
        [(0, -0.1), (0, 0.8)],
        _closed([(-0.4, 0.95), (-0.3, 0.8), (0.3, 0.8), (0.4, 0.95)]),
    ]


def _person(rng: random.Random) -> Strokes:
    head, spread = rng.uniform(0.15, 0.25), rng.uniform(0.25, 0.5)
    neck, hips = -0.95 + 2 * head, rng.uniform(0.15, 0.3)
    lift = rng.uniform(-0.4, 0.3)
    strokes = [_ring(0, -0.95 + head, head), [(0, neck), (0, hips)]]
    strokes.append([(-spread, neck + 0.2 + lift), (0, neck + 0.15), (spread, neck + 0.2 + lift)])
    return [*strokes, [(-spread * 0.8, 0.95), (0, hips), (spread * 0.8, 0.95)]]


def _envelope(rng: random.Random) -> Strokes:
    high = rng.uniform(0.5, 0.65)
    return [
        _box(-0.92, -high, 0.92, high),
        [(-0.92, -high), (0, rng.uniform(0, 0.2)), (0.92, -high)],
    ]


def _ladder(rng: random.Random) -> Strokes:
    rungs, half = rng.randint(4, 8), rng.uniform(0.25, 0.4)
    strokes = [[(-half, -0.95), (-half, 0.95)], [(half, -0.95), (half, 0.95)]]
    heights = [-0.95 + 1.9 * (k + 0.5) / rungs for k in range(rungs)]
    return strokes + [[(-half, y), (half, y)] for y in heights]


def _snake(rng: random.Random) -> Strokes:
    waves, high = rng.uniform(1.5, 3), rng.uniform(0.2, 0.4)
    xs = [-0.75 + 1.6 * k / 50 for k in range(51)]
    body = [(x, high * math.sin(waves * math.tau * (x + 0.75) / 1.6)) for x in xs]
    return [body, _ring(-0.82, 0, 0.12, 0.09), [(-0.93, 0), (-1, 0.05)]]


def _mushroom(rng: random.Random) -> Strokes:
    foot = rng.uniform(0.2, 0.32)
    cap = _closed(bezier([(-0.9, 0), (-0.8, -1.2), (0.8, -1.2), (0.9, 0)]))
    stem = [(-foot, 0), (-foot * 1.15, 0.9), (foot * 1.15, 0.9), (foot, 0)]
    dots = [_ring(x, y, 0.1) for x, y in ((-0.4, -0.3), (0.05, -0.6), (0.42, -0.25))]
    return [cap, stem, *(dots if rng.random() < 0.5 else [])]


def _moon(rng: random.Random) -> Strokes:
    bite = rng.uniform(0.2, 0.6)
    outer = [
        (0.5 - 1.2 * math.sin(a), 0.95 * math.cos(a)) for a in (math.pi * k / 24 for k in range(25))
    ]
    return [_closed(outer + [(0.5 + (x - 0.5) * bite, y) for x, y in reversed(outer)])]


def _star(rng: random.Random) -> Strokes:
    inner, tips = rng.uniform(0.36, 0.48), []
    for k in range(10):
        reach, angle = (inner if k % 2 else 0.95), math.tau * k / 10 - math.pi / 2
        tips.append((reach * math.cos(angle), reach * math.sin(angle)))
    return [_closed(tips)]


def _heart(rng: random.Random) -> Strokes:
    half = bezier([(0, -0.4), (0.4, -1.3), (1.5, -0.9), (1.0, 0.2), (0, rng.uniform(0.8, 0.95))])
    return [half, [(-x, y) for x, y in half]]


def _flag(rng: random.Random) -> Strokes:
    low, sag = rng.uniform(-0.3, 0), rng.uniform(0, 0.12)
    cloth = [
        (-0.6, -0.9),
        (0.1, -0.9 + sag),
        (0.85, -0.9),
        (0.85, low),
        (0.1, low + sag),
        (-0.6, low),
    ]
    return [[(-0.6, -0.98), (-0.6, 0.98)], _closed(cloth)]


def _bus(rng: random.Random) -> Strokes:
    windows = rng.randint(3, 5)
    wide = 1.6 / windows
    strokes = [_box(-0.95, -0.5, 0.95, 0.4)]
    for k in range(windows):
        strokes.append(_box(-0.8 + k * wide + 0.04, -0.35, -0.8 + (k + 1) * wide - 0.04, 0))
    return strokes + [_ring(x, 0.42, 0.16) for x in (-0.55, 0.55)]


def _hat(rng: random.Random) -> Strokes:
    top = rng.uniform(0.35, 0.5)
    return [
        _ring(0, 0.5, 0.95, rng.uniform(0.08, 0.16)),
        [(-0.5, 0.45), (-top, -0.6), (top, -0.6), (0.5, 0.45)],
        [(-0.48, 0.25), (0.48, 0.25)],
    ]


def _bottle(rng: random.Random) -> Strokes:
    neck, body = rng.uniform(0.1, 0.16), rng.uniform(0.28, 0.4)
    outline = [(-neck, -0.95), (neck, -0.95), (neck, -0.4), (body, -0.1), (body, 0.95)]
    outline += [(-body, 0.95), (-body, -0.1), (-neck, -0.4)]
    label = _box(-body, 0.2, body, 0.6)
    return [_closed(outline), *([label] if rng.random() < 0.5 else [])]


THINGS: dict[str, Draw] = {
    "house": _house,
    "tree": _tree,
    "sun": _sun,
    "face": _face,
    "boat": _boat,
    "flower": _flower,
    "fish": _fish,
    "car": _car,
    "cat": _cat,
    "bird": _bird,
    "cup": _cup,
    "chair": _chair,
    "table": _table,
    "bicycle": _bicycle,
    "cloud": _cloud,
    "mountain": _mountain,
    "umbrella": _umbrella,
    "key": _key,
    "apple": _apple,
    "clock": _clock,
    "snowman": _snowman,
    "butterfly": _butterfly,
    "balloon": _balloon,
    "lamp": _lamp,
    "person": _person,
    "envelope": _envelope,
    "ladder": _ladder,
    "snake": _snake,
    "mushroom": _mushroom,
    "moon": _moon,
    "star": _star,
    "heart": _heart,
    "flag": _flag,
    "bus": _bus,
    "hat": _hat,
    "bottle": _bottle,
}
SYNONYMS = {
    "face": ("face", "face", "smiley"),
    "boat": ("boat", "boat", "ship", "sailing boat"),
    "bicycle": ("bicycle", "bike"),
    "cup": ("cup", "mug"),
    "person": ("person", "man", "stick figure"),
    "mountain": ("mountain", "mountains"),
    "envelope": ("envelope", "letter"),
}
TEMPLATES = (
    "a drawing of {}",
    "a drawing of {}",
    "a line drawing of {}",
    "a simple drawing of {}",
    "a sketch of {}",
    "a doodle of {}",
    "{}, drawn with a pen",
    "a child's drawing of {}",
    "an outline of {}",
)


def words(thing: str, rng: random.Random) -> str:
    """One of many ways to ask for a drawing of that thing."""
    name = rng.choice(SYNONYMS.get(thing, (thing,)))
    if rng.random() < 0.1:
        return f"{name} drawing"
    article = "the" if rng.random() < 0.1 else "an" if name[0] in "aeiou" else "a"
    return rng.choice(TEMPLATES).format(name if name == "mountains" else f"{article} {name}")


def draw_doodle(thing: str, side: int, rng: random.Random) -> Image.Image:
    """A picture [side, side] of the thing; anti-aliasing is up to the caller."""
    ground, ink = _paper_and_ink(rng)
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)
    width = max(2, round(side * rng.uniform(0.006, 0.022)))
    strokes = _placed(THINGS[thing](rng), side, rng)
    if rng.random() < 0.12:
        fill = COLOURS[rng.choice(list(COLOURS))].draw(rng)
        for stroke in strokes:
            if len(stroke) > 3 and stroke[0] == stroke[-1]:
                pen.polygon(stroke, fill=fill)
    for stroke in strokes:
        pen.line(stroke, fill=ink, width=width, joint="curve")
    return image


def _paper_and_ink(rng: random.Random) -> tuple[RGB, RGB]:
    while True:
        level = rng.choice((255, 255, rng.randint(225, 255)))
        ground = (level, level, rng.randint(max(0, level - 15), level))
        ink = rng.randint(0, 70)
        colour: RGB = (ink, ink, ink)
        kind = rng.random()
        if kind < 0.12:
            ground, colour = colour, ground
        elif kind < 0.4:
            colour = COLOURS[rng.choice(list(COLOURS))].draw(rng)
        if differ(ground, colour):
            return ground, colour


def _placed(strokes: Strokes, side: int, rng: random.Random) -> Strokes:
    """The strokes somewhere in the picture, stretched, turned and a little trembling."""
    half = side * rng.uniform(0.2, 0.48)
    stretch, mirror = rng.uniform(0.8, 1.0), rng.choice((-1, 1))
    across, down = (half * stretch, half) if rng.random() < 0.5 else (half, half * stretch)
    turn, slant = rng.gauss(0, 0.06), rng.gauss(0, 0.06)
    x0, y0 = rng.uniform(half, side - half), rng.uniform(half, side - half)
    tremble = half * rng.choice((0.0, rng.uniform(0.0, 0.025)))

    def place(x: float, y: float) -> tuple[float, float]:
        x, y = mirror * (x + slant * y) * across, y * down
        x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
        return x0 + x + rng.gauss(0, tremble), y0 + y + rng.gauss(0, tremble)

    placed = []
    for stroke in strokes:
        points = [place(x, y) for x, y in stroke]
        if stroke[0] == stroke[-1]:
            points[-1] = points[0]
        placed.append(points)
    return placed
