"""Vectors that lie to each other as those of some photos do, as many as are wanted.

A photo is one of a subject (a holiday's beach), and a subject is one of a topic (beaches). With
independent normal z, a vector is

    x = m + A (sqrt(T) z_topic + sqrt(S) z_subject + sqrt(1 - T - S) z_own),   then x / |x|

where m is the mean of the photos' vectors and A A' their covariance, so that the directions in
which photos differ, and how much, are theirs. The shares T and S and the number of topics were
chosen so that the cosines with the nearest and the tenth nearest neighbour are about those among
2,000 photos of ImageNet and Flickr8k (docs/performance.md has the comparison).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_TOPIC_SHARE, _SUBJECT_SHARE = 0.35, 0.2
_TOPICS = 150
_PHOTOS_OF_A_SUBJECT = 5
# How much more frequent the first topics, and a block's first subjects, are: p ~ rank^-0.5.
_SKEW = 0.5
# A subject's photos are all in one block, as photos come into a library.
_BLOCK = 100_000
_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class Closeness:
    """Cosines with other vectors: median with the nearest and the tenth nearest, mean of all."""

    nearest: float
    tenth: float
    mean: float


class LikePhotos:
    """A source of vectors that resemble those of a sample."""

    def __init__(self, sample: Floats, seed: int) -> None:
        """`sample` are unit vectors float32 [n, d], n of 2 or more."""
        self._seed = seed
        self._mean = sample.mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov((sample - self._mean).T))
        self._spread = (directions * np.sqrt(np.maximum(variances, 0))).T.astype(np.float32)
        dimension = sample.shape[1]
        random = np.random.default_rng([seed, 0])
        self._topics = random.standard_normal((_TOPICS, dimension), dtype=np.float32)

    def pages(self, start: int, end: int) -> Iterator[npt.NDArray[np.float16]]:
        """Yield the unit vectors of the numbers `start` to `end`: float16 [m, d] each.

        A number's vector is always the same.
        """
        for block in range(start // _BLOCK, -(-end // _BLOCK)):
            first = block * _BLOCK
            for place, page in self._block(block, _BLOCK, min(_BLOCK, end - first)):
                low = max(start - first - place, 0)
                high = min(end - first - place, len(page))
                if low < high:
                    yield page[low:high]

    def few(self, count: int) -> Floats:
        """Return a library of so few: float32 [n, d]. These are not among the pages."""
        pages = [page for _, page in self._block(-1, count, count)]
        return np.concatenate(pages).astype(np.float32)

    def _block(
        self, block: int, size: int, wanted: int
    ) -> Iterator[tuple[int, npt.NDArray[np.float16]]]:
        """Yield places and pages of a block of `size` vectors, until so many as are wanted."""
        random = np.random.default_rng([self._seed, 1, block + 1])
        dimension = len(self._mean)
        subjects = size // _PHOTOS_OF_A_SUBJECT
        topic_of = random.choice(_TOPICS, subjects, p=_frequencies(_TOPICS))
        centres = np.sqrt(_TOPIC_SHARE) * self._topics[topic_of]
        centres += np.sqrt(_SUBJECT_SHARE) * random.standard_normal(
            (subjects, dimension), dtype=np.float32
        )
        subject_of = random.choice(subjects, size, p=_frequencies(subjects))
        own = np.float32(np.sqrt(1 - _TOPIC_SHARE - _SUBJECT_SHARE))
        for place in range(0, wanted, _PAGE):
            of = subject_of[place : place + _PAGE]
            mixed = own * random.standard_normal((len(of), dimension), dtype=np.float32)
            mixed += centres[of]
            rows = self._mean + mixed @ self._spread
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            yield place, rows.astype(np.float16)


def closeness(rows: Floats) -> Closeness:
    """Return how near the unit vectors float32 [n, d] are to each other; n above 10."""
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    cosines.sort(axis=1)
    return Closeness(
        float(np.median(cosines[:, -1])),
        float(np.median(cosines[:, -10])),
        float(cosines[:, 1:].mean()),
    )


def _frequencies(count: int) -> npt.NDArray[np.float64]:
    weights = np.arange(1, count + 1) ** -_SKEW
    return np.asarray(weights / weights.sum())
