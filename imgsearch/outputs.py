"""Results as files and streams for other programs: JSON, CSV and Parquet.

All three have the columns of `COLUMNS`. File names that are not UTF-8 come out as follows:

- JSON: each such byte is the escape of a lone surrogate (``\\udcff`` for the byte 0xff), as Python
  shows it; ``os.fsencode`` of what ``json.loads`` returns is the name on disk.
- CSV: the bytes as they are on disk; Python reads them with ``errors="surrogateescape"``.
- Parquet, whose texts must be UTF-8: each such byte is spelt ``\\xff``. The content hash tells
  which picture is meant.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from imgsearch.data.paths import printable
from imgsearch.errors import ExtraMissing, OutputFailed, OutputInvalid

if TYPE_CHECKING:
    from imgsearch.search.results import SearchHit, SearchResults

# What spreadsheets take for the beginning of a formula, by OWASP's page on CSV injection.
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


class Format(Enum):
    """What results can be written as; the value is the suffix of such a file."""

    JSON = ".json"
    CSV = ".csv"
    PARQUET = ".parquet"

    @classmethod
    def of(cls, path: Path) -> Format:
        """Return the format that a file's name asks for. Raises OutputInvalid."""
        try:
            return cls(path.suffix.lower())
        except ValueError as error:
            raise OutputInvalid(
                f"{path} does not say what to write; name a file that ends in .json, .csv or "
                ".parquet."
            ) from error


class Kind(Enum):
    """What the values of a column are. All but PATHS may be None."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    # True or false; in CSV these words in small letters.
    FLAG = "flag"
    # Local time in ISO 8601, to the second; in Parquet a timestamp without a zone.
    MOMENT = "moment"
    # File names: a list in JSON and Parquet, a JSON list in a cell of CSV.
    PATHS = "paths"


@dataclass(frozen=True, slots=True)
class Row:
    """A hit in its place: `rank` counts from 1 within its query."""

    query: str
    rank: int
    hit: SearchHit


@dataclass(frozen=True, slots=True)
class Column:
    """A column of every output. A new fact takes one more of these."""

    name: str
    kind: Kind
    value: Callable[[Row], Any]


COLUMNS = (
    Column("query", Kind.TEXT, lambda row: row.query),
    Column("rank", Kind.INTEGER, lambda row: row.rank),
    Column("path", Kind.TEXT, lambda row: row.hit.path),
    Column("score", Kind.REAL, lambda row: row.hit.score),
    Column("strength", Kind.INTEGER, lambda row: row.hit.strength),
    Column("date", Kind.MOMENT, lambda row: row.hit.date or None),
    Column("width", Kind.INTEGER, lambda row: row.hit.facts.width),
    Column("height", Kind.INTEGER, lambda row: row.hit.facts.height),
    Column("format", Kind.TEXT, lambda row: row.hit.facts.format),
    Column("byte_size", Kind.INTEGER, lambda row: row.hit.byte_size),
    Column("camera", Kind.TEXT, lambda row: row.hit.facts.camera),
    Column("lens", Kind.TEXT, lambda row: row.hit.facts.lens),
    Column("latitude", Kind.REAL, lambda row: row.hit.facts.latitude),
    Column("longitude", Kind.REAL, lambda row: row.hit.facts.longitude),
    Column("rating", Kind.INTEGER, lambda row: row.hit.facts.rating),
    Column("keywords", Kind.PATHS, lambda row: list(row.hit.facts.keywords)),
    Column("content_hash", Kind.TEXT, lambda row: row.hit.content_hash),
    Column("picture_id", Kind.INTEGER, lambda row: row.hit.picture_id),
    Column("duplicates", Kind.PATHS, lambda row: list(row.hit.duplicates)),
    Column("offline", Kind.FLAG, lambda row: row.hit.offline),
)
# What is told of a hit by itself, where no single query stands behind it.
HIT_COLUMNS = tuple(column for column in COLUMNS if column.name not in ("query", "rank"))


def write_results(
    results: Sequence[SearchResults],
    queries: Sequence[str],
    path: Path,
    format: Format | None = None,
    first: int = 1,
) -> None:
    """Write the results of some queries, one of `results` to each of `queries`, as a file.

    The file appears whole or not at all. One that is there is replaced only if it is a regular
    file whose name says that it holds results (.json, .csv, .parquet): never a photo, a link or a
    device. `format` is by default what the suffix says; ranks begin at `first`. Raises
    OutputInvalid, OutputFailed, or ExtraMissing where Parquet is asked for without pyarrow.
    """
    chosen = format or Format.of(path)
    if chosen is Format.PARQUET:
        check_parquet()
    check_place(path)
    with _replacing(path) as file:
        if chosen is Format.JSON:
            file.write(as_json(results, queries, first).encode("ascii") + b"\n")
        elif chosen is Format.CSV:
            table = CsvStream(file)
            for query, hits in zip(queries, results, strict=True):
                table.write(hits, query, first)
        else:
            _write_parquet(_rows(results, queries, first), file)


def check_place(path: Path) -> None:
    """Raise OutputInvalid unless results may be written to `path`, before any work is done."""
    try:
        if not path.parent.is_dir():
            raise OutputInvalid(f"There is no folder {path.parent} to write {path.name} to.")
        there = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputInvalid(f"Cannot write {path}: {error.strerror}.") from error
    if not stat.S_ISREG(there.st_mode):
        raise OutputInvalid(f"{path} is not a plain file and is not replaced. Name another one.")
    if path.suffix.lower() not in {one.value for one in Format}:
        raise OutputInvalid(
            f"{path} is there already and, by its name, holds something else than results. Name "
            "another file."
        )


def check_parquet() -> None:
    """Raise ExtraMissing unless Parquet can be written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            "Parquet is written by pyarrow, which is not installed. Install it (pip install "
            "pyarrow), or name a file that ends in .csv or .json."
        ) from error


