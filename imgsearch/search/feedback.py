"""A query moved towards the results that were marked good, and away from those marked bad.

Rocchio (1971), in the space of the model:

    unit(query + 2 * mean(good) - 0.5 * mean(bad))

Pictures lie nearer to each other than to any words, so the good ones weigh more than the query.
Constants: `benchmarks/feedback.py`, docs/architecture.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import unit_rows

_GOOD, _BAD = 2.0, 0.5


def with_feedback(
    query: npt.NDArray[np.float32],
    good: npt.NDArray[np.float32],
    bad: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return the unit vector float32 [d] to search by after marks.

    `query` is a unit vector [d]; `good` [g, d] and `bad` [b, d] are those of marked pictures, and
    either may be empty.
    """
    moved = query.astype(np.float32)
    if len(good):
        moved = moved + _GOOD * good.mean(axis=0)
    if len(bad):
        moved = moved - _BAD * bad.mean(axis=0)
    unit: npt.NDArray[np.float32] = unit_rows(np.asarray(moved, dtype=np.float32)[None])[0]
    return unit
