"""Where results stop: F1 of "relevant or not", and what is said when nothing matches.

    python benchmarks/relevance.py [--data ../shared/data] [--model starter] [--json]

One library of all labelled photos (`labelled.py` tells which, and the families of queries); one
setting for all queries. A query is answered with the photos up to the cut-off, or with none where
nothing matches well; F1 is over the photos that are judged for it. It is averaged over the queries
of a family and then over the families of class names (groups, single classes, clothes), and over
all queries of these, and held against the best fixed number of results. Words of captions are told
beside it. Constants of the cut-off were chosen on one half of each family's queries, drawn once;
figures are of the other half, which was looked at when they were settled.

Absent concepts: all photos of a thing, and those of which it is not known, are taken out of the
library, and the thing is asked for. Not for "captions": ImageNet is not judged for these.

Small libraries: photos drawn at random that do not show a thing, without and with one that does.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Result, add_model_and_data, at_least, at_most, excuses, new_parser, report
from labelled import Collection, Labelled, average_precision, collection
from starter_quality import embed_texts, rows

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.search.cutoff import distinctness, relevant_count
from imgsearch.search.strength import NULL_PROMPTS, StrengthScale
from imgsearch.search.vocabulary import COMMON_WORDS

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TOP = 2_000
FIXED = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
SENTENCES = 500
NAMES = ("groups", "classes", "clothing")
# The halves are those on which the constants were, and were not, chosen.
_DRAWN = 20
# Each set as a library of its own: the numbers of its photos, and the families asked of it.
OWN = {"imagenet-1000": (slice(0, 1_000), NAMES[:2]), "clothing": (slice(1_000, 2_891), NAMES[2:])}
SMALL = (12, 150)
_ASKED_OF_SMALL = 300


@dataclass(frozen=True, eq=False)
class Judge:
    """What the cut-off knows of a library of these photos [n, d]; null prompts [p, d]."""

    vectors: Vectors
    unrelated: Vectors
    vocabulary: Vectors

    @cached_property
    def scale(self) -> StrengthScale:
        return StrengthScale.measured(self.unrelated, self.vectors)

    def of(self, vectors: Vectors) -> Judge:
        """Return the judge of another library."""
        return Judge(vectors, self.unrelated, self.vocabulary)

    def count(
        self, words: str, query: Vectors, vectors: Vectors | None = None, certain: bool = False
    ) -> int:
        """Return how many of the best matches are shown, in the whole library or a part of it; at
        least one if it is `certain` that something matches.
        """
        searched = self.vectors if vectors is None else vectors
        scores = searched @ query
        best = np.argsort(-scores, kind="stable")[:TOP]
        distinct = np.inf if certain else distinctness(query, searched[best[:10]], self.vocabulary)
        return relevant_count(scores[best], self.scale, distinct, len(words.split()))


@dataclass(frozen=True, eq=False)
class Family:
    """Queries with their vectors [q, d], and which of them the constants were chosen on: [q]."""

    queries: list[Labelled]
    texts: Vectors
    chosen_on: Mask

    def reported(self) -> list[tuple[Labelled, Vectors]]:
        """Return the queries, with vectors, on which nothing was chosen."""
        pairs = zip(self.queries, self.texts, self.chosen_on, strict=True)
        return [(query, text) for query, text, chosen in pairs if not chosen]


@dataclass(frozen=True, eq=False)
class Figures:
    """Of the queries of a family [q]: F1, F1 if something always matched, of every number in
    `FIXED` [q, f], and of the ideal number; the average precision; whether nothing matched.
    """

    f1: Floats
    cut_alone: Floats
    fixed: Floats
    ideal: Floats
    precision: Floats
    nothing: Mask


def main() -> int:
    """Print the figures and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    arguments = parser.parse_args()
    with excuses():
        encoder = load_encoder(arguments.model)
        photos = collection(encoder, arguments.data, arguments.work)
        unrelated, vocabulary = (
            encoder.encode_texts(NULL_PROMPTS),
            embed_texts(encoder, COMMON_WORDS),
        )
        judge = Judge(photos.vectors, unrelated, vocabulary)
        families = halved(encoder, photos)
        results = measure(judge, families)
        results += own_libraries(judge, families)
        results += small_libraries(judge, families, arguments.seed)
        results += sentences(encoder, judge, arguments.data, arguments.seed)
        results.append(Result("deciding for 2,000 candidates", 1_000 * seconds(judge), "ms"))
        report("relevance cut-off", results, arguments.seed, as_json=arguments.json)
    return 0


def halved(encoder: Encoder, photos: Collection) -> dict[str, Family]:
    """Embed the queries and tell which half of each family the constants were chosen on."""
    random = np.random.default_rng(_DRAWN)
    families = {}
    for name in (*NAMES, "captions"):
        queries = photos.families[name]
        chosen = random.permutation(len(queries)) < (len(queries) + 1) // 2
        families[name] = Family(queries, embed_texts(encoder, [q.words for q in queries]), chosen)
    return families


