"""Frames of one moment as one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgsearch.search.results import SearchHit


@dataclass(frozen=True, slots=True)
class Group:
    """The best-ranked hit of a moment, and the others of it in their order."""

    best: SearchHit
    others: tuple[SearchHit, ...] = ()


def group_hits(hits: Sequence[SearchHit], vectors: npt.NDArray[np.float32]) -> list[Group]:
    """Return the groups of `hits`, whose unit vectors are `vectors` [n, d]."""
    return [Group(hit) for hit in hits]
