"""Is the schema of a database that of a catalog, no less and no more?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache

from imgsearch.data.connection import SCHEMA_VERSION, schema_version
from imgsearch.data.migrations import MIGRATIONS

# What a table or an index is: its kind, columns (name, type, not null, place in the key) by name,
# foreign keys, unique or not.
Shape = dict[str, tuple[object, ...]]


def differences(connection: sqlite3.Connection) -> list[str]:
    """Return what differs from the schema of the catalog's version, one line each; [] if nothing.

    Triggers, views and virtual tables, of which we have none, always differ. The file is not
    trusted: nothing of its schema runs. Raises sqlite3.Error.
    """
    connection.execute("PRAGMA trusted_schema=OFF")
    kinds = dict(connection.execute("SELECT name, type FROM sqlite_master"))
    foreign = [f"a {kind} {name}" for name, kind in kinds.items() if kind in ("trigger", "view")]
    foreign += [
        f"a virtual table {name}"
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE sql LIKE 'create virtual%'"
        )
    ]
    if foreign:
        return foreign
    version = schema_version(connection)
    if not 1 <= version <= SCHEMA_VERSION:
        return [f"schema version {version}, which does not exist"]
    expected, found = _expected(version), _shape(connection)
    missing = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    surplus = [f"{name} is not ours" for name in sorted(found.keys() - expected.keys())]
    changed = [
        f"{name} is not as it should be"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    return missing + surplus + changed


def _shape(connection: sqlite3.Connection) -> Shape:
    shape: Shape = {}
    for name, kind, sql in connection.execute("SELECT name, type, sql FROM sqlite_master"):
        # SQLite's own: of AUTOINCREMENT, UNIQUE and ANALYZE.
        if name.startswith("sqlite_"):
            continue
        quoted = name.replace("'", "''")
        if kind == "index":
            columns = connection.execute(f"PRAGMA index_info('{quoted}')")
            shape[name] = (kind, tuple(row[2] for row in columns))
            continue
        shape[name] = (
            kind,
            tuple(sorted(row[1:4] + row[5:] for row in _info(connection, "table_info", quoted))),
            tuple(sorted(row[2:] for row in _info(connection, "foreign_key_list", quoted))),
            tuple(sorted(row[2:] for row in _info(connection, "index_list", quoted))),
            *(word in sql.upper() for word in ("AUTOINCREMENT", "WITHOUT ROWID", "CHECK")),
        )
    return shape


def _info(connection: sqlite3.Connection, pragma: str, quoted: str) -> list[tuple[object, ...]]:
    return connection.execute(f"PRAGMA {pragma}('{quoted}')").fetchall()


@lru_cache(maxsize=SCHEMA_VERSION)
def _expected(version: int) -> Shape:
    """Return the shape of schema `version`: that of the first one, migrated."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(SCHEMA_1)
        for number in range(1, version):
            MIGRATIONS[number](connection)
        return _shape(connection)


# The tables as imgsearch 0.1.0 made them.
SCHEMA_1 = """
CREATE TABLE meta ("key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE root (id INTEGER NOT NULL, path VARCHAR NOT NULL, added_at DOUBLE NOT NULL,
 scanned_at DOUBLE, PRIMARY KEY (id), UNIQUE (path));
CREATE TABLE model (id INTEGER NOT NULL, name VARCHAR NOT NULL, revision VARCHAR NOT NULL,
 source VARCHAR NOT NULL, dimension INTEGER NOT NULL, PRIMARY KEY (id), UNIQUE (name, revision));
CREATE TABLE picture (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, content_hash BLOB NOT NULL,
 byte_size INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
 format VARCHAR NOT NULL, orientation INTEGER NOT NULL, taken_at VARCHAR, camera VARCHAR,
 lens VARCHAR, latitude DOUBLE, longitude DOUBLE, orphaned_at DOUBLE, UNIQUE (content_hash));
CREATE INDEX picture_orphaned_at ON picture (orphaned_at);
CREATE INDEX picture_byte_size ON picture (byte_size);
CREATE TABLE file (id INTEGER NOT NULL, root_id INTEGER NOT NULL, path VARCHAR NOT NULL,
 size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, picture_id INTEGER NOT NULL, PRIMARY KEY (id),
 UNIQUE (root_id, path), FOREIGN KEY(root_id) REFERENCES root (id) ON DELETE CASCADE,
 FOREIGN KEY(picture_id) REFERENCES picture (id) ON DELETE CASCADE);
CREATE INDEX file_picture_id ON file (picture_id);
CREATE TABLE embedding (picture_id INTEGER NOT NULL, model_id INTEGER NOT NULL,
 vector BLOB NOT NULL, PRIMARY KEY (picture_id, model_id),
 FOREIGN KEY(picture_id) REFERENCES picture (id) ON DELETE CASCADE,
 FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE CASCADE);
CREATE INDEX embedding_model_id ON embedding (model_id, picture_id);
CREATE TABLE failure (id INTEGER NOT NULL, root_id INTEGER NOT NULL, path VARCHAR NOT NULL,
 size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, kind VARCHAR NOT NULL, reason VARCHAR NOT NULL,
 failed_at DOUBLE NOT NULL, PRIMARY KEY (id), UNIQUE (root_id, path),
 FOREIGN KEY(root_id) REFERENCES root (id) ON DELETE CASCADE);
"""
