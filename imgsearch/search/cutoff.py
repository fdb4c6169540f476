"""Where the results stop, and whether anything matches well at all.

In deviations z of the library's unrelated pairs (see `strength`), a match is relevant if

    z >= 0.8 * z_best - 0.25

What a query can reach differs from query to query (the name of a thing 7, a sentence 5), so its own
best match is the measure. That alone would always find something. Whether the best match is one is
told by how much more the query says of a picture than ordinary words do:

    distinctness = max over the ten best matches of (cosine - mean) / deviation

where mean and deviation are those of the picture's cosines with `vocabulary.COMMON_WORDS`. This
is about the same number for names and for sentences, which z is not. Nothing matches well if
distinctness is below 4.5 (3.9 for five words and more: a long description is seldom met exactly)
and z_best below 6.25. Constants: `benchmarks/relevance.py`, docs/architecture.md.

They were measured among 4,000 pictures. The best of n pictures that have nothing to do with a query
lies about sqrt(2 ln n) deviations above their mean (the expected maximum of n normal variates), so
among n pictures both bounds move by sqrt(2 ln n) - sqrt(2 ln 4000): down by 1.8 for a dozen.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from imgsearch.search.strength import StrengthScale

_SHARE_OF_BEST, _BELOW = 0.8, 0.25
_DISTINCT, _DISTINCT_LONG, _LONG = 4.5, 3.9, 5
_GOOD_IN_ANY_CASE = 6.25
# Pictures among which these were measured.
_MEASURED_AMONG = 4_000
# Best matches that are looked at for distinctness.
WEIGHED = 10


def distinctness(
    query: npt.NDArray[np.float32],
    best: npt.NDArray[np.float32],
    vocabulary: npt.NDArray[np.float32],
) -> float:
    """Return how far the query stands out from ordinary words on its best matches, in deviations.

    `query` [d], `best` [k, d] (best first; ten are looked at) and `vocabulary` [v, d], the vectors
    of `COMMON_WORDS`, are unit vectors. 0 where there are no matches or no words.
    """
    few = best[:WEIGHED]
    if not len(few) or not len(vocabulary):
        return 0.0
    ordinary = few @ vocabulary.T
    deviations = np.maximum(ordinary.std(axis=1), 1e-6)
    return float(((few @ query - ordinary.mean(axis=1)) / deviations).max())


def relevant_count(
    scores: npt.NDArray[np.float32],
    scale: StrengthScale,
    distinct: float,
    words: int,
    pictures: int = _MEASURED_AMONG,
) -> int:
    """Return how many of the scores [k], best first, are relevant matches; 0 if nothing matches.

    `distinct` is what `distinctness` tells of the query, `words` the number of its words;
    `pictures` is how many were searched.
    """
    if not len(scores):
        return 0
    z = (scores - scale.mean) / scale.deviation
    needed = _DISTINCT if words < _LONG else _DISTINCT_LONG
    by_chance = _expected_maximum(pictures) - _expected_maximum(_MEASURED_AMONG)
    if distinct < needed + by_chance and z[0] < _GOOD_IN_ANY_CASE + by_chance:
        return 0
    return int((z >= min(_SHARE_OF_BEST * z[0] - _BELOW, z[0])).sum())


def _expected_maximum(count: int) -> float:
    """Return about where the largest of `count` standard normal variates lies."""
    return math.sqrt(2 * math.log(max(count, 2)))
