"""A new catalog from what is readable of a damaged one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from imgsearch.data.checksums import CHECKSUM_BYTES, checksum
from imgsearch.data.connection import APPLICATION_ID, BUSY_TIMEOUT_SECONDS, SCHEMA_VERSION
from imgsearch.data.fact_checksums import seal_missing
from imgsearch.data.raw_pages import RawPages, Record, Value
from imgsearch.data.records import SUSPECT_VERSION
from imgsearch.data.wal import read_log

# In the order in which rows may refer to each other.
TABLES = (
    "meta",
    "root",
    "model",
    "picture",
    "keyword",
    "file",
    "embedding",
    "vector_checksum",
    "failure",
    "saved_search",
)
_ROWS_AT_ONCE = 1_000
# A time that no file has: the next run of the indexer takes such files for changed, reads them
# again, and finds by their content which picture they show.
UNKNOWN_TIME = -(2**63) + 1
# Rows that nothing can be made of without the rows that they refer to.
_WITHOUT_PARENTS = (
    "DELETE FROM keyword WHERE picture_id NOT IN (SELECT id FROM picture)",
    "DELETE FROM file WHERE picture_id NOT IN (SELECT id FROM picture)"
    " OR root_id NOT IN (SELECT id FROM root)",
    "DELETE FROM failure WHERE root_id NOT IN (SELECT id FROM root)",
    "DELETE FROM embedding WHERE picture_id NOT IN (SELECT id FROM picture)"
    " OR model_id NOT IN (SELECT id FROM model)",
    "DELETE FROM vector_checksum WHERE NOT EXISTS (SELECT 1 FROM embedding e"
    " WHERE (e.picture_id, e.model_id) = (vector_checksum.picture_id, vector_checksum.model_id))",
)


@dataclass(slots=True)
class Salvaged:
    """How many rows of each table are in the new catalog, and how many were read and left out.

    `lost_names` are folders and saved searches that only an index still knows by name.
    """

    rows: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    doubtful_files: int = 0
    vectors_lost: int = 0
    lost_names: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Tell whether anything was found that only a catalog of imgsearch holds."""
        return any(self.rows.get(table) for table in ("root", "picture", "model", "saved_search"))


def salvage(damaged: Path, log: Path | None, target: Path) -> Salvaged:
    """Write the new catalog `target` from the rows of the file `damaged` and its log.

    Both are only read. A vector comes over if its checksum is right or lost. Files and pictures
    whose row and index do not agree come over, and are read again by the next run of the indexer.
    Raises OSError or sqlite3.Error.
    """
    with closing(sqlite3.connect(target, isolation_level=None)) as catalog:
        catalog.execute("PRAGMA synchronous=OFF")
        catalog.execute("PRAGMA foreign_keys=OFF")
        _create(target)
        catalog.execute("BEGIN IMMEDIATE")
        found = _Found(catalog)
        with damaged.open("rb") as file:
            known_log = read_log(log) if log is not None and log.is_file() else None
            for record in RawPages(file, log, known_log).records():
                found.take(record)
        result = found.finish()
        catalog.execute("COMMIT")
    return result


