"""Lists of results as text and CSV."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Sequence

from imgsearch import DuplicateGroup, SearchHit
from imgsearch.outputs import HIT_COLUMNS, CsvStream, CsvTable


def as_text(hits: Sequence[SearchHit]) -> bytes:
    """Return the paths, one a line, as the bytes that they are on disk."""
    return b"".join(os.fsencode(hit.path) + b"\n" for hit in hits)


def as_csv(hits: Sequence[SearchHit]) -> bytes:
    """Return a table with a header line; it begins with the mark by which Excel knows UTF-8."""
    table = io.BytesIO()
    table.write(codecs.BOM_UTF8)
    CsvStream(table, HIT_COLUMNS).write(hits)
    return table.getvalue()


def surplus_as_text(groups: Sequence[DuplicateGroup]) -> bytes:
    """Return the paths of all files but the best of each group, one a line, as on disk."""
    return b"".join(os.fsencode(path) + b"\n" for group in groups for path in group.surplus_paths)


def groups_as_csv(groups: Sequence[DuplicateGroup]) -> bytes:
    """Return a table of all files of all groups; `keep` is 1 for the one to keep."""
    stream = io.BytesIO()
    stream.write(codecs.BOM_UTF8)
    names = ("group", "keep", "alike", "path", "date", "width", "height", "byte_size")
    table = CsvTable(stream, names)
    for number, group in enumerate(groups, start=1):
        for hit, alike in zip(group.hits, group.alike, strict=True):
            size = hit.facts.width, hit.facts.height, hit.byte_size
            for copy, path in enumerate((hit.path, *hit.duplicates)):
                keep = int(hit is group.best and not copy)
                table.add(number, keep, round(alike, 4), path, hit.date, *size)
    return stream.getvalue()
