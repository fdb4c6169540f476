"""Queries of several weighted parts: wanted ones add up, unwanted ones cost only who shows them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imgsearch.encoders.base import unit_rows
from imgsearch.search.combine import combined_scores, first_stage, wanted_length
from imgsearch.search.strength import StrengthScale

Floats = npt.NDArray[np.float32]

SCALE = StrengthScale(mean=0.1, deviation=0.1)
seeds = st.integers(0, 10_000)


def unit(random: np.random.Generator, count: int) -> Floats:
    return unit_rows(random.standard_normal((count, 16)).astype(np.float32))


def weights(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def scored(pictures: Floats, parts: Floats, given_weights: Floats) -> Floats:
    return combined_scores(
        pictures @ parts.T,
        given_weights,
        [SCALE] * len(parts),
        wanted_length(parts, given_weights),
    )


@given(seed=seeds, first=st.floats(0.1, 3), second=st.floats(0.1, 3))
def test_wanted_parts_score_as_the_cosine_with_their_sum(
    seed: int, first: float, second: float
) -> None:
    random = np.random.default_rng(seed)
    pictures, parts = unit(random, 50), unit(random, 2)

    scores = scored(pictures, parts, weights(first, second))

    expected = pictures @ first_stage(parts, weights(first, second))
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_the_first_stage_knows_nothing_of_unwanted_parts() -> None:
    parts = unit(np.random.default_rng(0), 3)

    found = first_stage(parts, weights(1, -1, -0.5))

    np.testing.assert_allclose(found, parts[0], atol=1e-6)


@given(seed=seeds, weight=st.floats(-3, -0.1))
def test_who_shows_no_more_of_it_than_the_wanted_keeps_the_score(seed: int, weight: float) -> None:
    random = np.random.default_rng(seed)
    pictures, parts = unit(random, 50), unit(random, 2)

    plain = scored(pictures, parts, weights(1, 0))
    without = scored(pictures, parts, weights(1, weight))

    wanted = np.argsort(-(pictures @ parts[0]))[:10]
    shown = pictures @ parts[1]
    ordinary = shown <= shown[wanted].min()
    assert ordinary.any()
    np.testing.assert_array_equal(without[ordinary], plain[ordinary])
    assert (without <= plain).all()


@given(seed=seeds, weight=st.floats(-3, -0.1))
def test_the_more_a_picture_shows_of_it_the_more_it_pays(seed: int, weight: float) -> None:
    random = np.random.default_rng(seed)
    pictures, parts = unit(random, 50), unit(random, 2)
    shown = np.argsort(pictures @ parts[1])
    # What chance gives costs nothing, and in a few draws no picture shows more.
    assume((pictures @ parts[1]).max() > SCALE.mean + 3.1 * SCALE.deviation)

    cost = scored(pictures, parts, weights(1, 0)) - scored(pictures, parts, weights(1, weight))

    assert (np.diff(cost[shown]) >= -1e-6).all()
    assert cost[shown[-1]] > 0


def test_a_picture_that_shows_it_falls_behind_one_that_does_not() -> None:
    cosines = np.array([[0.6, 0.5], [0.5, 0.1]], dtype=np.float32)
    cosines = np.concatenate([cosines, np.tile([[0.3, 0.1]], (30, 1)).astype(np.float32)])

    plain = combined_scores(cosines, weights(1, 0), [SCALE, SCALE])
    without = combined_scores(cosines, weights(1, -1), [SCALE, SCALE])

    assert plain.argmax() == 0
    assert without.argmax() == 1
    assert without.argmin() == 0


def test_half_a_weight_costs_half() -> None:
    random = np.random.default_rng(1)
    pictures, parts = unit(random, 40), unit(random, 2)
    plain = scored(pictures, parts, weights(1, 0))

    whole = plain - scored(pictures, parts, weights(1, -1))
    half = plain - scored(pictures, parts, weights(1, -0.5))

    np.testing.assert_allclose(half, whole / 2, atol=1e-6)


def test_what_all_wanted_pictures_have_of_it_costs_them_nothing() -> None:
    # Dogs look a little like cats: z is 2 for every one of them, and 5 for a dog beside a cat.
    alike = np.tile([[0.6, 0.3]], (30, 1)).astype(np.float32)
    cosines = np.concatenate([alike, [[0.6, 0.6]]]).astype(np.float32)

    scores = combined_scores(cosines, weights(1, -1), [SCALE, SCALE])

    np.testing.assert_allclose(scores[:-1], 0.6, atol=1e-6)
    assert scores[-1] < 0


def test_what_is_far_from_all_wanted_pictures_need_not_be_above_chance() -> None:
    # For "truck" monkeys have a z of -3, and a monkey beside a truck -0.5.
    alike = np.tile([[0.6, -0.2]], (30, 1)).astype(np.float32)
    cosines = np.concatenate([alike, [[0.65, 0.05]]]).astype(np.float32)

    scores = combined_scores(cosines, weights(1, -1), [SCALE, SCALE])

    np.testing.assert_allclose(scores[:-1], 0.6, atol=1e-6)
    assert scores.argmin() == len(alike)


@pytest.mark.parametrize("count", [0, 1])
def test_pools_of_no_or_one_candidate(count: int) -> None:
    cosines = np.full((count, 2), 0.9, dtype=np.float32)

    scores = combined_scores(cosines, weights(1, -1), [SCALE, SCALE])

    assert scores.shape == (count,)
    assert scores.dtype == np.float32


def test_without_wanted_parts_there_is_no_direction() -> None:
    parts = unit(np.random.default_rng(0), 1)

    assert not first_stage(parts, weights(-1)).any()
    assert np.isfinite(combined_scores(parts @ parts.T, weights(-1), [SCALE])).all()