def _create(target: Path) -> None:
    from sqlalchemy import create_engine

    from imgsearch.data.schema import Base

    engine = create_engine(f"sqlite:///{target}", connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    try:
        Base.metadata.create_all(engine)
    finally:
        engine.dispose()


class _Found:
    """Sorts records into the tables of a new catalog."""

    def __init__(self, catalog: sqlite3.Connection) -> None:
        self._catalog = catalog
        self._waiting: dict[str, list[tuple[Value, ...]]] = {table: [] for table in TABLES}
        self._read = 0
        self._vectors: set[tuple[Value, Value]] = set()
        self._sequence = 0
        # What the indexes say, to compare with the rows.
        catalog.execute("CREATE TEMP TABLE indexed_hash (hash, id, UNIQUE (hash, id))")
        catalog.execute("CREATE TEMP TABLE indexed_path (root, path, id, UNIQUE (root, path, id))")
        catalog.execute("CREATE TEMP TABLE indexed_name (name UNIQUE)")
        catalog.execute("CREATE TEMP TABLE indexed_pair (one, other, UNIQUE (one, other))")
        # All embeddings that were read; which of several for one picture is right, sums tell.
        catalog.execute("CREATE TEMP TABLE vector (picture_id, model_id, vector, crc)")

    def take(self, record: Record) -> None:
        """Sort in one record; what fits no table is passed over."""
        table, values = _row(record) if record.rowid is not None else _entry(record)
        if table == "sqlite_sequence":
            self._sequence = max(self._sequence, _integer(values[1]))
        elif table.startswith("indexed_"):
            marks = ", ".join("?" * len(values))
            self._catalog.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values)
        elif table:
            waiting = self._waiting[table]
            waiting.append(values)
            self._read += 1
            if len(waiting) >= _ROWS_AT_ONCE:
                self._write(table)

    def finish(self) -> Salvaged:
        """Write what waits, drop what cannot stand, and say what there is."""
        for table in TABLES:
            self._write(table)
        result = Salvaged()
        result.vectors_lost = self._choose_vectors()
        for statement in _WITHOUT_PARENTS:
            self._catalog.execute(statement)
        result.doubtful_files = self._doubt_files()
        self._set_orphans()
        self._complete()
        # Those of an older schema, which have none.
        seal_missing(self._catalog)
        result.lost_names = self._lost_names()
        for table in TABLES:
            (result.rows[table],) = self._catalog.execute(
                f"SELECT count(*) FROM {table}"
            ).fetchone()
        result.dropped = max(0, self._read - sum(result.rows.values()))
        return result

    def _write(self, table: str) -> None:
        rows, self._waiting[table] = self._waiting[table], []
        if not rows:
            return
        if table == "embedding":
            self._catalog.executemany(
                "INSERT INTO vector VALUES (?, ?, ?, ?)",
                [(*row, checksum(bytes(row[2]))) for row in rows if isinstance(row[2], bytes)],
            )
            return
        marks = ", ".join("?" * len(rows[0]))
        self._catalog.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)

    def _choose_vectors(self) -> int:
        """Bring over the vectors whose checksum is right or lost; return how many were wrong."""
        known = "LEFT JOIN vector_checksum s USING (picture_id, model_id)"
        self._catalog.execute(
            "INSERT OR IGNORE INTO embedding (picture_id, model_id, vector)"
            f" SELECT picture_id, model_id, vector FROM vector v {known}"
            " WHERE s.crc IS NULL OR s.crc = v.crc ORDER BY picture_id, model_id"
        )
        (wrong,) = self._catalog.execute(
            f"SELECT count(*) FROM vector v {known} WHERE s.crc != v.crc"
        ).fetchone()
        self._catalog.execute(
            "INSERT OR IGNORE INTO vector_checksum SELECT picture_id, model_id, v.crc FROM vector v"
            " JOIN embedding e USING (picture_id, model_id) WHERE e.vector = v.vector"
        )
        return int(wrong)

    def _doubt_files(self) -> int:
        """Have files read again where a row and its index do not agree; return how many."""
        doubtful = self._catalog.execute(
            f"UPDATE file SET mtime_ns = {UNKNOWN_TIME} WHERE"
            " (root_id, path, id) NOT IN (SELECT root, path, id FROM indexed_path)"
            " OR (picture_id, id) NOT IN (SELECT one, other FROM indexed_pair)"
            " OR picture_id IN (SELECT id FROM picture WHERE"
            "   (content_hash, id) NOT IN (SELECT hash, id FROM indexed_hash))"
        )
        return doubtful.rowcount

    def _lost_names(self) -> tuple[str, ...]:
        known = " UNION ".join(
            f"SELECT {column} FROM {table}"
            for table, column in (
                ("meta", "key"),
                ("root", "path"),
                ("saved_search", "name"),
                ("keyword", "folded"),
            )
        )
        lost = self._catalog.execute(f"SELECT name FROM indexed_name WHERE name NOT IN ({known})")
        return tuple(sorted(name for (name,) in lost))

    def _set_orphans(self) -> None:
        """Keep pictures that lost their files, as those whose files were removed today."""
        shown = "EXISTS (SELECT 1 FROM file WHERE picture_id = picture.id)"
        self._catalog.execute(f"UPDATE picture SET orphaned_at = NULL WHERE {shown}")
        self._catalog.execute(
            "UPDATE picture SET orphaned_at = unixepoch()"
            f" WHERE orphaned_at IS NULL AND NOT {shown}"
        )

    def _complete(self) -> None:
        self._catalog.execute(
            "INSERT OR IGNORE INTO meta VALUES ('library_id', lower(hex(randomblob(16))))"
        )
        self._catalog.execute("INSERT OR IGNORE INTO meta VALUES ('generation', '0')")
        # Ids must stay unused once they were used, by caches too: leave a wide gap.
        (highest,) = self._catalog.execute("SELECT coalesce(max(id), 0) FROM picture").fetchone()
        self._catalog.execute("DELETE FROM sqlite_sequence WHERE name = 'picture'")
        self._catalog.execute(
            "INSERT INTO sqlite_sequence VALUES ('picture', ?)", (max(highest, self._sequence),)
        )
        self._catalog.execute(f"PRAGMA application_id={APPLICATION_ID}")
        self._catalog.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


