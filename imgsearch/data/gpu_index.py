"""Batches of queries on NVIDIA GPUs, where the installed faiss can use them (extra ``gpu``).

The answer stays that of the index on the CPU, to the last bit: the GPUs only propose candidates,
more than are asked for, whose scores the CPU's index computes anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import faiss

# Below this many queries moving the vectors costs more than it saves. An estimate by the work to be
# done, not a measurement: the vectors are decoded once, and a query reads each of them once.
_FEWEST_QUERIES = 64
# What faiss can select on a GPU (getMaxKSelection in its GpuIndex.cu).
_MOST_CANDIDATES = 2048
_SPARE_CANDIDATES = 100
# Queries are rounded to float16 there, the stored vectors are float16 already. Rounding is off by
# 2**-11 of each component, hence by 2**-11 = 0.0005 of a cosine at most (Cauchy-Schwarz); the rest
# is for sums in float32, whose error at 8192 dimensions stays below 8192 * 2**-24 = 0.0005.
_SCORE_ERROR = 0.001


def has_gpus() -> bool:
    """Tell whether the installed faiss was built for GPUs and sees one."""
    import faiss

    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def on_all_gpus(index: faiss.Index) -> faiss.Index:
    """Return a copy of `index` on every GPU, its vectors in float16; queries are shared out.

    For flat indexes (also an empty one, as the quantizer that a trained index is trained with) and
    whatever else faiss can move. Raises RuntimeError where the GPUs' memory does not suffice.
    """
    import faiss

    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16 = True
    return faiss.index_cpu_to_all_gpus(index, co=options)


def pays(queries: int) -> bool:
    """Tell whether there are GPUs, and a batch of so many queries is worth moving vectors there."""
    return queries >= _FEWEST_QUERIES and has_gpus()


def vectors_on_gpus(dimension: int, pages: Iterable[npt.NDArray[np.float32]]) -> faiss.Index | None:
    """Return an index on all GPUs of the vectors of all pages, in their order.

    None without GPUs, and where their memory does not suffice. It takes one search at a time.
    """
    import faiss

    if not has_gpus():
        return None
    with contextlib.suppress(RuntimeError):
        # faiss moves no scalar-quantized index; a flat one in float16 holds the same numbers.
        moved = on_all_gpus(faiss.IndexFlatIP(dimension))
        for page in pages:
            moved.add(page)
        return moved
    return None


def propose(
    moved: faiss.Index, queries: npt.NDArray[np.float32], top_k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """Return candidates for the `top_k` best of each query, and what no other picture can exceed.

    Positions int64 [m, c] and scores float32 [m]: a picture that is not among a query's candidates
    has a score of at most that. None where more would have to be selected than a GPU can, or the
    GPUs fail.
    """
    count = min(moved.ntotal, 2 * top_k + _SPARE_CANDIDATES)
    if count > _MOST_CANDIDATES:
        return None
    try:
        scores, positions = moved.search(queries, count)
    except RuntimeError:
        return None
    if (positions < 0).any():
        return None
    if count == moved.ntotal:
        return positions, np.full(len(queries), -np.inf, dtype=np.float32)
    return positions, scores[:, -1] + np.float32(_SCORE_ERROR)
