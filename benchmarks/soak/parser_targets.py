"""What the parsers of imgsearch promise for any bytes whatever, as functions that break if not.

Each target takes bytes, and raises only if a promise is broken. `parsers` runs them under atheris.
"""

from __future__ import annotations

import copy
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from PIL import Image

from imgsearch.batch import MAX_QUERIES, read_batch
from imgsearch.data.filters import Filters
from imgsearch.data.name_patterns import NamePatterns
from imgsearch.data.places import Near
from imgsearch.data.records import PictureFacts
from imgsearch.encoders.decode import HOSTILE_INPUT_ERRORS, Metadata
from imgsearch.encoders.frames import FrameError, read_frame
from imgsearch.encoders.onnx_folder import read_description
from imgsearch.errors import BatchInvalid, ModelInvalid, QueryInvalid
from imgsearch.indexer.facts import read_details
from imgsearch.indexer.iptc import read_iptc
from imgsearch.indexer.keywords import clean_keywords
from imgsearch.indexer.xmp import read_xmp
from imgsearch.search.dates import days_between, parse_period, split_dates
from imgsearch.search.language import MAX_WEIGHT, parse
from imgsearch.search.query import cleaned, split_picture, terms_of
from imgsearch.search.saved import checked_name, from_json, to_json

_TODAY = date(2024, 2, 29)
_WORK = Path(tempfile.gettempdir())


@dataclass(frozen=True, slots=True)
class Target:
    """A promise, and valid inputs that fuzzing begins with; `words` are a dictionary for it."""

    check: Callable[[bytes], None]
    examples: tuple[bytes, ...]
    words: tuple[str, ...] = ()


def query_language(data: bytes) -> None:
    """Any text has parts with words and weights in range, or is refused."""
    text = cleaned(data.decode("utf-8", "surrogateescape"))
    with suppress(QueryInvalid):
        for part in parse(text):
            assert part.words, part
            assert 0 < abs(part.weight) <= MAX_WEIGHT, part
    with suppress(QueryInvalid):
        terms_of(text, without=[text, text[1:]])
    with suppress(QueryInvalid):
        _, weight = split_picture(text)
        assert 0 < weight <= MAX_WEIGHT


def dates(data: bytes) -> None:
    """Any text is a period from a day to a day not before it, or none."""
    text = data.decode("utf-8", "surrogateescape")[:2_000]
    with suppress(QueryInvalid):
        period = parse_period(text, _TODAY)
        assert period.since <= period.until, period
    rest, found = split_dates(text, _TODAY)
    assert len(rest) <= len(text)
    assert found is None or found.since <= found.until, found
    first, _, second = text.partition("|")
    with suppress(QueryInvalid):
        since, until = days_between(first, second, None, _TODAY)
        assert (since or date.min) <= (until or date.max)


def facts(data: bytes) -> None:
    """EXIF, XMP and IPTC of any bytes give facts in their ranges."""
    kind, block = data[:1], data[1:]
    exif = Image.Exif()
    with suppress(*HOSTILE_INPUT_ERRORS):
        exif.load(b"Exif\0\0" + block)
    packet, rows = (block, b"") if kind < b"\x80" else (b"", block)
    found = read_details(Metadata(exif, packet, rows))
    check_facts(PictureFacts.from_json({"width": 1, "height": 1, "format": ""} | found))
    xmp = read_xmp(block)
    assert xmp.rating is None or -1 <= xmp.rating <= 5
    kept = clean_keywords([*xmp.words, *read_iptc(block)])
    assert len(kept) <= 100
    assert all(0 < len(word) <= 128 for word in kept)


def check_facts(found: PictureFacts) -> None:
    """Raise AssertionError for facts out of range."""
    assert found.taken_at is None or len(found.taken_at) == 19, found
    for text in (found.camera, found.lens):
        assert text is None or (text.isprintable() and len(text) <= 300), found
    for value, most in ((found.latitude, 90), (found.longitude, 180)):
        assert value is None or (math.isfinite(value) and abs(value) <= most), found
    assert found.rating in (None, -1, 0, 1, 2, 3, 4, 5), found
    json.dumps(asdict(found))
    for text in (found.camera, found.lens, *found.keywords):
        # What SQLite stores.
        assert text is None or isinstance(text.encode("utf-8"), bytes), found


