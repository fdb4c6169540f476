"""How a query of several weighted parts scores a picture.

Parts are unit vectors, of words or of pictures. Those with a weight above 0 are wanted: a picture's
score is its cosine with the weighted sum of these. Those with a weight below 0 are not wanted: they
cost a picture as much as it shows more of them than chance does, and a picture that does not show
them nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import unit_rows
from imgsearch.search.strength import StrengthScale

# A part is taken as shown from this many deviations above the mean of unrelated pairs on.
_SHOWN = 2.0
# What each further deviation costs, in deviations.
_COST = 2.0


def first_stage(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the unit vector, float32 [d], that finds the candidates: the weighted sum of the
    wanted among the parts `vectors` [m, d]; zero where none is wanted.
    """
    return unit_rows(_wanted_sum(vectors, weights)[None])[0]


def wanted_length(vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> float:
    """Return the Euclidean length of the weighted sum of the wanted parts."""
    return float(np.linalg.norm(_wanted_sum(vectors, weights)))


def _wanted_sum(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    return np.asarray(np.maximum(weights, 0) @ vectors, dtype=np.float32)


def combined_scores(
    cosines: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    scales: Sequence[StrengthScale],
    length: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Return the scores float32 [n] of pictures by their cosines [n, m] with the parts.

    `scales` holds a scale for each part. With `length` as `wanted_length` tells it the score of a
    picture that shows nothing unwanted is its cosine with `first_stage`; the order does not depend
    on it where nothing is unwanted.
    """
    scores = cosines @ np.maximum(weights, 0) / max(length, 1e-12)
    for column in np.flatnonzero(weights < 0):
        scale = scales[column]
        z = (cosines[:, column] - scale.mean) / scale.deviation
        scores += weights[column] * _COST * scale.deviation * np.maximum(z - _SHOWN, 0)
    return np.asarray(scores, dtype=np.float32)
