"""Lists of results as text and CSV."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Sequence

from imgsearch import SearchHit
from imgsearch.outputs import HIT_COLUMNS, CsvStream


def as_text(hits: Sequence[SearchHit]) -> bytes:
    """Return the paths, one a line, as the bytes that they are on disk."""
    return b"".join(os.fsencode(hit.path) + b"\n" for hit in hits)


def as_csv(hits: Sequence[SearchHit]) -> bytes:
    """Return a table with a header line; it begins with the mark by which Excel knows UTF-8."""
    table = io.BytesIO()
    table.write(codecs.BOM_UTF8)
    CsvStream(table, HIT_COLUMNS).write(hits)
    return table.getvalue()
