"""A scan compared with the catalog, by SQL, in temporary tables.

The paths of a library of a million files never sit in Python's memory: what of the scan is not just
as it is known (`known_files`) is streamed into a temporary table, and what is new, changed or gone
comes out of joins.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Select,
    Subquery,
    Table,
    and_,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy import text as sql
from sqlalchemy.orm import aliased

from imgsearch.data.bulk import ROWS, execute_rows
from imgsearch.data.catalog import Catalog
from imgsearch.data.known_files import KnownFiles
from imgsearch.data.paths import from_stored, to_stored
from imgsearch.data.records import (
    FACTS_VERSION,
    SUSPECT_VERSION,
    FailureKind,
    FileStat,
    ScannedRow,
)
from imgsearch.data.schema import Embedding, Failure, File, PathText, Picture
from imgsearch.data.scopes import Scope

_PAGE = 1000
# Scanned files that are compared at once.
_SCAN_PAGE = 10_000
# Files that are forgotten in one transaction; a million of them at once would hold up everybody.
_GONE_PAGE = 10_000
# Rows of a table (file or failure) that were looked for in whole roots and are not there.
_IN_ROOTS = """
SELECT {columns} FROM {table} AS one WHERE root_id IN (SELECT value FROM json_each(?))
AND (root_id, path) NOT IN (SELECT root_id, path FROM temp.scanned) AND looked_for(root_id, path)
"""
# The same in ranges of paths. A join in this order, because SQLite would otherwise read the whole
# table; no list of the scanned paths, because that would cost what the scan does for every range.
_IN_RANGES = """
SELECT {columns} FROM wanted CROSS JOIN {table} AS one
ON one.root_id = root AND one.path >= low AND one.path < high
WHERE looked_for(one.root_id, one.path) AND NOT EXISTS
(SELECT 1 FROM temp.scanned s WHERE s.root_id = one.root_id AND s.path = one.path)
"""
# Of files of which no scanned one was just the same: those that none was at all.
_GONE_OF_MISSED = f"""
WITH missed (id) AS (VALUES {ROWS}) INSERT INTO gone
SELECT one.id, one.picture_id FROM missed CROSS JOIN file AS one ON one.id = missed.id
WHERE looked_for(one.root_id, one.path) AND NOT EXISTS
(SELECT 1 FROM temp.scanned s WHERE s.root_id = one.root_id AND s.path = one.path)
"""
_RANGES = f"WITH wanted (root, low, high) AS (VALUES {ROWS}) "

_scanned = Table(
    "scanned",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("root_id", Integer),
    Column("path", PathText),
    Column("size", Integer),
    Column("mtime_ns", Integer),
    Column("sniff", Integer),
    Column("touched", Integer),
    prefixes=["TEMPORARY"],
)

# Two overlapping paths on the command line meet the same file twice.
_ADD = """
INSERT OR IGNORE INTO temp.scanned (root_id, path, size, mtime_ns, sniff, touched)
VALUES (?, ?, ?, ?, ?, ?)
"""


class Change(Enum):
    """Why a scanned file needs work."""

    NEW = "new"
    CHANGED = "changed"
    # The file is as it was; its picture has no vector of the model in use yet.
    UNEMBEDDED = "unembedded"


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file that needs work.

    `size_known`: a picture of just this many bytes is embedded, so that it may be the same one.
    `picture_id` is the picture that the path showed before, if it is not new.
    """

    file: FileStat
    change: Change
    sniff: bool
    size_known: bool
    picture_id: int | None


@dataclass(frozen=True, slots=True)
class OutdatedPicture:
    """A picture whose facts are to be read again, and a file that shows it.

    `suspect`: nothing that the catalog says of it is certain, but the hash of its content.
    """

    picture_id: int
    file: FileStat
    content_hash: bytes
    suspect: bool


