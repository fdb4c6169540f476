"""Writing the facts of pictures that are not columns of theirs, and facts that were read again."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from imgsearch.data.bulk import ROWS, execute_rows
from imgsearch.data.catalog import Catalog, bump_generation
from imgsearch.data.records import FACTS_VERSION, folded

_ADD = f"INSERT INTO keyword (picture_id, folded, word) VALUES {ROWS} ON CONFLICT DO NOTHING"
_FORGET = f"DELETE FROM keyword WHERE picture_id IN (VALUES {ROWS})"


def add_keywords(connection: sqlite3.Connection, keywords: Mapping[int, Sequence[str]]) -> None:
    """Give keywords to pictures, by id, in the caller's transaction."""
    rows = [
        (picture_id, folded(word), word) for picture_id, words in keywords.items() for word in words
    ]
    execute_rows(connection, _ADD, rows)


def replace_details(catalog: Catalog, details: Mapping[int, Mapping[str, Any]]) -> None:
    """Store what was read again of pictures, by id; counts as a new generation.

    The keys of the details are names of `PictureFacts`, the same for all pictures, or none for a
    picture that says nothing any more and keeps what it has.
    """
    if not details:
        return
    told = {id_: facts for id_, facts in details.items() if facts}
    names = [name for name in next(iter(told.values()), ()) if name != "keywords"]
    update = f"UPDATE picture SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"
    with catalog.statements() as connection:
        connection.executemany(
            "UPDATE picture SET facts_version = ? WHERE id = ?",
            [(FACTS_VERSION, id_) for id_ in details],
        )
        if told:
            connection.executemany(
                update, [(*(facts[name] for name in names), id_) for id_, facts in told.items()]
            )
        execute_rows(connection, _FORGET, [(id_,) for id_ in told])
        add_keywords(connection, {id_: facts.get("keywords", ()) for id_, facts in told.items()})
        bump_generation(connection)
