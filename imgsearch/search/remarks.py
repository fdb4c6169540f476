"""What is to be said to a person about the words of a query."""

from __future__ import annotations

import unicodedata

from imgsearch.encoders import Encoder, ModelDescription
from imgsearch.encoders.base import Respells
from imgsearch.search.query import Query


def remark_on(query: Query, encoder: Encoder) -> str | None:
    """Return what the person who asked should know of how the query is read, or None."""
    remarks = (_about_script(query.words, encoder.description), _about_slips(query, encoder))
    return " ".join(remark for remark in remarks if remark) or None


def _about_script(words: str, model: ModelDescription) -> str:
    """Return a remark if the model can hardly understand these words."""
    if model.languages != ("en",):
        return ""
    letters = [c for c in words if c.isalpha()]
    foreign = sum("LATIN" not in unicodedata.name(c, "") for c in letters)
    if foreign * 2 <= len(letters):
        return ""
    return (
        f"The model {model.name!r} understands English; this query is in another script, so "
        "its results mean little."
    )


def _about_slips(query: Query, encoder: Encoder) -> str:
    """Return a remark on words that are read as others."""
    if not isinstance(encoder, Respells):
        return ""
    texts = [term.subject for term in query.terms if isinstance(term.subject, str)]
    read = {
        typed: meant
        for text in texts
        for typed, meant in zip(text.split(), encoder.respelt(text).split(), strict=True)
        if typed != meant
    }
    said = ", ".join(f'"{typed}" as "{meant}"' for typed, meant in read.items())
    return f"Read {said}." if said else ""
