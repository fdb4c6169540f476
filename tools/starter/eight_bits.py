"""What eight-bit arithmetic costs and gives: the image tower in float32 and as it ships.

    python tools/starter/eight_bits.py --data ../shared/data

Both have the heads that the last build with the same --work trained. Processor time is that of one
thread, four pictures a run, in turns; recall is text to image on Flickr8k dev.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
import torch

from build import CROPS, SEED, SIZE, WORK, tower_weights, trained
from corpus import gather, label_vectors
from export import export_image
from features import IMAGE_BATCH, ImageFeatures, TextFeatures, session
from graph import Array
from graphics_towers import DIMENSION
from graphics_training import trained_graphics
from photos import ORIGINAL, flickr_photos, view_pixels
from quantize import calibration
from scoring import retrieval
from sources import text_files
from training import PUPIL, pulls

ROUNDS = 7
TIMED = 32


def main() -> None:
    """Print a row for each of the two towers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of flickr8k and so on")
    parser.add_argument("--work", type=Path, default=WORK, help="that of the build [%(default)s]")
    arguments = parser.parse_args()
    work, data = arguments.work, arguments.data
    weights = tower_weights(data, work)
    minilm, tokenizer = text_files(work)
    encode = TextFeatures(minilm, tokenizer, work)
    labels = label_vectors(data, encode)
    pixels = calibration(flickr_photos(data, "train"), SIZE)
    images = ImageFeatures(weights, SIZE, labels, pixels, work)
    corpus = gather(data, work, images, encode, CROPS, SEED)
    heads = trained(corpus, work, images.fingerprint + encode.fingerprint)
    with torch.no_grad():
        captions = heads.text(torch.from_numpy(corpus.dev_captions)).numpy()
    of_photos, of_texts = pulls(corpus, heads)
    drawings = trained_graphics(data, work, tokenizer)
    # A caption of a photo has nothing of drawings.
    captions = np.pad(of_texts.added_to(captions), ((0, 0), (0, DIMENSION)))
    dev = np.stack([view_pixels(one, SIZE, ORIGINAL, 0) for one in flickr_photos(data, "dev")])
    with TemporaryDirectory() as folder:
        paths = {"float": Path(folder) / "float.onnx", "eight bits": Path(folder) / "bits.onnx"}
        head = heads.image.weights()
        fixed = (weights, SIZE, labels, PUPIL.parts)
        for name, ranges in (("float", None), ("eight bits", pixels)):
            path = paths[name]
            export_image(path, *fixed, head, of_photos, drawings.image, ranges)
        towers = {name: session(path) for name, path in paths.items()}
        spent: dict[str, list[float]] = {name: [] for name in towers}
        for _ in range(ROUNDS):
            for name, tower in towers.items():
                began = time.process_time()
                embed(tower, dev[:TIMED])
                spent[name].append(1e3 * (time.process_time() - began) / TIMED)
        found = {name: embed(tower, dev) for name, tower in towers.items()}
    for name, rows in found.items():
        cosines = (rows * found["float"]).sum(axis=1)
        print(
            f"{name}: {median(spent[name]):.1f} ms, R@1/5/10 {retrieval(rows, captions)}, "
            f"cosine to float {cosines.mean():.4f}, least {cosines.min():.4f}"
        )


def embed(tower: ort.InferenceSession, pixels: Array) -> Array:
    """Unit float32 [n, d]."""
    parts = np.array_split(pixels, -(-len(pixels) // IMAGE_BATCH))
    return np.concatenate([tower.run(None, {"pixels": part})[0] for part in parts])


if __name__ == "__main__":
    main()
