"""Batches of queries: on the CPU, on a stand-in for GPUs, and, where there is one, on a GPU."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgsearch.data import gpu_index, vector_index
from imgsearch.data.vector_block import VectorBlock
from imgsearch.data.vector_index import VectorIndex

DIMENSION = 16


def unit(rows: Any) -> Any:
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def an_index(vectors: Any, seed: int = 0) -> tuple[VectorIndex, Any]:
    """Return an index of these vectors under ids in no order, and the ids."""
    ids = np.random.default_rng(seed).permutation(3 * len(vectors) + 1)[: len(vectors)] + 1
    rows = vectors.astype(np.float16)
    middle = len(rows) // 2
    blocks = [VectorBlock.of(part, rows.shape[1]) for part in (rows[:middle], rows[middle:])]
    return VectorIndex(rows.shape[1], blocks, ids.astype(np.int64)), ids.astype(np.int64)


def with_ties(seed: int, pictures: int, queries: int) -> tuple[Any, Any]:
    """Return vectors of which many are equal, and queries, some of them equal to vectors.

    With an odd seed they are so alike that their scores differ by thousandths only.
    """
    random = np.random.default_rng(seed)
    middle = random.standard_normal(DIMENSION) * (20 if seed % 2 else 0)
    different = unit(middle + random.standard_normal((max(1, pictures // 3), DIMENSION)))
    vectors = different[random.integers(0, len(different), pictures)]
    asked = unit(random.standard_normal((queries, DIMENSION)))
    asked[::2] = different[random.integers(0, len(different), len(asked[::2]))]
    return vectors, asked


def assert_same_as_one_by_one(index: VectorIndex, queries: Any, top_k: int, among: Any) -> None:
    ids, scores = index.search_many(queries, top_k, among)

    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    assert ids.shape == scores.shape
    assert len(ids) == len(queries)
    for row, query in enumerate(queries):
        one_ids, one_scores = index.search(query, top_k, among)
        assert ids[row].tolist() == one_ids.tolist()
        assert scores[row].tolist() == one_scores.tolist()


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32 - 1),
    pictures=st.integers(1, 60),
    queries=st.integers(0, 6),
    top_k=st.integers(0, 70),
    share=st.none() | st.integers(1, 5),
)
@pytest.mark.parametrize("gpus", [False, True])
def test_a_batch_answers_as_its_queries_would_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
    gpus: bool,
    seed: int,
    pictures: int,
    queries: int,
    top_k: int,
    share: int | None,
) -> None:
    vectors, asked = with_ties(seed, pictures, queries)
    index, ids = an_index(vectors, seed)
    if gpus:
        stand_in(monkeypatch)
        monkeypatch.setattr(gpu_index, "_FEWEST_QUERIES", 1)
        # So few that most queries cannot be sure of their candidates.
        monkeypatch.setattr(gpu_index, "_SPARE_CANDIDATES", 1)

    assert_same_as_one_by_one(index, asked, top_k, None if share is None else ids[::share])


def test_an_empty_index_finds_nothing_for_anybody() -> None:
    ids, scores = VectorIndex(DIMENSION).search_many(unit(np.eye(3, DIMENSION)), 5)

    assert ids.shape == scores.shape == (3, 0)


class Inexact(faiss.IndexFlatIP):  # type: ignore[misc]
    """Is as wrong about scores as a GPU may be, and counts the searches."""

    searches = 0

    def search(self, queries: Any, k: int) -> Any:
        Inexact.searches += 1
        scores, ids = super().search(queries, self.ntotal)
        scores += np.random.default_rng(0).uniform(-9e-4, 9e-4, scores.shape).astype(np.float32)
        order = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)


class Options:
    useFloat16 = False  # noqa: N815 - faiss's own name


def stand_in(monkeypatch: pytest.MonkeyPatch, *, error: str = "") -> list[int]:
    """Give faiss what only its GPU build has; return the list of the sizes that were moved."""
    moved: list[int] = []

    def to_all(index: Any, co: Any = None) -> Any:
        assert type(index) is faiss.IndexFlatIP
        assert co.useFloat16
        if error:
            raise RuntimeError(error)
        moved.append(index.d)
        return Inexact(index.d)

    Inexact.searches = 0
    for name, value in {
        "StandardGpuResources": object,
        "get_num_gpus": lambda: 2,
        "GpuMultipleClonerOptions": Options,
        "index_cpu_to_all_gpus": to_all,
    }.items():
        monkeypatch.setattr(faiss, name, value, raising=False)
    return moved


def test_a_large_batch_goes_to_the_gpus_once_and_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, asked = with_ties(1, 5_000, 100)
    index, _ = an_index(vectors)
    moved = stand_in(monkeypatch)
    monkeypatch.setattr(vector_index, "_PAGE", 999)

    index.search_many(asked[:10], 5)
    assert (moved, Inexact.searches) == ([], 0)
    assert_same_as_one_by_one(index, asked, 5, None)
    assert_same_as_one_by_one(index, asked, 20, None)

    assert (moved, Inexact.searches) == ([DIMENSION], 2)


def test_the_gpus_alone_answer_where_nothing_is_near_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(2)
    index, _ = an_index(unit(random.standard_normal((3_000, DIMENSION))))
    asked = unit(random.standard_normal((80, DIMENSION)))
    wanted = [index.search(query, 10) for query in asked]
    stand_in(monkeypatch)
    monkeypatch.setattr(VectorIndex, "search", None)

    ids, scores = index.search_many(asked, 10)

    assert ids.tolist() == [one.tolist() for one, _ in wanted]
    assert scores.tolist() == [one.tolist() for _, one in wanted]


def test_what_gpus_cannot_do_is_done_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, asked = with_ties(3, 3_000, 70)

    stand_in(monkeypatch, error="out of memory")
    assert_same_as_one_by_one(an_index(vectors)[0], asked, 7, None)
    assert Inexact.searches == 0

    # More candidates than a GPU can select.
    stand_in(monkeypatch)
    assert_same_as_one_by_one(an_index(vectors)[0], asked[:64], 1_500, None)
    assert Inexact.searches == 0

    def fails(self: Any, queries: Any, k: int) -> Any:
        Inexact.searches += 1
        raise RuntimeError("the device was lost")

    stand_in(monkeypatch)
    monkeypatch.setattr(Inexact, "search", fails)
    assert_same_as_one_by_one(an_index(vectors)[0], asked, 7, None)
    assert Inexact.searches == 1


def test_a_build_for_gpus_on_a_machine_without_one_is_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = stand_in(monkeypatch)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    vectors, asked = with_ties(4, 200, 70)
    index, _ = an_index(vectors)

    index.search_many(asked, 5)

    assert moved == []
    assert gpu_index.vectors_on_gpus(DIMENSION, []) is None


@pytest.mark.gpu
def test_a_batch_on_a_gpu_answers_as_the_cpu_does() -> None:
    if not gpu_index.has_gpus():
        pytest.skip("no faiss for GPUs, or no GPU here: batches on a GPU are not tested")
    random = np.random.default_rng(5)
    vectors = unit(random.standard_normal((100_000, 512)))
    vectors[1_000:2_000] = vectors[:1_000]
    index, _ = an_index(vectors)
    asked = unit(vectors[:200] + 0.02 * random.standard_normal((200, 512)))

    assert_same_as_one_by_one(index, asked, 10, None)

    assert index._moved is not None
    assert index._moved is not index._index