# A checksum that nothing has: of a row that has lost its own.
_WRONG = b""
_HASH_BYTES = 32
_NOTHING: tuple[str, tuple[Value, ...]] = ("", ())


def _row(record: Record) -> tuple[str, tuple[Value, ...]]:
    """Return the table that a row belongs to, told by the kinds of its values, and its columns."""
    kinds, values = _kinds(record.values), record.values
    match len(values):
        case 2 if kinds == "ss":
            return "meta", values
        case 2 if kinds == "si" and values[0] == "picture":
            return "sqlite_sequence", values
        case 3 if kinds == "iib":
            return "embedding", values
        case 3 if kinds[:2] == "ss" and kinds[2] in "if":
            # From before a column was added.
            return "saved_search", (*values, None)
        case 4 if kinds[:2] == "ss" and kinds[2] in "if" and kinds[3] in "bn":
            return "saved_search", (*values[:3], values[3] or _WRONG)
        case 4 if kinds[0] == "n" and kinds[1] in "sb" and kinds[2] in "if" and kinds[3] in "nif":
            return "root", _with_id(record)
        case 5 if kinds == "nsssi":
            return "model", _with_id(record)
        case 6 if kinds in ("nisiii", "nibiii"):
            return "file", _with_id(record)
        case 8 if kinds[2] in "sb" and kinds[:2] + kinds[3:7] == "niiiss" and kinds[7] in "if":
            return "failure", _with_id(record)
        case 13 | 14 | 15 | 16 if kinds.startswith("nbiiisi"):
            return _picture(record)
    return _NOTHING


def _picture(record: Record) -> tuple[str, tuple[Value, ...]]:
    """Return the columns of a picture; rows from before a column was added have fewer values."""
    columns = [*_with_id(record), *(None, 1, None)[len(record.values) - 13 :]]
    if not isinstance(columns[1], bytes) or len(columns[1]) != _HASH_BYTES:
        return _NOTHING
    if record.garbled or not isinstance(columns[14], int):
        columns[14] = SUSPECT_VERSION
    if len(record.values) == 16 and columns[15] is None:
        columns[15] = _WRONG
    return "picture", tuple(columns)


def _entry(record: Record) -> tuple[str, tuple[Value, ...]]:
    """Return what an entry of an index, or a row of a table that is one, belongs to."""
    kinds, values = _kinds(record.values), record.values
    if kinds == "iss":
        return "keyword", values
    if kinds == "iib" and len(bytes(values[2] or b"")) == CHECKSUM_BYTES:  # type: ignore[arg-type]
        return "vector_checksum", values
    if kinds == "bi":
        return "indexed_hash", values
    if kinds in ("isi", "ibi"):
        return "indexed_path", values
    if kinds == "si":
        return "indexed_name", values[:1]
    if kinds == "ii":
        return "indexed_pair", values
    return _NOTHING


def _kinds(values: tuple[Value, ...]) -> str:
    """Return one letter a value: n(ull), i(nteger), f(loat), s(tring), b(ytes)."""
    letters = {int: "i", float: "f", str: "s", bytes: "b"}
    return "".join(letters.get(type(value), "n") for value in values)


def _with_id(record: Record) -> tuple[Value, ...]:
    """Return the columns of a table with an integer key, which is stored as the row's id."""
    return (record.rowid, *record.values[1:])


def _integer(value: Value) -> int:
    return value if isinstance(value, int) else 0
