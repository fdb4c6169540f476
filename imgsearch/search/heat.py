"""Where in a picture words are found: a grid of values from 0 to 1, and how to draw it.

For the vector p of a cell, the words' vector w and the null prompts n (`strength.NULL_PROMPTS`),

    z = (p.w - mean(p.n)) / deviation(p.n)

with the cell's own mean, and one deviation over all cells. After a mean over 3 x 3 cells,

    heat = max(z, 0) / max(largest z, 5)

so a cell at 0 shows no more of the words than of sentences that describe no picture, and nothing is
drawn as hot in a picture that has nothing of the words. benchmarks/heat_map.py has the measures.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgsearch.encoders import Encoder
from imgsearch.encoders.base import MapsPictures
from imgsearch.errors import HeatMapUnavailable
from imgsearch.search.strength import NULL_PROMPTS

# Where a z is drawn at full heat, unless another cell has a higher one.
FULL_HEAT = 5.0
# Cosines of null prompts may be all the same in a toy; no real model comes near.
_LEAST_DEVIATION = 1e-3
# matplotlib's "plasma" (CC0) at 0, 1/3, 2/3 and 1: rises in lightness, also to the colour-blind.
_COLOURS = np.array([(13, 8, 135), (156, 23, 158), (237, 121, 83), (240, 249, 33)], dtype=float)
# The share of colour over the hottest cell; the picture must stay visible below it.
_MOST_COLOUR = 0.7
_LAYER_EDGE = 384
_QUALITY = 88

Values = npt.NDArray[np.float32]


def heat_map(patches: Values, words: Values, null: Values) -> Values:
    """Return the heat float32 [g, g], 0 to 1, of cells [g, g, d] for words [d].

    `null` [m, d] are the vectors of `NULL_PROMPTS`; all rows are unit vectors.
    """
    unrelated = patches @ null.T
    deviation = max(float(unrelated.std()), _LEAST_DEVIATION)
    z = _smoothed(patches @ words - unrelated.mean(axis=2)) / deviation
    heat: Values = (np.maximum(z, 0.0) / max(float(z.max()), FULL_HEAT)).astype(np.float32)
    return heat


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Where in one picture some words are found.

    `values` is float32 [g, g], 0 to 1, rows from the top; `seen` is the part of the picture that
    the grid covers: left, top, right, bottom, 0 to 1 of the whole. The hottest cell has 1, unless
    the words stand out nowhere. `width` and `height` are the picture's, in pixels.
    """

    values: Values
    seen: tuple[float, float, float, float]
    width: int
    height: int

    @property
    def peak(self) -> tuple[float, float]:
        """The middle of the hottest cell: x, y, 0 to 1 of the whole picture."""
        row, column = np.unravel_index(int(self.values.argmax()), self.values.shape)
        left, top, right, bottom = self.seen
        rows, columns = self.values.shape
        x = left + (float(column) + 0.5) / columns * (right - left)
        y = top + (float(row) + 0.5) / rows * (bottom - top)
        return x, y

    def overlay(self, jpeg: bytes) -> bytes:
        """Return a JPEG of the whole picture with the map drawn over it.

        What the model does not see stays as it is. Raises OSError if `jpeg` is none.
        """
        from PIL import Image

        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            shown = picture.convert("RGBA")
            shown.alpha_composite(Image.fromarray(self.colours(*picture.size)))
            profile = picture.info.get("icc_profile")
        return _saved(shown.convert("RGB"), "JPEG", quality=_QUALITY, icc_profile=profile)

    def layer(self) -> bytes:
        """Return a transparent PNG of a few hundred pixels, to be stretched over the picture."""
        from PIL import Image

        factor = _LAYER_EDGE / max(self.width, self.height)
        width, height = (max(1, round(factor * edge)) for edge in (self.width, self.height))
        return _saved(Image.fromarray(self.colours(width, height)), "PNG")

    def colours(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Return the map as colours over a picture of that size: RGBA uint8 [height, width, 4]."""
        left, top, right, bottom = (
            round(share * edge) for share, edge in zip(self.seen, (width, height) * 2, strict=True)
        )
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        heat = _enlarged(self.values, right - left, bottom - top)
        stops = np.linspace(0, 1, len(_COLOURS))
        painted = np.zeros((height, width, 4), dtype=np.uint8)
        inside = painted[top:bottom, left:right]
        for channel in range(3):
            inside[..., channel] = np.interp(heat, stops, _COLOURS[:, channel])
        inside[..., 3] = 255 * _MOST_COLOUR * heat
        return painted


class HeatMapper:
    """Makes heat maps with one encoder; what does not depend on the picture is kept."""

    def __init__(self, encoder: Encoder) -> None:
        """Raises HeatMapUnavailable if this encoder cannot."""
        if not isinstance(encoder, MapsPictures) or not encoder.maps_pictures:
            raise HeatMapUnavailable(
                f"The model {encoder.description.name!r} cannot show where something is in a "
                "picture. An exported model folder must be exported again with this imgsearch."
            )
        self.encoder = encoder
        self._patches = encoder
        self._null: Values | None = None

    def map(self, pixels: npt.NDArray[np.uint8], words: str, width: int, height: int) -> HeatMap:
        """Return the map of a picture of that size; `pixels` uint8 [s, s, 3] is what is seen."""
        if self._null is None:
            self._null = self.encoder.encode_texts(NULL_PROMPTS)
        cells = self._patches.encode_patches(pixels[None])[0]
        values = heat_map(cells, self.encoder.encode_texts([words])[0], self._null)
        seen = self.encoder.description.preprocessing.seen(width, height)
        return HeatMap(values, seen, width, height)


def _smoothed(values: Values) -> Values:
    """Return the means over 3 x 3 neighbours; at the edges over those that are there."""

    def sums(grid: Values) -> Values:
        padded = np.pad(grid, 1)
        rows = padded[:-2] + padded[1:-1] + padded[2:]
        summed: Values = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
        return summed

    means: Values = sums(values) / sums(np.ones_like(values))
    return means


def _enlarged(values: Values, width: int, height: int) -> Values:
    """Return the values [height, width], the middles of cells where they belong."""
    from PIL import Image

    smooth = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth, dtype=np.float32), 0.0, 1.0)


def _saved(image: object, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)  # type: ignore[attr-defined]
    return target.getvalue()
