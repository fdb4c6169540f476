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
_PREVIEW_QUALITY = 88


def make_thumbnail(photo: Photo, scaled: npt.NDArray[np.uint8] | None) -> bytes:
    """Return a JPEG of the whole picture, at most `LONG_EDGE` long and never enlarged.

    `scaled` is the picture as `preprocess.prepare` scaled it, uint8 [h, w, 3]: where it fits, a
    thumbnail costs no more than its compression (0.4 ms). Of the metadata only a colour profile
    is kept.
    """
    return _jpeg(_fitting(photo.rgb, scaled), photo.icc_profile, _QUALITY)


def make_preview(photo: Photo, edge: int) -> bytes:
    """Return a JPEG of the whole picture, its longer edge at most `edge`, never enlarged."""
    return _jpeg(
        _reduced(photo.rgb, edge / max(photo.rgb.size)), photo.icc_profile, _PREVIEW_QUALITY
    )


def _jpeg(image: Image.Image, icc_profile: bytes | None, quality: int) -> bytes:
    target = io.BytesIO()
    image.save(target, "JPEG", quality=quality, icc_profile=icc_profile, comment=b"")
    return target.getvalue()


def _fitting(rgb: Image.Image, scaled: npt.NDArray[np.uint8] | None) -> Image.Image:
    if scaled is not None:
        height, width, _ = scaled.shape
        enlarged = width > rgb.width
        if not enlarged and min(width, height) in _USABLE_EDGES and max(width, height) <= LONG_EDGE:
            return Image.fromarray(scaled)
    return _reduced(rgb, min(SHORT_EDGE / min(rgb.size), LONG_EDGE / max(rgb.size)))


def _reduced(rgb: Image.Image, factor: float) -> Image.Image:
    if factor >= 1.0:
        return rgb
    width, height = (max(1, round(edge * factor)) for edge in rgb.size)
    return Image.fromarray(resize_rgb(rgb, width, height, "bilinear"))
