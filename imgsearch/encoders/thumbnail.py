"""Small pictures for result pages, made from pixels that are decoded already."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.encoders.decode import Photo
from imgsearch.encoders.resize import resize_rgb

# A row of a result page is about 220 pixels high.
SHORT_EDGE = 256
LONG_EDGE = 768
# What an encoder's preprocessing scaled is used as it is while its shorter edge lies in between.
_USABLE_EDGES = range(200, 400)
_QUALITY = 75


def make_thumbnail(photo: Photo, scaled: npt.NDArray[np.uint8] | None) -> bytes:
    """Return a JPEG of the whole picture, at most `LONG_EDGE` long and never enlarged.

    `scaled` is the picture as `preprocess.prepare` scaled it, uint8 [h, w, 3]: where it fits, a
    thumbnail costs no more than its compression (0.4 ms). Of the metadata only a colour profile
    is kept.
    """
    small = _fitting(photo.rgb, scaled)
    target = io.BytesIO()
    small.save(target, "JPEG", quality=_QUALITY, icc_profile=photo.icc_profile)
    return target.getvalue()


def _fitting(rgb: Image.Image, scaled: npt.NDArray[np.uint8] | None) -> Image.Image:
    if scaled is not None:
        height, width, _ = scaled.shape
        enlarged = width > rgb.width
        if not enlarged and min(width, height) in _USABLE_EDGES and max(width, height) <= LONG_EDGE:
            return Image.fromarray(scaled)
    factor = min(1.0, SHORT_EDGE / min(rgb.size), LONG_EDGE / max(rgb.size))
    if factor == 1.0:
        return rgb
    width, height = (max(1, round(edge * factor)) for edge in rgb.size)
    return Image.fromarray(resize_rgb(rgb, width, height, "bilinear"))
