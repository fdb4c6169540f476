"""Writing the facts of pictures that are not columns of theirs, and facts that were read again."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from imgsearch.data.bulk import ROWS, execute_rows
from imgsearch.data.catalog import Catalog, bump_generation
from imgsearch.data.fact_checksums import seal_pictures
from imgsearch.data.records import FACTS_VERSION, folded

_ADD = f"INSERT INTO keyword (picture_id, folded, word) VALUES {ROWS} ON CONFLICT DO NOTHING"
_FORGET = f"DELETE FROM keyword WHERE picture_id IN (VALUES {ROWS})"


def add_keywords(
    connection: sqlite3.Connection, keywords: Mapping[int, Sequence[tuple[str, str]]]
) -> None:
    """Give keywords (folded, word) to pictures, by id, in the caller's transaction."""
    rows = [(picture_id, *row) for picture_id, words in keywords.items() for row in words]
    execute_rows(connection, _ADD, rows)


def replace_details(catalog: Catalog, details: Mapping[int, Mapping[str, Any]]) -> None:
    """Store what was read again of pictures, by id; counts as a new generation.

    The keys of the details are columns of the table of pictures, and "keywords"; there are none for
    a picture that says nothing any more and keeps what it has.
    """
    if not details:
        return
    told = {id_: facts for id_, facts in details.items() if facts}
    words = {
        id_: [(folded(word), word) for word in facts.get("keywords", ())]
        for id_, facts in told.items()
    }
    with catalog.statements() as connection:
        for id_, facts in details.items():
            columns = {name: facts[name] for name in facts if name != "keywords"}
            settings = ", ".join(f"{name} = ?" for name in ("facts_version", *columns))
            connection.execute(
                f"UPDATE picture SET {settings} WHERE id = ?",
                (FACTS_VERSION, *columns.values(), id_),
            )
        execute_rows(connection, _FORGET, [(id_,) for id_ in told])
        add_keywords(connection, words)
        seal_pictures(connection, details)
        bump_generation(connection)
