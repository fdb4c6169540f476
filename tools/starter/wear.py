"""Makes bad copies of photos, to teach heads (`photos`) and the image tower (`tuning`)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

JPEG_QUALITY = (10, 40)
JPEG_SIDE = (180, 257)
SMALL_SIDE = (60, 140)
# Share of worn views that are worn in two ways.
TWICE = 0.15


def badly_worn(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The square picture without its colours, its details or its size; sometimes two of these."""
    count = 2 if rng.random() < TWICE else 1
    for change in rng.choice([*WAYS.values()], count, replace=False):
        image = change(image, rng)
    return image


def grey(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Without colours; `rng` is not asked."""
    return image.convert("L").convert("RGB")


def squeezed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Through a JPEG file of low quality, whose blocks may be larger than eight pixels then."""
    file = io.BytesIO()
    stored = resized(image, int(rng.integers(*JPEG_SIDE)))
    stored.save(file, "JPEG", quality=int(rng.integers(*JPEG_QUALITY)))
    return resized(Image.open(file).convert("RGB"), image.width)


def small(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Through a few pixels."""
    return resized(resized(image, int(rng.integers(*SMALL_SIDE))), image.width)


def resized(image: Image.Image, side: int) -> Image.Image:
    """A square of that many pixels."""
    return image.resize((side, side), Image.Resampling.BICUBIC)


WAYS = {"grey": grey, "JPEG": squeezed, "small": small}
