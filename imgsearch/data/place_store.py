"""Writing where a library's folders are: the file systems they lie on, and moving a root."""

from __future__ import annotations

import os

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.sqlite import insert

from imgsearch.data.catalog import Catalog, bump_generation
from imgsearch.data.paths import to_stored
from imgsearch.data.photo_store import delete_files
from imgsearch.data.presence import PLACES_KEY, Places, places_as_json
from imgsearch.data.schema import Failure, File, Meta, Root


def keep_places(catalog: Catalog, root_id: int, places: Places) -> None:
    """Remember the file systems of a root; see `presence.read_places`."""
    statement = insert(Meta).values(key=PLACES_KEY.format(root_id), value=places_as_json(places))
    with catalog.transaction() as session:
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[Meta.key], set_={"value": statement.excluded.value}
            )
        )


def move_root(catalog: Catalog, old: str, new: str) -> None:
    """Let the root at the absolute path `old` be at `new`, with all that is known of it."""
    with catalog.transaction() as session:
        root = session.scalars(select(Root).where(Root.path == old)).one()
        # Where its files were seen last says nothing any more.
        session.execute(delete(Meta).where(Meta.key == PLACES_KEY.format(root.id)))
        session.execute(update(Root).where(Root.id == root.id).values(path=new))
        bump_generation(session)


def forget_below(catalog: Catalog, root_id: int, prefix: str) -> int:
    """Forget the files of a root below the folder `prefix`, and the pictures that only they show.

    Returns how many files there were.
    """
    low, high = prefix + os.sep, prefix + chr(ord(os.sep) + 1)
    # Names that are not text are stored as bytes, and are none of the range of the texts.
    ranges = [(to_stored(low), to_stored(high)), (os.fsencode(low), os.fsencode(high))]
    with catalog.statements() as connection:
        found: dict[int, int] = {}
        for first, after in ranges:
            found.update(
                connection.execute(
                    f"SELECT id, picture_id FROM {File.__tablename__}"
                    " WHERE root_id = ? AND path >= ? AND path < ?",
                    (root_id, first, after),
                )
            )
            connection.execute(
                f"DELETE FROM {Failure.__tablename__} WHERE root_id = ? AND path >= ? AND path < ?",
                (root_id, first, after),
            )
        if found:
            delete_files(connection, sorted(found))
            # As with `remove_root`: no grace period.
            connection.executemany(
                "DELETE FROM picture WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM file WHERE picture_id = picture.id)",
                [(picture_id,) for picture_id in sorted(set(found.values()))],
            )
    return len(found)
