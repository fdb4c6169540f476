"""Plain pictures for training: single colours, gradients, text, and photos made into drawings.

Neither code nor style is that of benchmarks/drawn.py, with which the model is measured.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from graphics_colours import COLOURS, RGB, differ, spoken

FONTS = Path("/usr/share/fonts/truetype/dejavu")
PROPORTIONAL = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif")
PROPORTIONAL += ("DejaVuSansCondensed", "DejaVuSerif-Italic", "DejaVuSerifCondensed")
MONOSPACED = ("DejaVuSansMono", "DejaVuSansMono-Bold")
COLOUR_TEMPLATES = (
    "a plain {} picture",
    "a plain {} background",
    "plain {}",
    "a solid {} image",
    "solid {}",
    "{} background",
    "a {} surface",
    "nothing but {}",
    "a uniform {} colour",
    "an empty {} picture",
    "just the color {}",
)
GRADIENT_TEMPLATES = (
    "a gradient from {} to {}",
    "a gradient from {} to {}",
    "a {} to {} gradient",
    "{} to {} gradient",
    "a color gradient between {} and {}",
    "{} fading into {}",
    "a smooth transition from {} to {}",
    "a {} and {} gradient",
)
# Kinds of pages, and what people call them.
PAGES = {
    "screen": (
        "a screenshot of text",
        "a screenshot of a document",
        "a screen full of text",
        "screenshot with text",
        "black text on a white background",
    ),
    "paper": (
        "a page of text",
        "a printed page",
        "a page from a book",
        "a text document",
        "a scanned letter",
    ),
    "inverted": (
        "white text on a black background",
        "light text on a dark background",
        "white letters on black",
        "a dark page with white text",
    ),
    "terminal": (
        "a terminal window with text",
        "a terminal",
        "a screenshot of a terminal",
        "a command line window",
        "a console with text",
    ),
}
SKETCH_TEMPLATES = ("a pencil sketch of {}", "a sketch of {}", "a pencil drawing of {}")
DRAWING_TEMPLATES = (
    "a drawing of {}",
    "a cartoon of {}",
    "a painting of {}",
    "an illustration of {}",
)


def any_colour(rng: random.Random, other_than: str = "") -> str:
    """The name of a colour."""
    return rng.choice([name for name in COLOURS if name != other_than])


def colour_words(colour: str, rng: random.Random) -> str:
    """One of many ways to ask for a picture of nothing but that colour."""
    return rng.choice(COLOUR_TEMPLATES).format(spoken(colour, rng))


def draw_colour(colour: str, side: int, rng: random.Random) -> Image.Image:
    """A picture [side, side] of that colour, perhaps grainy or unevenly lit."""
    level = np.array(COLOURS[colour].draw(rng), dtype=np.float32)
    noise = np.random.default_rng(rng.randrange(2**32))
    pixels = np.broadcast_to(level, (side, side, 3))
    if rng.random() < 0.5:
        cells = rng.choice((1, 1, 2, 3, 8))
        channels = rng.choice((1, 3))
        grain = noise.normal(0, rng.uniform(1, 10), (-(-side // cells),) * 2 + (channels,))
        grain = grain.repeat(cells, axis=0).repeat(cells, axis=1)[:side, :side]
        pixels = pixels + grain
    if rng.random() < 0.25:
        pixels = pixels + rng.uniform(-8, 8) * _ramp(side, rng)[:, :, None]
    return _image(pixels)


def gradient_words(first: str, second: str, rng: random.Random) -> str:
    """One of many ways to ask for a gradient between two colours, in any order."""
    names = [spoken(first, rng), spoken(second, rng)]
    rng.shuffle(names)
    return rng.choice(GRADIENT_TEMPLATES).format(*names)


def draw_gradient(first: str, second: str, side: int, rng: random.Random) -> Image.Image:
    """A picture [side, side] that goes over from one colour to the other."""
    one, other = (np.array(COLOURS[name].draw(rng), dtype=np.float32) for name in (first, second))
    share = _ramp(side, rng)[:, :, None]
    if rng.random() < 0.5:
        share = 1 - share
    return _image(one + share * (other - one))


def _ramp(side: int, rng: random.Random) -> np.ndarray:
    """Values 0..1 [side, side] that rise in some direction, or outwards."""
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    kind = rng.random()
    if kind < 0.15:
        rising = np.hypot(x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3))
    elif kind < 0.6:
        rising = x if rng.random() < 0.5 else y
    else:
        angle = rng.uniform(0, 2 * np.pi)
        rising = np.cos(angle) * x + np.sin(angle) * y
    rising = (rising - rising.min()) / (rising.max() - rising.min())
    return np.asarray(rising ** rng.uniform(0.8, 1.25), dtype=np.float32)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def page_words(page: str, rng: random.Random) -> str:
    """One of several ways to ask for such a page."""
    return rng.choice(PAGES[page])


def draw_page(page: str, side: int, rng: random.Random) -> Image.Image:
    """A picture [side, side] of lines of text without sense."""
    paper, ink = _page_colours(page, rng)
    image = Image.new("RGB", (side, side), paper)
    pen = ImageDraw.Draw(image)
    size = round(side * rng.uniform(0.025, 0.06))
    faces = MONOSPACED if page == "terminal" and rng.random() < 0.7 else PROPORTIONAL
    font = _font(rng.choice(faces), size)
    margin, y = side * rng.uniform(0.015, 0.1), side * rng.uniform(0.01, 0.1)
    if page in ("screen", "terminal") and rng.random() < 0.25:
        bar = _bar_colour(rng)
        pen.rectangle((0, 0, side, side * 0.06), fill=bar)
        y = max(y, side * 0.08)
    spacing, end = size * rng.uniform(1.15, 1.7), side * rng.uniform(0.5, 1.0)
    # Lines of a real text end where a word does; those of a command line anywhere.
    fullness = (0.75, 1.0) if page != "terminal" or rng.random() < 0.5 else (0.2, 1.0)
    letters = int((side - 2 * margin) / (0.55 * size))
    while y < end:
        pen.text((margin, y), _line(int(letters * rng.uniform(*fullness)), rng), ink, font)
        y += spacing * (1.6 if rng.random() < 0.15 else 1.0)
    return image


def _page_colours(page: str, rng: random.Random) -> tuple[RGB, RGB]:
    dark, light = rng.randint(0, 50), rng.randint(215, 255)
    if page == "paper":
        warm = rng.randint(0, 25)
        return (light, max(0, light - warm // 3), max(0, light - warm)), (dark, dark, dark)
    if page == "screen":
        level = rng.choice((255, 255, rng.randint(240, 255)))
        return (level, level, level), (dark, dark, dark)
    if page == "inverted":
        level = rng.choice((0, rng.randint(0, 35)))
        return (level, level, level), (light, light, light)
    ground = rng.randint(0, 30), rng.randint(0, 30), rng.randint(0, 45)
    while True:
        ink = COLOURS[rng.choice(("green", "light green", "light green", "yellow", "turquoise"))]
        colour = ink.draw(rng)
        if differ(ground, colour) and max(colour) > 140:
            return ground, colour


def _bar_colour(rng: random.Random) -> RGB:
    level = rng.randint(40, 230)
    return level, level, min(255, level + rng.randint(0, 30))


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / f"{name}.ttf"), size)


def _line(letters: int, rng: random.Random) -> str:
    """Words of random letters, so many letters in all."""
    text = ""
    while len(text) < letters:
        word = "".join(
            rng.choices("etaoinshrdlucmfwypvbgk", k=rng.choice((1, 2, 3, 3, 4, 5, 6, 8)))
        )
        text += (word.capitalize() if rng.random() < 0.12 else word) + rng.choice(
            (" ",) * 9 + (", ",)
        )
    return text[: max(1, letters)]


def sketched(photo: Image.Image, rng: random.Random) -> Image.Image:
    """A photo as if drawn with a pencil."""
    grey = ImageOps.autocontrast(photo.convert("L"))
    smooth = grey.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2)))
    kind = rng.randrange(4)
    if kind == 0:  # dodged, as in a darkroom
        blurred = ImageOps.invert(smooth).filter(ImageFilter.GaussianBlur(rng.uniform(2, 8)))
        top = np.asarray(smooth, dtype=np.float32)
        below = 256 - np.asarray(blurred, dtype=np.float32)
        lines = np.minimum(255, top * 256 / below)
    elif kind == 1:
        lines = np.asarray(smooth.filter(ImageFilter.CONTOUR), dtype=np.float32)
    else:
        across, down = np.gradient(np.asarray(smooth, dtype=np.float32))
        steep = np.hypot(across, down) * rng.uniform(3, 9)
        lines = 255 - np.minimum(steep, 255)
        if kind == 3:
            lines = np.where(lines < rng.uniform(120, 200), rng.uniform(0, 90), 255.0)
    strength = rng.uniform(0.5, 1.0)
    paper = rng.choice((255, rng.randint(235, 255)))
    drawn = Image.fromarray((paper * (1 - strength * (1 - lines / 255))).astype(np.uint8))
    return drawn.convert("RGB")


def coloured_in(photo: Image.Image, rng: random.Random) -> Image.Image:
    """A photo as if drawn with few colours."""
    flat = photo
    for _ in range(rng.randint(1, 2)):
        flat = flat.filter(ImageFilter.MedianFilter(rng.choice((3, 5))))
    flat = ImageEnhance.Color(flat).enhance(rng.uniform(1.0, 2.2))
    flat = ImageEnhance.Contrast(flat).enhance(rng.uniform(1.0, 1.5))
    if rng.random() < 0.6:
        flat = flat.quantize(rng.randint(5, 20), Image.Quantize.FASTOCTREE).convert("RGB")
    else:
        levels = rng.randint(3, 6)
        step = 255 / (levels - 1)
        flat = flat.point([round(round(value / step) * step) for value in range(256)] * 3)
    if rng.random() < 0.4:
        edges = photo.convert("L").filter(ImageFilter.FIND_EDGES)
        ink = edges.point([255 if value < 60 else 30 for value in range(256)])
        flat = ImageChops.multiply(flat, ink.convert("RGB"))
    return flat


CHANGES: dict[str, tuple[Callable[[Image.Image, random.Random], Image.Image], tuple[str, ...]]] = {
    "sketch": (sketched, SKETCH_TEMPLATES),
    "drawing": (coloured_in, DRAWING_TEMPLATES),
}
