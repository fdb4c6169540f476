"""The small language of queries: parts, weights, and what is not wanted.

    a red car in the snow      one part
    "red car" + snow           two parts, each compared by itself, and added
    snow:0.5 + mountains       the first counts half
    beach -people              people are not wanted; -"two words" and -people:0.5 work, too

Quotes protect their content: nothing in them is an operator. A minus or a plus means something only
before a word or a quote, after a space; so t-shirt, 1-2 and c++ stay what they are. A number after
a colon is a weight if it is above 0 and at most 10, and follows a letter or a quote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from imgsearch.errors import QueryInvalid

# Weights compare parts with each other; beyond this the smaller ones are nothing.
MAX_WEIGHT = 10.0
# Every part costs a run of the text tower.
_MAX_PARTS = 16

_TOKEN = re.compile(
    r"""
    (?P<minus>(?<!\S)-(?=["“]|[^\W\d_]))
  | (?P<plus>(?<!\S)\+(?=\s|$|["“]|[^\W\d_]))
  | ["“](?P<quoted>[^"“”]*)["”](?::(?P<quoted_weight>\d{0,4}\.?\d{1,6})(?!\S))?
  | (?P<word>[^\s"“”]+)
  | (?P<stray>["“”])
    """,
    re.VERBOSE,
)
# A number after a letter: "sunset:0.5", but not "16:9".
_WEIGHT = re.compile(r"(?P<word>.*[^\W\d_]):(?P<weight>\d{0,4}\.?\d{1,6})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class WeightedText:
    """Words and how much they count; what is not wanted has a negative weight."""

    words: str
    weight: float = 1.0


@dataclass(slots=True)
class _Part:
    words: list[str] = field(default_factory=list)
    weight: float = 1.0


def parse(text: str) -> tuple[WeightedText, ...]:
    """Return the parts of a query, those not wanted with negative weights; none for empty text.

    Raises QueryInvalid for too many parts.
    """
    wanted = [_Part()]
    unwanted: list[WeightedText] = []
    negated = False
    for token in _TOKEN.finditer(text):
        if token["minus"]:
            negated = True
            continue
        if token["plus"]:
            wanted.append(_Part())
            continue
        words, weight = _read(token)
        if negated and words:
            unwanted.append(WeightedText(words, -weight))
        elif words:
            wanted[-1].words.append(words)
            wanted[-1].weight = weight if weight != 1.0 else wanted[-1].weight
        negated = False
    parts = [WeightedText(" ".join(part.words), part.weight) for part in wanted if part.words]
    if len(parts) + len(unwanted) > _MAX_PARTS:
        raise QueryInvalid(f"The query has more than {_MAX_PARTS} parts. Leave some out.")
    return (*parts, *unwanted)


def split_weight(text: str) -> tuple[str, float]:
    """Split ``"sunset:0.5"`` into words and weight; without a number the weight is 1.

    Raises QueryInvalid for a weight of 0 or above `MAX_WEIGHT`.
    """
    match = _WEIGHT.fullmatch(text)
    if match is None:
        return text, 1.0
    return match["word"], checked_weight(float(match["weight"]))


def checked_weight(weight: float) -> float:
    """Return the weight. Raises QueryInvalid if it is not above 0 and at most `MAX_WEIGHT`."""
    if not 0 < weight <= MAX_WEIGHT:
        raise QueryInvalid(
            f"A weight of {weight:g} cannot be used; give one above 0 and at most {MAX_WEIGHT:g}."
        )
    return weight


def _read(token: re.Match[str]) -> tuple[str, float]:
    """Return the words of a token, without operators, and their weight."""
    if token["quoted"] is not None:
        weight = float(token["quoted_weight"] or 1.0)
        return token["quoted"].strip(), weight if 0 < weight <= MAX_WEIGHT else 1.0
    if token["stray"]:
        return "", 1.0
    try:
        return split_weight(token["word"])
    except QueryInvalid:
        # Somebody's words with a number in them: "gate:12".
        return token["word"], 1.0
