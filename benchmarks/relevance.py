"""Where results stop: F1 of "relevant or not", and what is said when nothing matches.

    python benchmarks/relevance.py [--data ../shared/data] [--model starter] [--json]

One library of all labelled photos (`labelled.py` tells which, and the four families of queries);
one setting for all queries. A query is answered with the photos up to the cut-off; F1 is over the
photos that are judged for it, averaged over the queries of a family, then over families. It is held
against the best fixed number of results. The share of the best match that is asked for was chosen
on one half of each family's queries; figures are of the other half ("held out"). The thresholds of
"nothing matches" were chosen on all queries of the families.

Absent concepts: all photos of a thing, and those of which it is not known, are taken out of the
library, and the thing is asked for. Not for "captions": ImageNet is not judged for these.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Result, at_least, at_most, excuses, new_parser, report
from labelled import Collection, Labelled, collection
from starter_quality import embed_texts, rows

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.search.cutoff import distinctness, relevant_count
from imgsearch.search.strength import NULL_PROMPTS, StrengthScale
from imgsearch.search.vocabulary import COMMON_WORDS

Vectors = npt.NDArray[np.float32]


TOP = 2_000
FIXED = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
SENTENCES = 500


@dataclass(frozen=True, eq=False)
class Judge:
    """What the cut-off knows of a library."""

    vectors: Vectors
    scale: StrengthScale
    vocabulary: Vectors

    def count(self, words: str, query: Vectors, vectors: Vectors | None = None) -> int:
        """Return how many of the best matches are shown, in the whole library or a part of it."""
        searched = self.vectors if vectors is None else vectors
        scores = searched @ query
        best = np.argsort(-scores, kind="stable")[:TOP]
        distinct = distinctness(query, searched[best[:10]], self.vocabulary)
        return relevant_count(scores[best], self.scale, distinct, len(words.split()))


def main() -> int:
    """Print the figures and return the exit status."""
    parser = new_parser(__doc__)
    parser.add_argument("--model", default="starter", help="what load_encoder takes")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="DIR")
    arguments = parser.parse_args()
    with excuses():
        encoder = load_encoder(arguments.model)
        photos = collection(encoder, arguments.data, arguments.work)
        judge = Judge(
            photos.vectors,
            StrengthScale.measured(encoder.encode_texts(NULL_PROMPTS), photos.vectors),
            embed_texts(encoder, COMMON_WORDS),
        )
        results = measure(encoder, photos, judge, arguments.seed)
        results += sentences(encoder, judge, arguments.data, arguments.seed)
        results.append(Result("deciding for 2,000 candidates", 1_000 * seconds(judge), "ms"))
        report("relevance cut-off", results, arguments.seed, as_json=arguments.json)
    return 0


def measure(encoder: Encoder, photos: Collection, judge: Judge, seed: int) -> list[Result]:
    """Return the figures of all families."""
    random = np.random.default_rng(seed)
    results: list[Result] = []
    cut: list[float] = []
    fixed: list[npt.NDArray[np.float64]] = []
    for family, queries in photos.families.items():
        texts = embed_texts(encoder, [query.words for query in queries])
        tuned = random.permutation(len(queries)) < len(queries) // 2
        counts = [judge.count(q.words, t) for q, t in zip(queries, texts, strict=True)]
        orders = [np.argsort(-(judge.vectors @ t), kind="stable")[:TOP] for t in texts]
        f1 = np.array([f1_of(q, o[:n]) for q, o, n in zip(queries, orders, counts, strict=True)])
        curves = np.array(
            [[f1_of(q, o[:k]) for k in FIXED] for q, o in zip(queries, orders, strict=True)]
        )
        ideal = [best_f1(q, o) for q, o in zip(queries, orders, strict=True)]
        cut.append(float(f1[~tuned].mean()))
        fixed.append(curves[~tuned].mean(axis=0))
        size = f"{int((~tuned).sum())} queries"
        results += [
            Result(f"{family}: F1, held out", cut[-1], "", note=size),
            Result(f"{family}: F1, half tuned on", float(f1[tuned].mean()), ""),
            Result(f"{family}: F1 of its best fixed number", fixed[-1].max(), "", note="held out"),
            Result(f"{family}: F1 with the ideal number for each", float(np.mean(ideal)), ""),
            Result(
                f"{family}: present, told nothing matches",
                100 * float((np.array(counts) == 0).mean()),
                "%",
                "<= 5",
                bool((np.array(counts) == 0).mean() <= 0.05),
            ),
        ]
        if family != "captions":
            without = [
                judge.count(q.words, t, judge.vectors[q.judged & ~q.relevant]) == 0
                for q, t in zip(queries, texts, strict=True)
            ]
            share = 100 * float(np.mean(without))
            results.append(at_least(f"{family}: absent, told nothing matches", share, "%", 80))
    single = np.mean(fixed, axis=0)
    best = int(single.argmax())
    return [
        at_least("F1 over families, held out", float(np.mean(cut)), "", 0.70),
        at_least(
            "... above the best fixed number",
            float(np.mean(cut)) - float(single[best]),
            "",
            0.15,
            f"{single[best]:.3f} with {FIXED[best]} results",
        ),
        *results,
    ]


def f1_of(query: Labelled, shown: npt.NDArray[np.int64]) -> float:
    """Return F1 over the photos that are judged."""
    judged = shown[query.judged[shown]]
    hits = int(query.relevant[judged].sum())
    return 2 * hits / max(1, len(judged) + int((query.relevant & query.judged).sum()))


def best_f1(query: Labelled, order: npt.NDArray[np.int64]) -> float:
    """Return the F1 of the best possible number of results."""
    judged = order[query.judged[order]]
    hits = np.cumsum(query.relevant[judged])
    total = int((query.relevant & query.judged).sum())
    return float((2 * hits / (np.arange(1, len(judged) + 1) + total)).max())


def sentences(encoder: Encoder, judge: Judge, data: Path, seed: int) -> list[Result]:
    """Return how often nothing is said to match captions of photos that are, and are not, there."""
    captions = [row[1] for row in rows(data / "flickr8k" / "dev.tsv")]
    drawn = np.random.default_rng(seed).choice(len(captions), SENTENCES, replace=False)
    chosen = [captions[i] for i in drawn]
    texts = embed_texts(encoder, chosen)
    clothes = judge.vectors[1_000:2_891]
    here = [judge.count(w, t) == 0 for w, t in zip(chosen, texts, strict=True)]
    elsewhere = [judge.count(w, t, clothes) == 0 for w, t in zip(chosen, texts, strict=True)]
    return [
        at_most("captions of photos there, told nothing", 100 * float(np.mean(here)), "%", 5),
        at_least("... among clothes only, told nothing", 100 * float(np.mean(elsewhere)), "%", 80),
    ]


def seconds(judge: Judge) -> float:
    """Return the processor time of a decision, the search itself left out."""
    query = judge.vocabulary[0]
    scores = np.sort(judge.vectors @ query)[::-1][:TOP]
    best = judge.vectors[:10]
    started = time.process_time()
    for _ in range(100):
        relevant_count(scores, judge.scale, distinctness(query, best, judge.vocabulary), 1)
    return (time.process_time() - started) / 100


if __name__ == "__main__":
    sys.exit(main())