def as_json(results: Sequence[SearchResults], queries: Sequence[str], first: int = 1) -> str:
    """Return an ASCII JSON list with one object a query.

    Each has `query`, `model`, `note`, `total`, `matching` (see `SearchResults`) and `hits`, a list
    of objects with the other columns. Ranks begin at `first`.
    """
    answers = [
        {
            "query": query,
            "model": found.model,
            "note": found.note,
            "total": found.total,
            "matching": found.matching,
            "hits": [
                {column.name: column.value(row) for column in COLUMNS if column.name != "query"}
                for row in _ranked(found, query, first)
            ],
        }
        for query, found in zip(queries, results, strict=True)
    ]
    # Of what a terminal could obey, JSON leaves only DEL as it is.
    return json.dumps(answers, indent=2).replace("\x7f", "\\u007f")


class CsvTable:
    """A CSV table that grows row by row, on a file or on standard output.

    As RFC 4180 has it (commas, ``\\r\\n``), in UTF-8, with a header line. A text that a spreadsheet
    would take for a formula gets an apostrophe in front; numbers stay numbers. On a terminal,
    control characters are spelt as escapes.
    """

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        """Write the header to `stream`, which the caller keeps and closes."""
        self._stream = stream
        self._on_terminal = stream.isatty()
        self._line(names)

    def add(self, *values: object) -> None:
        """Append a row."""
        self._line([self._cell(value) for value in values])

    def _cell(self, value: object) -> object:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            value = json.dumps(value, ensure_ascii=False) if value else None
        if not isinstance(value, str):
            return value
        if self._on_terminal:
            value = printable(value)
        return "'" + value if value.startswith(_FORMULA_STARTS) else value

    def _line(self, cells: Sequence[object]) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(cells)
        self._stream.write(_bytes_on_disk(text.getvalue()))


class CsvStream:
    """A `CsvTable` of results, which grows query by query."""

    def __init__(self, stream: BinaryIO, columns: Sequence[Column] = COLUMNS) -> None:
        """Write the header to `stream`, which the caller keeps and closes."""
        self._stream = stream
        self._columns = columns
        self._table = CsvTable(stream, [column.name for column in columns])

    def write(self, hits: Iterable[SearchHit], query: str = "", first: int = 1) -> None:
        """Append the hits of one query, best first, with ranks from `first` on."""
        for row in _ranked(hits, query, first):
            self._table.add(*(column.value(row) for column in self._columns))
        self._stream.flush()


def _bytes_on_disk(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Windows has names with surrogates that stand for no byte.
        return text.encode("utf-8", "backslashreplace")


def _ranked(hits: Iterable[SearchHit], query: str, first: int) -> Iterator[Row]:
    return (Row(query, rank, hit) for rank, hit in enumerate(hits, start=first))


def _rows(results: Sequence[SearchResults], queries: Sequence[str], first: int) -> Iterator[Row]:
    for query, found in zip(queries, results, strict=True):
        yield from _ranked(found, query, first)


def _write_parquet(rows: Iterable[Row], file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        Kind.TEXT: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.REAL: pa.float64(),
        Kind.FLAG: pa.bool_(),
        Kind.MOMENT: pa.timestamp("s"),
        Kind.PATHS: pa.list_(pa.string()),
    }
    kept = list(rows)
    columns = [
        pa.array([_parquet_value(one.kind, one.value(row)) for row in kept], types[one.kind])
        for one in COLUMNS
    ]
    pq.write_table(pa.table(columns, names=[one.name for one in COLUMNS]), file)


def _parquet_value(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind is Kind.TEXT:
        return _utf8(value)
    if kind is Kind.PATHS:
        return [_utf8(one) for one in value]
    if kind is Kind.MOMENT:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return value


def _utf8(text: str) -> str:
    return _bytes_on_disk(text).decode("utf-8", "backslashreplace")


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of `path` when the block ends without an error."""
    # Made by os.open rather than tempfile, so that the user's umask decides who may read it.
    draft = path.with_name(f".imgsearch-{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputFailed(
            f"Cannot write {path}: {error.strerror or error}. Nothing was changed there."
        ) from error
