"""Where words are found in a picture: collages of two photos, and what a heat map costs.

    python benchmarks/heat_map.py [--model starter] [--data ../shared/data] [--collages 600]

A collage is two photos of different classes, side by side or one above the other, each filling
its half of a square. One of the two class names is asked for; the peak of the heat map should lie
in its half. Pixels go the product's way (`to_pixels`, `HeatMapper`). The time is that of
`Library.heat_map` over the example photos, decoding included. Exits with status 2 when the data is
not there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from common import (
    CannotMeasure,
    Result,
    add_model_and_data,
    at_least,
    at_most,
    excuses,
    new_parser,
    report,
    say,
)
from PIL import Image, ImageOps

from imgsearch import Library, load_encoder
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.search.heat import HeatMap, HeatMapper

EDGE = 512
EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"
TARGETED = "imagenet-1000"
TARGET_SHARE = 85.0
TARGET_MILLISECONDS = 150.0
# Where nothing of the words is in the picture, its hottest cell should stay below this.
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Collage:
    """A picture of two classes; `second` tells which half (left and top are the first) is asked.

    `absent` is the name of a class that neither half shows.
    """

    picture: Image.Image
    stacked: bool
    second: bool
    asked: str
    absent: str

    def holds(self, peak: tuple[float, float]) -> bool:
        """Tell whether a point lies in the half that is asked for."""
        return (peak[1 if self.stacked else 0] >= 0.5) is self.second


def labelled(folder: Path) -> list[tuple[Path, str]]:
    """Return the photos of a data set with the readable names of their classes."""
    table = folder / "labels.tsv"
    if not table.is_file():
        raise CannotMeasure(f"{table} is not there")
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    return [(folder / row[0], row[-1]) for row in rows]


def collages(folder: Path, count: int, seed: int) -> Iterator[Collage]:
    """Yield random collages, every other one stacked."""
    photos = labelled(folder)
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        paths, names = zip(*(photos[i] for i in random.integers(len(photos), size=3)), strict=True)
        if len(set(names)) < len(names):
            continue
        stacked, second = bool(made % 2), bool(random.integers(2))
        yield Collage(joined(paths[:2], stacked), stacked, second, names[second], names[2])
        made += 1


def joined(paths: tuple[Path, ...], stacked: bool) -> Image.Image:
    """Return a square whose halves two photos fill, their middles kept."""
    half = EDGE // 2
    canvas = Image.new("RGB", (EDGE, EDGE))
    for number, path in enumerate(paths):
        with Image.open(path) as photo:
            size = (EDGE, half) if stacked else (half, EDGE)
            part = ImageOps.fit(photo.convert("RGB"), size)
        canvas.paste(part, (0, half * number) if stacked else (half * number, 0))
    return canvas


def localisation(mapper: HeatMapper, folder: Path, count: int, seed: int) -> list[Result]:
    """Measure how often the peak lies in the right half, and how hot absent words become."""
    geometry = mapper.encoder.description.preprocessing
    right: dict[bool, list[bool]] = {False: [], True: []}
    asked_heat, absent_heat = [], []
    for collage in collages(folder, count, seed):
        pixels = to_pixels(collage.picture, geometry)

        def found(words: str) -> HeatMap:
            return mapper.map(pixels, words, EDGE, EDGE)  # noqa: B023 - called at once

        asked = found(collage.asked)
        right[collage.stacked].append(collage.holds(asked.peak))
        asked_heat.append(float(asked.values.max()))
        absent_heat.append(float(found(collage.absent).values.max()))
    shares = {kind: 100 * float(np.mean(answers)) for kind, answers in right.items()}
    both = 100 * float(np.mean(right[False] + right[True]))
    name = folder.name
    note = f"side by side {shares[False]:.1f}, stacked {shares[True]:.1f}; {count} collages"
    what = f"{name}: peak in the named half"
    if name != TARGETED:
        # Ten classes of clothes: one that is absent looks much like one that is there.
        return [Result(what, both, "%", note=note)]
    cold = 100 * float(np.mean(np.array(absent_heat) < HALF))
    return [
        at_least(what, both, "%", TARGET_SHARE, note),
        Result(f"{name}: heat at the peak", 100 * median(asked_heat), "% of 1", note="median"),
        Result(f"{name}: maps of absent words that stay below {HALF}", cold, "%"),
    ]


def cost(options: argparse.Namespace) -> list[Result]:
    """Measure warm heat maps of a library's photos."""
    place = options.work / f"heat-map-{options.model.replace('/', '-')}"
    seconds, processor = [], []
    with Library.open(place, model=options.model) as library:
        library.index(EXAMPLES)
        hits = list(library.search("a photo", limit=12, cut_off=False))
        library.heat_map(hits[0].content_hash, "a photo")
        for words in ("a cup of coffee", "a dog", "snow"):
            for hit in hits:
                started, used = time.perf_counter(), time.process_time()
                library.heat_map(hit.content_hash, words).layer()
                seconds.append(time.perf_counter() - started)
                processor.append(time.process_time() - used)
    note = f"median of {len(seconds)}"
    return [
        at_most("warm heat map", 1e3 * median(seconds), "ms", TARGET_MILLISECONDS, note=note),
        Result("processor time, without the decoder's", 1e3 * median(processor), "ms", note=note),
    ]


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    parser.add_argument("--collages", type=int, default=600, help="[%(default)s]")
    options = parser.parse_args()
    with excuses():
        mapper = HeatMapper(load_encoder(options.model))
        results = []
        for name in (TARGETED, "clothing"):
            say(f"{options.collages} collages of {name} ...")
            results += localisation(mapper, options.data / name, options.collages, options.seed)
        results += cost(options)
        report("heat maps", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
