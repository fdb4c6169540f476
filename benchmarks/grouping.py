"""Grouping of bursts and versions: what joins and should not, what should and does not, how long.

    python benchmarks/grouping.py [--model starter] [--data ../shared/data] [--json]

Pairs that should not join are those of different photos of Flickr8k (some of which do show one
scene) and of imagenet-1000 (one photo a class). Pairs that should join are photos of Flickr8k dev
beside versions of themselves; at 224 pixels a crop or a compression changes more than it does to a
photo from a camera. Vectors are kept in --work. Times are processor times of one thread: other
programs disturb them less. Exits with status 2 when the data is not there.
"""

from __future__ import annotations

import os

# Before numpy is loaded: threads that wait for each other are no work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import io
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import (
    CannotMeasure,
    Result,
    add_model_and_data,
    at_most,
    excuses,
    new_parser,
    report,
    say,
)
from PIL import Image, ImageEnhance
from starter_quality import embed_photos, rows

from imgsearch import SearchHit
from imgsearch.data.records import PictureFacts
from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.search.grouping import group_hits

Vectors = npt.NDArray[np.float32]
Change = Callable[[Image.Image], Image.Image]

THRESHOLDS = (0.75, 0.9, 0.95, 0.97, 0.98)
VERSIONS = 150
HITS = 2_000
ROUNDS = 20
LIMIT_MS = 5.0


def main() -> int:
    """Measure, and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    arguments = parser.parse_args()
    with excuses():
        flickr, imagenet = arguments.data / "flickr8k", arguments.data / "imagenet-1000"
        for needed in (flickr / "dev.tsv", flickr / "train.tsv", imagenet / "labels.tsv"):
            if not needed.is_file():
                raise CannotMeasure(f"{needed} is not there")
        encoder = load_encoder(arguments.model)
        dev = photos_of(flickr / "dev.tsv")
        work = arguments.work / "grouping" / encoder.description.revision
        vectors = {
            "Flickr8k": np.concatenate(
                [
                    embedded(encoder, dev, work / "dev.npy"),
                    embedded(encoder, photos_of(flickr / "train.tsv"), work / "train.npy"),
                ]
            ),
            "imagenet-1000": embedded(
                encoder, photos_of(imagenet / "labels.tsv"), work / "imagenet.npy"
            ),
        }
        results = [line for name, rows_ in vectors.items() for line in unrelated(name, rows_)]
        chosen = np.random.default_rng(arguments.seed).permutation(len(dev))[:VERSIONS]
        results += versions(encoder, [dev[i] for i in chosen], vectors["Flickr8k"][chosen])
        results += times(vectors["Flickr8k"])
    report("Grouping", results, arguments.seed, as_json=arguments.json)
    return 0


def photos_of(table: Path) -> list[Path]:
    """The photos that a table names in its first column, each once."""
    return [table.parent / name for name in dict.fromkeys(row[0] for row in rows(table))]


def embedded(encoder: Encoder, paths: list[Path], kept: Path) -> Vectors:
    """Unit rows of photos, from the last run where it made them."""
    if not kept.exists():
        say(f"embedding {len(paths)} photos")
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, embed_photos(encoder, paths))
    loaded: Vectors = np.load(kept)
    return loaded


def unrelated(name: str, vectors: Vectors) -> list[Result]:
    """How alike different photos are, and how many of their pairs would join."""
    counts = dict.fromkeys(THRESHOLDS, 0)
    total = 0.0
    for start in range(0, len(vectors), 500):
        cosines = vectors[start : start + 500] @ vectors[start:].T
        above = cosines[np.triu(np.ones(cosines.shape, dtype=bool), 1)]
        total += float(above.sum(dtype=np.float64))
        for threshold in THRESHOLDS:
            counts[threshold] += int((above >= threshold).sum())
    pairs = len(vectors) * (len(vectors) - 1) // 2
    return [
        Result(f"{name}: mean cosine of different photos", total / pairs, ""),
        *(
            Result(f"{name}: pairs at {threshold} or more", count, f"of {pairs:,}")
            for threshold, count in counts.items()
        ),
    ]


def versions(encoder: Encoder, paths: list[Path], originals: Vectors) -> list[Result]:
    """What share of photos would join versions of themselves."""
    results = []
    for name, change in CHANGES.items():
        say(f"versions: {name}")
        pixels = [
            to_pixels(change(opened(path)), encoder.description.preprocessing) for path in paths
        ]
        changed = np.concatenate(
            [encoder.encode_images(np.stack(pixels[i : i + 50])) for i in range(0, len(pixels), 50)]
        )
        cosines = (originals * changed).sum(axis=1)
        told = ", ".join(f"{100 * (cosines >= t).mean():.0f} % at {t}" for t in THRESHOLDS)
        results.append(Result(f"{name}: median cosine", float(np.median(cosines)), "", note=told))
    return results


def opened(path: Path) -> Image.Image:
    """The photo in RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


def cropped(kept: float, left: float, top: float) -> Change:
    """A crop to a part of each edge, placed by what part of the rest lies before it."""

    def change(image: Image.Image) -> Image.Image:
        width, height = int(image.width * kept), int(image.height * kept)
        x, y = int((image.width - width) * left), int((image.height - height) * top)
        return image.crop((x, y, x + width, y + height))

    return change


def compressed(quality: int) -> Change:
    """The same photo after another compression."""

    def change(image: Image.Image) -> Image.Image:
        target = io.BytesIO()
        image.save(target, "JPEG", quality=quality)
        return Image.open(target).convert("RGB")

    return change


CHANGES: dict[str, Change] = {
    "shifted by a twentieth": cropped(0.95, 1, 1),
    "shifted by a tenth": cropped(0.9, 0, 1),
    "middle nine tenths": cropped(0.9, 0.5, 0.5),
    "corner of four fifths": cropped(0.8, 1, 0),
    "a fifth lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "a fifth darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "JPEG at quality 60": compressed(60),
    "JPEG at quality 30": compressed(30),
}


def times(vectors: Vectors) -> list[Result]:
    """Milliseconds of processor time for the best matches of a query by picture."""
    best = np.ascontiguousarray(vectors[np.argsort(-(vectors @ vectors[0]))[:HITS]])
    product = processor_ms(lambda: best @ best.T)
    results = [Result("one product of all pairs", product, "ms", note="for comparison")]
    for name, apart in (("no times", None), ("bursts of ten", 40.0)):
        hits = [hit(i, apart and (i * 7919 % HITS) // 10 * apart + i % 10) for i in range(HITS)]
        taken = processor_ms(lambda hits=hits: group_hits(hits, best))
        note = f"{len(group_hits(hits, best))} groups; {taken / product:.2f} of that product"
        results.append(at_most(f"{HITS} hits, {name}", taken, "ms", LIMIT_MS, note))
    return results


def hit(number: int, seconds: float | None) -> SearchHit:
    """A hit that was taken so many seconds after some moment, or at no known time."""
    taken = None
    if seconds is not None:
        taken = (datetime(2024, 1, 1) + timedelta(seconds=int(seconds))).isoformat()
    facts = PictureFacts(640, 480, "JPEG", 1, taken, "Camera")
    return SearchHit(f"/{number}.jpg", 0.5, number, (), 1, facts, f"{number:064x}", 0.0)


def processor_ms(work: Callable[[], object]) -> float:
    """The least processor time of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return 1000 * min(taken)


if __name__ == "__main__":
    sys.exit(main())
