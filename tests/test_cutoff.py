"""Where results stop: relative to the best match, and at nothing when the best is no match."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch.encoders.base import unit_rows
from imgsearch.search.cutoff import distinctness, relevant_count
from imgsearch.search.strength import StrengthScale
from imgsearch.search.vocabulary import COMMON_WORDS

Floats = npt.NDArray[np.float32]

SCALE = StrengthScale(mean=0.1, deviation=0.05)
deviations = st.lists(st.floats(-5, 10), min_size=1, max_size=50)


def scores(*z: float) -> Floats:
    return np.array([SCALE.mean + one * SCALE.deviation for one in z], dtype=np.float32)


@given(z=deviations, distinct=st.floats(-5, 10), words=st.integers(0, 30))
def test_counts_are_of_the_results(z: list[float], distinct: float, words: int) -> None:
    best_first = scores(*sorted(z, reverse=True))

    assert 0 <= relevant_count(best_first, SCALE, distinct, words) <= len(z)


def test_the_documented_cut() -> None:
    # 0.8 * 7 - 0.25 = 5.35
    found = relevant_count(scores(7, 6.5, 5.4, 5.3, 3), SCALE, 5, 1)

    assert found == 3


@given(z=deviations)
def test_the_best_match_is_among_what_is_shown(z: list[float]) -> None:
    assert relevant_count(scores(*sorted(z, reverse=True)), SCALE, 9, 1) >= 1


def test_more_weak_results_change_nothing() -> None:
    few = relevant_count(scores(7, 6.5, 3), SCALE, 5, 1)

    assert relevant_count(scores(7, 6.5, *[3] * 500), SCALE, 5, 1) == few == 2


@pytest.mark.parametrize(
    ("best", "distinct", "words", "anything"),
    [
        (5, 4.4, 1, False),
        (5, 4.6, 1, True),
        (6.4, 4.4, 1, True),
        (5, 4.4, 5, True),
        (5, 3.8, 5, False),
        (6.4, 0, 20, True),
    ],
)
def test_nothing_matches_unless_the_best_is_distinct_or_strong(
    best: float, distinct: float, words: int, anything: bool
) -> None:
    found = relevant_count(scores(best, best - 0.1), SCALE, distinct, words)

    assert (found > 0) == anything


def test_no_results_are_no_match() -> None:
    assert relevant_count(scores(), SCALE, 9, 1) == 0


# --- Distinctness ---


def unit(seed: int, count: int) -> Floats:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, 32)).astype(np.float32))


def test_distinctness_is_counted_in_deviations_of_ordinary_words() -> None:
    picture, vocabulary = unit(0, 1), unit(1, 100)
    query = unit(2, 1)[0]
    ordinary = picture @ vocabulary.T

    found = distinctness(query, picture, vocabulary)

    expected = (picture[0] @ query - np.mean(ordinary)) / np.std(ordinary)
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_a_picture_that_is_just_what_was_asked_is_distinct() -> None:
    query, vocabulary = unit(0, 1), unit(1, 100)

    exact = distinctness(query[0], np.concatenate([unit(2, 5), query]), vocabulary)

    assert exact > 4.5 > distinctness(query[0], unit(2, 5), vocabulary)


def test_pictures_behind_the_first_ten_do_not_count() -> None:
    query, vocabulary = unit(0, 1), unit(1, 100)
    others = unit(2, 10)

    found = distinctness(query[0], np.concatenate([others, query]), vocabulary)

    assert found == distinctness(query[0], others, vocabulary)


def test_without_pictures_or_words_nothing_is_distinct() -> None:
    assert distinctness(unit(0, 1)[0], unit(1, 0), unit(2, 5)) == 0
    assert distinctness(unit(0, 1)[0], unit(1, 5), unit(2, 0)) == 0


def test_the_vocabulary_is_of_different_words() -> None:
    assert len(COMMON_WORDS) == len(set(COMMON_WORDS)) == 329
    assert all(word == word.strip() and word for word in COMMON_WORDS)


def test_among_few_pictures_less_is_needed() -> None:
    z = scores(4.2, 1.0)

    assert relevant_count(z, SCALE, 3.0, 1, 4_000) == 0
    assert relevant_count(z, SCALE, 3.0, 1, 12) == 1
    assert relevant_count(z, SCALE, 3.0, 1, 1_000_000) == 0
