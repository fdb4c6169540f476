"""How a query of several weighted parts scores a picture.

Parts are unit vectors, of words or of pictures. Those with a weight above 0 are wanted: a picture's
score is its cosine with the weighted sum of these. A part with a weight w below 0 is not wanted.
With z = (cosine - mean) / deviation on the scale of that part,

    usual = median z of those of the 10 best candidates for the wanted parts that match
            them at least 0.7 times as well as the best does, but at most 3;
            three quarters of that median where it is below 0
    cost = |w| * 8 * deviation * max(0, z - usual - 0.15)

so a picture pays for what it shows of the part beyond what pictures of the wanted kind have of it
(every dog looks a little like a cat), and one that shows no more keeps its score. Subtracting
vectors instead moves every picture. Constants: `benchmarks/negatives.py`, docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import unit_rows
from imgsearch.search.strength import StrengthScale

_TYPICAL = 10
# Of the best score: in a small library the ten best are not all of the wanted kind.
_OF_THE_KIND = 0.7
# A kind of which every picture shows more of the part than this does show it.
_MOST_USUAL = 3.0
# Pictures of another world than the part's (monkeys, and trucks) are far below 0: one that shows
# the part beside them need not be above 0 either.
_BELOW = 0.75
_TOLERATED = 0.15
_COST = 8.0


def first_stage(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the unit vector, float32 [d], that finds the candidates: the weighted sum of the
    wanted among the parts `vectors` [m, d]; zero where none is wanted.
    """
    unit: npt.NDArray[np.float32] = unit_rows(_wanted_sum(vectors, weights)[None])[0]
    return unit


def wanted_length(vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> float:
    """Return the Euclidean length of the weighted sum of the wanted parts."""
    return float(np.linalg.norm(_wanted_sum(vectors, weights)))


def combined_scores(
    cosines: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    scales: Sequence[StrengthScale],
    length: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Return the scores float32 [n] of candidates by their cosines [n, m] with the parts.

    `scales` holds the scale of unrelated pairs for each part. `length` is `wanted_length`: with it
    the score of a picture that shows nothing unwanted is its cosine with `first_stage`. Costs
    depend on which candidates there are, so all are to be scored in one call.
    """
    wanted = cosines @ np.maximum(weights, 0) / max(length, 1e-12)
    typical = np.argsort(-wanted, kind="stable")[:_TYPICAL]
    typical = typical[wanted[typical] >= _OF_THE_KIND * wanted[typical[:1]]]
    scores = wanted.astype(np.float32)
    for column in np.flatnonzero(weights < 0).tolist():
        scale = scales[column]
        z = (cosines[:, column] - scale.mean) / scale.deviation
        usual = _usual(z[typical])
        scores += weights[column] * _COST * scale.deviation * np.maximum(z - usual - _TOLERATED, 0)
    return np.asarray(scores, dtype=np.float32)


def _usual(z: npt.NDArray[np.float32]) -> float:
    """What pictures of the wanted kind, with these z [k] on a part, have of it anyway."""
    median = float(np.median(z)) if len(z) else 0.0
    return min(median, _MOST_USUAL) if median > 0 else _BELOW * median


def _wanted_sum(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    return np.asarray(np.maximum(weights, 0) @ vectors, dtype=np.float32)
