"""Chooses the numbers of the rule that ends results (imgsearch/search/cutoff.py).

A random walk over all of them but the smallest z, which is given: a few are changed at a time, and
kept if the half of the queries that relevance.py calls "chosen on" does better by

    mean F1 of the families of names + 0.15 F1 of words of captions
    - 3 * (share of the present that is told nothing, as far as above 4.5 %)
    - 0.5 * (share of the absent that is told something, as far as above 20 %)

summed over groups, single classes and clothes (which count a fifth), words of captions (half, from
10 %), sentences (whole and half, from 3 and 10 %) and small libraries (half, from 5 and 15 %).
Nothing is written: what comes out is printed, to be rounded and put into the rule.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Result, add_model_and_data, excuses, new_parser, report, say
from labelled import Labelled, collection
from relevance import NAMES, SENTENCES, SMALL, TOP, Family, Judge, Vectors, halved
from starter_quality import embed_texts, rows

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.search import cutoff
from imgsearch.search.cutoff import distinctness, relevant_count
from imgsearch.search.strength import NULL_PROMPTS, StrengthScale
from imgsearch.search.vocabulary import COMMON_WORDS

# The numbers, and how far one step goes.
STEPS = {
    "_SHARE_OF_BEST": 0.04,
    "_DECLINE": 0.03,
    "_SPECIFIC": 0.4,
    "_DISTINCT": 0.3,
    "_LESS_A_WORD": 0.08,
    "_LEAST_DISTINCT": 0.3,
    "_GOOD_IN_ANY_CASE": 0.3,
    "_MANY_ARE_GOOD": 0.3,
    "_MODESTY": 0.06,
}
# What is asked of small libraries, and every so many of single classes, which are a thousand.
_ASKED_OF_SMALL = 150
_ONE_CLASS_IN = 2
# Scores are z already.
_AS_IS = StrengthScale(mean=0.0, deviation=1.0)
# (what is asked, whether it is there): how much a share counts, and from where on.
_BOUNDS = {
    ("groups", True): (3.0, 0.045),
    ("groups", False): (0.5, 0.2),
    ("classes", True): (3.0, 0.045),
    ("classes", False): (0.5, 0.2),
    ("clothing", True): (0.6, 0.045),
    ("clothing", False): (0.1, 0.2),
    ("captions", True): (0.5, 0.1),
    ("sentences", True): (1.0, 0.03),
    ("sentences", False): (0.5, 0.1),
    ("small", True): (0.5, 0.05),
    ("small", False): (0.5, 0.15),
}


@dataclass(frozen=True, eq=False)
class Asked:
    """A query in one library: the z of its best matches [k], and what `relevant_count` takes.

    `hits` and `judged` [k] count the relevant and the judged photos up to each match, of which
    there are `total` relevant ones; empty where only "nothing" matters.
    """

    z: npt.NDArray[np.float32]
    distinct: float
    words: int
    total: int = 0
    hits: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    judged: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @classmethod
    def of(
        cls, judge: Judge, words: str, text: Vectors, vectors: Vectors, query: Labelled | None
    ) -> Asked:
        """Ask `words`, embedded as `text` [d], of a library of `vectors` [n, d]."""
        scores = vectors @ text
        best = np.argsort(-scores, kind="stable")[:TOP]
        z = ((scores[best] - judge.scale.mean) / judge.scale.deviation).astype(np.float32)
        distinct = distinctness(text, vectors[best[:10]], judge.vocabulary)
        if query is None:
            return cls(z, distinct, len(words.split()))
        right = query.relevant & query.judged
        hits, judged = np.cumsum(right[best]), np.cumsum(query.judged[best])
        return cls(z, distinct, len(words.split()), int(right.sum()), hits, judged)

    def count(self) -> int:
        """Return how many results the rule shows, as it is now."""
        return relevant_count(self.z, _AS_IS, self.distinct, self.words)

    def f1(self) -> float:
        """Return F1 over the photos that are judged."""
        count = self.count()
        if not count:
            return 0.0
        return float(2 * self.hits[count - 1] / max(1, self.judged[count - 1] + self.total))


Questions = dict[tuple[str, bool], list[Asked]]


def main() -> int:
    """Print the numbers and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    parser.add_argument("--least", type=float, default=2.8, help="the smallest z [%(default)s]")
    parser.add_argument("--steps", type=int, default=2_000, help="[%(default)s]")
    arguments = parser.parse_args()
    with excuses():
        encoder = load_encoder(arguments.model)
        asked = questions(encoder, arguments.data, arguments.work, arguments.seed)
        before = gain(asked)
        set_numbers({"_LEAST": arguments.least})
        numbers, after = walk(asked, arguments.steps, arguments.seed)
        results = [Result(name.strip("_").lower(), value, "") for name, value in numbers.items()]
        results += [
            Result("what they reach, by the formula", after, ""),
            Result("the present ones", before, ""),
        ]
        report("numbers of the cut-off", results, arguments.seed, as_json=arguments.json)
    return 0


