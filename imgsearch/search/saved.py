"""Searches as JSON, for those that are kept under a name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

from imgsearch.data.filters import Filters
from imgsearch.data.places import Near
from imgsearch.errors import QueryInvalid
from imgsearch.search.language import checked_weight
from imgsearch.search.query import Query, Term, cleaned

_MAX_NAME = 100
# What SQLite can compare with.
_MAX_INTEGER = 2**63 - 1


def to_json(query: Query) -> str:
    """Return the search as JSON, without its page.

    Raises QueryInvalid for one by a picture that is neither a file nor in the library.
    """
    kept = {name: getattr(query, name) for name in _KEPT}
    terms = [_from_term(term) for term in query.terms]
    filters = {
        field.name: _plain(value)
        for field in fields(Filters)
        if (value := getattr(query.filters, field.name)) not in ((), None)
    }
    return json.dumps(kept | {"terms": terms, "filters": filters})


def from_json(text: str) -> Query:
    """Undo `to_json`. Raises QueryInvalid for anything else."""
    try:
        values = json.loads(text)
        kept = {name: read(values[name]) for name, read in _KEPT.items() if name in values}
        terms = tuple(_to_term(one) for one in values["terms"])
        asked = {name: _FILTERS[name](value) for name, value in values["filters"].items()}
        return Query(terms=terms, filters=Filters(**asked), **kept)
    except (QueryInvalid, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise QueryInvalid("This saved search cannot be read. Save it again.") from error


def readable(kept: Mapping[str, str]) -> dict[str, Query]:
    """Return those of some saved searches that can be read."""
    found: dict[str, Query] = {}
    for name, text in kept.items():
        with contextlib.suppress(QueryInvalid):
            found[name] = from_json(text)
    return found


def checked_name(name: str) -> str:
    """Return the name of a search without outer spaces. Raises QueryInvalid if it is no name."""
    named = name.strip()
    if not named or not named.isprintable() or len(named) > _MAX_NAME:
        raise QueryInvalid(
            f"A search needs a name of 1 to {_MAX_NAME} characters that can be printed."
        )
    return named


def unknown_search(name: str, known: Iterable[str]) -> QueryInvalid:
    """Return the error that no search of that name was saved."""
    held = ", ".join(known) or "none"
    return QueryInvalid(f"No search {name!r} was saved; there are: {held}.")


def _from_term(term: Term) -> dict[str, Any]:
    subject = term.subject
    if isinstance(subject, str):
        return {"words": subject, "weight": term.weight}
    if isinstance(subject, Path):
        return {"path": os.path.abspath(subject), "weight": term.weight}
    if isinstance(subject, int):
        return {"picture": subject, "weight": term.weight}
    raise QueryInvalid("A search by a picture that is not kept anywhere cannot be saved.")


def _to_term(values: dict[str, Any]) -> Term:
    weight = float(values["weight"])
    checked_weight(abs(weight))
    if "words" in values:
        words = cleaned(_text(values["words"]))
        if not words:
            raise ValueError("there are no words")
        return Term(words, weight)
    if "path" in values:
        return Term(Path(_text(values["path"])), weight)
    return Term(_number(values["picture"]), weight)


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Near):
        return [value.latitude, value.longitude, value.kilometres]
    return value


# Whoever gives a library away gives its saved searches with it: what is read is checked, value by
# value. All of these raise TypeError or ValueError.


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_INTEGER:
        raise ValueError(f"{value!r} is no number that can be used")
    return value


def _strength(value: Any) -> int:
    if _number(value) > 100:
        raise ValueError(f"{value!r} is no strength of a match")
    return _number(value)


def _several(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(one) for one in _several(value))


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(_number(one) for one in _several(value))


def _day(value: Any) -> date:
    return date.fromisoformat(_text(value))


def _place(value: Any) -> Near:
    latitude, longitude, kilometres = _several(value)
    return Near(float(latitude), float(longitude), float(kilometres))


# What is kept of a search, without its page of results, and how it is read.
_KEPT: dict[str, Callable[[Any], Any]] = {
    "sort": _text,
    "min_strength": _strength,
    "cut_off": _truth,
    "group": _truth,
    "good": _numbers,
    "bad": _numbers,
}
_FILTERS: dict[str, Callable[[Any], Any]] = {
    "folders": _texts,
    "since": _day,
    "until": _day,
    "cameras": _texts,
    "orientations": _texts,
    "formats": _texts,
    "min_pixels": _number,
    "max_pixels": _number,
    "lenses": _texts,
    "near": _place,
    "has_place": _truth,
    "min_rating": _number,
    "keywords": _texts,
    "names": _texts,
    "min_bytes": _number,
    "max_bytes": _number,
    "offline": _truth,
}
