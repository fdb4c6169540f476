"""Dates in plain English: "2023-06", "last summer", "3 days ago", "between june and august 2023".

What words mean: a week runs from Monday to Sunday; "last week", "last month" and "last year" are
those of the calendar, "last 3 months" are the three months up to today, and "3 months ago" is that
whole month. Seasons are whole months of the northern half of the earth: spring is March to May,
summer June to August, autumn September to November, and winter 2022 December 2022 to February 2023.
Christmas is 24 to 26 December. "Last summer" is the latest one that is over, "this summer" the one
of now or of this year; a month, season, day or feast without a year is the latest that has begun.
"Since" and "after" X begin with the first day of X, "before" X ends on the day before that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from imgsearch.data.filters import Filters
from imgsearch.data.paths import printable
from imgsearch.errors import QueryInvalid

_MONTHS = "january february march april may june july august september october november december"
_MONTH = {name: number for number, name in enumerate(_MONTHS.split(), start=1)}
_MONTH |= {name[:3]: number for name, number in _MONTH.items()} | {"sept": 9}
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
# First month; each has three.
_SEASON = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
# Month, first and last day.
_FEAST = {
    "christmas": (12, 24, 26),
    "christmas eve": (12, 24, 24),
    "new year's eve": (12, 31, 31),
    "new year's day": (1, 1, 1),
    "halloween": (10, 31, 31),
    "valentine's day": (2, 14, 14),
}
_NUMBER = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), start=1
    )
} | {"a": 1, "an": 1}
_DECADE = {
    "twenties": 20, "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60, "seventies": 70,
    "eighties": 80, "nineties": 90,
}  # fmt: skip
# Behind them a bare word is a date; behind the second ones only a day or a feast is.
_PREPOSITIONS = ("in", "during", "from", "on", "at")
_OF_DAYS = ("on", "at")
_LONGEST_FEAST = timedelta(days=2)
# "This may be a dog": at the end of a query only.
_VERBS = ("may", "march", "fall")
_UNITS = ("day", "week", "month", "year")
_TOKEN = re.compile(r"\S+")
_AROUND = "\"'`,.;:!?()[]\u2018\u2019\u201c\u201d"
_ISO = re.compile(r"(\d{4})[-/](\d{1,2})(?:[-/](\d{1,2}))?", re.ASCII)
_GERMAN = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_YEARS = re.compile(r"(\d{4})[-\u2013](\d{4})", re.ASCII)
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?", re.ASCII)
_SHORT_DECADE = re.compile(r"(\d0)s", re.ASCII)
_LONG_DECADE = re.compile(r"(\d{3}0)s", re.ASCII)
# The longest phrase that is looked for in a query, in words.
_LONGEST = 14
_MAX_CHARACTERS = 200

_Tokens = Sequence[str]


@dataclass(frozen=True, slots=True)
class Period:
    """From the day `since` to the day `until`, both included."""

    since: date
    until: date


def parse_period(text: str, today: date) -> Period:
    """Return the days that a text stands for. Raises QueryInvalid, saying what is understood."""
    tokens = [_plain(word) for word in text[: _MAX_CHARACTERS + 1].split()]
    found = None
    if tokens and len(text) <= _MAX_CHARACTERS:
        found = _guarded(lambda: _Reader(today, lenient=True).period(tokens))
    if found is None:
        raise QueryInvalid(
            f"{printable(text[:60])!r} is no date that is understood. Write for example 2023, "
            "2023-06, 2023-06-15, 'june 2023', 'last summer', 'last 3 months', '2 weeks ago', "
            "'the 90s', 'christmas 2022', 'between june and august 2023'."
        )
    return found


def split_dates(text: str, today: date) -> tuple[str, Period | None]:
    """Take the first date out of a query; return the rest of the words, and the date if any.

    Words that mean something else too ("may", "spring", "christmas") are dates only with a year,
    with "last" or "this", or behind "in", "during" or "from" (days and feasts also behind "on" and
    "at"); a year alone only behind one of these or at the end.
    """
    spans = [match.span() for match in _TOKEN.finditer(text)]
    tokens = [_plain(text[start:end]) for start, end in spans]
    for first in range(len(tokens)):
        for last in range(min(len(tokens), first + _LONGEST), first, -1):
            reader = _Reader(today, at_end=last == len(tokens))
            found = _guarded(lambda: reader.period(tokens[first:last]))  # noqa: B023
            if found is not None:
                before, after = text[: spans[first][0]], text[spans[last - 1][1] :]
                return " ".join((before + " " + after).split()), found
    return text, None


def narrowed(filters: Filters, period: Period) -> Filters:
    """Return the filters for pictures of that period only, which may leave no day."""
    since = max(period.since, filters.since or date.min)
    until = min(period.until, filters.until or date.max)
    return replace(filters, since=since, until=until)


def days_between(
    after: str | None, before: str | None, on: str | None, today: date
) -> tuple[date | None, date | None]:
    """Return (first day, last day), None where there is no bound.

    From the first day of `after`, to the day before the first of `before`, within `on`. Raises
    QueryInvalid, also where that leaves no day.
    """
    first, last = date.min, date.max
    if after:
        first = parse_period(after, today).since
    if before:
        start = parse_period(before, today).since
        if start == date.min:
            raise QueryInvalid(f"No day is before {printable(before)!r}.")
        last = start - timedelta(days=1)
    if on:
        period = parse_period(on, today)
        first, last = max(first, period.since), min(last, period.until)
    if first > last:
        raise QueryInvalid(
            f"These dates leave no day: from {first} to {last}. --after counts from the first day "
            "of what it names, --before up to the day before that."
        )
    return (None if first == date.min else first), (None if last == date.max else last)


def _plain(word: str) -> str:
    return word.lower().replace("\u2019", "'").strip(_AROUND)


def _guarded(read: Callable[[], Period | None]) -> Period | None:
    """Return None for what lies outside of the calendar: 31 June, the year 0, far ends."""
    try:
        return read()
    except (ValueError, OverflowError):
        return None


class _Reader:
    """Reads phrases on one day.

    `lenient`: the words are known to be a date. Otherwise they stand in a query, and what can mean
    something else is not taken for one; `at_end` tells whether they end it.
    """

    def __init__(self, today: date, *, lenient: bool = False, at_end: bool = False) -> None:
        self._today = today
        self._lenient = lenient
        self._at_end = at_end

    def period(self, tokens: _Tokens) -> Period | None:
        """Return what the whole phrase stands for, or None. Raises ValueError, OverflowError."""
        if not tokens:
            return None
        head, rest = tokens[0], tokens[1:]
        if head == "between" and "and" in rest:
            return self._told().range_at(rest, "and")
        if head == "from":
            for word in ("to", "until", "till", "through"):
                if word in rest:
                    return self._told().range_at(rest, word)
        if head in ("since", "after", "before", "until"):
            period = self._told().single(_without_the(rest))
            if period is None:
                return None
            if head in ("since", "after"):
                return Period(period.since, date.max)
            end = period.until if head == "until" else period.since - timedelta(days=1)
            return Period(date.min, end)
        for word in ("to", "until", "till", "through", "-", "\u2013"):
            if word in rest:
                return self.range_at(tokens, word)
        if head in _PREPOSITIONS:
            period = self._told().single(_without_the(rest))
            if period is None or head not in _OF_DAYS:
                return period
            return period if period.until - period.since <= _LONGEST_FEAST else None
        if head == "of":
            return _Reader(self._today, at_end=True).single(_without_the(rest))
        return self.single(_without_the(tokens)) or self._the_decade(tokens)

    def range_at(self, tokens: _Tokens, word: str) -> Period | None:
        """Return the days from what stands before `word` to what stands behind it."""
        at = tokens.index(word)
        left, right = tokens[:at], tokens[at + 1 :]
        end = self.single(_without_the(right))
        if end is None:
            return None
        start = self._start(left, right, end)
        if start is None:
            return None
        return Period(min(start.since, end.since), max(start.until, end.until))

    def _start(self, left: _Tokens, right: _Tokens, end: Period) -> Period | None:
        """Return the first end of a range, which may leave to the second what both share."""
        year = right[-1]
        if _is_year(year) and not any(_is_year(one) or _ISO.fullmatch(one) for one in left):
            if len(left) == 1 and _DAY.fullmatch(left[0]) and len(right) > 2:
                return self.single([left[0], *right[1:]])
            for candidate in (year, str(int(year) - 1)):
                found = self.single([*_without_the(left), candidate])
                if found is not None and found.since <= end.since:
                    return found
        return self.single(_without_the(left))

    def single(self, tokens: _Tokens) -> Period | None:
        """Return what a phrase without prepositions stands for."""
        text = " ".join(tokens)
        return (
            self._written_in_numbers(text)
            or self._relative(tokens, text)
            or self._with_year(tokens)
            or self._last_or_this(tokens)
            or self._bare(tokens)
        )

    def _told(self) -> _Reader:
        """Return a reader for words that a preposition has told to be a date."""
        return _Reader(self._today, lenient=True)

    def _written_in_numbers(self, text: str) -> Period | None:
        if match := _ISO.fullmatch(text):
            year, month, day = match.groups()
            return _day(year, month, day) if day else _month(int(year), int(month))
        if match := _GERMAN.fullmatch(text):
            day, month, year = match.groups()
            return _day(year, month, day)
        if match := _YEARS.fullmatch(text):
            first, last = sorted(int(year) for year in match.groups())
            return Period(_year(first).since, _year(last).until)
        if _is_year(text):
            return _year(int(text)) if self._lenient or self._at_end else None
        if match := _LONG_DECADE.fullmatch(text):
            return Period(date(int(match[1]), 1, 1), date(int(match[1]) + 9, 12, 31))
        return self._decade(text) if self._lenient else None

    def _decade(self, text: str) -> Period | None:
        match = _SHORT_DECADE.fullmatch(text)
        tens = int(match[1]) if match else _DECADE.get(text)
        if tens is None:
            return None
        century = self._today.year // 100 * 100
        start = century + tens if century + tens <= self._today.year else century - 100 + tens
        return Period(date(start, 1, 1), date(start + 9, 12, 31))

    def _the_decade(self, tokens: _Tokens) -> Period | None:
        return self._decade(tokens[1]) if len(tokens) == 2 and tokens[0] == "the" else None

    def _relative(self, tokens: _Tokens, text: str) -> Period | None:
        today = self._today
        days_back = {"today": 0, "yesterday": 1, "day before yesterday": 2}.get(text)
        if days_back is not None:
            return _one_day(today - timedelta(days=days_back))
        match tokens:
            case ["last" | "previous", "week" | "month" | "year" as unit]:
                return self._ago(1, unit)
            case ["past", "week" | "month" | "year" as unit]:
                return self._up_to_today(1, unit)
            case ["this" | "current", "week" | "month" | "year" as unit]:
                return self._ago(0, unit)
            case ["last" | "past", count, unit] if (number := _count(count)) is not None:
                return self._up_to_today(number, unit.removesuffix("s"))
            case [count, unit, "ago"] if (number := _count(count)) is not None:
                return self._ago(number, unit.removesuffix("s"))
            case ["last" | "this" as word, "weekend"]:
                saturday = today - timedelta(days=today.weekday() - 5)
                if word == "last":
                    # In the week that is not over, the last weekend is the one before it.
                    saturday -= timedelta(days=7)
                return Period(saturday, saturday + timedelta(days=1))
        return None

    def _up_to_today(self, number: int, unit: str) -> Period | None:
        if unit not in _UNITS:
            return None
        first = self._back(number, unit) + timedelta(days=1)
        return Period(min(first, self._today), self._today)

    def _back(self, number: int, unit: str) -> date:
        """Return the day so many units before today; 31 May less 3 months is in February."""
        if unit in ("day", "week"):
            return self._today - timedelta(days=number * (7 if unit == "week" else 1))
        months = number * (12 if unit == "year" else 1)
        total = self._today.year * 12 + self._today.month - 1 - months
        month = _month(total // 12, total % 12 + 1)
        return min(month.since + timedelta(days=self._today.day - 1), month.until)

    def _ago(self, number: int, unit: str) -> Period | None:
        """Return the whole day, week, month or year so many of them ago."""
        if unit not in _UNITS:
            return None
        day = self._back(number, unit)
        if unit == "week":
            monday = day - timedelta(days=day.weekday())
            return Period(monday, monday + timedelta(days=6))
        if unit == "month":
            return _month(day.year, day.month)
        return _year(day.year) if unit == "year" else _one_day(day)

    def _with_year(self, tokens: _Tokens) -> Period | None:
        """Return "june 2023", "summer of 2021", "15 june 2023", "june 15th 2023"."""
        if len(tokens) < 2 or not _is_year(tokens[-1]):
            return None
        name = _without_of(tokens[:-1])
        return _named(name, int(tokens[-1]))

    def _last_or_this(self, tokens: _Tokens) -> Period | None:
        if len(tokens) < 2 or tokens[0] not in ("last", "this", "previous"):
            return None
        name = _without_of(tokens[1:])
        weekday = _weekday(name)
        today = self._today
        if tokens[0] != "this":
            if weekday is not None:
                return _one_day(today - timedelta(days=(today.weekday() - weekday - 1) % 7 + 1))
            return self._latest(name, lambda period: period.until < today)
        if weekday is not None:
            return _one_day(today + timedelta(days=weekday - today.weekday()))
        if " ".join(name) in _VERBS and not (self._lenient or self._at_end):
            return None
        current = self._latest(name, lambda period: period.since <= today <= period.until)
        return current or _named(name, today.year)

    def _bare(self, tokens: _Tokens) -> Period | None:
        """Return a month, season, day, feast or weekday without anything that tells which one."""
        if not self._lenient:
            return None
        weekday = _weekday(tokens)
        if weekday is not None:
            return _one_day(self._today - timedelta(days=(self._today.weekday() - weekday) % 7))
        name = _without_of(tokens)
        return self._latest(name, lambda period: period.since <= self._today)

    def _latest(self, name: _Tokens, fits: Callable[[Period], bool]) -> Period | None:
        # 29 February comes once in four years, and once in eight around some centuries.
        for year in range(self._today.year, max(0, self._today.year - 9), -1):
            found = _guarded(lambda: _named(name, year))  # noqa: B023
            if found is not None and fits(found):
                return found
        return None


def _named(name: _Tokens, year: int) -> Period | None:
    """Return the month, season, feast or day of that name in a year, or None if there is none."""
    text = " ".join(name)
    if text in _MONTH:
        return _month(year, _MONTH[text])
    if text in _SEASON:
        first = _SEASON[text]
        end = _month(year, first + 2) if first < 12 else _month(year + 1, 2)
        return Period(date(year, first, 1), end.until)
    if text in _FEAST:
        month, start, last = _FEAST[text]
        return Period(date(year, month, start), date(year, month, last))
    if len(name) == 2:
        for day, month_name in (name, (name[1], name[0])):
            match = _DAY.fullmatch(day)
            if match and month_name in _MONTH:
                return _one_day(date(year, _MONTH[month_name], int(match[1])))
    return None


def _without_the(tokens: _Tokens) -> _Tokens:
    return tokens[1:] if tokens and tokens[0] == "the" else tokens


def _without_of(tokens: _Tokens) -> _Tokens:
    return [word for word in tokens if word != "of"]


def _weekday(tokens: _Tokens) -> int | None:
    return _WEEKDAYS.index(tokens[0]) if len(tokens) == 1 and tokens[0] in _WEEKDAYS else None


def _is_year(text: str) -> bool:
    """Tell whether it is a year of photography, or not far from that."""
    return len(text) == 4 and text.isascii() and text.isdigit() and 1800 <= int(text) <= 2199


def _count(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 5:
        return int(text)
    return _NUMBER.get(text)


def _one_day(day: date) -> Period:
    return Period(day, day)


def _day(year: str, month: str, day: str) -> Period:
    return _one_day(date(int(year), int(month), int(day)))


def _month(year: int, month: int) -> Period:
    first = date(year, month, 1)
    after = date(year + month // 12, month % 12 + 1, 1)
    return Period(first, after - timedelta(days=1))


def _year(year: int) -> Period:
    return Period(date(year, 1, 1), date(year, 12, 31))
