"""A query moved towards the results that were marked good, and away from those marked bad."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import unit_rows

_GOOD, _BAD = 0.75, 0.25


def with_feedback(
    query: npt.NDArray[np.float32],
    good: npt.NDArray[np.float32],
    bad: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return the unit vector float32 [d] of a unit query [d] after marks good [g, d], bad [b, d]."""
    moved = query.astype(np.float32)
    if len(good):
        moved = moved + _GOOD * good.mean(axis=0)
    if len(bad):
        moved = moved - _BAD * bad.mean(axis=0)
    return unit_rows(np.asarray(moved, dtype=np.float32)[None])[0]
