"""Captions as people might have typed them: short, misspelt, in other words or another order."""

from __future__ import annotations

import random
import re

# Words that are left out of keywords.
_FUNCTION_WORDS = frozenset(
    """
    a an the this that these those some another other and or but while as with without of in on at
    by to from into onto for near over under behind beside through across along around up down out
    off is are was were be being been has have had do does did he she it they his her its their him
    them who which what one there very next front
    """.split()
)
_AT_MOST = 5
# What else people call a thing: the second may stand for the first.
SYNONYMS = {
    "bike": "bicycle",
    "bicycle": "bike",
    "bikes": "bicycles",
    "kid": "child",
    "kids": "children",
    "child": "kid",
    "children": "kids",
    "man": "guy",
    "men": "guys",
    "woman": "lady",
    "women": "ladies",
    "boy": "lad",
    "puppy": "young dog",
    "couch": "sofa",
    "sofa": "couch",
    "street": "road",
    "road": "street",
    "ocean": "sea",
    "sea": "ocean",
    "photo": "picture",
    "picture": "photo",
    "rock": "stone",
    "rocks": "stones",
    "large": "big",
    "big": "large",
    "small": "little",
    "little": "small",
    "jumping": "leaping",
    "jumps": "leaps",
    "running": "racing",
    "runs": "races",
    "person": "human",
    "people": "humans",
    "motorcycle": "motorbike",
    "shirt": "top",
    "hat": "cap",
    "grass": "lawn",
    "smiling": "grinning",
    "sitting": "seated",
    "looking": "gazing",
    "hill": "slope",
    "forest": "woods",
    "woods": "forest",
    "trail": "path",
    "path": "trail",
    "soccer": "football",
    "toddler": "small child",
    "baby": "infant",
    "walking": "strolling",
    "holding": "carrying",
    "mountain": "peak",
    "pool": "swimming bath",
    "car": "automobile",
}
_PLURALS = {
    "dog": "dogs",
    "man": "men",
    "woman": "women",
    "boy": "boys",
    "girl": "girls",
    "child": "children",
    "person": "people",
    "player": "players",
    "bike": "bikes",
    "ball": "balls",
    "tree": "trees",
    "rock": "rocks",
    "car": "cars",
    "shirt": "shirts",
    "horse": "horses",
    "baby": "babies",
    "street": "streets",
    "mountain": "mountains",
    "building": "buildings",
    "hat": "hats",
    "toy": "toys",
    "field": "fields",
    "stick": "sticks",
    "bird": "birds",
}
_NUMBERS = _PLURALS | {plural: single for single, plural in _PLURALS.items()}
_TURNS = re.compile(
    r"\b(in|on|at|near|by|with|through|over|under|behind|across|along|from|into|beside|next to)\b"
)


def keywords(caption: str, at_most: int | None = _AT_MOST) -> str:
    """Up to so many words (None: all), without those that carry no picture."""
    words = re.findall(r"[a-z0-9'-]+", caption.lower())
    kept = [word for word in words if word not in _FUNCTION_WORDS]
    return " ".join(kept[:at_most]) or caption


def typo(caption: str, rng: random.Random) -> str:
    """One slip in one longer word: two letters swapped, one left out, doubled, or a wrong one."""
    words = caption.split()
    long = [i for i, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    if not long:
        return caption
    chosen = rng.choice(long)
    word, at = words[chosen], rng.randrange(1, len(words[chosen]) - 1)
    words[chosen] = rng.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + rng.choice("etaoinsr") + word[at + 1 :],
        )
    )
    return " ".join(words)


def other_number(caption: str) -> str:
    """The first noun of the table in the plural instead of the singular, or the reverse."""
    words = caption.split()
    for i, word in enumerate(words):
        if word.lower() in _NUMBERS:
            words[i] = _NUMBERS[word.lower()]
            break
    return " ".join(words)


def other_order(caption: str) -> str:
    """What follows the last preposition, put in front."""
    turns = [match.start() for match in _TURNS.finditer(caption) if match.start() > 0]
    if not turns:
        return caption
    head, tail = caption[: turns[-1]], caption[turns[-1] :]
    return f"{tail.strip(' .')} {head.strip(' .')}"


def other_words(caption: str) -> str:
    """Every word of the table replaced."""
    return " ".join(SYNONYMS.get(word.lower(), word) for word in caption.split())
