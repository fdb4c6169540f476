"""The rating and the keywords in an XMP packet (ISO 16684-1), which is XML from anybody."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.parsers import expat

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ITEM = f"{_RDF} li"
_RATING = "http://ns.adobe.com/xap/1.0/ Rating"
# Windows writes 1, 25, 50, 75 and 99; its namespace stands with and without the slash.
_PERCENT = frozenset(
    {"http://ns.microsoft.com/photo/1.0/ Rating", "http://ns.microsoft.com/photo/1.0 Rating"}
)
_SUBJECT = "http://purl.org/dc/elements/1.1/ subject"
# "places|Italy|Rome": the last one is the keyword.
_HIERARCHY = "http://ns.adobe.com/lightroom/1.0/ hierarchicalSubject"
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 64
_MAX_WORDS = 1_000
_MAX_TEXT = 1_024


@dataclass(frozen=True, slots=True)
class XmpFacts:
    """What is used of a packet: `rating` is -1 (rejected) to 5; `words` are as they stand there."""

    rating: int | None = None
    words: tuple[str, ...] = ()


class _Refused(Exception):
    """The packet holds what no XMP writer writes."""


def read_xmp(packet: bytes) -> XmpFacts:
    """Return what a packet says; what cannot be read says nothing.

    Document types and entities are refused, so that a packet cannot grow while it is read, nor name
    files or addresses.
    """
    packet = packet.strip(b"\0 \t\r\n")
    if not packet or len(packet) > _MAX_BYTES:
        return XmpFacts()
    reading = _Reading()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(packet, True)
    except (expat.ExpatError, _Refused, ValueError, LookupError):
        return XmpFacts()
    return reading.facts()


def stars_of_percent(percent: int) -> int | None:
    """Return the rating, 0 to 5, that a percentage stands for, or None outside 0 to 100."""
    if not 0 <= percent <= 100:
        return None
    return 0 if percent == 0 else min(5, 1 + (percent + 12) // 25)


def _refuse(*_: object) -> None:
    raise _Refused


class _Reading:
    """The state of going through one packet."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text: list[str] = []
        self._rating: int | None = None
        self._percent: int | None = None
        self._words: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) == _MAX_DEPTH:
            raise _Refused
        self._path.append(name)
        self._text.clear()
        for attribute, value in attributes.items():
            self._note(attribute, value)

    def text(self, part: str) -> None:
        if len(self._text) < _MAX_TEXT:
            self._text.append(part[:_MAX_TEXT])

    def end(self, name: str) -> None:
        value = "".join(self._text)[:_MAX_TEXT]
        self._text.clear()
        self._path.pop()
        self._note(name, value)
        if name == _ITEM and len(self._words) < _MAX_WORDS:
            if _SUBJECT in self._path:
                self._words.append(value)
            elif _HIERARCHY in self._path:
                self._words.append(value.rpartition("|")[2])

    def facts(self) -> XmpFacts:
        rating = self._rating
        if rating is None and self._percent is not None:
            rating = stars_of_percent(self._percent)
        return XmpFacts(rating, tuple(self._words))

    def _note(self, name: str, value: str) -> None:
        if name == _RATING:
            stars = _whole(value)
            self._rating = stars if stars is not None and -1 <= stars <= 5 else self._rating
        elif name in _PERCENT:
            self._percent = _whole(value)


def _whole(text: str) -> int | None:
    """Return the whole part of a number such as "3" or "3.0"; some writers use fractions."""
    try:
        number = float(text.strip())
    except ValueError:
        return None
    return int(number) if math.isfinite(number) else None
