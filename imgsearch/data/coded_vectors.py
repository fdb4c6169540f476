"""Vectors as codes of one bit a direction: which may be near to a query, in a tenth of the time.

The pictures of a library differ in fewer directions than their vectors have dimensions. So vectors
are turned to the directions in which they differ most (principal components), those that hold
hardly anything are dropped, and the others are mixed evenly. Then comes product quantization (Jegou
et al. 2011) of four directions each to four bits, whose tables stay in the registers of the
processor (Andre et al. 2015; FAISS calls it fast scan). All codes are looked at: inverted lists
would be read in part only, and miss what a sentence is near to, because sentences lie outside the
clusters that pictures make (docs/performance.md has the measurement).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgsearch.data.vector_block import Ids

if TYPE_CHECKING:
    import faiss

# What codes are, for the stamp of the cache: those of another kind are made anew.
KIND = "turned"
# Directions that four bits stand for.
_WIDTH = 4
# The part of the variance that is kept. FAISS wants an even number of groups of directions.
_VARIANCE = 0.995
_MULTIPLE = 2 * _WIDTH
# Codes of one file. What is added goes into the last, which is written anew: 17 MB.
SHARD = 1 << 18
# k-means learns 16 centroids for each group of dimensions; more vectors do not improve them.
SAMPLE = 20_000


class CodedVectors:
    """The codes of up to SHARD vectors, by their position among these."""

    def __init__(self, index: faiss.IndexPreTransform) -> None:
        self._index = index

    @classmethod
    def trained(cls, sample: npt.NDArray[np.float32]) -> CodedVectors:
        """Return an empty shard whose codebook suits vectors like these: float32 [n, d].

        d must be a multiple of 4.
        """
        import faiss

        kept = _directions(sample)
        turn = faiss.PCAMatrix(sample.shape[1], kept, 0.0, True)
        turn.train(sample)
        # Else it would subtract the mean, and inner products would be of what is left.
        turn.have_bias = False
        codes = faiss.IndexPQFastScan(kept, kept // _WIDTH, _WIDTH, faiss.METRIC_INNER_PRODUCT)
        index = faiss.IndexPreTransform(turn, codes)
        index.train(sample)
        return cls(index)

    @classmethod
    def of_bytes(cls, content: bytes) -> CodedVectors:
        """Return what `to_bytes` gave, which is believed. Raises ValueError or RuntimeError."""
        import faiss

        index = faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))
        if not isinstance(index, faiss.IndexPreTransform):
            raise ValueError("codes of another kind")  # noqa: TRY004 - what a file holds
        return cls(index)

    def to_bytes(self) -> bytes:
        """Return the shard as `of_bytes` takes it."""
        import faiss

        return bytes(faiss.serialize_index(self._index).tobytes())

    def emptied(self) -> CodedVectors:
        """Return an empty shard with the same codebook."""
        import faiss

        index = faiss.clone_index(self._index)
        assert isinstance(index, faiss.IndexPreTransform)
        index.reset()
        return CodedVectors(index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def is_full(self) -> bool:
        """Whether no more vectors belong into this shard."""
        return len(self) == SHARD

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self._index.d)

    def add(self, vectors: npt.NDArray[np.float32]) -> None:
        """Add vectors [n, d] behind the others."""
        self._index.add(vectors)

    def nearest(
        self, query: npt.NDArray[np.float32], count: int
    ) -> tuple[npt.NDArray[np.float32], Ids]:
        """Return scores, roughly, and positions of `count` vectors (or all): [k] each."""
        scores, positions = self._index.search(query[None, :], min(count, len(self)))
        return scores[0], positions[0]


def _directions(sample: npt.NDArray[np.float32]) -> int:
    """Return how many directions hold nearly all of the variance of vectors float32 [n, d]."""
    variances = np.linalg.eigvalsh(np.cov(sample.T))[::-1].cumsum()
    needed = int(np.searchsorted(variances, _VARIANCE * variances[-1])) + 1
    return min(len(variances), -(-needed // _MULTIPLE) * _MULTIPLE)


def can_code(dimension: int) -> bool:
    """Tell whether vectors of that dimension can be coded."""
    return dimension % _WIDTH == 0
