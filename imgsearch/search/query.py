"""What can be asked, checked before anything heavy is loaded."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.filters import Filters
from imgsearch.data.paths import printable
from imgsearch.errors import QueryInvalid
from imgsearch.search.language import checked_weight, parse, split_weight

DEFAULT_LIMIT = 10
SORTS = ("match", "date", "name", "size")
_NO_FILTERS = Filters()
# The tokenizer reads what fits the model's context; this bounds its work on pasted books.
_MAX_CHARACTERS = 2_000
_MAX_MARKED = 200


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


# What a picture to search by can be: a file, a picture of the library by id, one from outside.
Picture = Path | int | PictureReference


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query: words (str) or a picture, and its weight.

    A positive weight means that pictures shall match it; a negative one, that they shall not.
    """

    subject: str | Picture
    weight: float = 1.0

    @property
    def is_words(self) -> bool:
        """Whether the subject is words."""
        return isinstance(self.subject, str)

    @property
    def name(self) -> str:
        """The part as a person would name it, safe to show anywhere."""
        if isinstance(self.subject, str):
            shown = self.subject
        elif isinstance(self.subject, Path):
            shown = printable(self.subject.name)
        else:
            shown = f"picture {self.subject}" if isinstance(self.subject, int) else "your picture"
        amount = "" if abs(self.weight) == 1 else f":{abs(self.weight):g}"
        return f"{'not ' if self.weight < 0 else ''}{shown}{amount}"


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; raises QueryInvalid when made without a wanted part, unless all pictures
    are to be listed in an order other than "match".

    `terms` are compared with the pictures (see `search.combine` for the formula). `sort` is
    "match", "date" (newest first), "name" or "size" (largest first). With `cut_off` the results end
    where they stop matching well; `min_strength` (0 to 100) sets that place by hand. With `group`,
    frames of one moment count as one result. `good` and `bad` are ids of pictures that a person has
    marked as such. With `explain` every result tells how well it answers each part.
    """

    terms: tuple[Term, ...] = ()
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    filters: Filters = _NO_FILTERS
    sort: str = "match"
    min_strength: int = 0
    cut_off: bool = True
    group: bool = True
    good: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    explain: bool = False

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise QueryInvalid(f"There is no order {self.sort!r}; use one of: {', '.join(SORTS)}.")
        if self.terms and not self.wanted:
            raise QueryInvalid(
                "The query says only what is not wanted. Say what the photo shows, too: "
                'imgsearch query "a beach" --not people'
            )
        if self.is_empty and self.sort == "match":
            raise QueryInvalid(
                'The query is empty. Say what the photo shows: imgsearch query "a cup of coffee"'
            )
        if self.limit < 1:
            raise QueryInvalid(f"The limit is {self.limit}; at least one result must be allowed.")
        if self.offset < 0:
            raise QueryInvalid(f"The offset is {self.offset}; it cannot be less than 0.")
        if len(self.good) + len(self.bad) > _MAX_MARKED:
            raise QueryInvalid(f"More than {_MAX_MARKED} pictures are marked as good or bad.")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compare pictures with."""
        return not self.terms and not self.good

    @property
    def wanted(self) -> tuple[Term, ...]:
        """The parts that pictures shall match."""
        return tuple(term for term in self.terms if term.weight > 0)

    @property
    def unwanted(self) -> tuple[Term, ...]:
        """The parts that pictures shall not match."""
        return tuple(term for term in self.terms if term.weight < 0)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of pictures to search by."""
        return tuple(term.subject for term in self.terms if isinstance(term.subject, Path))

    @property
    def described(self) -> str:
        """The query as a person would read it, safe to show anywhere."""
        parts = " + ".join(term.name for term in self.wanted) or f"all, by {self.sort}"
        without = "".join(f" -{term.name.removeprefix('not ')}" for term in self.unwanted)
        marks = f" ({len(self.good)} good, {len(self.bad)} bad)" if self.good or self.bad else ""
        return parts + without + (" with filters" if self.filters.any else "") + marks

    @property
    def words(self) -> str:
        """All wanted words."""
        return " ".join(term.subject for term in self.wanted if isinstance(term.subject, str))


def terms_of(
    text: str | None = None,
    like: object = None,
    without: str | Iterable[str] = (),
) -> tuple[Term, ...]:
    """Return the parts of a query, wanted ones first.

    `text` is in the language of `search.language`. `like` is one picture, or several in a list:
    paths, ids, `PictureReference`s, or pairs of one of these and a weight. `without` are words
    that are not wanted, each with a weight after a colon if it is not 1. Raises QueryInvalid.
    """
    terms = [Term(part.words, part.weight) for part in parse(cleaned(text or ""))]
    pictures = like if isinstance(like, list) else [] if like is None else [like]
    terms += [_picture_term(one) for one in pictures]
    for words in [without] if isinstance(without, str) else without:
        named, weight = split_weight(cleaned(words).strip('"'))
        if not named:
            raise QueryInvalid("What is not wanted has no name. Leave it out, or name it.")
        terms.append(Term(named, -weight))
    return tuple(sorted(terms, key=lambda term: term.weight < 0))


def split_picture(text: str) -> tuple[Path, float]:
    """Split ``"photo.jpg:0.5"`` into path and weight; a file of exactly that name comes first.

    Raises QueryInvalid for a weight that cannot be used.
    """
    whole = Path(os.path.expanduser(text))
    name, _, number = text.rpartition(":")
    is_number = number.replace(".", "", 1).isdecimal() and number.isascii()
    # Path.exists raises for a name that is too long or holds a NUL; this does not.
    if not name or not is_number or os.path.exists(whole):
        return whole, 1.0
    return Path(os.path.expanduser(name)), checked_weight(float(number))


def cleaned(text: str) -> str:
    """Return text with control characters removed and white space collapsed; may be empty."""
    # Lone surrogates (category Cs) come from terminals that do not send UTF-8.
    kept = (" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text[:_MAX_CHARACTERS])
    return " ".join("".join(kept).split())


def _picture_term(like: object) -> Term:
    subject, weight = like if isinstance(like, tuple) and len(like) == 2 else (like, 1.0)
    if isinstance(subject, (str, os.PathLike)):
        subject = Path(os.path.expanduser(subject))
    if not isinstance(subject, (Path, int, PictureReference)):
        raise QueryInvalid(f"Pictures cannot be searched by a {type(subject).__name__}.")
    return Term(subject, checked_weight(weight))
