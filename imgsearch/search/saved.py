"""Searches as JSON, for those that are kept under a name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

from imgsearch.data.filters import Filters
from imgsearch.data.places import Near
from imgsearch.errors import QueryInvalid
from imgsearch.search.query import Query, Term

_MAX_NAME = 100
# What belongs to a page of results and not to the search.
_NOT_KEPT = ("terms", "filters", "limit", "offset", "explain")


def to_json(query: Query) -> str:
    """Return the search as JSON, without its page.

    Raises QueryInvalid for one by a picture that is neither a file nor in the library.
    """
    kept = {
        field.name: getattr(query, field.name)
        for field in fields(Query)
        if field.name not in _NOT_KEPT
    }
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
        kept = {
            field.name: _tuple(values[field.name])
            for field in fields(Query)
            if field.name in values and field.name not in _NOT_KEPT
        }
        terms = tuple(_to_term(one) for one in values["terms"])
        return Query(terms=terms, filters=_to_filters(values["filters"]), **kept)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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
    if "words" in values:
        return Term(str(values["words"]), weight)
    if "path" in values:
        return Term(Path(str(values["path"])), weight)
    return Term(int(values["picture"]), weight)


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Near):
        return [value.latitude, value.longitude, value.kilometres]
    return value


def _to_filters(values: dict[str, Any]) -> Filters:
    ready = {name: _tuple(value) for name, value in values.items()}
    for name in ("since", "until"):
        if name in ready:
            ready[name] = date.fromisoformat(ready[name])
    if "near" in ready:
        ready["near"] = Near(*(float(number) for number in ready["near"]))
    return Filters(**ready)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