def figures_of(judge: Judge, asked: list[tuple[Labelled, Vectors]]) -> Figures:
    """Ask all the queries."""
    rows = []
    for query, text in asked:
        count, cut = judge.count(query.words, text), judge.count(query.words, text, certain=True)
        scores = judge.vectors @ text
        order = np.argsort(-scores, kind="stable")[:TOP]
        rows.append(
            (
                f1_of(query, order[:count]),
                f1_of(query, order[:cut]),
                [f1_of(query, order[:k]) for k in FIXED],
                best_f1(query, order),
                average_precision(query, scores),
                count == 0,
            )
        )
    return Figures(*(np.array(column) for column in zip(*rows, strict=True)))


def measure(judge: Judge, families: dict[str, Family]) -> list[Result]:
    """Return the figures of all families in the library of all photos."""
    found = {name: figures_of(judge, family.reported()) for name, family in families.items()}
    named = [found[name] for name in NAMES]
    f1, alone, fixed = (_means(named, each) for each in ("f1", "cut_alone", "fixed"))
    results = headline("families of names", f1, fixed)
    results += headline("families, if something always matched", alone, fixed)
    together = [np.concatenate([getattr(one, each) for one in named]) for each in ("f1", "fixed")]
    results += headline("all queries by names", together[0].mean(), together[1].mean(axis=0))
    for name, family in families.items():
        one = found[name]
        chosen = zip(family.queries, family.texts, family.chosen_on, strict=True)
        other = figures_of(judge, [(query, text) for query, text, yes in chosen if yes])
        best = float(one.fixed.mean(axis=0).max())
        results += [
            Result(f"{name}: F1", float(one.f1.mean()), "", note=f"{len(one.f1)} queries"),
            Result(f"{name}: F1, half chosen on", float(other.f1.mean()), ""),
            Result(f"{name}: F1 if something always matched", float(one.cut_alone.mean()), ""),
            Result(f"{name}: F1 of its best fixed number", best, ""),
            Result(f"{name}: F1 with the ideal number for each", float(one.ideal.mean()), ""),
            Result(f"{name}: mean average precision", float(one.precision.mean()), ""),
            at_most(f"{name}: present, told nothing", 100 * float(one.nothing.mean()), "%", 5),
        ]
        if name != "captions":
            absent = [
                judge.count(query.words, text, judge.vectors[query.judged & ~query.relevant]) == 0
                for query, text in family.reported()
            ]
            share = 100 * float(np.mean(absent))
            results.append(at_least(f"{name}: absent, told nothing", share, "%", 80))
    return results


def _means(families: list[Figures], each: str) -> Floats:
    return np.mean([getattr(one, each).mean(axis=0) for one in families], axis=0)


def headline(over: str, f1: Floats, fixed: Floats) -> list[Result]:
    """Return the mean F1 and how far it is above the best fixed number, from `fixed` [f]."""
    best = int(fixed.argmax())
    note = f"{fixed[best]:.3f} with {FIXED[best]} results"
    return [
        at_least(f"F1, mean over {over}", float(f1), "", 0.70),
        at_least("... above the best fixed number", float(f1 - fixed[best]), "", 0.15, note),
    ]


def own_libraries(judge: Judge, families: dict[str, Family]) -> list[Result]:
    """Return F1 where each set of photos is a library of its own."""
    results = []
    for library, (part, names) in OWN.items():
        own = judge.of(judge.vectors[part])
        for name in names:
            asked = [
                (Labelled(query.words, query.relevant[part], query.judged[part]), text)
                for query, text in families[name].reported()
                if (query.relevant & query.judged)[part].any()
            ]
            one = figures_of(own, asked)
            note = f"best fixed {one.fixed.mean(axis=0).max():.2f}, ideal {one.ideal.mean():.2f}"
            results.append(Result(f"{library} alone: {name}, F1", one.f1.mean(), "", note=note))
    return results


def small_libraries(judge: Judge, families: dict[str, Family], seed: int) -> list[Result]:
    """Return how often small libraries without, and with one photo of it, are told nothing."""
    random = np.random.default_rng(seed)
    asked = [pair for name in NAMES[:2] for pair in families[name].reported()]
    results = []
    for size in SMALL:
        said = np.zeros((_ASKED_OF_SMALL, 2))
        for turn, number in enumerate(random.choice(len(asked), _ASKED_OF_SMALL)):
            query, text = asked[number]
            others = random.permutation(np.flatnonzero(query.judged & ~query.relevant))[:size]
            shows = random.choice(np.flatnonzero(query.judged & query.relevant))
            without = judge.of(judge.vectors[others])
            said[turn] = [
                without.count(query.words, text) == 0,
                without.count(query.words, text, judge.vectors[[*others, shows]]) == 0,
            ]
        absent, present = (100 * said.mean(axis=0)).tolist()
        results += [
            at_most(f"one photo among {size}, told nothing", present, "%", 5),
            at_least(f"... absent among {size}, told nothing", absent, "%", 80),
        ]
    return results


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
