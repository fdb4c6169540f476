"""Many queries from one text file."""

from __future__ import annotations

import codecs
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgsearch.errors import BatchInvalid, QueryInvalid
from imgsearch.search.query import Query, terms_of

STANDARD_INPUT = "-"
# Far more than anybody waits for; a file above this is hardly one of queries.
MAX_BYTES = 10_000_000
MAX_QUERIES = 100_000
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A query and the number of its line, from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class BatchError:
    """A line that is no query, and why; `number` counts from 1."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What a file holds: the queries, and the lines that are none, both in the file's order."""

    lines: tuple[BatchLine, ...]
    errors: tuple[BatchError, ...]


def read_batch(source: str, standard_input: BinaryIO | None = None) -> Batch:
    """Read queries from a text file, one a line; "-" stands for standard input.

    UTF-8, with or without a byte order mark; either kind of line end. Blank lines and lines that
    begin with # are left out. `standard_input` is by default that of the process. Raises
    BatchInvalid when the file cannot be read, exceeds `MAX_BYTES` or `MAX_QUERIES`, or holds no
    line that could be a query.
    """
    name = "standard input" if source == STANDARD_INPUT else source
    data = _bytes_of(source, name, standard_input)
    if data.startswith(_UTF16):
        raise BatchInvalid(f"{name} is UTF-16. Save it as UTF-8 and try again.")
    lines: list[BatchLine] = []
    errors: list[BatchError] = []
    for number, raw in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if not raw.strip() or raw.lstrip().startswith(b"#"):
            continue
        if len(lines) + len(errors) == MAX_QUERIES:
            raise BatchInvalid(
                f"{name} holds more than {MAX_QUERIES:,} queries. Split it into several files."
            )
        try:
            text = raw.decode("utf-8").strip()
            # Made only for its checks.
            Query(terms_of(text))
        except UnicodeDecodeError:
            errors.append(BatchError(number, "This line is not UTF-8."))
        except QueryInvalid as error:
            errors.append(BatchError(number, str(error)))
        else:
            lines.append(BatchLine(number, text))
    if not lines and not errors:
        raise BatchInvalid(f"{name} holds no query. Write one a line; # begins a remark.")
    return Batch(tuple(lines), tuple(errors))


def _bytes_of(source: str, name: str, standard_input: BinaryIO | None) -> bytes:
    try:
        if source == STANDARD_INPUT:
            data = (standard_input or sys.stdin.buffer).read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        # A name that holds a NUL is a ValueError.
        reason = getattr(error, "strerror", None) or error
        raise BatchInvalid(f"Cannot read the queries in {name}: {reason}.") from error
    if len(data) > MAX_BYTES:
        raise BatchInvalid(
            f"{name} is larger than {MAX_BYTES // 1_000_000} MB; is it a file of queries?"
        )
    return data
