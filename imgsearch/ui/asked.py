"""What a visitor asks for, and the same as the query part of an address.

The address holds the words, the filters, the picture of the library that results shall look like,
the pictures marked as good and bad, and the name of a saved search; so a link, a bookmark and the
back button bring a search back. An uploaded picture is not kept, and not in the address.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from urllib.parse import quote, unquote_to_bytes

from imgsearch import Filters, Near, UsageError

ORIENTATIONS = ("landscape", "portrait", "square")
# In pixels: what a phone of the first years, one of today, and a camera make.
SIZES: dict[str, tuple[int | None, int | None]] = {
    "under 1 megapixel": (None, 1_000_000),
    "1 to 8 megapixels": (1_000_000, 8_000_000),
    "over 8 megapixels": (8_000_000, None),
}
SORTS = ("match", "date", "name", "size")
# Whether the picture has a coordinate.
PLACES = {"with": True, "without": False}
RATINGS = (1, 2, 3, 4, 5)
# Pictures marked as good and bad, together: what `Query` takes.
MAX_MARKED = 200
_MAX_TEXT = 255
# Before a folder whose name is not UTF-8, which an address cannot hold as it is.
_QUOTED = "quoted:"


@dataclass(frozen=True, slots=True)
class Asked:
    """One search as the page shows it. The names of the fields are those in the address.

    `weaker`: also what matches less well; `frames`: each frame of a moment by itself; `dates`:
    dates in the words count. Words and filters are added to the search of the name `saved`.
    """

    q: str = ""
    like: int | None = None
    saved: str = ""
    good: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    folder: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    camera: tuple[str, ...] = ()
    orientation: tuple[str, ...] = ()
    size: str | None = None
    type: tuple[str, ...] = ()
    lens: tuple[str, ...] = ()
    keyword: tuple[str, ...] = ()
    rating: int | None = None
    place: str | None = None
    near: str = ""
    name: str = ""
    sort: str = "match"
    strength: int = 0
    weaker: bool = False
    frames: bool = False
    dates: bool = False

    @property
    def filters(self) -> Filters:
        """The filters as the library takes them."""
        smallest, largest = SIZES.get(self.size or "", (None, None))
        return Filters(
            folders=self.folder,
            since=self.since,
            until=self.until,
            cameras=self.camera,
            orientations=self.orientation,
            formats=self.type,
            min_pixels=smallest,
            max_pixels=largest,
            lenses=self.lens,
            keywords=self.keyword,
            min_rating=self.rating,
            has_place=PLACES.get(self.place or ""),
            near=near_of(self.near),
            names=(self.name,) if is_pattern(self.name) else (),
        )


def near_of(text: str) -> Near | None:
    """Return the place "latitude, longitude" or "latitude, longitude, kilometres", or None."""
    try:
        return Near(*(float(part) for part in text.split(",")))
    except (ValueError, TypeError, UsageError):
        return None


def is_pattern(text: str) -> bool:
    """Tell whether a text can be a pattern for names of files."""
    return 0 < len(text) <= _MAX_TEXT


def to_address(asked: Asked) -> dict[str, list[str]]:
    """Return the parameters of the address; what has its default is left out."""
    standard = Asked()
    address: dict[str, list[str]] = {}
    for field in fields(Asked):
        value = getattr(asked, field.name)
        if value == getattr(standard, field.name):
            continue
        values = value if isinstance(value, tuple) else (value,)
        address[field.name] = [str(int(one) if one is True else one) for one in values]
    if asked.folder:
        address["folder"] = [_quoted(path) for path in asked.folder]
    if asked.saved:
        # Without it, an address means the search as it was saved, its order included.
        address["sort"] = [asked.sort]
    return address


def from_address(address: Mapping[str, list[str]]) -> Asked:
    """Return what an address asks for; what makes no sense in it is left out."""
    first = {name: values[0] for name, values in address.items() if values}
    size, sort = first.get("size"), first.get("sort", "match")
    good, bad = capped_marks(_numbers(address, "good"), _numbers(address, "bad"))
    return Asked(
        q=first.get("q", "")[:2_000],
        like=_number(first.get("like"), 2**53),
        saved=first.get("saved", "")[:_MAX_TEXT],
        good=good,
        bad=bad,
        folder=tuple(_unquoted(path) for path in address.get("folder", ())),
        since=_day(first.get("since")),
        until=_day(first.get("until")),
        camera=tuple(address.get("camera", ())),
        orientation=tuple(one for one in address.get("orientation", ()) if one in ORIENTATIONS),
        size=size if size in SIZES else None,
        type=tuple(address.get("type", ())),
        lens=tuple(address.get("lens", ())),
        keyword=tuple(word for word in address.get("keyword", ()) if word.strip()),
        rating=_rating(first.get("rating")),
        place=first.get("place") if first.get("place") in PLACES else None,
        near=first.get("near", "")[:_MAX_TEXT],
        name=first.get("name", "")[:_MAX_TEXT],
        sort=sort if sort in SORTS else "match",
        strength=_number(first.get("strength"), 100) or 0,
        weaker=first.get("weaker") == "1",
        frames=first.get("frames") == "1",
        dates=first.get("dates") == "1",
    )


def capped_marks(
    good: Iterable[int], bad: Iterable[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the first `MAX_MARKED` of the marks, good ones before bad ones, no picture twice."""
    goods = tuple(dict.fromkeys(good))[:MAX_MARKED]
    bads = tuple(one for one in dict.fromkeys(bad) if one not in goods)
    return goods, bads[: MAX_MARKED - len(goods)]


def _numbers(address: Mapping[str, list[str]], name: str) -> list[int]:
    read = (_number(text, 2**53) for text in address.get(name, ()))
    return [number for number in read if number is not None]


def _number(text: str | None, highest: int) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 16:
        return None
    return min(int(text), highest)


def _rating(text: str | None) -> int | None:
    rating = _number(text, 10)
    return rating if rating in RATINGS else None


def _quoted(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        return _QUOTED + quote(os.fsencode(path))
    return path


def _unquoted(text: str) -> str:
    if not text.startswith(_QUOTED):
        return text
    path = os.fsdecode(unquote_to_bytes(text.removeprefix(_QUOTED)))
    # What is no quoted name stays as it is.
    return path if _quoted(path) == text else text


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None
