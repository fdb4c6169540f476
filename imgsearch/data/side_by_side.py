"""Work on the parts of an index, on as many cores as there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from imgsearch.settings import available_cores

_Part = TypeVar("_Part")
_Found = TypeVar("_Found")


def side_by_side(look: Callable[[_Part], _Found], parts: Sequence[_Part]) -> list[_Found]:
    """Return what `look` gives for each part, in their order; it spends its time in FAISS or numpy.

    FAISS itself divides queries among threads, of which there is one here; its threads would only
    wait for each other, which takes up to 80 ms where another program has taken a core.
    """
    if len(parts) > 1:
        return list(_threads().map(look, parts))
    with _one_thread():
        return [look(part) for part in parts]


@cache
def _threads() -> ThreadPoolExecutor:
    import faiss

    # The number of threads that FAISS uses is a setting of the thread that calls it.
    return ThreadPoolExecutor(
        available_cores(), "vectors", initializer=lambda: faiss.omp_set_num_threads(1)
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