def model_description(data: bytes) -> None:
    """Any bytes are a model description within bounds, or refused."""
    place = _WORK / f"imgsearch-fuzz-{os.getpid()}.json"
    place.write_text(spoilt_json(_MODEL, data), errors="surrogateescape")
    with suppress(ModelInvalid):
        described = read_description(place, "source")
        assert 1 <= described.dimension <= 1 << 20
        assert 1 <= described.preprocessing.size <= 1 << 14
        assert described.name.isprintable()
        assert described.revision.isprintable()


def saved_searches(data: bytes) -> None:
    """Any JSON is a search that can be asked and kept as it is, or refused."""
    text = spoilt_json(_SEARCH, data)
    with suppress(QueryInvalid):
        query = from_json(text)
        assert all(math.isfinite(term.weight) for term in query.terms), query
        assert isinstance(query.described, str)
        assert isinstance(query.words, str)
        again = from_json(to_json(query))
        # Paths are absolute from the first time on.
        assert to_json(again) == to_json(query)
    with suppress(QueryInvalid):
        assert 0 < len(checked_name(text)) <= 100


def filters(data: bytes) -> None:
    """Any values are filters that can be tested, or refused."""
    text = data.decode("utf-8", "surrogateescape")
    parts = text.split("|")
    with suppress(QueryInvalid):
        NamePatterns(parts).match("/photos/IMG_0001.jpg")
    with suppress(QueryInvalid):
        Filters(cameras=tuple(parts), keywords=tuple(parts), names=tuple(parts[:3]))
    numbers = [_number(part) for part in parts[:3]]
    if len(numbers) == 3:
        with suppress(QueryInvalid):
            near = Near(*numbers)
            assert isinstance(near.test()(0.0, 0.0), bool)
            assert math.isfinite(near.distance(12.0, 13.0))
            assert all(len(pair) == 2 for pair in near.longitudes())


def batch(data: bytes) -> None:
    """Any file is a list of queries and of lines that are none, or refused."""
    with suppress(BatchInvalid):
        found = read_batch("-", io.BytesIO(data))
        assert 0 < len(found.lines) + len(found.errors) <= MAX_QUERIES
        numbers = sorted([one.number for one in (*found.lines, *found.errors)])
        assert len(set(numbers)) == len(numbers)


def frames(data: bytes) -> None:
    """Any bytes of a child are a message, or refused; so are the facts in it."""
    with suppress(FrameError):
        header, body = read_frame(io.BytesIO(data), 1 << 16)
        assert isinstance(header, dict)
        assert isinstance(body, bytes)
    try:
        told = json.loads(spoilt_json(_FACTS, data))
        found = PictureFacts.from_json(told)
    except (TypeError, ValueError, RecursionError):
        return
    check_facts(found)
    # 0 stands for pixels that were not looked at.
    assert 0 <= found.width < 1 << 63
    assert 0 <= found.height < 1 << 63
    assert 1 <= found.orientation <= 8
    assert isinstance(found.format, str)


