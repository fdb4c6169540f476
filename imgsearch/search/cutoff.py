"""Where the results stop, and whether anything matches well at all.

In deviations z of the library's unrelated pairs (see `strength`), results end with the last match,
the k-th best, that has

    z >= max(0.99 * z_best / (1 + 0.16 * ln(min(k, 50))) + 0.3 if words > 1, 2.8)

What a query can reach differs from query to query (the name of a thing 6, a sentence 5), so its own
best match is the measure. The second must come near to it (0.89 of it), the tenth less so (0.72):
many matches a little below the best are a kind of things, one or two are its relatives. More words
name fewer things. 2.8 is a strength of 27.

The best match alone would always find something. Whether it is a match is told by how much more the
query says of a picture than ordinary words do:

    distinctness = max over the ten best matches of (cosine - mean) / deviation

where mean and deviation are those of the picture's cosines with `vocabulary.COMMON_WORDS`. This
is about the same number for names and for sentences, which z is not. Nothing matches well if

    distinctness < max(4.9 - 0.17 * words, 3.2) - m
    and z_best < 4.6 - m and the tenth best z < 3.4 - m,    m = 0.29 * ln(2000 / candidates)

with at most 2,000 candidates. The more is said, the less exactly it is met; ten good matches are
not all chance; and the fewer photos, the less chance finds among them: m is 1.5 for twelve photos.
Constants: `benchmarks/relevance.py`, docs/architecture.md.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from imgsearch.search.strength import StrengthScale

_SHARE_OF_BEST, _DECLINE, _DECLINES_TO = 0.99, 0.16, 50
_SPECIFIC = 0.3
_LEAST = 2.8
_DISTINCT, _LESS_A_WORD, _LEAST_DISTINCT = 4.9, 0.17, 3.2
_GOOD_IN_ANY_CASE = 4.6
_MANY_ARE_GOOD = 3.4
_MODESTY, _CANDIDATES = 0.29, 2_000
# Best matches that are looked at for distinctness, and that are many.
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
) -> int:
    """Return how many of the scores [k], best first, are relevant matches; 0 if nothing matches.

    `scores` are those of all candidates, or of as many as the pool holds: their number counts.
    `distinct` is what `distinctness` tells of the query, `words` the number of its words.
    """
    if not len(scores):
        return 0
    z = (scores - scale.mean) / scale.deviation
    if _nothing(z, distinct, words):
        return 0
    place = np.minimum(np.arange(1, len(z) + 1), _DECLINES_TO)
    needed = _SHARE_OF_BEST * z[0] / (1 + _DECLINE * np.log(place)) + _SPECIFIC * (words > 1)
    return int(np.flatnonzero(z >= np.minimum(np.maximum(needed, _LEAST), z[0]))[-1]) + 1


def _nothing(z: npt.NDArray[np.float32], distinct: float, words: int) -> bool:
    modesty = _MODESTY * math.log(_CANDIDATES / min(len(z), _CANDIDATES))
    if z[0] >= _GOOD_IN_ANY_CASE - modesty:
        return False
    if len(z) >= WEIGHED and z[WEIGHED - 1] >= _MANY_ARE_GOOD - modesty:
        return False
    return distinct < max(_DISTINCT - _LESS_A_WORD * words, _LEAST_DISTINCT) - modesty
