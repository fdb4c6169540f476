"""Hits that show the same: bursts, and versions of one photo, so that they do not fill the page.

Going down the list of matches, a hit joins the first group whose *representative*, its best-ranked
hit, shows the same; otherwise it begins a group. Two hits show the same when

- they are of one moment: taken by the same camera within `Likeness.seconds` of each other, and
  alike (cosine at least `Likeness.moment`), or
- they are nearly the same picture, whenever taken (cosine at least `Likeness.anytime`).

Members are compared with representatives only, so that a chain of small steps cannot pull
different scenes into one group.

**Paging.** Where a hit goes depends on the hits above it alone. The groups of the first n hits are
therefore those of the first m > n without the members that come later: none changes its place or
its representative. Page k + 1 continues page k, as long as both are cut from groups of a list that
begins with the best match: group first, and cut the groups, not the hits. Members that follow far
below do change how many a group has; for counts that do not change from page to page, group the
same number of best matches for each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from imgsearch.search.results import SearchHit

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# The mean cosine between unrelated pictures under the starter, over the photos that the thresholds
# are checked with (benchmarks/grouping.py: 0.11 on Flickr8k, 0.15 on imagenet-1000).
_STARTER_MEAN = 0.12
# So many hits are compared with the rest at a time.
_BLOCK = 256
# Numbers that a vector is reduced to for a first, cheap comparison.
_REDUCED = 32
# float32 sums of so few products are wrong by far less.
_ROUNDING = 1e-4
# Pairs whose vectors are gathered at a time: 8 MB at d = 512.
_PART = 4096
# As the indexer writes times: ISO 8601 to the second, without a zone.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
# Seconds between two cameras' times on the common axis: more than there are up to the year 9999.
_APART = 10**12


@dataclass(frozen=True, slots=True)
class Likeness:
    """From which cosine on two pictures show the same; the defaults are measured for the starter.

    `benchmarks/grouping.py` over Flickr8k: of 24 million pairs of different photos 7 reach
    `anytime`; lightened and darkened versions reach it in 9 of 10 cases, those that lack a
    twentieth or tenth of each edge in 3 to 4 of 10. `moment` is reached by 97 to 100 % of all
    versions (shifts, crops to four fifths, compressions), and by one in 1,900 pairs of different
    photos, of which few are of one moment.
    """

    moment: float = 0.75
    anytime: float = 0.97
    seconds: int = 30

    @classmethod
    def measured(cls, pictures: Floats) -> Likeness:
        """Return the thresholds for a model by a sample of its library, unit rows float32 [n, d].

        Models differ in how alike unrelated pictures are to them. With m the mean cosine between
        the sample's pictures and m0 that of the starter, the distance 1 - t of a threshold becomes
        (1 - t) * (1 - m) / (1 - m0). A guess by proportion: no other model was measured. With less
        than two pictures, the defaults.
        """
        count = len(pictures)
        if count < 2:
            return cls()
        # A vector that was damaged on the disk may hold what is no number: then the defaults, too.
        with np.errstate(invalid="ignore", over="ignore"):
            total = pictures.sum(axis=0, dtype=np.float64)
            mean = float(total @ total - count) / (count * (count - 1))
        scale = min(1.0, (1 - mean) / (1 - _STARTER_MEAN)) if np.isfinite(mean) else 1.0
        return cls(1 - (1 - cls().moment) * scale, 1 - (1 - cls().anytime) * scale)


@dataclass(frozen=True, slots=True)
class Group:
    """Hits that show the same, best first."""

    hits: tuple[SearchHit, ...]

    @property
    def representative(self) -> SearchHit:
        """The hit that stands for the group: the best-ranked one."""
        return self.hits[0]


def group_hits(
    hits: Sequence[SearchHit], vectors: Floats, *, likeness: Likeness | None = None
) -> list[Group]:
    """Group hits, best first, with their vectors: unit rows float32 [n, d] in the same order.

    Groups come in the order of their representatives. Raises ValueError if the numbers of hits and
    vectors differ.
    """
    if len(hits) != len(vectors):
        raise ValueError(f"{len(hits)} hits have {len(vectors)} vectors")
    heads = _heads(hits, vectors, likeness or Likeness()).tolist()
    members: dict[int, list[SearchHit]] = {}
    for hit, head in zip(hits, heads, strict=True):
        members.setdefault(head, []).append(hit)
    return [Group(tuple(group)) for group in members.values()]


def _heads(hits: Sequence[SearchHit], vectors: Floats, likeness: Likeness) -> Integers:
    """Return for every hit the place of its representative, which may be itself: int64 [n]."""
    count = len(hits)
    moments = _Moments(hits, likeness.seconds)
    reduced = _reduced(vectors)
    heads = np.arange(count)
    free = np.ones(count, dtype=bool)
    # Fresh memory for every block would cost as much as what is computed in it.
    space = np.empty(min(_BLOCK, count) * count, dtype=np.float32)
    for start in range(0, count, _BLOCK):
        # The first of `later` are the rows themselves.
        later = start + np.flatnonzero(free[start:])
        rows = later[: np.count_nonzero(free[start : start + _BLOCK])]
        if not len(rows):
            continue
        bounds = space[: len(rows) * len(later)].reshape(len(rows), len(later))
        np.matmul(reduced[rows], reduced[later].T, out=bounds)
        bounds[:, : len(rows)][np.tri(len(rows), dtype=bool)] = -1
        above, below = _candidates(bounds, rows, later, moments, likeness)
        if not len(above):
            continue
        above, below = _confirmed(vectors, above, below, moments, likeness)
        # Row by row: what joined a group above is no representative, and joins none again.
        edges = np.flatnonzero(np.diff(above, prepend=-1, append=-1)).tolist()
        for first, last in pairwise(edges):
            head = above[first]
            if free[head]:
                joining = below[first:last]
                joining = joining[free[joining]]
                heads[joining] = head
                free[joining] = False
    return heads


def _candidates(
    bounds: Floats, rows: Integers, later: Integers, moments: _Moments, likeness: Likeness
) -> tuple[Integers, Integers]:
    """Return pairs of places that may show the same, by upper bounds [rows, later] of cosines.

    Ordered by both places; each pair once.
    """
    # Few rows hold any, and the greatest of a row is found faster than all that are great.
    hot = np.flatnonzero(bounds.max(axis=1) >= likeness.anytime - _ROUNDING)
    near_row, near_column = np.nonzero(bounds[hot] >= likeness.anytime - _ROUNDING)
    row, column = moments.pairs(rows, later)
    possible = bounds[row, column] >= likeness.moment - _ROUNDING
    places = np.concatenate(
        [hot[near_row] * len(later) + near_column, row[possible] * len(later) + column[possible]]
    )
    # Not np.unique, which imports numpy.ma: that would be a twentieth of a cold query.
    places.sort()
    places = places[np.diff(places, prepend=-1) > 0]
    return rows[places // len(later)], later[places % len(later)]


def _confirmed(
    vectors: Floats, above: Integers, below: Integers, moments: _Moments, likeness: Likeness
) -> tuple[Integers, Integers]:
    """Return those of the pairs that do show the same."""
    cosines = np.concatenate(
        [
            np.einsum("ij,ij->i", vectors[above[i : i + _PART]], vectors[below[i : i + _PART]])
            for i in range(0, max(1, len(above)), _PART)
        ]
    )
    same = cosines >= likeness.anytime
    same |= (cosines >= likeness.moment) & moments.same(above, below)
    return above[same], below[same]


def _reduced(vectors: Floats) -> Floats:
    """Return rows whose products are never below those of the vectors, and cheaper: float32 [n, r].

    With p the projection of v on a few directions and q what it leaves, v · w = p · p' + q · q' is
    at most p · p' + |q||q'|: the product of the rows (p, |q|). The directions are those of some of
    the vectors themselves, which are more alike than chance.
    """
    count, dimension = vectors.shape
    size = _REDUCED - 1
    if count <= 2 * size or dimension <= size:
        return vectors
    spread = np.linspace(0, count - 1, size).astype(np.int64)
    directions = np.linalg.qr(vectors[spread].T)[0]
    projected = vectors @ directions
    left = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", projected, projected)
    return np.column_stack([projected, np.sqrt(np.maximum(left, 0))])


class _Moments:
    """Which hits were taken by one camera at about one time.

    All times lie on one axis, those of different cameras far apart. In the order of this axis, the
    hits of about the same time as one are neighbours: from `first` to before `last`.
    """

    def __init__(self, hits: Sequence[SearchHit], seconds: int) -> None:
        times = _times(hits)
        self._order = np.argsort(times, kind="stable")
        ordered = times[self._order]
        self._place = np.empty(len(hits), dtype=np.int64)
        self._place[self._order] = np.arange(len(hits))
        self._first = np.searchsorted(ordered, times - seconds)
        self._last = np.searchsorted(ordered, times + seconds, side="right")

    def pairs(self, rows: Integers, later: Integers) -> tuple[Integers, Integers]:
        """Return the pairs of one time, as indices into `rows` and `later`.

        Both are places of hits in rising order, and `later` begins with `rows`; the second of a
        pair comes after the first.
        """
        index = np.full(len(self._order), -1)
        index[later] = np.arange(len(later))
        lengths = self._last[rows] - self._first[rows]
        row = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        column = index[self._order[self._first[rows][row] + within]]
        after = column > row
        return row[after], column[after]

    def same(self, some: Integers, others: Integers) -> npt.NDArray[np.bool_]:
        """Tell of each pair whether it is of one time: bool [n]."""
        place = self._place[others]
        return (place >= self._first[some]) & (place < self._last[some])


def _times(hits: Sequence[SearchHit]) -> Integers:
    """Return places on the axis of all cameras, in seconds: int64 [n].

    Hits without a time are far from all others.
    """
    times = -_APART * np.arange(1, len(hits) + 1)
    told = [i for i, hit in enumerate(hits) if _is_time(hit.facts.taken_at)]
    cameras: dict[str | None, int] = {}
    numbers = [cameras.setdefault(hits[i].facts.camera, len(cameras)) for i in told]
    moments = np.array([hits[i].facts.taken_at for i in told], dtype="datetime64[s]")
    times[told] = _APART * np.array(numbers, dtype=np.int64) + moments.astype(np.int64)
    return times


def _is_time(text: str | None) -> bool:
    if text is None or not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