def questions(encoder: Encoder, data: Path, work: Path, seed: int) -> Questions:
    """Ask everything that the numbers are chosen on."""
    photos = collection(encoder, data, work)
    unrelated = encoder.encode_texts(NULL_PROMPTS)
    judge = Judge(photos.vectors, unrelated, embed_texts(encoder, COMMON_WORDS))
    families = halved(encoder, photos)
    asked: Questions = {}
    for name, family in families.items():
        chosen = of_family(family)[:: _ONE_CLASS_IN if name == "classes" else 1]
        asked[name, True] = [
            Asked.of(judge, query.words, text, judge.vectors, query) for query, text in chosen
        ]
        if name in NAMES:
            asked[name, False] = [
                Asked.of(judge, q.words, text, judge.vectors[q.judged & ~q.relevant], None)
                for q, text in chosen
            ]
    return asked | of_sentences(encoder, judge, data, seed) | of_small(judge, families, seed)


def of_family(family: Family) -> list[tuple[Labelled, Vectors]]:
    """Return the queries on which numbers are chosen, with vectors."""
    pairs = zip(family.queries, family.texts, family.chosen_on, strict=True)
    return [(query, text) for query, text, chosen in pairs if chosen]


def of_sentences(encoder: Encoder, judge: Judge, data: Path, seed: int) -> Questions:
    """Ask captions of photos that are there, and among clothes, other ones than relevance.py."""
    captions = [row[1] for row in rows(data / "flickr8k" / "dev.tsv")]
    drawn = np.random.default_rng(seed).permutation(len(captions))[SENTENCES : 2 * SENTENCES]
    texts = embed_texts(encoder, [captions[i] for i in drawn])
    pairs = [(captions[i], text) for i, text in zip(drawn, texts, strict=True)]
    clothes = judge.vectors[1_000:2_891]
    return {
        ("sentences", True): [Asked.of(judge, w, t, judge.vectors, None) for w, t in pairs],
        ("sentences", False): [Asked.of(judge, w, t, clothes, None) for w, t in pairs],
    }


def of_small(judge: Judge, families: dict[str, Family], seed: int) -> Questions:
    """Ask libraries of few photos, without and with one that shows the thing."""
    random = np.random.default_rng(seed + 1)
    pairs = [pair for name in NAMES[:2] for pair in of_family(families[name])]
    with_it, without_it = [], []
    for size in SMALL:
        for number in random.choice(len(pairs), _ASKED_OF_SMALL).tolist():
            query, text = pairs[number]
            others = random.permutation(np.flatnonzero(query.judged & ~query.relevant))[:size]
            shows = random.choice(np.flatnonzero(query.judged & query.relevant))
            own = judge.of(judge.vectors[others])
            without_it.append(Asked.of(own, query.words, text, own.vectors, None))
            both = judge.vectors[[*others.tolist(), shows]]
            with_it.append(Asked.of(own, query.words, text, both, None))
    return {("small", True): with_it, ("small", False): without_it}


def gain(asked: Questions) -> float:
    """Return what the rule reaches with its numbers as they are now."""
    reached = float(np.mean([mean_f1(asked[name, True]) for name in NAMES]))
    reached += 0.15 * mean_f1(asked["captions", True])
    for key, (weight, bound) in _BOUNDS.items():
        nothing = float(np.mean([one.count() == 0 for one in asked[key]]))
        wrong = nothing if key[1] else 1 - nothing
        reached -= weight * max(0.0, wrong - bound)
    return reached


def mean_f1(asked: Sequence[Asked]) -> float:
    """Return the mean over queries."""
    return float(np.mean([one.f1() for one in asked]))


def walk(asked: Questions, steps: int, seed: int) -> tuple[dict[str, float], float]:
    """Return the best numbers that were found, by name, and what they reach."""
    random = np.random.default_rng(seed)
    best = {name: float(getattr(cutoff, name)) for name in STEPS}
    reached = gain(asked)
    for step in range(steps):
        tried = dict(best)
        for name in random.choice(list(STEPS), random.integers(1, 4), replace=False).tolist():
            tried[name] += STEPS[name] * random.standard_normal()
        set_numbers(tried)
        now = gain(asked)
        if now > reached:
            best, reached = tried, now
        if step % 200 == 199:
            say(f"{step + 1} steps: {reached:.4f}")
    return best, reached


def set_numbers(numbers: dict[str, float]) -> None:
    """Let the rule use these numbers, in this process."""
    for name, value in numbers.items():
        setattr(cutoff, name, value)


if __name__ == "__main__":
    sys.exit(main())
