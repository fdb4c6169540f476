"""Bringing an older catalog to the present schema, with a backup beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from imgsearch.data.checksums import define_checksum
from imgsearch.data.connection import catalog_path, connect_read_only, schema_version
from imgsearch.data.copies import copy_database, draft_of
from imgsearch.data.fact_checksums import seal_missing

Migration = Callable[[sqlite3.Connection], None]


def _add_keywords_and_saved_searches(connection: sqlite3.Connection) -> None:
    """Turn schema 1 into 2; the next run of the indexer reads the facts that are new in it."""
    for statement in (
        "ALTER TABLE picture ADD COLUMN rating INTEGER",
        "ALTER TABLE picture ADD COLUMN facts_version INTEGER DEFAULT '1' NOT NULL",
        "CREATE TABLE keyword (picture_id INTEGER NOT NULL, folded VARCHAR NOT NULL,"
        " word VARCHAR NOT NULL, PRIMARY KEY (picture_id, folded),"
        " FOREIGN KEY(picture_id) REFERENCES picture (id) ON DELETE CASCADE) WITHOUT ROWID",
        "CREATE INDEX keyword_folded ON keyword (folded)",
        "CREATE TABLE saved_search (name VARCHAR NOT NULL, query VARCHAR NOT NULL,"
        " created_at DOUBLE NOT NULL, PRIMARY KEY (name))",
    ):
        connection.execute(statement)


def _add_checksums(connection: sqlite3.Connection) -> None:
    """Turn schema 2 into 3: the vectors as they are now are taken to be right."""
    connection.execute(
        "CREATE TABLE vector_checksum (picture_id INTEGER NOT NULL, model_id INTEGER NOT NULL,"
        " crc BLOB NOT NULL, PRIMARY KEY (picture_id, model_id),"
        " FOREIGN KEY(picture_id, model_id) REFERENCES embedding (picture_id, model_id)"
        " ON DELETE CASCADE) WITHOUT ROWID"
    )
    define_checksum(connection)
    connection.execute(
        "INSERT INTO vector_checksum SELECT picture_id, model_id, checksum(vector) FROM embedding"
        " ORDER BY picture_id, model_id"
    )


def _add_fact_checksums(connection: sqlite3.Connection) -> None:
    """Turn schema 3 into 4; `seal_missing` fills the columns when all steps are done."""
    connection.execute("ALTER TABLE picture ADD COLUMN facts_crc BLOB")
    connection.execute("ALTER TABLE saved_search ADD COLUMN crc BLOB")


# MIGRATIONS[n] turns schema n into schema n + 1, inside a transaction that the caller holds.
MIGRATIONS: Mapping[int, Migration] = {
    1: _add_keywords_and_saved_searches,
    2: _add_checksums,
    3: _add_fact_checksums,
}


def migrate(
    connection: sqlite3.Connection,
    library: Path,
    target: int,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> Path | None:
    """Bring the catalog to schema `target`; return the backup's path, or None if none was needed.

    All steps are one transaction: a process that dies in the middle leaves the old schema whole.
    """
    if schema_version(connection) >= target:
        return None
    # Before the backup: of two processes that migrate, the second must not take a copy of what the
    # first has made, and call it the old catalog.
    connection.execute("BEGIN IMMEDIATE")
    try:
        start = schema_version(connection)
        backup = back_up(library, start) if start < target else None
        _take_steps(connection, target, migrations)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return backup


def migrate_in_place(
    connection: sqlite3.Connection, target: int, migrations: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Bring the catalog to schema `target` in one transaction, without a backup."""
    connection.execute("BEGIN EXCLUSIVE")
    try:
        _take_steps(connection, target, migrations)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def back_up(library: Path, version: int) -> Path:
    """Copy the catalog, uncommitted work excluded, to ``catalog.sqlite.vN.backup``.

    The copy has that name once it is whole.
    """
    path = catalog_path(library)
    target = path.with_name(f"{path.name}.v{version}.backup")
    # Whoever is here holds the catalog: nobody else is making this copy.
    for left in path.parent.glob(f".{target.name}.*"):
        left.unlink(missing_ok=True)
    with draft_of(target) as draft, closing(connect_read_only(library)) as source:
        copy_database(source, draft)
        os.replace(draft, target)
    return target


def _take_steps(
    connection: sqlite3.Connection, target: int, migrations: Mapping[int, Migration]
) -> None:
    for version in range(schema_version(connection), target):
        migrations[version](connection)
        connection.execute(f"PRAGMA user_version={version + 1}")
    seal_missing(connection)
