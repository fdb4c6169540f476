"""How well a model finds photos by words: retrieval on Flickr8k dev, zero-shot by class name.

    python benchmarks/starter_quality.py [--model starter] [--data ../shared/data] [--json]

Photos go the product's way: decoded by Pillow, prepared by `to_pixels`, embedded by the encoder
that `load_encoder` returns. Exits with status 2 when the data is not there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.preprocess import to_pixels

Vectors = npt.NDArray[np.float32]
Scores = dict[str, float]
Item = TypeVar("Item")

NEEDED = ("flickr8k/dev.tsv", "imagenet-1000/labels.tsv", "clothing/labels.tsv")
RANKS = (1, 5, 10)
# The first is how imagenet-1000 is judged; the second is what people type.
PROMPTS = ("a photo of a {}", "{}")
IMAGE_BATCH = 64
TEXT_BATCH = 64
DECODERS = 2


def main() -> int:
    """Print the scores and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="what load_encoder takes")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    missing = [name for name in NEEDED if not (arguments.data / name).is_file()]
    if missing:
        print(f"{arguments.data} lacks {', '.join(missing)}: nothing was measured", file=sys.stderr)
        return 2
    encoder = load_encoder(arguments.model)
    scores: dict[str, Scores] = {}
    started = time.perf_counter()
    scores |= flickr(encoder, arguments.data / "flickr8k")
    for name in ("imagenet-1000", "clothing"):
        scores |= named_classes(encoder, arguments.data / name)
    seconds = time.perf_counter() - started
    facts = encoder.description
    if arguments.json:
        print(json.dumps({"model": facts.name, "revision": facts.revision, "scores": scores}))
    else:
        print(f"model {facts.name} {facts.revision}, {facts.dimension} numbers, {seconds:.0f} s")
        print(table(scores))
    return 0


def rows(path: Path) -> list[list[str]]:
    """The tab-separated fields of every line."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def flickr(encoder: Encoder, folder: Path) -> dict[str, Scores]:
    """R@k in both directions between the 1,000 photos of dev and their captions."""
    pairs = rows(folder / "dev.tsv")
    paths = list(dict.fromkeys(path for path, _ in pairs))
    number = {path: i for i, path in enumerate(paths)}
    owner = np.array([number[path] for path, _ in pairs])
    photos = embed_photos(encoder, [folder / path for path in paths])
    captions = embed_texts(encoder, [caption for _, caption in pairs])
    similarity = captions @ photos.T
    own = similarity[np.arange(len(owner)), owner]
    text_rank = (similarity > own[:, None]).sum(axis=1)
    # A photo is found at the rank of the best of its captions.
    best = np.full(len(paths), -np.inf, dtype=np.float32)
    np.maximum.at(best, owner, own)
    image_rank = (similarity > best[None, :]).sum(axis=0)
    return {
        "Flickr8k dev, text to image": recall(text_rank),
        "Flickr8k dev, image to text": recall(image_rank),
    }


def recall(rank: npt.NDArray[np.int64]) -> Scores:
    """Percentage of queries whose answer has at most k - 1 better ones, for each k."""
    return {f"R@{k}": round(100 * float((rank < k).mean()), 2) for k in RANKS}


def named_classes(encoder: Encoder, folder: Path) -> dict[str, Scores]:
    """Zero-shot accuracy: is the nearest class name that of the photo?

    Fields of labels.tsv: path, class, and perhaps more, of which the last is a readable name.
    """
    labels = rows(folder / "labels.tsv")
    photos = embed_photos(encoder, [folder / row[0] for row in labels])
    # Two ImageNet classes share their name with another one, and are told apart by chance only.
    names = {row[1]: row[-1] for row in labels}
    classes = list(names)
    truth = np.array([classes.index(row[1]) for row in labels])
    found: dict[str, Scores] = {}
    for prompt in PROMPTS:
        texts = embed_texts(encoder, [prompt.format(name) for name in names.values()])
        order = np.argsort(-(photos @ texts.T), axis=1)[:, :5]
        hit = order == truth[:, None]
        found[f'{folder.name}, "{prompt}"'] = {
            "top-1": round(100 * float(hit[:, 0].mean()), 2),
            "top-5": round(100 * float(hit.any(axis=1).mean()), 2),
        }
    return found


def embed_photos(encoder: Encoder, paths: Sequence[Path]) -> Vectors:
    """Unit rows [n, d]; decoding overlaps with embedding."""
    preprocessing = encoder.description.preprocessing

    def load(path: Path) -> npt.NDArray[np.uint8]:
        with Image.open(path) as image:
            return to_pixels(image.convert("RGB"), preprocessing)

    with ThreadPoolExecutor(DECODERS) as pool:
        parts = [
            encoder.encode_images(np.stack(list(pool.map(load, batch))))
            for batch in batches(paths, IMAGE_BATCH)
        ]
    return np.concatenate(parts)


def embed_texts(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Unit rows [n, d]."""
    return np.concatenate([encoder.encode_texts(batch) for batch in batches(texts, TEXT_BATCH)])


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def table(scores: dict[str, Scores]) -> str:
    """One line per measure."""
    width = max(map(len, scores))
    lines = (
        f"{name:<{width}}  " + "  ".join(f"{key} {value:6.2f}" for key, value in values.items())
        for name, values in scores.items()
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
