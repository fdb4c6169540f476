"""The training photos, and the pixels of their views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from graph import Array
from texts import read_captions, read_table
from wear import badly_worn

# View 0 is the photo as the product sees it; the others are random crops of it.
ORIGINAL = 0
# Share of the photo's area that a random crop keeps, and its aspect ratio.
CROP_AREA = (0.55, 1.0)
CROP_ASPECT = (0.85, 1.18)
COLOUR_JITTER = (0.8, 1.2)
# From this view on, the crops are worn besides (see `wear`).
WORN = 3


def flickr_photos(data: Path, split: str) -> list[Path]:
    """The photos of `train` or `dev`, in the order of the caption file."""
    folder = data / "flickr8k"
    return [folder / name for name in read_captions(folder / f"{split}.tsv")]


def labelled_photos(data: Path, name: str) -> list[Path]:
    """The photos of `imagenet-1000` or `clothing`; their labels are not read."""
    return [data / name / row[0] for row in read_table(data / name / "labels.tsv")]


def training_photos(data: Path) -> list[Path]:
    """All photos of the training, those with captions first."""
    return [*flickr_photos(data, "train"), *other_photos(data)]


def other_photos(data: Path) -> list[Path]:
    """Those of the training that have no captions."""
    return [*labelled_photos(data, "imagenet-1000"), *labelled_photos(data, "clothing")]


def view_pixels(path: Path, size: int, view: int, number: int) -> Array:
    """One view of a photo as uint8 [size, size, 3]; `number` seeds the randomness with `view`."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if view == ORIGINAL:
        return np.asarray(centre_crop(image, size))
    rng = np.random.default_rng([view, number])
    crop = random_crop(image, size, rng)
    return np.asarray(badly_worn(crop, rng) if view >= WORN else crop)


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Shortest edge to `size`, then the middle square, as the product prepares photos."""
    width, height = image.size
    scale = size / min(width, height)
    width, height = (max(size, round(side * scale)) for side in (width, height))
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + size, top + size))


def random_crop(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """A random, nearly square part of the photo, perhaps mirrored, with shifted colours."""
    width, height = image.size
    side = min(width, height) * rng.uniform(*CROP_AREA) ** 0.5
    aspect = rng.uniform(*CROP_ASPECT) ** 0.5
    across, down = min(width, side * aspect), min(height, side / aspect)
    left, top = rng.uniform(0, width - across), rng.uniform(0, height - down)
    box = (left, top, left + across, top + down)
    part = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        part = enhancer(part).enhance(rng.uniform(*COLOUR_JITTER))
    return part
