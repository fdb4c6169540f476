"""Where the results stop: at the matches that this library gives for sentences about nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgsearch.search.strength import StrengthScale

_RELEVANT = 3.5


def relevant_count(
    scores: npt.NDArray[np.float32],
    scale: StrengthScale,
    sample_scores: npt.NDArray[np.float32],
    library_size: int,
) -> int:
    """Return how many of the scores [k], best first, are of relevant pictures; 0 if nothing matches.

    `sample_scores` [s] are the query's scores of pictures spread over the library; `library_size`
    is the number of pictures that were searched.
    """
    z = (scores - scale.mean) / scale.deviation
    return int((z >= _RELEVANT).sum())
