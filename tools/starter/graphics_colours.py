"""Colour names, and the whole range of shades that people call so."""

from __future__ import annotations

import colorsys
import random
from dataclasses import dataclass

RGB = tuple[int, int, int]
Range = tuple[float, float]


@dataclass(frozen=True)
class Shades:
    """Hue in degrees (may be negative), saturation and lightness in 0..1."""

    hue: Range
    saturation: Range
    lightness: Range

    def draw(self, rng: random.Random) -> RGB:
        """Any of these shades."""
        hue, saturation, lightness = (
            rng.uniform(*span) for span in (self.hue, self.saturation, self.lightness)
        )
        parts = colorsys.hls_to_rgb(hue % 360 / 360, lightness, saturation)
        red, green, blue = (round(255 * part) for part in parts)
        return red, green, blue


# The colours of shapes.
BASIC: dict[str, Shades] = {
    "red": Shades((-10, 10), (0.65, 1), (0.38, 0.58)),
    "blue": Shades((212, 246), (0.6, 1), (0.38, 0.6)),
    "green": Shades((90, 152), (0.45, 1), (0.22, 0.5)),
    "yellow": Shades((50, 63), (0.8, 1), (0.45, 0.65)),
    "orange": Shades((20, 41), (0.85, 1), (0.45, 0.62)),
    "purple": Shades((265, 306), (0.4, 1), (0.22, 0.52)),
    "black": Shades((0, 360), (0, 0.2), (0, 0.07)),
    "pink": Shades((312, 352), (0.5, 1), (0.66, 0.87)),
    "brown": Shades((14, 35), (0.4, 0.8), (0.17, 0.36)),
    "gray": Shades((0, 360), (0, 0.05), (0.36, 0.64)),
    "white": Shades((0, 360), (0, 0.3), (0.96, 1)),
    "turquoise": Shades((168, 188), (0.4, 1), (0.38, 0.65)),
}
# These besides are colours of whole pictures.
FINER: dict[str, Shades] = {
    "beige": Shades((30, 50), (0.3, 0.65), (0.78, 0.9)),
    "light blue": Shades((195, 222), (0.5, 1), (0.7, 0.88)),
    "dark blue": Shades((214, 246), (0.45, 1), (0.1, 0.25)),
    "dark green": Shades((100, 162), (0.45, 1), (0.07, 0.2)),
    "light green": Shades((90, 150), (0.4, 1), (0.66, 0.86)),
    "dark red": Shades((-12, 12), (0.6, 1), (0.14, 0.3)),
    "gold": Shades((42, 50), (0.5, 0.85), (0.4, 0.58)),
    "magenta": Shades((296, 312), (0.85, 1), (0.45, 0.6)),
    "dark gray": Shades((0, 360), (0, 0.05), (0.17, 0.3)),
    "light gray": Shades((0, 360), (0, 0.05), (0.74, 0.86)),
    "olive": Shades((54, 72), (0.4, 1), (0.2, 0.33)),
    "lavender": Shades((245, 275), (0.4, 0.9), (0.78, 0.9)),
}
COLOURS = BASIC | FINER
# Other words for the same colour.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "purple": ("purple", "purple", "violet"),
    "gray": ("gray", "grey"),
    "dark gray": ("dark gray", "dark grey"),
    "light gray": ("light gray", "light grey", "silver"),
    "turquoise": ("turquoise", "turquoise", "teal", "cyan"),
    "light blue": ("light blue", "light blue", "sky blue", "pale blue"),
    "dark blue": ("dark blue", "navy blue", "navy blue", "navy"),
    "dark red": ("dark red", "maroon", "burgundy"),
    "beige": ("beige", "cream"),
    "lavender": ("lavender", "lilac"),
    "gold": ("gold", "golden"),
}
# Colours whose difference is smaller than this are hard to tell apart.
CLEAR = 90.0


def spoken(colour: str, rng: random.Random) -> str:
    """A word for that colour."""
    return rng.choice(SYNONYMS.get(colour, (colour,)))


def differ(one: RGB, other: RGB) -> bool:
    """Whether a shape of one colour shows on a ground of the other."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) > CLEAR**2
