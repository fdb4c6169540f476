"""Whether wording queries differently, or correcting for hubs, finds more: templates compared.

    python benchmarks/prompts.py [--data ../shared/data] [--model starter] [--json]

Each way of making a query's vector is measured on captions (recall@10 on Flickr8k dev, the
first of each photo), on class
names (mean average precision of three families of `labelled.py`) and zero-shot (imagenet-1000).
"Hub" subtracts from each photo's score its mean score for ordinary words (`COMMON_WORDS`). The
product embeds queries as typed; the first row tells whether that should change.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Result, add_model_and_data, at_most, excuses, new_parser, report
from labelled import Collection, average_precision, collection
from starter_quality import embed_texts, rows

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.base import unit_rows
from imgsearch.search.vocabulary import COMMON_WORDS

Vectors = npt.NDArray[np.float32]

WAYS: dict[str, tuple[str, ...]] = {
    "as typed": ("{}",),
    "a photo of a": ("a photo of a {}",),
    "typed + photo": ("{}", "a photo of a {}"),
}
# What another way must gain, in points, to be worth a second pass through the text tower.
WORTH = 1.0


def main() -> int:
    """Print the figures and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    arguments = parser.parse_args()
    with excuses():
        encoder = load_encoder(arguments.model)
        photos = collection(encoder, arguments.data, arguments.work)
        hub = (photos.vectors @ embed_texts(encoder, COMMON_WORDS).T).mean(axis=1)
        ways: dict[str, list[Result]] = {}
        for way, templates in WAYS.items():
            for name, less in ((way, 0.0), (f"{way}, half hub", 0.5), (f"{way}, hub", 1.0)):
                ways[name] = measured(name, encoder, photos, templates, less * hub, arguments.data)
        results = [gain(ways), *(result for found in ways.values() for result in found)]
        report("wording of queries", results, arguments.seed, as_json=arguments.json)
    return 0


def gain(ways: dict[str, list[Result]]) -> Result:
    """Return what the best other way gains over the product's, which is the first of `ways`."""
    means = {name: float(np.mean([one.value for one in found])) for name, found in ways.items()}
    shipped = means.pop(next(iter(ways)))
    best = max(means, key=lambda name: means[name])
    what = "gain of the best other way, mean of its five figures"
    return at_most(what, means[best] - shipped, "points", WORTH, best)


def measured(
    name: str,
    encoder: Encoder,
    photos: Collection,
    templates: tuple[str, ...],
    less: Vectors,
    data: Path,
) -> list[Result]:
    """Return recall, zero-shot accuracy and mean average precision of one way."""
    captions = [row[1] for row in rows(data / "flickr8k" / "dev.tsv")][::5]
    flickr = photos.vectors[-1_000:]
    scores = worded(encoder, captions, templates) @ flickr.T - less[-1_000:]
    own = scores[np.arange(len(captions)), np.arange(len(captions))]
    recall = float(((scores > own[:, None]).sum(axis=1) < 10).mean())
    results = [Result(f"{name}: captions, R@10", 100 * recall, "%")]
    for family in ("clothing", "groups", "classes"):
        queries = photos.families[family]
        found = worded(encoder, [q.words for q in queries], templates) @ photos.vectors.T - less
        precision = float(
            np.mean([average_precision(q, s) for q, s in zip(queries, found, strict=True)])
        )
        results.append(Result(f"{name}: {family}, mAP", 100 * precision, "%"))
        if family == "classes":
            truth = np.stack([q.relevant[:1_000] for q in queries])
            best = found[:, :1_000].argmax(axis=0)
            right = float(truth[best, np.arange(1_000)].mean())
            results.append(Result(f"{name}: imagenet-1000 zero-shot", 100 * right, "%"))
    return results


def worded(encoder: Encoder, texts: list[str], templates: tuple[str, ...]) -> Vectors:
    """Return the normalised mean of the vectors of all wordings: unit rows [n, d]."""
    total = sum(embed_texts(encoder, [t.format(text) for text in texts]) for t in templates)
    return unit_rows(np.asarray(total, dtype=np.float32))


if __name__ == "__main__":
    sys.exit(main())
