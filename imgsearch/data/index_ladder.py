"""The one place that chooses the kind of index: by how many vectors there are, and how long.

Figures: docs/performance.md, made by ``python benchmarks/rungs.py`` and ``ladder.py``.
"""

from __future__ import annotations

from imgsearch.errors import ExtraMissing
from imgsearch.settings import available_cores

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


def needs_codes(count: int, dimension: int) -> bool:
    """Tell whether so many vectors are to be found by codes, rather than looked at one by one.

    The machine's memory does not matter: what is still looked at one by one takes 150 MB.
    """
    return count * dimension > _EXACT_UP_TO * _EXACT_DIMENSION


def candidates_for(top_k: int) -> int:
    """Return how many of the best by their codes are compared exactly to find the `top_k` best.

    Of the 10 best of a million, these hold all; of the 500 best, 99 of 100 for pictures and 94 for
    sentences; of the 2,000 best, 99 and 98.
    """
    return max(_FEWEST_CANDIDATES, 8 * top_k)


def worth_coding(uncoded: int) -> bool:
    """Tell whether so many vectors without codes should get some: they are looked at one by one."""
    return uncoded > _UNCODED


def outgrown(count: int, trained_for: int) -> bool:
    """Tell whether codes that were trained for so many vectors should be made anew for `count`."""
    return count >= _OUTGROWN * trained_for


def threads_for(count: int) -> int:
    """Return on how many threads `count` vectors are looked at."""
    return max(1, min(available_cores(), count // _WORTH_A_THREAD))


def import_faiss() -> None:
    """Import faiss, or say which extra brings it. Raises ExtraMissing."""
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            "faiss is not installed. Install one of: pip install 'imgsearch-engine[cpu]' or, with "
            "an NVIDIA GPU, pip install 'imgsearch-engine[gpu]' (not both: they exclude each other)"
        ) from error
