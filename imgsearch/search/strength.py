"""How strong a match is, 0 to 100, comparable from query to query and from model to model.

A cosine says little by itself: a model's cosines between any sentence and any photo scatter around
some mean. Sentences that describe no photo give that mean and deviation, measured on a sample of
the library's own pictures; for queries by picture, other pictures of the library do. Then

    z = (cosine - mean) / deviation
    strength = 100 / (1 + exp(-(z - 3.2) / 0.4))

In a library of 1,000 photos the best match of a sentence that describes none of them has a median z
of 3.2 (strength 48), the caption of a photo meets it at 3.8 (80), and the name of what a photo
shows at 5.9 (100). With the starter, on Flickr8k dev and imagenet-1000: `benchmarks/strength.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_MIDDLE, _WIDTH = 3.2, 0.4
_USUAL_DEVIATION = 0.12

# They say nothing that could be seen.
NULL_PROMPTS = (
    "the quarterly report was filed on time",
    "a proof about prime numbers",
    "he thought about the meaning of the word",
    "the price of oil rose again",
    "notes on the software update",
    "an abstract idea of justice",
    "the court postponed its decision",
    "terms and conditions apply",
    "a melody in a minor key",
    "the history of the empire",
    "an equation with two unknowns",
    "the meeting was moved to tuesday",
    "she forgot her password",
    "a theory of everything",
    "insurance for small businesses",
    "translate this sentence",
)


@dataclass(frozen=True, slots=True)
class StrengthScale:
    """Mean and deviation of the cosines of unrelated pairs."""

    mean: float
    deviation: float

    @classmethod
    def measured(
        cls, unrelated: npt.NDArray[np.float32], pictures: npt.NDArray[np.float32]
    ) -> StrengthScale:
        """Measure on unrelated queries [m, d] and a sample of pictures [n, d], unit rows."""
        cosines = unrelated @ pictures.T
        if not cosines.size:
            return cls(0.0, _USUAL_DEVIATION)
        # In a library of a few pictures the deviation says nothing yet.
        return cls(float(cosines.mean()), max(float(cosines.std()), _USUAL_DEVIATION / 3))

    def strength(self, cosine: float) -> int:
        """Return the match strength of a cosine, 0 to 100."""
        z = (cosine - self.mean) / self.deviation
        return round(50.0 * (1.0 + math.tanh((z - _MIDDLE) / _WIDTH / 2)))
