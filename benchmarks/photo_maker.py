"""Test photos: as many distinct 500 x 375 JPEGs of 40 to 60 kB as are wanted, from a few pictures.

Each is a random crop with its own light, colour and sensor noise, so that no two have the same
content and all cost about as much to read and decode as the photos of Flickr8k do.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from common import CannotMeasure, say
from PIL import Image, ImageEnhance, ImageOps

WIDTH, HEIGHT = 500, 375
QUALITY = 85
_ENOUGH_BYTES = 40_000
# Standard deviations of the noise that are tried until a photo has enough bytes (0 to 255).
_NOISE = (1.0, 3.0, 5.0, 7.0, 9.0, 12.0)
_PER_FOLDER = 500


def make_photos(work: Path, count: int, seed: int, source: Path) -> Path:
    """Return a folder with just `count` photos, making it when it is not there yet.

    Photo number i is the same in every set of the same seed and source.
    """
    folder = work / f"photos-{count}-seed{seed}"
    done = folder.with_suffix(".done")
    if done.exists() and done.read_text() == str(source.resolve()):
        return folder
    pictures = sorted(str(path) for path in source.rglob("*.jpg"))
    if not pictures:
        raise CannotMeasure(f"no JPEGs in {source}; give a folder of photos with --source")
    say(f"making {count} photos in {folder} from {len(pictures)} pictures of {source} ...")
    for start in range(0, count, _PER_FOLDER):
        (folder / f"{start:06d}").mkdir(parents=True, exist_ok=True)
    make = partial(_make_photo, str(folder), seed, pictures)
    with ProcessPoolExecutor() as pool:
        sizes = list(pool.map(make, range(count), chunksize=50))
    say(f"made them: {sum(sizes) / len(sizes) / 1000:.1f} kB each on average")
    done.write_text(str(source.resolve()))
    return folder


def _make_photo(folder: str, seed: int, pictures: list[str], number: int) -> int:
    """Write one photo and return its size in bytes."""
    random = np.random.default_rng([seed, number])
    with Image.open(pictures[random.integers(len(pictures))]) as opened:
        picture = _crop(opened.convert("RGB"), random)
    if random.random() < 0.5:
        picture = ImageOps.mirror(picture)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Color, ImageEnhance.Contrast):
        picture = enhance(picture).enhance(random.uniform(0.7, 1.3))
    pixels = np.asarray(picture, dtype=np.float32)
    grain = random.standard_normal(pixels.shape, dtype=np.float32)
    data = b""
    for strength in _NOISE:
        noisy = np.clip(pixels + strength * grain, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=QUALITY)
        data = buffer.getvalue()
        if len(data) >= _ENOUGH_BYTES:
            break
    start = number // _PER_FOLDER * _PER_FOLDER
    Path(folder, f"{start:06d}", f"IMG_{number:06d}.jpg").write_bytes(data)
    return len(data)


def _crop(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return a random part of the picture, half to all of what fits, at 500 x 375."""
    fitting = min(picture.width / WIDTH, picture.height / HEIGHT)
    scale = fitting * random.uniform(0.5, 1.0)
    width, height = scale * WIDTH, scale * HEIGHT
    left = random.uniform(0, picture.width - width)
    top = random.uniform(0, picture.height - height)
    box = (left, top, left + width, top + height)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box)


def photo_paths(folder: Path) -> list[str]:
    """Return the photos of a folder that `make_photos` made, in order."""
    return sorted(
        os.path.join(place, name) for place, _, names in os.walk(folder) for name in names
    )
