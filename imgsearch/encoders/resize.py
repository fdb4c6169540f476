"""Scaling RGB pictures with an antialiasing filter, by SIMD where a wheel for the machine exists.

Pillow takes 2.5 ms for a 500 x 375 picture, more than all the rest of its decoding; cykooz_resizer
computes the same convolution in 0.6 ms. Few values differ by more than one level (0.01 % in bicubic
scaling to 256 pixels); over 300 photos the embeddings of a starter that computed in float kept a
cosine of 0.9991 at least, 0.9999 in the middle. Tests keep watch. Enlarging stays with Pillow:
there up to 17 levels lie between the two, and 0.4 points of recall on Flickr8k's photos of 224
pixels.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from PIL import Image

# Pillow's bicubic has a = -0.5, which is the Catmull-Rom spline.
_SIMD_FILTERS = {"bilinear": "bilinear", "bicubic": "catmull_rom", "lanczos": "lanczos3"}
# Larger pictures (never JPEGs, which are decoded reduced) stay with Pillow: the copies that the
# other library takes would double the memory of a decoding process.
_SIMD_MAX_PIXELS = 16_000_000


def resize_rgb(
    image: Image.Image, width: int, height: int, resample: str, *, exact: bool = False
) -> npt.NDArray[np.uint8]:
    """Return the RGB picture scaled to uint8 [height, width, 3].

    `resample` is the name of a Pillow filter in lower case. With `exact` the result is Pillow's to
    the last bit.
    """
    fitting = (
        width <= image.width
        and height <= image.height
        and image.width * image.height <= _SIMD_MAX_PIXELS
    )
    if exact or not fitting or resample not in _SIMD_FILTERS or not _has_simd():
        scaled = image.resize((width, height), Image.Resampling[resample.upper()])
        return np.asarray(scaled, dtype=np.uint8)
    return _resize_simd(image, width, height, _SIMD_FILTERS[resample])


@cache
def _has_simd() -> bool:
    return find_spec("cykooz_resizer") is not None


def _resize_simd(
    image: Image.Image, width: int, height: int, filter_name: str
) -> npt.NDArray[np.uint8]:
    from cykooz_resizer import (
        FilterType,
        ImageData,
        PixelType,
        ResizeAlg,
        ResizeOptions,
        Resizer,
    )

    # By way of bytes: its own access to Pillow's pictures depends on their layout in memory.
    source = ImageData(image.width, image.height, PixelType.U8x3, image.tobytes())
    target = ImageData(width, height, PixelType.U8x3)
    options = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType[filter_name]))
    Resizer().resize(source, target, options)
    return np.frombuffer(target.get_buffer(), dtype=np.uint8).reshape(height, width, 3)
