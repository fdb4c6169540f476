"""Slips of the keys in what was typed, put right before a text tower reads it.

A small model makes something else of "bicylce" than of "bicycle". So a word that no dictionary has
gives way to one that the model was taught and that is one slip away: a letter too many, too few or
wrong, or two letters swapped (Damerau 1964). Of several it is the one that was taught most often.
"""

from __future__ import annotations

import gzip
import re
import string
import zlib
from collections.abc import Callable
from pathlib import Path

from imgsearch.errors import ModelInvalid

# What a folder of a model may have its words in: those that it was taught, the most frequent first,
# a line each, an empty line, and what else is spelt right.
WORDS = "words.txt.gz"
# Shorter ones are one slip away from too much.
_SHORTEST = 4
_LONGEST = 20
_MOST_BYTES = 8 << 20
# Not beside digits, apostrophes or letters of other scripts.
_WORD = re.compile(rf"(?<![\w'\u2019])[A-Za-z]{{{_SHORTEST},{_LONGEST}}}(?![\w'\u2019])")


class Spelling:
    """The words of a model."""

    def __init__(self, taught: list[str], others: set[str]) -> None:
        """`taught` are in the order of their frequency, the most frequent first."""
        self._rank = {word: place for place, word in enumerate(taught)}
        self._others = others

    @classmethod
    def read(cls, path: Path) -> Spelling:
        """Read a file of words. Raises ModelInvalid."""
        try:
            with gzip.open(path) as file:
                content = file.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise ValueError("it is too long")
            taught, _, others = content.decode("ascii").partition("\n\n")
            if not taught:
                raise ValueError("it is empty")
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise ModelInvalid(f"{path} is no list of words: {error}") from error
        return cls(taught.split(), set(others.split()))

    def nearest(self, word: str) -> str:
        """Return the word that a word of lower-case letters stands for, most often itself."""
        if word in self._rank or word in self._others:
            return word
        candidates = one_slip_away(word) & self._rank.keys()
        return min(candidates, key=self._rank.__getitem__, default=word)


def respelt(text: str, is_known: Callable[[str], bool], nearest: Callable[[str], str]) -> str:
    """Return a text with its slips put right: words that are not known, by what is nearest to them.

    Words that begin with a capital letter inside the text are names, and stay.
    """

    def right(match: re.Match[str]) -> str:
        word = match[0]
        typed = word[:1].lower() + word[1:] if match.start() == 0 else word
        return word if not typed.islower() or is_known(typed) else _like(word, nearest(typed))

    return _WORD.sub(right, text)


def one_slip_away(word: str) -> set[str]:
    """Return everything that one slip makes of a word of lower-case letters."""
    parts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    letters = string.ascii_lowercase
    return {
        *(head + tail[1:] for head, tail in parts if tail),
        *(head + tail[1] + tail[0] + tail[2:] for head, tail in parts if len(tail) > 1),
        *(head + letter + tail[1:] for head, tail in parts if tail for letter in letters),
        *(head + letter + tail for head, tail in parts for letter in letters),
    }


def _like(typed: str, word: str) -> str:
    """Return the word with a capital letter where what was typed has one."""
    return word.capitalize() if typed[0].isupper() else word
