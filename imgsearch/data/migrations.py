"""Bringing an older catalog to the present schema, with a backup beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from imgsearch.data.connection import catalog_path, schema_version

Migration = Callable[[sqlite3.Connection], None]

# MIGRATIONS[n] turns schema n into schema n + 1, inside a transaction that the caller holds.
# Schema 1 is the first that was ever written, so there is nothing to migrate yet.
MIGRATIONS: Mapping[int, Migration] = {}


def migrate(
    connection: sqlite3.Connection,
    library: Path,
    target: int,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> Path | None:
    """Bring the catalog to schema `target`; return the backup's path, or None if none was needed.

    All steps are one transaction: a process that dies in the middle leaves the old schema whole.
    """
    start = schema_version(connection)
    if start >= target:
        return None
    backup = back_up(connection, library, start)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        # Another process may have migrated while this one was waiting for the lock.
        for version in range(schema_version(connection), target):
            migrations[version](connection)
            connection.execute(f"PRAGMA user_version={version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return backup


def back_up(connection: sqlite3.Connection, library: Path, version: int) -> Path:
    """Copy the catalog, uncommitted work of others excluded, to ``catalog.sqlite.vN.backup``."""
    path = catalog_path(library)
    target = path.with_name(f"{path.name}.v{version}.backup")
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    return target
