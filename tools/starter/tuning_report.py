"""What tuning the image tower to worn photos gives: how far it is from what it should find.

    python tools/starter/tuning_report.py --data ../shared/data

Mean squares, in standard deviations, of photos of Flickr8k dev and of the example photos, as they
are and worn, for weights part of the way to the tuned ones. The training takes 25 minutes of two
cores with bfloat16; its first version took twice as long without MALLOC_MMAP_THRESHOLD_=8589934592
and MALLOC_TRIM_THRESHOLD_=17179869184 in the environment: memory of maps then goes back to the
system after each step.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from backbone import Weights
from build import SIZE, WORK
from features import THREADS
from graph import Array
from photos import ORIGINAL, flickr_photos, view_pixels
from sources import image_weights
from tower import Tower
from tuning import Distance, TuningRecipe, features, mixed, tuned
from wear import WAYS

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PHOTOS = 192
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "photos"


def main() -> None:
    """Tune, unless --work has the result, and print a table for either set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of flickr8k and so on")
    parser.add_argument("--work", type=Path, default=WORK, help="that of the build [%(default)s]")
    parser.add_argument("--steps", type=int, help="batches of the training")
    parser.add_argument("--rate", type=float, help="its learning rate")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    weights = Weights(image_weights())
    asked = {"steps": arguments.steps, "rate": arguments.rate}
    recipe = replace(TuningRecipe(), **{name: one for name, one in asked.items() if one})
    found = tuned(weights, arguments.data, SIZE, arguments.work, recipe)
    towers = {share: Tower(mixed(weights, found, share)).eval() for share in SHARES}
    dev = pixels_of(flickr_photos(arguments.data, "dev")[:PHOTOS])
    # Deviations are those of dev in both tables: the examples are few.
    with torch.no_grad():
        distance = Distance(features(towers[0.0], dev), recipe.opinion)
    for name, pixels in (("dev", dev), ("examples", pixels_of(sorted(EXAMPLES.glob("*.jpg"))))):
        print(f"{name}, weights {SHARES} of the way")
        report(towers, distance, pixels)


def pixels_of(photos: list[Path]) -> Array:
    """Uint8 [n, SIZE, SIZE, 3], as the product sees them."""
    return np.stack([view_pixels(photo, SIZE, ORIGINAL, 0) for photo in photos])


@torch.no_grad()
def report(towers: dict[float, Tower], distance: Distance, pixels: Array) -> None:
    """Print a row for the clean photos, and one for each way to wear them."""
    wanted = features(towers[0.0], pixels)
    rng = np.random.default_rng(0)
    seen = {"clean": pixels}
    for name, change in WAYS.items():
        seen[name] = np.stack([np.asarray(change(Image.fromarray(one), rng)) for one in pixels])
    for name, views in seen.items():
        errors = (distance(features(one, views), wanted)["features"] for one in towers.values())
        print(f"  {name}:", *(f"{float(error):.3f}" for error in errors), flush=True)


if __name__ == "__main__":
    main()
