"""From an encoded query to the order of pictures: candidates by FAISS, then weighed one by one.

The candidates are the pictures nearest to the wanted parts. The first `POOL` of them are scored
anew where a query has unwanted parts, and they are what the cut-off, other orders and grouping look
at. The pool does not depend on the page that is asked for, so pages continue each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgsearch.data.vector_cache import plausible
from imgsearch.data.vector_index import VectorIndex
from imgsearch.search.background import Background
from imgsearch.search.combine import combined_scores, first_stage, wanted_length
from imgsearch.search.feedback import with_feedback
from imgsearch.search.strength import StrengthScale

POOL = 2_000


class IndexImplausible(Exception):
    """The index gave what cannot be true of the catalog. Never leaves this package."""


Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuery:
    """The parts of a query as unit vectors [m, d] with their weights [m] (below 0: not wanted),
    which of them are words, and the vectors of pictures marked good [g, d] and bad [b, d].
    """

    vectors: Floats
    weights: Floats
    is_words: tuple[bool, ...]
    good: Floats
    bad: Floats

    @property
    def target(self) -> Floats:
        """The unit vector [d] that wanted pictures are near to."""
        target = first_stage(self.vectors, self.weights)
        if len(self.good) or len(self.bad):
            target = with_feedback(target, self.good, self.bad)
        return target

    @property
    def has_unwanted(self) -> bool:
        """Whether there is a part that is not wanted."""
        return bool((self.weights < 0).any())

    def scale(self, background: Background) -> StrengthScale:
        """Return the scale of the cosines with `target`."""
        wanted = self.weights > 0
        words = [words for words, want in zip(self.is_words, wanted, strict=True) if want]
        return background.scale(words, self.weights[wanted], len(self.good), len(self.bad))

    def part_scales(self, background: Background) -> list[StrengthScale]:
        """Return the scale of every part's own cosines."""
        one = np.ones(1, dtype=np.float32)
        return [background.scale([words], one, 0, 0) for words in self.is_words]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Pictures in the order of their match: ids int64 [n], scores float32 [n].

    The first `pooled` of them are the pool.
    """

    ids: Ids
    scores: Floats
    pooled: int

    def first(self, count: int) -> Ranking:
        """Return the `count` best."""
        return Ranking(self.ids[:count], self.scores[:count], min(count, self.pooled))


def rank(
    index: VectorIndex,
    query: EncodedQuery,
    background: Background,
    candidates: tuple[Ids, Floats],
) -> Ranking:
    """Return candidates (ids, cosines), best first, in the order that regards what is not wanted.

    Raises IndexImplausible where these are not what cosines can be.
    """
    ids, scores = candidates
    if not plausible(ids[:0], scores, set()):
        raise IndexImplausible
    pooled = min(POOL, len(ids))
    if not query.has_unwanted:
        return Ranking(ids, scores, pooled)
    pool, rest = ids[:pooled], ids[pooled:]
    cosines = index.vectors(pool) @ query.vectors.T
    length = wanted_length(query.vectors, query.weights)
    judged = combined_scores(cosines, query.weights, query.part_scales(background), length)
    if len(query.good) or len(query.bad):
        # What was learned from marks lies in the first stage; the penalty comes on top of it.
        wanted = np.maximum(query.weights, 0)
        judged = judged - cosines @ wanted / max(length, 1e-12) + scores[:pooled]
    order = np.lexsort((pool, -judged))
    return Ranking(
        np.concatenate([pool[order], rest]),
        np.concatenate([judged[order], scores[pooled:]]).astype(np.float32),
        pooled,
    )


def part_cosines(index: VectorIndex, query: EncodedQuery, ids: Sequence[int]) -> Floats:
    """Return the cosines of pictures with every part of the query: float32 [n, m]."""
    rows = index.vectors(np.asarray(ids, dtype=np.int64))
    return np.asarray(rows @ query.vectors.T, dtype=np.float32)