class ScanTable:
    """The files met by one scan. Lives as long as the catalog's connection."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: KnownFiles | None = None
        with catalog.transaction() as session:
            connection = session.connection()
            connection.execute(sql("DROP TABLE IF EXISTS temp.scanned"))
            _scanned.create(connection)
            connection.execute(
                sql("CREATE UNIQUE INDEX temp.scanned_path ON scanned (root_id, path)")
            )

    def know(self, model_id: int, scopes: Sequence[Scope], pulse: Callable[[], None]) -> None:
        """Learn what the catalog holds in `scopes`, all of which will be scanned.

        Files that turn out to be as they are known, with nothing left to do under the model, are
        counted then, and take no part in what follows. `pulse`: see `KnownFiles.read`.
        """
        self._known = KnownFiles.read(self._catalog, model_id, scopes, pulse)

    def add(self, pages: Iterable[list[ScannedRow]]) -> None:
        """Take in the scan, in pages of any size, without holding it in memory."""
        rows: list[ScannedRow] = []
        for page in pages:
            rows += page
            if len(rows) >= _SCAN_PAGE:
                self._take_in(rows)
                rows = []
        if rows:
            self._take_in(rows)

    def _take_in(self, rows: list[ScannedRow]) -> None:
        if self._known is not None:
            rows = self._known.others(rows)
        if not rows:
            return
        stored = [(root_id, to_stored(path), *facts) for root_id, path, *facts in rows]
        with self._catalog.reading() as connection:
            connection.executemany(_ADD, stored)

    def count(self) -> int:
        """Return how many files the scan met."""
        with self._catalog.reading() as connection:
            (listed,) = connection.execute("SELECT count(*) FROM temp.scanned").fetchone()
        return int(listed) + (self._known.settled if self._known else 0)

    def count_pending(self, model_id: int, *, retry_failed: bool) -> int:
        """Return how many scanned files need work."""
        statement = select(func.count()).select_from(_pending(model_id, retry_failed).subquery())
        with self._catalog.transaction() as session:
            return session.execute(statement).scalar_one()

    def count_set_aside(self, model_id: int, kind: FailureKind) -> int:
        """Return how many scanned files failed before, in this way, and have not changed since.

        Not counted are those that have a vector of the model all the same.
        """
        statement = (
            select(func.count())
            .select_from(_scanned)
            .join(Failure, _same(Failure))
            .where(Failure.kind == kind.value, ~_embedded_before(model_id))
        )
        with self._catalog.transaction() as session:
            return session.execute(statement).scalar_one()

    def pending(self, model_id: int, *, retry_failed: bool) -> Iterator[PendingFile]:
        """Yield the files that need work, in the order of the scan, a page at a time."""
        last = 0
        while True:
            statement = _pending(model_id, retry_failed).where(_scanned.c.id > last)
            with self._catalog.transaction() as session:
                page = session.execute(statement.order_by(_scanned.c.id).limit(_PAGE)).all()
            if not page:
                return
            for row in page:
                # By position: a name takes longer to look up than a value to use.
                _, root_id, path, size, mtime_ns, sniff, _, *known = row
                file_id, picture_id, same, size_known = known
                change = Change.NEW
                if file_id is not None:
                    change = Change.UNEMBEDDED if same else Change.CHANGED
                yield PendingFile(
                    file=FileStat(root_id, path, size, mtime_ns),
                    change=change,
                    sniff=bool(sniff),
                    size_known=bool(size_known),
                    picture_id=picture_id,
                )
            last = page[-1].id

    def count_outdated(self) -> int:
        """Return how many pictures have facts that an older version read; see `outdated`."""
        with self._catalog.transaction() as session:
            return session.execute(select(func.count()).select_from(_outdated())).scalar_one()

    def outdated(self) -> Iterator[OutdatedPicture]:
        """Yield pictures whose facts were read by an older version, each with a scanned file.

        A picture comes once, whatever becomes of it meanwhile. The files are as they were when the
        catalog heard of them last.
        """
        last = 0
        while True:
            found = _outdated()
            statement = (
                select(found.c.picture_id, found.c.content_hash, found.c.facts_version, _scanned)
                .join(_scanned, _scanned.c.id == found.c.scanned_id)
                .where(found.c.picture_id > last)
                .order_by(found.c.picture_id)
                .limit(_PAGE)
            )
            with self._catalog.transaction() as session:
                page = session.execute(statement).all()
            if not page:
                return
            for row in page:
                file = FileStat(row.root_id, row.path, row.size, row.mtime_ns)
                suspect = row.facts_version == SUSPECT_VERSION
                yield OutdatedPicture(row.picture_id, file, row.content_hash, suspect)
            last = page[-1].picture_id

    def find_gone(self, scopes: list[Scope], unreadable: list[Scope]) -> int:
        """Note the catalog's files inside `scopes` that the scan did not meet; return their number.

        What lies below an `unreadable` folder was not looked for, and is not gone. A scope with a
        prefix costs what is below it, not what its root holds.
        """
        with self._catalog.reading() as connection:
            _define_looked_for(connection, scopes, unreadable)
            connection.execute("DROP TABLE IF EXISTS temp.gone")
            connection.execute(
                "CREATE TEMPORARY TABLE gone (file_id INTEGER PRIMARY KEY, picture_id INTEGER)"
            )
            if self._known is None:
                find = "INSERT OR IGNORE INTO gone {found}"
                _not_met(connection, scopes, find, "file", "id, picture_id")
            else:
                for page in self._known.missed():
                    execute_rows(connection, _GONE_OF_MISSED, page)
            connection.execute("CREATE INDEX temp.gone_picture ON gone (picture_id)")
            (count,) = connection.execute("SELECT count(*) FROM gone").fetchone()
        return int(count)

    def gone(self) -> Iterator[list[int]]:
        """Yield the ids of the files that `find_gone` noted, in pages."""
        last = 0
        while True:
            with self._catalog.statements() as connection:
                rows = connection.execute(
                    "SELECT file_id FROM gone WHERE file_id > ? ORDER BY file_id LIMIT ?",
                    (last, _GONE_PAGE),
                ).fetchall()
            if not rows:
                return
            yield [row[0] for row in rows]
            last = rows[-1][0]

    def lost_paths(self) -> Counter[int]:
        """Return how many paths of each picture `find_gone` noted, each looked up when asked for.

        A new path that shows one of them is a move.
        """
        return _LostPaths(self._catalog)

    def forget_gone_failures(self, scopes: list[Scope], unreadable: list[Scope]) -> None:
        """Drop the failures of files that are no longer there."""
        with self._catalog.statements() as connection:
            _define_looked_for(connection, scopes, unreadable)
            forget = "DELETE FROM failure WHERE id IN ({found})"
            _not_met(connection, scopes, forget, "failure", "id")


def _define_looked_for(
    connection: sqlite3.Connection, scopes: list[Scope], unreadable: list[Scope]
) -> None:
    """Let statements call ``looked_for(root_id, path)``."""

    def looked_for(root_id: int, stored: str | bytes) -> bool:
        path = from_stored(stored)
        inside = any(scope.covers(root_id, path) for scope in scopes)
        return inside and not any(scope.covers(root_id, path) for scope in unreadable)

    connection.create_function("looked_for", 2, looked_for)


def _not_met(
    connection: sqlite3.Connection, scopes: list[Scope], do: str, table: str, columns: str
) -> None:
    """Run a statement on the rows of `table` inside `scopes` that the scan did not meet.

    `do` has ``{found}`` where the SELECT of their `columns` belongs.
    """
    roots = {scope.root_id for scope in scopes if not scope.prefix}
    if roots:
        found = _IN_ROOTS.format(columns=columns, table=table)
        connection.execute(do.format(found=found), (json.dumps(sorted(roots)),))
    ranges = [
        one
        for scope in scopes
        if scope.prefix and scope.root_id not in roots
        for one in scope.ranges()
    ]
    found = _IN_RANGES.format(columns=f"one.{columns}", table=table)
    execute_rows(connection, _RANGES + do.format(found=found), ranges)


class _LostPaths(Counter[int]):
    """Counts by picture id that are read from the table `gone` at the first question for each."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__()
        self._catalog = catalog

    def __missing__(self, picture_id: int) -> int:
        with self._catalog.statements() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM gone WHERE picture_id = ?", (picture_id,)
            ).fetchone()
        if count:
            self[picture_id] = count
        return int(count)


