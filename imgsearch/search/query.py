"""What can be asked, checked before anything heavy is loaded."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from imgsearch.encoders import ModelDescription
from imgsearch.errors import QueryInvalid

DEFAULT_LIMIT = 10
# The tokenizer reads what fits the model's context; this bounds its work on pasted books.
_MAX_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Query:
    """Words, a picture, or both. Raises QueryInvalid when made without either."""

    text: str | None = None
    like: Path | None = None
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        if not self.words and self.like is None:
            raise QueryInvalid(
                'The query is empty. Say what the photo shows: imgsearch query "a cup of coffee"'
            )
        if self.limit < 1:
            raise QueryInvalid(f"The limit is {self.limit}; at least one result must be allowed.")

    @property
    def words(self) -> str:
        """The text with control characters removed and white space collapsed; may be empty."""
        # Lone surrogates (category Cs) come from terminals that do not send UTF-8.
        kept = (
            " " if unicodedata.category(c) in ("Cc", "Cs") else c
            for c in (self.text or "")[:_MAX_CHARACTERS]
        )
        return " ".join("".join(kept).split())


def note_about(words: str, model: ModelDescription) -> str | None:
    """Return a remark if the model can hardly understand these words, else None."""
    if model.languages != ("en",):
        return None
    letters = [c for c in words if c.isalpha()]
    foreign = sum("LATIN" not in unicodedata.name(c, "") for c in letters)
    if foreign * 2 > len(letters):
        return (
            f"The model {model.name!r} understands English; this query is in another script, so "
            "its results mean little."
        )
    return None
