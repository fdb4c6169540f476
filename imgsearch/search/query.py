"""What can be asked, checked before anything heavy is loaded."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.filters import Filters
from imgsearch.encoders import ModelDescription
from imgsearch.errors import QueryInvalid

DEFAULT_LIMIT = 10
_NO_FILTERS = Filters()
# The tokenizer reads what fits the model's context; this bounds its work on pasted books.
_MAX_CHARACTERS = 2_000


@dataclass(frozen=True, eq=False)
class PictureReference:
    """A picture from outside the library, to search by: its vector, and enough to show it.

    `vector` is float32 [d], of unit length, under the model of that name and revision; `thumbnail`
    is a JPEG; `content_hash` is SHA-256 (hexadecimal).
    """

    vector: npt.NDArray[np.float32]
    model: str
    revision: str
    thumbnail: bytes
    content_hash: str


@dataclass(frozen=True, slots=True)
class Query:
    """Words, a picture, or both; raises QueryInvalid when made without either, unless sorted by
    date: that lists all pictures.

    `like` is a file, the id of a picture of the library, or a `PictureReference`. `sort` is "match"
    or "date" (newest first).
    """

    text: str | None = None
    like: Path | int | PictureReference | None = None
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    filters: Filters = _NO_FILTERS
    sort: str = "match"
    min_strength: int = 0
    with_strength: bool = False

    def __post_init__(self) -> None:
        if self.sort not in ("match", "date"):
            raise QueryInvalid(f"There is no order {self.sort!r}; use 'match' or 'date'.")
        if self.is_empty and self.sort != "date":
            raise QueryInvalid(
                'The query is empty. Say what the photo shows: imgsearch query "a cup of coffee"'
            )
        if self.limit < 1:
            raise QueryInvalid(f"The limit is {self.limit}; at least one result must be allowed.")
        if self.offset < 0:
            raise QueryInvalid(f"The offset is {self.offset}; it cannot be less than 0.")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compare pictures with."""
        return not self.words and self.like is None

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
