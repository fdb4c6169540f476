"""Lists of results as text and CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

from imgsearch import SearchHit

_COLUMNS = (
    "path", "strength", "score", "date", "camera", "lens", "width", "height", "bytes",
    "latitude", "longitude",
)  # fmt: skip


def as_text(hits: Sequence[SearchHit]) -> bytes:
    """Return the paths, one a line, as the bytes that they are on disk."""
    return b"".join(os.fsencode(hit.path) + b"\n" for hit in hits)


def as_csv(hits: Sequence[SearchHit]) -> bytes:
    """Return a table with a header line; paths are the bytes that they are on disk."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    for hit in hits:
        facts = hit.facts
        row = (
            hit.path, hit.strength, None if hit.score is None else round(hit.score, 4), hit.date,
            facts.camera, facts.lens, facts.width, facts.height, hit.byte_size, facts.latitude,
            facts.longitude,
        )  # fmt: skip
        table.writerow([_cell(value) for value in row])
    return os.fsencode(text.getvalue())


def _cell(value: object) -> object:
    """Keep a spreadsheet from taking a text out of EXIF for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return "'" + value
    return value
