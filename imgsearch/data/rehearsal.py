"""Trying out what a run would do, on copies of those tables that it begins by changing.

In SQLite a temporary table hides one of the same name in the file. So a dry run goes through the
code of a real one, and takes no lock that anybody would wait for.
"""

from __future__ import annotations

import sqlite3

# What every run writes before its work begins, and what it writes where a root is absorbed.
SMALL_TABLES = ("meta", "root", "model")
LARGE_TABLES = ("file", "failure")


def hide_behind_copies(connection: sqlite3.Connection, tables: tuple[str, ...]) -> None:
    """Hide tables behind temporary copies, which go when the caller's transaction is undone."""
    for table in tables:
        hidden = connection.execute(
            "SELECT 1 FROM temp.sqlite_master WHERE type = 'table' AND name = ?", (table,)
        )
        if hidden.fetchone():
            continue
        (definition,) = connection.execute(
            "SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        connection.execute(definition.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1))
        connection.execute(f"INSERT INTO temp.{table} SELECT * FROM main.{table}")
