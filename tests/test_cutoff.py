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


@pytest.mark.parametrize(
    ("z", "words", "count"),
    [
        # 0.99 * 7 / (1 + 0.16 ln k): 6.24 for the second, 5.89 for the third.
        ((7, 6.3, 5.9, 3), 1, 3),
        ((7, 6.3, 5.8, 3), 1, 2),
        ((7, 6.2, 3), 1, 1),
        # More words ask for 0.3 deviations more: 6.54 and 6.19.
        ((7, 6.3, 5.9, 3), 2, 1),
        ((7, 6.6, 6.2, 3), 2, 3),
        # Where the second falls short, the third may reach what is asked of it.
        ((7, 5.9, 5.9, 3), 1, 3),
        # Below 2.8 nothing but the best is shown.
        ((3, 2.9, 2.9, 2.7), 1, 3),
        ((2.6, 2.6, 2.5), 1, 2),
    ],
)
def test_the_documented_cut(z: tuple[float, ...], words: int, count: int) -> None:
    assert relevant_count(scores(*z), SCALE, 5, words) == count


def test_a_kind_of_many_things_reaches_further_down_than_one_with_relatives() -> None:
    many = relevant_count(scores(7, *np.linspace(6.8, 4.6, 60)), SCALE, 5, 1)
    relatives = relevant_count(scores(7, *np.linspace(5.5, 4.6, 3)), SCALE, 5, 1)

    assert (many, relatives) == (61, 1)


def test_from_the_fiftieth_on_no_less_is_asked() -> None:
    # 0.99 * 7 / (1 + 0.16 ln 50) = 4.26
    found = relevant_count(scores(7, *[4.3] * 199, *[4.2] * 800), SCALE, 5, 1)

    assert found == 200


@given(z=deviations)
def test_the_best_match_is_among_what_is_shown(z: list[float]) -> None:
    assert relevant_count(scores(*sorted(z, reverse=True)), SCALE, 9, 1) >= 1


def test_more_weak_results_change_nothing() -> None:
    few = relevant_count(scores(7, 6.5, 3), SCALE, 5, 1)

    assert relevant_count(scores(7, 6.5, *[3] * 500), SCALE, 5, 1) == few == 2


def told_nothing(best: float, tenth: float, candidates: int, distinct: float, words: int) -> bool:
    found = scores(best, *[tenth] * (candidates - 1))
    return relevant_count(found, SCALE, distinct, words) == 0


@pytest.mark.parametrize(
    ("best", "tenth", "distinct", "words", "nothing"),
    [
        (4.5, 3.3, 4.6, 1, True),
        (4.5, 3.3, 4.8, 1, False),
        (4.5, 3.3, 4.6, 2, False),
        (4.5, 3.3, 3.3, 20, False),
        (4.5, 3.3, 3.1, 20, True),
        (4.7, 3.3, 0, 20, False),
        (4.5, 3.5, 0, 1, False),
    ],
)
def test_nothing_matches_unless_the_best_is_distinct_or_strong_or_not_alone(
    best: float, tenth: float, distinct: float, words: int, nothing: bool
) -> None:
    assert told_nothing(best, tenth, 2_000, distinct, words) == nothing


@pytest.mark.parametrize(
    ("best", "distinct", "nothing"),
    [(3.1, 3.2, True), (3.1, 3.3, False), (3.2, 3.2, False)],
)
def test_few_photos_need_less_for_a_match(best: float, distinct: float, nothing: bool) -> None:
    # 0.29 * ln(2000 / 12) = 1.48
    assert told_nothing(best, 0, 12, distinct, 1) == nothing


def test_more_than_the_pool_asks_no_more() -> None:
    assert told_nothing(4.5, 3.3, 5_000, 4.6, 1)
    assert not told_nothing(4.5, 3.3, 5_000, 4.8, 1)


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
