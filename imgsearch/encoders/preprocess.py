"""From a decoded picture to the pixels of an encoder: the one place where that is decided.

Follows the CLIP image processor of transformers step by step (resize with Pillow's antialiased
filter, then centre crop); tests compare the two pixel by pixel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.encoders.base import Preprocessing, Resize

# JPEGs may be decoded at 1/2, 1/4 or 1/8 as long as this many times the target size is left.
# benchmarks/reduced_decode.py: over 68 large photos the lowest cosine to the embedding of a full
# decode is 0.9993 at 3 and 0.9991 at 2, too near the 0.999 asked for; a test keeps watch.
DRAFT_FACTOR = 3
# Pictures longer than this many times their width (or the reverse) are cut before scaling.
_LONGEST_STRIP = 16


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Return the pixels uint8 [s, s, 3] of an RGB picture that already stands upright."""
    size = preprocessing.size
    resample = Image.Resampling[preprocessing.resample.upper()]
    if preprocessing.resize is Resize.SQUASH:
        return np.asarray(image.resize((size, size), resample), dtype=np.uint8)
    image = _without_far_ends(image)
    width, height = _shortest_edge_to(size, *image.size)
    resized = image.resize((width, height), resample)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(resized.crop((left, top, left + size, top + size)), dtype=np.uint8)


def draft_size(preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the (width, height) that a reduced JPEG decode must not go below."""
    edge = DRAFT_FACTOR * preprocessing.size
    return edge, edge


def _without_far_ends(image: Image.Image) -> Image.Image:
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
