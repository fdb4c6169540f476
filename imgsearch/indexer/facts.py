"""What a picture says about itself in EXIF, XMP and IPTC: when, with what, where, about what."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

from imgsearch.data.records import PictureFacts
from imgsearch.encoders.decode import HOSTILE_INPUT_ERRORS, Metadata, Photo
from imgsearch.indexer.iptc import read_iptc
from imgsearch.indexer.keywords import clean_keywords
from imgsearch.indexer.xmp import read_xmp, stars_of_percent

_MAX_TEXT = 128
# Written by Windows and by many cameras, though they are in no standard.
_RATING, _RATING_PERCENT, _XP_KEYWORDS = 0x4746, 0x4749, 0x9C9E
_MAX_XP_BYTES = 1 << 16


def read_facts(photo: Photo) -> PictureFacts:
    """Return the facts of a decoded photo; what is missing or makes no sense is None."""
    return PictureFacts(
        photo.width, photo.height, photo.format, photo.orientation, **read_details(photo.metadata)
    )


def read_details(metadata: Metadata) -> dict[str, Any]:
    """Return, by their names in `PictureFacts`, the facts that are not about the pixels."""
    with warnings.catch_warnings():
        # Pillow warns about every damaged tag; such a tag is simply absent here.
        warnings.simplefilter("ignore")
        return _read_details(metadata)


def _read_details(metadata: Metadata) -> dict[str, Any]:
    base: Mapping[int, Any] = metadata.exif
    detail = _block(metadata.exif, ExifTags.IFD.Exif)
    place = _block(metadata.exif, ExifTags.IFD.GPSInfo)
    latitude, longitude = _coordinates(place)
    xmp = read_xmp(metadata.xmp)
    words = (*xmp.words, *read_iptc(metadata.iptc), *_xp_keywords(_get(base, _XP_KEYWORDS)))
    return {
        "taken_at": _moment(
            _get(detail, ExifTags.Base.DateTimeOriginal)
            or _get(detail, ExifTags.Base.DateTimeDigitized)
            or _get(base, ExifTags.Base.DateTime)
        ),
        "camera": _camera(
            _text(_get(base, ExifTags.Base.Make)), _text(_get(base, ExifTags.Base.Model))
        ),
        "lens": _text(_get(detail, ExifTags.Base.LensModel)),
        "latitude": latitude,
        "longitude": longitude,
        "rating": xmp.rating if xmp.rating is not None else _rating(base),
        "keywords": clean_keywords(words),
    }


def _block(exif: Image.Exif, which: ExifTags.IFD) -> Mapping[int, Any]:
    try:
        return exif.get_ifd(which)
    except HOSTILE_INPUT_ERRORS:
        return {}


def _get(block: Mapping[int, Any], tag: int) -> Any:
    try:
        return block.get(tag)
    except HOSTILE_INPUT_ERRORS:
        return None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        return None
    # Lone surrogates cannot be stored, control characters must not reach a terminal.
    printable = "".join(c for c in value.partition("\0")[0] if c.isprintable())
    return printable.strip()[:_MAX_TEXT] or None


def _camera(make: str | None, model: str | None) -> str | None:
    """Join maker and model; many cameras repeat the maker's name in the model."""
    if make and model and not model.lower().startswith(make.split()[0].lower()):
        return f"{make} {model}"
    return model or make


def _moment(value: Any) -> str | None:
    """Turn EXIF's ``YYYY:MM:DD HH:MM:SS`` into ISO 8601; cameras without a clock write zeros."""
    text = _text(value)
    match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?", text or "")
    if match is None:
        return None
    try:
        return datetime(*(int(part or 0) for part in match.groups())).isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None


def _coordinates(place: Mapping[int, Any]) -> tuple[float | None, float | None]:
    latitude = _degrees(_get(place, ExifTags.GPS.GPSLatitude), limit=90)
    longitude = _degrees(_get(place, ExifTags.GPS.GPSLongitude), limit=180)
    if latitude is None or longitude is None:
        return None, None
    south = _text(_get(place, ExifTags.GPS.GPSLatitudeRef)) == "S"
    west = _text(_get(place, ExifTags.GPS.GPSLongitudeRef)) == "W"
    return (-latitude if south else latitude), (-longitude if west else longitude)


def _degrees(value: Any, limit: float) -> float | None:
    """Turn EXIF's (degrees, minutes, seconds) into decimal degrees."""
    try:
        degrees, minutes, seconds = (float(part) for part in value)
    except HOSTILE_INPUT_ERRORS:
        return None
    total = degrees + minutes / 60 + seconds / 3600
    return total if math.isfinite(total) and 0 <= total <= limit else None


def _rating(base: Mapping[int, Any]) -> int | None:
    stars, percent = _get(base, _RATING), _get(base, _RATING_PERCENT)
    if isinstance(stars, int) and 0 <= stars <= 5:
        return stars
    return stars_of_percent(percent) if isinstance(percent, int) else None


def _xp_keywords(value: Any) -> list[str]:
    """Return the keywords that Windows writes: UTF-16LE, separated by semicolons."""
    if isinstance(value, tuple):
        try:
            value = bytes(value)
        except HOSTILE_INPUT_ERRORS:
            return []
    if not isinstance(value, bytes):
        return []
    text = value[:_MAX_XP_BYTES].decode("utf-16-le", errors="replace")
    return text.partition("\0")[0].split(";")
