"""Keywords as a library keeps them: short, printable, each once, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from imgsearch.data.records import folded

_MAX_KEYWORDS = 100
_MAX_LENGTH = 128
# Not printable to Python, yet in Persian words and in emoji.
_JOINERS = "\u200c\u200d"


def clean_keywords(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words that can be kept, in alphabetical order.

    What cannot be printed counts as white space, which is collapsed; words are cut at 128
    characters, and all behind the first 100 are left out; of words that differ in upper and lower
    case only, the first counts.
    """
    kept: dict[str, str] = {}
    for word in islice(words, _MAX_KEYWORDS * 10):
        # Four times as much: white space is still to be collapsed.
        characters = (c if _is_kept(c) else " " for c in word[: _MAX_LENGTH * 4])
        shown = " ".join("".join(characters).split())[:_MAX_LENGTH].strip()
        if shown and len(kept) < _MAX_KEYWORDS:
            kept.setdefault(folded(shown), shown)
    return tuple(kept[key] for key in sorted(kept))


def _is_kept(character: str) -> bool:
    return character.isprintable() or character in _JOINERS