def _same(table: type[File] | type[Failure]) -> ColumnElement[bool]:
    return and_(_as_scanned(table), _scanned.c.touched == 0)


def _as_scanned(table: type[File] | type[Failure]) -> ColumnElement[bool]:
    return and_(
        table.root_id == _scanned.c.root_id,
        table.path == _scanned.c.path,
        table.size == _scanned.c.size,
        table.mtime_ns == _scanned.c.mtime_ns,
    )


def _embedded_before(model_id: int) -> ColumnElement[bool]:
    """Match scanned files that are as they were and whose picture has a vector of the model."""
    return (
        select(File.id)
        .join(Embedding, Embedding.picture_id == File.picture_id)
        .where(_same(File), Embedding.model_id == model_id)
        .exists()
    )


def _outdated() -> Subquery:
    """Select (picture_id, scanned_id): pictures to read again, and one of the files of each.

    Files that were touched have been looked at by then.
    """
    return (
        select(
            File.picture_id,
            Picture.content_hash,
            Picture.facts_version,
            func.min(_scanned.c.id).label("scanned_id"),
        )
        .join(Picture, Picture.id == File.picture_id)
        .join(_scanned, _as_scanned(File))
        .where(Picture.facts_version < FACTS_VERSION)
        .group_by(File.picture_id)
        .subquery()
    )


def _pending(model_id: int, retry_failed: bool) -> Select[Any]:
    """Select the scanned files that are new, changed, or without a vector of the model."""
    same = and_(
        File.size == _scanned.c.size,
        File.mtime_ns == _scanned.c.mtime_ns,
        _scanned.c.touched == 0,
    )
    embedded = aliased(Embedding)
    set_aside = [FailureKind.NO_IMAGE.value]
    if not retry_failed:
        set_aside.append(FailureKind.DAMAGED.value)
    failed_before = exists().where(_same(Failure), Failure.kind.in_(set_aside))
    size_known = (
        select(Picture.id)
        .join(Embedding, and_(Embedding.picture_id == Picture.id, Embedding.model_id == model_id))
        .where(Picture.byte_size == _scanned.c.size)
        .exists()
    )
    return (
        select(
            _scanned,
            File.id.label("file_id"),
            File.picture_id,
            same.label("same"),
            size_known.label("size_known"),
        )
        .outerjoin(File, and_(File.root_id == _scanned.c.root_id, File.path == _scanned.c.path))
        .outerjoin(
            embedded,
            and_(embedded.picture_id == File.picture_id, embedded.model_id == model_id),
        )
        .where(~failed_before)
        .where(or_(File.id.is_(None), ~same, embedded.picture_id.is_(None)))
    )
