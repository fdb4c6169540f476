"""Everything about words: prompt templates, short queries cut out of captions, label readers."""

from __future__ import annotations

import random
import re
from pathlib import Path

# The prompt with which class names are scored, and with which ConSE's label vectors are made.
PROMPT = "a photo of a {}"

# Pseudo-labels are put into one of these. Bare names and names with few words around them teach the
# model that a query of one or two words is as good as a sentence.
TEMPLATES = (
    PROMPT,
    "{}",
    "a {}",
    "the {}",
    "a picture of the {}",
    "a close-up of a {}",
    "a {} in the background",
    "there is a {} here",
    "a photo of the large {}",
    "a photo of the small {}",
)

# Words that carry no picture: articles, auxiliaries, pronouns, conjunctions. Prepositions stay out
# of this list, since "man on horse" and "man with horse" are different queries.
STOP_WORDS = frozenset(
    """
    a an the is are was were be being been am has have had do does did its it his her their he
    she they them him this that these those there while as who which what and or to of some one
    very another other each also it's
    """.split()
)

PREPOSITIONS = frozenset(
    """
    in on with at near by from through over into behind against under next beside around onto
    across along during outside inside up down out off for toward towards
    """.split()
)

# A caption is cut before these words (and after commas) into phrases such as "a pink dress".
CUTS = re.compile(
    r"\b(?:is|are|in|on|with|at|near|by|while|and|wearing|from|through|over|into|behind|against|as"
    r"|holding|under|next to|in front of|of|to|beside|around)\b|[,.;:]"
)


def words_of(caption: str) -> list[str]:
    """The lower-case words of a caption."""
    return re.findall(r"[a-z0-9'-]+", caption.lower())


def keywords(caption: str, rng: random.Random) -> str:
    """A search-box version of a caption: content words, of which up to half may be missing."""
    # "man on horse" says more than "man horse", yet people type both.
    dropped = STOP_WORDS | PREPOSITIONS if rng.random() < 0.6 else STOP_WORDS
    content = [word for word in words_of(caption) if word not in dropped]
    keep = rng.uniform(0.5, 1.0)
    kept = [word for word in content if rng.random() < keep]
    return " ".join(kept or content) or caption


def phrase(caption: str, rng: random.Random) -> str:
    """One phrase of a caption, such as "a pink dress" of a longer sentence."""
    pieces = [" ".join(words_of(piece)) for piece in CUTS.split(caption.lower())]
    pieces = [piece for piece in pieces if set(piece.split()) - STOP_WORDS]
    return rng.choice(pieces) if pieces else caption


def read_captions(path: Path) -> dict[str, list[str]]:
    """Image path -> its captions, from lines of `path<TAB>caption`, in the file's order."""
    captions: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        image, caption = line.split("\t")
        captions.setdefault(image, []).append(caption)
    return captions


def read_table(path: Path) -> list[list[str]]:
    """The tab-separated fields of every line."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