def spoilt_json(valid: dict[str, Any], data: bytes) -> str:
    """Return the data as text, or a valid object with some of its values replaced.

    Bytes seldom hit on what is JSON. After a first byte of 128 or more, each pair of bytes is the
    number of a value and of what stands in its place.
    """
    if data[:1] < b"\x80":
        return data.decode("utf-8", "surrogateescape")
    spoilt = json.loads(json.dumps(valid))
    for which, odd in zip(data[1:17:2], data[2:17:2], strict=False):
        places = [*_places(spoilt)]
        if not places:
            break
        holder, key = places[which % len(places)]
        holder[key] = copy.deepcopy(_ODD[odd % len(_ODD)])
    return json.dumps(spoilt)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (holder, key) of all values inside a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _frame(header: dict[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + len(body).to_bytes(4, "big") + text + body


def _exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x4746] = "Canon", "EOS", 4
    exif.get_ifd(0x8769)[0x9003] = "2023:06:01 12:30:05"
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "S", (33.0, 52.0, 10.0), "E", (151.0, 1.0, 3.0)
    return exif.tobytes()[6:]


_PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>sea</rdf:li>'
    b"</rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)
_ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 5, 6, 90.0, 181.0, 1 << 31, 1 << 63, -(1 << 63), 1 << 70, 1e308,
    math.nan, math.inf, 0.5, "", "x", "\0", "\ud800", "\x1b[31m", "9999-12-31", "0000-00-00",
    "match",
    "x" * 300, [], [None], [1, 2], ["a"], ["a", 1], [[]], {}, {"words": "x"}, [{}], "1", "squash",
    "landscape", ["landscape"], ["\ud800"], [1.5, 2.5, 3.5], [True], "2023-02-30", "20230101",
)  # fmt: skip
_FACTS = {
    "width": 3, "height": 2, "format": "PNG", "orientation": 1, "taken_at": "2023-01-01T00:00:00",
    "camera": "C", "lens": "L", "latitude": 1.5, "longitude": 2.5, "rating": 3, "keywords": ["a"],
}  # fmt: skip
_MODEL = {
    "format": 1, "name": "m", "revision": "1", "dimension": 512, "license": "MIT",
    "image": {"size": 224, "resample": "bicubic", "resize": "crop"},
    "text": {"context_length": 77, "languages": ["en"]},
}  # fmt: skip
_SEARCH = {
    "sort": "match", "min_strength": 0, "cut_off": True, "group": True, "good": [1], "bad": [],
    "terms": [{"words": "sea", "weight": 1.0}, {"picture": 3, "weight": -0.5}],
    "filters": {"since": "2023-01-01", "near": [1.0, 2.0, 3.0], "names": ["*.jpg"],
                "cameras": ["Canon*"], "min_rating": 3, "folders": ["/a"], "has_place": True},
}  # fmt: skip

TARGETS = {
    "query_language": Target(
        query_language, (b'"red car":2 + snow -people:0.5', b"16:9 t-shirt c++ \xe2\x80\x9cx")
    ),
    "dates": Target(
        dates,
        (b"between june and august 2023", b"2023-06-15|2024", b"last 3 months", b"the 90s"),
        tuple(
            "since before until last this ago week months summer christmas of from to 99".split()
        ),
    ),
    "facts": Target(
        facts,
        (b"\x01" + _exif_block(), b"\x01" + _PACKET, b"\xff\x1c\x02\x19\0\x05beach"),
        ("xmp:Rating", "rdf:li", "<!DOCTYPE", "<!ENTITY", "&a;", "<![CDATA["),
    ),
    "model_description": Target(
        model_description, (json.dumps(_MODEL).encode(), b"\x80\1\2"), ("null", "1e9")
    ),
    "saved_searches": Target(
        saved_searches,
        (json.dumps(_SEARCH).encode(), b"\x80\1\2"),
        ("null", "true", "NaN", "1e999", "[]", "{}"),
    ),
    "filters": Target(filters, (b"IMG_*.jpg|[a-z]?|/x/", b"12.5|-33.1|100", b"90|180|1e9")),
    "batch": Target(batch, (b"# x\nred car\n\xff\n-people\n", b"\xef\xbb\xbfsea\r\n\r\nsnow")),
    "frames": Target(
        frames,
        (
            b"\x80\1\2",
            _frame({"kind": "photo", "facts": {"rating": 3, "keywords": ["a"]}}, b"xy"),
            _frame({"kind": "photo", "facts": {"width": 3, "latitude": 1.5, "camera": "C"}}),
        ),
        ("null", "NaN", "1e999", "true", "[[[[", "longitude", "taken_at", "orientation", "height"),
    ),
}
