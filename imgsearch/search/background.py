"""What a library gives for queries that mean nothing: the ground that matches stand out from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import unit_rows
from imgsearch.search.feedback import with_feedback
from imgsearch.search.strength import NULL_PROMPTS, StrengthScale
from imgsearch.search.vocabulary import COMMON_WORDS

# Pictures that the strength of matches is measured against; more change it by less than a point.
SAMPLE = 2_000
# What is encoded once for a model and kept; model folders may bring its vectors with them.
FIXED_TEXTS = (*NULL_PROMPTS, *COMMON_WORDS)


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Unit vectors of a sample of the library's pictures [s, d], of null prompts [p, d], and of a
    vocabulary of common words [v, d].
    """

    sample: npt.NDArray[np.float32]
    prompts: npt.NDArray[np.float32]
    vocabulary: npt.NDArray[np.float32]

    @classmethod
    def of(
        cls, sample: npt.NDArray[np.float32], fixed_texts: npt.NDArray[np.float32]
    ) -> Background:
        """Return the background from the vectors of `FIXED_TEXTS`."""
        return cls(sample, fixed_texts[: len(NULL_PROMPTS)], fixed_texts[len(NULL_PROMPTS) :])

    def scale(
        self, is_words: Sequence[bool], weights: npt.NDArray[np.float32], good: int, bad: int
    ) -> StrengthScale:
        """Return the scale for queries of parts of these kinds and weights (all above 0), with so
        many marked pictures.

        Unrelated queries of that kind are made of null prompts for words, and of pictures of the
        sample for pictures; what is left of the sample they are compared with.
        """
        needed = int(len(is_words) - sum(is_words) > 0 or good + bad > 0)
        count = min(len(self.prompts), len(self.sample) // 2) if needed else len(self.prompts)
        stand_ins, pictures = self.sample[: count * needed], self.sample[count * needed :]
        unrelated = np.zeros((count, self.prompts.shape[1]), dtype=np.float32)
        for turn, (words, weight) in enumerate(zip(is_words, weights, strict=True)):
            rows = self.prompts[:count] if words else stand_ins
            # Parts of one query differ from each other.
            unrelated += weight * np.roll(rows, turn, axis=0)
        unrelated = unit_rows(unrelated)
        if good + bad and count:
            rng = np.random.default_rng(0)
            marked = [stand_ins[rng.integers(0, count, good + bad)] for _ in range(len(unrelated))]
            unrelated = np.stack(
                [
                    with_feedback(one, rows[:good], rows[good:])
                    for one, rows in zip(unrelated, marked, strict=True)
                ]
            )
        return StrengthScale.measured(unrelated, pictures)
