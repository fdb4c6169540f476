"""From a decoded picture to the pixels of an encoder: the one place where that is decided.

Follows the CLIP image processor of transformers step by step (resize with Pillow's antialiased
filter, then centre crop); tests compare the two pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.encoders.base import Preprocessing, Resize
from imgsearch.encoders.resize import resize_rgb

# JPEGs may be decoded at 1/2, 1/4 or 1/8 as long as this many times the target size is left.
# benchmarks/reduced_decode.py: over 68 large photos the lowest cosine to the embedding of a full
# decode is 0.9995 at 3 and 0.9990 at 2, before the tower rounds; a test keeps watch.
DRAFT_FACTOR = 3
# Pictures longer than this many times their width (or the reverse) are cut before scaling.
_LONGEST_STRIP = 16


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an encoder takes of a picture, and the whole picture scaled on the way there.

    `pixels` is uint8 [s, s, 3]; `scaled` is uint8 [h, w, 3] with the shorter edge s, or None where
    the geometry does not keep the proportions, or not the whole picture.
    """

    pixels: npt.NDArray[np.uint8]
    scaled: npt.NDArray[np.uint8] | None


def prepare(image: Image.Image, preprocessing: Preprocessing, *, exact: bool = False) -> Prepared:
    """Bring an RGB picture that already stands upright to an encoder's geometry.

    With `exact` the pixels are those of the reference to the last level; without, a faster filter
    may be used (see `resize`).
    """
    size, resample = preprocessing.size, preprocessing.resample
    if preprocessing.resize is Resize.SQUASH:
        return Prepared(resize_rgb(image, size, size, resample, exact=exact), None)
    middle = without_far_ends(image)
    width, height = _shortest_edge_to(size, *middle.size)
    scaled = resize_rgb(middle, width, height, resample, exact=exact)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.ascontiguousarray(scaled[top : top + size, left : left + size])
    return Prepared(pixels, scaled if middle is image else None)


def to_pixels(
    image: Image.Image, preprocessing: Preprocessing, *, exact: bool = False
) -> npt.NDArray[np.uint8]:
    """Return the pixels uint8 [s, s, 3] that `prepare` makes."""
    return prepare(image, preprocessing, exact=exact).pixels


def draft_size(preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the (width, height) that a reduced JPEG decode must not go below."""
    edge = DRAFT_FACTOR * preprocessing.size
    return edge, edge


def without_far_ends(image: Image.Image) -> Image.Image:
    """Cut a strip down to its middle: scaling a 1 x 65,535 picture whole would take gigabytes.

    The centre square, all that is used, comes out the same.
    """
    width, height = image.size
    longest = _LONGEST_STRIP * min(width, height)
    if max(width, height) <= longest:
        return image
    if width > height:
        left = (width - longest) // 2
        return image.crop((left, 0, left + longest, height))
    top = (height - longest) // 2
    return image.crop((0, top, width, top + longest))


def _shortest_edge_to(size: int, width: int, height: int) -> tuple[int, int]:
    """Scale (width, height) so that the shorter edge is `size`; the longer is rounded down."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size
