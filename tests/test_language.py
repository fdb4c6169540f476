"""The language of queries: parts, weights, what is not wanted, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch.errors import QueryInvalid
from imgsearch.search.language import MAX_WEIGHT, WeightedText, parse, split_weight


def parts(text: str) -> list[tuple[str, float]]:
    return [(part.words, part.weight) for part in parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red car in the snow", [("a red car in the snow", 1)]),
        ('"red car" + snow', [("red car", 1), ("snow", 1)]),
        ("snow:0.5 + mountains", [("snow", 0.5), ("mountains", 1)]),
        ('"red car":2 + snow', [("red car", 2), ("snow", 1)]),
        ("beach -people", [("beach", 1), ("people", -1)]),
        ('beach -"two words":0.5 in summer', [("beach in summer", 1), ("two words", -0.5)]),
        ("rock +roll", [("rock", 1), ("roll", 1)]),
        ("“café au lait” -“sugar”", [("café au lait", 1), ("sugar", -1)]),
        ("-people beach", [("beach", 1), ("people", -1)]),
        ("+ snow +", [("snow", 1)]),
        ('say "cheese" please', [("say cheese please", 1)]),
    ],
)
def test_parts_weights_and_what_is_not_wanted(text: str, expected: list[object]) -> None:
    assert parts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a t-shirt at 10:30",
        "c++ code",
        "16:9 picture",
        "minus -5 degrees",
        "beach - people",
        "gate:12",
        "page:0",
        "note: this",
        "1-2 persons",
    ],
)
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert parts(text) == [(text, 1)]


def test_quotes_protect_operators() -> None:
    assert parts('"rock + roll -loud:0.5"') == [("rock + roll -loud:0.5", 1)]


@pytest.mark.parametrize("text", ["", '""', '-""', "+", '"', " "])
def test_nothing_is_nothing(text: str) -> None:
    assert parse(text) == ()


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(QueryInvalid, match="16 parts"):
        parse(" + ".join("abcdefghijklmnopq"))


@given(st.text(alphabet='ab -+:"“”.0123456789\t', max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    try:
        found = parse(text)
    except QueryInvalid:
        return

    for part in found:
        assert part.words == part.words.strip() != ""
        assert 0 < abs(part.weight) <= MAX_WEIGHT


@given(st.text(max_size=60))
def test_a_quoted_text_is_one_part(text: str) -> None:
    inner = "".join(c for c in text if c not in '"“”').strip()

    assert parse(f'"{inner}"') == ((WeightedText(inner),) if inner else ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("sunset", ("sunset", 1.0)), ("sunset:0.5", ("sunset", 0.5)), ("16:9", ("16:9", 1.0))],
)
def test_a_weight_comes_after_a_colon(text: str, expected: tuple[str, float]) -> None:
    assert split_weight(text) == expected


@pytest.mark.parametrize("text", ["sunset:0", "sunset:11", "sunset:0.0"])
def test_a_weight_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(QueryInvalid, match="weight"):
        split_weight(text)
