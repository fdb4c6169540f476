"""The options of the command line that say which photos a search may return."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from imgsearch.data.paths import printable
from imgsearch.errors import QueryInvalid

if TYPE_CHECKING:
    from imgsearch.data.filters import Filters
    from imgsearch.data.places import Near

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.ASCII | re.IGNORECASE)
_PIXELS = {"": 1, "px": 1, "mp": 1_000_000}
_BYTES = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}
# Names of formats that people type, and Pillow's.
_FORMATS = {"jpg": "JPEG", "tif": "TIFF", "heic": "HEIF", "jp2": "JPEG2000"}

FolderOption = Annotated[
    Optional[list[str]],  # noqa: UP045 - Typer reads the annotation at run time
    typer.Option("--folder", metavar="DIR", help="Below this folder."),
]
AfterOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--after", metavar="DATE", help="From the first day of DATE on: 2023-06, 'last summer'."
    ),
]
BeforeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--before", metavar="DATE", help="Up to the day before DATE begins."),
]
OnOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--on", metavar="DATE", help="Within DATE: 2023, 'june 2023', '3 days ago'."),
]
DatesOption = Annotated[
    bool,
    typer.Option("--dates", help="Understand dates in TEXT: 'beach last summer', 'cats in 2023'."),
]
CameraOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--camera", metavar="NAME", help="Taken with a camera of this name, or part of it."
    ),
]
LensOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--lens", metavar="NAME", help="Taken with a lens of this name, or part of it."),
]
NearOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--near", metavar="LAT,LON[,KM]", help="Within KM kilometres (10) of a place: 48.86,2.35,5."
    ),
]
HasPlaceOption = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--gps/--no-gps", help="With, or without, a place."),
]
OfflineOption = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--offline/--no-offline", help="Only, or without, what is on no disk there now."),
]
OrientationOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--orientation", metavar="SHAPE", help="landscape, portrait or square."),
]
MinSizeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--min-size", metavar="PIXELS", help="At least so many pixels: 2MP."),
]
MaxSizeOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--max-size", metavar="PIXELS", help="Fewer pixels than this: 12MP."),
]
MinBytesOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--min-bytes", metavar="BYTES", help="Files of at least this size: 500kB."),
]
MaxBytesOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--max-bytes", metavar="BYTES", help="Files smaller than this: 20MB."),
]
TypeOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--type", metavar="FORMAT", help="File type: jpeg,png,heic."),
]
RatingOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--rating", metavar="STARS", help="Rated with at least so many stars, 0 to 5."),
]
KeywordOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--keyword", metavar="WORD", help="Labelled with this keyword."),
]
NameOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--name", metavar="PATTERN", help="File name, such as 'IMG_*.jpg'."),
]


def filters_of(
    *,
    folders: Sequence[str] | None = None,
    after: str | None = None,
    before: str | None = None,
    on: str | None = None,
    cameras: Sequence[str] | None = None,
    lenses: Sequence[str] | None = None,
    near: str | None = None,
    has_place: bool | None = None,
    offline: bool | None = None,
    orientations: Sequence[str] | None = None,
    min_size: str | None = None,
    max_size: str | None = None,
    min_bytes: str | None = None,
    max_bytes: str | None = None,
    types: Sequence[str] | None = None,
    rating: int | None = None,
    keywords: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Filters:
    """Return the filters that options ask for, as they were typed. Raises QueryInvalid."""
    # Imported here: `imgsearch --version` needs no NumPy.
    from imgsearch.data.filters import Filters
    from imgsearch.search.dates import days_between

    since, until = days_between(after, before, on, date.today())
    return Filters(
        folders=tuple(os.path.abspath(os.path.expanduser(one)) for one in folders or ()),
        since=since,
        until=until,
        cameras=tuple(map(_somewhere, cameras or ())),
        lenses=tuple(map(_somewhere, lenses or ())),
        near=None if near is None else _near(near),
        has_place=has_place,
        offline=offline,
        orientations=tuple(one.lower() for one in orientations or ()),
        min_pixels=_size(min_size, _PIXELS, "2MP"),
        max_pixels=_size(max_size, _PIXELS, "2MP"),
        min_bytes=_size(min_bytes, _BYTES, "500kB"),
        max_bytes=_size(max_bytes, _BYTES, "500kB"),
        formats=tuple(_format(one) for given in types or () for one in given.split(",")),
        min_rating=rating,
        keywords=tuple(keywords or ()),
        names=tuple(names or ()),
    )


def with_dates_of(text: str, filters: Filters) -> tuple[str, Filters]:
    """Take a date out of the words of a query; return the rest, and filters that hold it too."""
    from imgsearch.search.dates import narrowed, split_dates

    words, period = split_dates(text, date.today())
    return (text, filters) if period is None else (words, narrowed(filters, period))


def _somewhere(name: str) -> str:
    """Return a pattern for names that hold this one, if it is no pattern itself."""
    return name if not name or set(name) & set("*?") else f"*{name}*"


def _near(text: str) -> Near:
    from imgsearch.data.places import Near

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise QueryInvalid(
            f"{printable(text)!r} is no place. Give latitude and longitude, and kilometres if you "
            "like: --near 48.86,2.35,5"
        )
    return Near(*numbers)


def _size(text: str | None, units: dict[str, int], example: str) -> int | None:
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in units or len(match[1]) > 15:
        raise QueryInvalid(f"{printable(text)!r} is no size. Write it like {example}.")
    return round(float(match[1]) * units[match[2].lower()])


def _format(text: str) -> str:
    name = text.strip().lower().lstrip(".")
    if not name:
        raise QueryInvalid("A file type is empty. Write it like --type jpeg,png")
    return _FORMATS.get(name, name.upper())
