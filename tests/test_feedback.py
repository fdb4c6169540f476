"""Marks move a query: towards the good results, away from the bad."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch.encoders.base import unit_rows
from imgsearch.search.feedback import with_feedback

Floats = npt.NDArray[np.float32]

seeds = st.integers(0, 10_000)


def unit(seed: int, count: int) -> Floats:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32))


NONE = unit(0, 0)


@given(seed=seeds)
def test_without_marks_the_query_stays(seed: int) -> None:
    query = unit(seed, 1)[0]

    np.testing.assert_allclose(with_feedback(query, NONE, NONE), query, atol=1e-6)


@given(seed=seeds, good=st.integers(0, 4), bad=st.integers(0, 4))
def test_the_result_is_a_unit_vector(seed: int, good: int, bad: int) -> None:
    query = unit(seed, 1)[0]

    moved = with_feedback(query, unit(seed + 1, good), unit(seed + 2, bad))

    assert moved.shape == query.shape
    assert moved.dtype == np.float32
    assert float(np.linalg.norm(moved)) == pytest.approx(1, abs=1e-5)


@given(seed=seeds)
def test_a_good_mark_raises_what_is_like_it_and_a_bad_one_lowers(seed: int) -> None:
    query, marked = unit(seed, 1)[0], unit(seed + 1, 1)

    nearer = with_feedback(query, marked, NONE)
    farther = with_feedback(query, NONE, marked)

    assert nearer @ marked[0] > query @ marked[0] > farther @ marked[0]


def test_good_marks_bring_their_likes_to_the_front() -> None:
    # Two kinds of pictures of which the query cannot tell which is meant.
    query, kinds = unit(0, 1)[0], unit(1, 2)
    pictures = unit_rows(np.repeat(kinds, 20, axis=0) + 0.5 * unit(2, 40))

    moved = with_feedback(query, pictures[:3], pictures[20:23])

    assert set(np.argsort(-(pictures @ moved))[:20].tolist()) == set(range(20))


def test_the_query_is_not_changed_in_place() -> None:
    query = unit(0, 1)[0]
    kept = query.copy()

    with_feedback(query, unit(1, 2), unit(2, 2))

    np.testing.assert_array_equal(query, kept)
