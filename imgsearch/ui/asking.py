"""From what a visitor asks for to a query of the library."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date

from imgsearch import Filters, Library, PictureReference, QueryInvalid
from imgsearch.search.dates import Period, narrowed, split_dates
from imgsearch.search.query import Query, terms_of
from imgsearch.ui.asked import Asked, capped_marks


@dataclass(frozen=True, slots=True)
class Question:
    """A query, and the days that were understood from its words."""

    query: Query
    understood: Period | None = None


def question_of(
    library: Library, asked: Asked, picture: PictureReference | None, today: date
) -> Question:
    """Return the query that `asked` stands for, with a picture from outside if there is one.

    Raises QueryInvalid, or a LibraryError where a saved search cannot be looked up.
    """
    words, period = split_dates(asked.q, today) if asked.dates else (asked.q, None)
    terms = terms_of(words, picture if picture is not None else asked.like)
    filters = asked.filters
    if asked.saved:
        saved = library.saved_search(asked.saved)
        terms = tuple(sorted((*saved.terms, *terms), key=lambda term: term.weight < 0))
        filters = _over(saved.filters, filters)
    if period is not None:
        filters = narrowed(filters, period)
    if terms and terms[0].weight < 0:
        raise QueryInvalid(
            "This says only what is not wanted. Say what the photo shows, too: beach -people"
        )
    # Without anything to compare with there is no best match.
    listing = not terms and not asked.good
    query = Query(
        terms=terms,
        filters=filters,
        sort="date" if listing and asked.sort == "match" else asked.sort,
        min_strength=asked.strength,
        cut_off=not asked.weaker,
        group=not asked.frames,
        good=asked.good,
        bad=asked.bad,
        explain=len(terms) > 1,
    )
    return Question(query, period)


def as_saved(name: str, saved: Query) -> Asked:
    """Return what a saved search asks for; its parts and filters stay with it under its name."""
    good, bad = capped_marks(saved.good, saved.bad)
    return Asked(
        saved=name,
        good=good,
        bad=bad,
        sort=saved.sort,
        strength=saved.min_strength,
        weaker=not saved.cut_off,
        frames=not saved.group,
    )


def _over(saved: Filters, chosen: Filters) -> Filters:
    """Return the filters of a saved search, and in place of its own those that are chosen now."""
    standard = Filters()
    changes = {
        field.name: value
        for field in fields(Filters)
        if (value := getattr(chosen, field.name)) != getattr(standard, field.name)
    }
    return replace(saved, **changes)
