"""Lists of results as text and CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

from imgsearch import DuplicateGroup, SearchHit

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


def surplus_as_text(groups: Sequence[DuplicateGroup]) -> bytes:
    """Return the paths of all files but the best of each group, one a line, as on disk."""
    return b"".join(os.fsencode(path) + b"\n" for group in groups for path in group.surplus_paths)


def groups_as_csv(groups: Sequence[DuplicateGroup]) -> bytes:
    """Return a table of all files of all groups; `keep` is 1 for the one to keep."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("group", "keep", "alike", "path", "date", "width", "height", "bytes"))
    for number, group in enumerate(groups, start=1):
        for hit, alike in zip(group.hits, group.alike, strict=True):
            facts = hit.facts
            for copy, path in enumerate((hit.path, *hit.duplicates)):
                keep = int(hit is group.best and not copy)
                row = (
                    number, keep, round(alike, 4), path, hit.date, facts.width, facts.height,
                    hit.byte_size,
                )  # fmt: skip
                table.writerow([_cell(value) for value in row])
    return os.fsencode(text.getvalue())


def _cell(value: object) -> object:
    """Keep a spreadsheet from taking a text out of EXIF for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return "'" + value
    return value
