"""The one place that chooses the kind of index: by how many vectors there are, and how long.

Figures: docs/performance.md, made by ``python benchmarks/ladder.py``.
"""

from __future__ import annotations

import os

from imgsearch.errors import ExtraMissing

# Up to here every vector is looked at: 100,000 of 512 dimensions take 9 ms on one core.
_EXACT_UP_TO = 150_000
_EXACT_DIMENSION = 512
# So many take 1 ms, or half of it on two threads.
_UNCODED = 10_000
# Fewer vectors than this are not worth a thread of their own: they take 2 ms.
_WORTH_A_THREAD = 25_000
# To compare them takes 1 ms.
_FEWEST_CANDIDATES = 2_000
# A codebook that was trained on fewer than a part of the vectors may not suit them any more.
_OUTGROWN = 8


def needs_codes(count: int, dimension: int, memory: int | None = None) -> bool:
    """Tell whether so many vectors are to be found by codes, rather than looked at one by one.

    `memory` is that of the machine in bytes (default: of this one).
    """
    if memory is None:
        memory = _memory()
    fast_enough = count * dimension <= _EXACT_UP_TO * _EXACT_DIMENSION
    # Vectors that do not stay in memory would be read from the disk for every query.
    return not fast_enough or count * 2 * dimension > memory // 2


def candidates_for(top_k: int) -> int:
    """Return how many of the best by their codes are compared exactly to find the `top_k` best.

    Of the 10 best of a million, these hold all; of the 2,000 best, nineteen of twenty.
    """
    return max(_FEWEST_CANDIDATES, 4 * top_k)


def worth_coding(uncoded: int) -> bool:
    """Tell whether so many vectors without codes should get some: they are looked at one by one."""
    return uncoded > _UNCODED


def outgrown(count: int, trained_for: int) -> bool:
    """Tell whether codes that were trained for so many vectors should be made anew for `count`."""
    return count >= _OUTGROWN * trained_for


def threads_for(count: int) -> int:
    """Return on how many threads `count` vectors are looked at."""
    return max(1, min(os.cpu_count() or 1, count // _WORTH_A_THREAD))


def _memory() -> int:
    """Return the bytes of physical memory, or a modest guess where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30


def import_faiss() -> None:
    """Import faiss, or say which extra brings it. Raises ExtraMissing."""
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            "faiss is not installed. Install one of: pip install 'imgsearch-engine[cpu]' or, with "
            "an NVIDIA GPU, pip install 'imgsearch-engine[gpu]' (not both: they exclude each other)"
        ) from error
