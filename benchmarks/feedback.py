"""What marking results is worth: precision after three good and three bad marks.

    python benchmarks/feedback.py [--data ../shared/data] [--model starter] [--json]

A user marks the first three relevant and the first three irrelevant results among the first 50.
Queries: the ten kinds of clothes, and every word that at least three of five captions of a photo
use for at least 23 photos of Flickr8k dev (so that 20 are left beside the marked ones), over the
photos of their own set. Those with a precision below 0.6 in the first 20 are looked at. The honest
figure is the one without the marked photos; the other counts them where they come out. The two
constants of `imgsearch/search/feedback.py` were chosen on these same queries.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Result, add_model_and_data, at_least, excuses, new_parser, report
from labelled import Collection, collection
from starter_quality import embed_texts, rows

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.base import unit_rows
from imgsearch.search.feedback import with_feedback

Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Feedback = Callable[[Vectors, Vectors, Vectors], Vectors]

SHOWN = 20
MARKED = 3
READ = 50
FEW = 0.6
_CLOTHES = slice(1_000, 2_891)
_FLICKR = slice(2_891, None)
_AGREED = 3
# Words that say nothing that is seen.
_STOP = set(
    "a an the of in on at to and with is are by for from up down out over into through near his "
    "her their its it as that while who him them they he she one two three four other another "
    "some off around behind there next front".split()
)


def main() -> int:
    """Print the figures and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    arguments = parser.parse_args()
    with excuses():
        encoder = load_encoder(arguments.model)
        photos = collection(encoder, arguments.data, arguments.work)
        queries = asked(encoder, photos, arguments.data)
        figures = np.array([played(*query, with_feedback) for query in queries])
        results = told(figures)
        report("relevance feedback", results, arguments.seed, as_json=arguments.json)
    return 0


def asked(encoder: Encoder, photos: Collection, data: Path) -> list[tuple[Vectors, Vectors, Mask]]:
    """Return the queries that start badly: vector [d], photos [n, d], who is relevant [n]."""
    clothes = photos.vectors[_CLOTHES]
    named = [(one.words, clothes, one.relevant[_CLOTHES]) for one in photos.families["clothing"]]
    named += [(word, photos.vectors[_FLICKR], shown) for word, shown in words_of_captions(data)]
    texts = embed_texts(encoder, [words for words, _, _ in named])
    return [
        (text, vectors, relevant)
        for text, (_, vectors, relevant) in zip(texts, named, strict=True)
        if precision(text, vectors, relevant) < FEW
        and relevant[np.argsort(-(vectors @ text))[:READ]].any()
    ]


def words_of_captions(data: Path) -> list[tuple[str, Mask]]:
    """Return the words on which captions agree for enough photos, and for which: bool [n]."""
    captions: dict[str, Counter[str]] = {}
    for path, caption in rows(data / "flickr8k" / "dev.tsv"):
        said = set(re.findall(r"[a-z]+", caption.lower())) - _STOP
        captions.setdefault(path, Counter()).update(said)
    words = sorted(set().union(*captions.values()))
    masks = {
        word: np.array([counts[word] >= _AGREED for counts in captions.values()]) for word in words
    }
    return [(word, mask) for word, mask in masks.items() if mask.sum() >= SHOWN + MARKED]


def precision(query: Vectors, vectors: Vectors, relevant: Mask) -> float:
    """Return the part of the first 20 that is relevant."""
    return float(relevant[np.argsort(-(vectors @ query), kind="stable")[:SHOWN]].mean())


def played(
    query: Vectors, vectors: Vectors, relevant: Mask, feedback: Feedback
) -> tuple[float, float, float, float]:
    """Return precision before and after: of all photos, and of those that were not marked."""
    order = np.argsort(-(vectors @ query), kind="stable")[:READ]
    good, bad = order[relevant[order]][:MARKED], order[~relevant[order]][:MARKED]
    moved = feedback(query, vectors[good], vectors[bad])
    rest = np.setdiff1d(np.arange(len(vectors)), np.concatenate([good, bad]))
    return (
        precision(query, vectors, relevant),
        precision(moved, vectors, relevant),
        precision(query, vectors[rest], relevant[rest]),
        precision(moved, vectors[rest], relevant[rest]),
    )


def told(figures: npt.NDArray[np.float64]) -> list[Result]:
    """Make results of the figures [queries, 4] of `played`."""
    before, after, before_rest, after_rest = figures.mean(axis=0)
    worse = float((figures[:, 3] < figures[:, 2]).mean())
    return [
        Result("queries that start below 0.6", len(figures), ""),
        Result("precision@20, marked photos counted, before", before, ""),
        Result("precision@20, marked photos counted, after", after, ""),
        at_least("after / before, marked photos counted", after / before, "", 1.3),
        Result("precision@20, marked photos left out, before", before_rest, ""),
        Result("precision@20, marked photos left out, after", after_rest, ""),
        at_least("after / before, marked photos left out", after_rest / before_rest, "", 1.3),
        Result("queries that got worse", 100 * worse, "%"),
        Result("computing the new query", 1_000 * seconds(), "ms", note="the search is the same"),
    ]


def seconds() -> float:
    """Return the processor time of one call."""
    made = unit_rows(np.random.default_rng(0).normal(size=(7, 512)).astype(np.float32))
    started = time.process_time()
    for _ in range(1_000):
        with_feedback(made[0], made[1:4], made[4:])
    return (time.process_time() - started) / 1_000


if __name__ == "__main__":
    sys.exit(main())
