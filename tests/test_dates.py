"""Dates in plain English, and what must not be taken for one."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch.errors import QueryInvalid
from imgsearch.search.dates import Period, days_between, parse_period, split_dates

# A Tuesday, in autumn.
TODAY = date(2026, 11, 24)


def period(since: str, until: str = "") -> Period:
    return Period(date.fromisoformat(since), date.fromisoformat(until or since))


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2023", "2023-01-01", "2023-12-31"),
        ("2023-06", "2023-06-01", "2023-06-30"),
        ("2024/2", "2024-02-01", "2024-02-29"),
        ("2023-12", "2023-12-01", "2023-12-31"),
        ("2023-06-15", "2023-06-15", ""),
        ("15.06.2023", "2023-06-15", ""),
        ("2020-2022", "2020-01-01", "2022-12-31"),
        ("june 2023", "2023-06-01", "2023-06-30"),
        ("Jun, 2023", "2023-06-01", "2023-06-30"),
        ("in June of 2023", "2023-06-01", "2023-06-30"),
        ("15 june 2023", "2023-06-15", ""),
        ("June 15th, 2023", "2023-06-15", ""),
        ("the 15th of june 2023", "2023-06-15", ""),
        ("june", "2026-06-01", "2026-06-30"),
        ("december", "2025-12-01", "2025-12-31"),
        ("24 december", "2025-12-24", ""),
        ("29 february", "2024-02-29", ""),
        ("last november", "2025-11-01", "2025-11-30"),
        ("this november", "2026-11-01", "2026-11-30"),
        ("today", "2026-11-24", ""),
        ("yesterday", "2026-11-23", ""),
        ("the day before yesterday", "2026-11-22", ""),
        ("this week", "2026-11-23", "2026-11-29"),
        ("last week", "2026-11-16", "2026-11-22"),
        ("past week", "2026-11-18", "2026-11-24"),
        ("this month", "2026-11-01", "2026-11-30"),
        ("last month", "2026-10-01", "2026-10-31"),
        ("last year", "2025-01-01", "2025-12-31"),
        ("last weekend", "2026-11-21", "2026-11-22"),
        ("this weekend", "2026-11-28", "2026-11-29"),
        ("3 days ago", "2026-11-21", ""),
        ("a week ago", "2026-11-16", "2026-11-22"),
        ("two months ago", "2026-09-01", "2026-09-30"),
        ("10 years ago", "2016-01-01", "2016-12-31"),
        ("last 7 days", "2026-11-18", "2026-11-24"),
        ("the last 3 months", "2026-08-25", "2026-11-24"),
        ("past two years", "2024-11-25", "2026-11-24"),
        ("last summer", "2026-06-01", "2026-08-31"),
        ("last autumn", "2025-09-01", "2025-11-30"),
        ("this fall", "2026-09-01", "2026-11-30"),
        ("this winter", "2026-12-01", "2027-02-28"),
        ("last winter", "2025-12-01", "2026-02-28"),
        ("summer 2021", "2021-06-01", "2021-08-31"),
        ("the summer of 2021", "2021-06-01", "2021-08-31"),
        ("winter 2023", "2023-12-01", "2024-02-29"),
        ("christmas 2022", "2022-12-24", "2022-12-26"),
        ("last christmas", "2025-12-24", "2025-12-26"),
        ("new year\u2019s eve 2020", "2020-12-31", ""),
        ("halloween", "2026-10-31", ""),
        ("the 90s", "1990-01-01", "1999-12-31"),
        ("'60s", "1960-01-01", "1969-12-31"),
        ("1980s", "1980-01-01", "1989-12-31"),
        ("the seventies", "1970-01-01", "1979-12-31"),
        ("the 20s", "2020-01-01", "2029-12-31"),
        ("between june and august 2023", "2023-06-01", "2023-08-31"),
        ("between 2023-06 and 2021-01-15", "2021-01-15", "2023-06-30"),
        ("from december to february 2023", "2022-12-01", "2023-02-28"),
        ("2020 to 2022", "2020-01-01", "2022-12-31"),
        ("12 to 20 june 2023", "2023-06-12", "2023-06-20"),
        ("friday", "2026-11-20", ""),
        ("tuesday", "2026-11-24", ""),
        ("last tuesday", "2026-11-17", ""),
        ("last friday", "2026-11-20", ""),
        ("this friday", "2026-11-27", ""),
        ("since 2025", "2025-01-01", "9999-12-31"),
        ("after june 2025", "2025-06-01", "9999-12-31"),
        ("before 2000", "0001-01-01", "1999-12-31"),
        ("until 2000", "0001-01-01", "2000-12-31"),
    ],
)
def test_what_is_understood(text: str, since: str, until: str) -> None:
    assert parse_period(text, TODAY) == period(since, until)
    assert parse_period(f"  {text.upper()}. ", TODAY) == period(since, until)


@pytest.mark.parametrize(
    "text",
    ["", " ", "soon", "2023-13", "2023-02-30", "31 june 2023", "0", "99999 years ago", "last",
     "in", "between june and", "to", "the", "2023 beach", "last dog", "9" * 5_000, "06/07/2023",
     "from 2020 to", "before 0001-01-01"],
)  # fmt: skip
def test_what_is_not_understood_is_explained(text: str) -> None:
    with pytest.raises(QueryInvalid, match="last summer"):
        parse_period(text, TODAY)


def test_months_and_years_end_where_the_calendar_says() -> None:
    assert parse_period("last month", date(2024, 3, 31)) == period("2024-02-01", "2024-02-29")
    assert parse_period("last 3 months", date(2026, 5, 31)) == period("2026-03-01", "2026-05-31")
    assert parse_period("last winter", date(2026, 1, 15)) == period("2024-12-01", "2025-02-28")
    assert parse_period("this winter", date(2026, 1, 15)) == period("2025-12-01", "2026-02-28")
    assert parse_period("last summer", date(2026, 7, 1)) == period("2025-06-01", "2025-08-31")


@pytest.mark.parametrize(
    ("text", "rest", "since", "until"),
    [
        ("beach last summer", "beach", "2026-06-01", "2026-08-31"),
        ("last summer at the  beach", "at the beach", "2026-06-01", "2026-08-31"),
        ("a dog in March 2023, running", "a dog running", "2023-03-01", "2023-03-31"),
        ("beach 2023", "beach", "2023-01-01", "2023-12-31"),
        ("beach in 2023 with a dog", "beach with a dog", "2023-01-01", "2023-12-31"),
        ("snow in may", "snow", "2026-05-01", "2026-05-31"),
        ("flowers during spring", "flowers", "2026-03-01", "2026-05-31"),
        ("flowers spring 2020", "flowers", "2020-03-01", "2020-05-31"),
        ("children at christmas", "children", "2025-12-24", "2025-12-26"),
        ("a party on friday", "a party", "2026-11-20", ""),
        ("a party on june 15", "a party", "2026-06-15", ""),
        ("cars from the 90s", "cars", "1990-01-01", "1999-12-31"),
        ("cars of the 1960s parked", "cars parked", "1960-01-01", "1969-12-31"),
        ("kids 3 days ago", "kids", "2026-11-21", ""),
        ("snow between 2020 and 2022 in paris", "snow in paris", "2020-01-01", "2022-12-31"),
        ("trees june to august 2023", "trees", "2023-06-01", "2023-08-31"),
        ("from paris to rome in 2020", "from paris to rome", "2020-01-01", "2020-12-31"),
        ("yesterday", "", "2026-11-23", ""),
        ("garden last may", "garden", "2026-05-01", "2026-05-31"),
    ],
)
def test_a_date_is_taken_out_of_a_query(text: str, rest: str, since: str, until: str) -> None:
    assert split_dates(text, TODAY) == (rest, period(since, until))


@pytest.mark.parametrize(
    "text",
    [
        "a man who may fall",
        "this may be a dog",
        "the march of the penguins",
        "soldiers on march",
        "spring flowers",
        "a picture of spring",
        "a summer dress",
        "fall leaves",
        "winter coat",
        "christmas tree",
        "portrait of april",
        "a 1967 mustang",
        "the last supper",
        "sunday roast",
        "an 80s poster",
        "2 dogs",
        "15 people",
        "between two rocks and a tree",
        "from the mountain to the sea",
        "a decade",
        "the second of three",
        "",
    ],
)
def test_other_words_are_left_alone(text: str) -> None:
    assert split_dates(text, TODAY) == (text, None)


@pytest.mark.parametrize(
    ("after", "before", "on", "since", "until"),
    [
        ("2023-06", "2024", None, "2023-06-01", "2023-12-31"),
        ("2023-06", None, None, "2023-06-01", None),
        (None, "june 2023", None, None, "2023-05-31"),
        (None, None, "last summer", "2026-06-01", "2026-08-31"),
        ("2026-07-15", None, "last summer", "2026-07-15", "2026-08-31"),
        (None, "2026-07-15", "last summer", "2026-06-01", "2026-07-14"),
        (None, None, None, None, None),
        (None, None, "since 2025", "2025-01-01", None),
    ],
)
def test_bounds(
    after: str | None, before: str | None, on: str | None, since: str | None, until: str | None
) -> None:
    bounds = days_between(after, before, on, TODAY)

    assert bounds == tuple(
        None if day is None else date.fromisoformat(day) for day in (since, until)
    )


@pytest.mark.parametrize(
    ("after", "before", "on"),
    [("2024", "2023", None), ("2023", None, "2020"), (None, "0001-01-01", None), ("x", None, None)],
)
def test_bounds_that_make_no_sense(after: str | None, before: str | None, on: str | None) -> None:
    with pytest.raises(QueryInvalid):
        days_between(after, before, on, TODAY)


words = st.sampled_from(
    "the a in on of from to between and since before last this past ago may march june 15 15th 2023"
    " 2023-06 2023-06-15 0000-00 9999-12-31 summer winter christmas eve friday 90s sixties days"
    " week months years weekend 3 99999 two today yesterday dog - \u2013 1.1.1 29 february"
    " new year's"
    .split(" ")
)  # fmt: skip
phrases = st.lists(words, max_size=9).map(" ".join) | st.text(max_size=40)


@given(phrases, st.dates())
def test_any_text_is_a_period_or_a_polite_error(text: str, today: date) -> None:
    try:
        found = parse_period(text, today)
    except QueryInvalid:
        return
    assert found.since <= found.until


@given(phrases, st.dates())
def test_any_query_keeps_the_words_that_are_no_date(text: str, today: date) -> None:
    rest, found = split_dates(text, today)

    if found is None:
        assert rest == text
    else:
        assert found.since <= found.until
        assert len(rest.split()) < len(text.split())
        remaining = iter(text.split())
        assert all(word in remaining for word in rest.split())


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_a_day_is_within_its_month_and_year(day: date, today: date) -> None:
    for text in (f"{day:%Y}", f"{day:%Y-%m}", f"{day:%B %Y}", f"{day:%d %B %Y}", f"{day}"):
        found = parse_period(text, today)
        assert found.since <= day <= found.until
        before = days_between(None, text, None, today)[1]
        assert before == found.since - timedelta(days=1)
