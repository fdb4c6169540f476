"""Writing the facts of pictures that are not columns of theirs, and facts that were read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, delete, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from imgsearch.data.catalog import Catalog, bump_generation
from imgsearch.data.records import FACTS_VERSION, PictureFacts, folded
from imgsearch.data.schema import Keyword, Picture


def picture_columns(facts: PictureFacts) -> dict[str, Any]:
    """Return the facts that are columns of a picture."""
    columns = asdict(facts)
    del columns["keywords"]
    return columns


def add_keywords(session: Session, keywords: Mapping[int, Sequence[str]]) -> None:
    """Give keywords to pictures, by id, in the caller's transaction."""
    rows = [
        {"picture_id": picture_id, "folded": folded(word), "word": word}
        for picture_id, words in keywords.items()
        for word in words
    ]
    if rows:
        session.execute(insert(Keyword).on_conflict_do_nothing(), rows)


def replace_details(catalog: Catalog, details: Mapping[int, Mapping[str, Any]]) -> None:
    """Store what was read again of pictures, by id; counts as a new generation.

    The keys of the details are names of `PictureFacts`, the same for all pictures, or none for a
    picture that says nothing any more and keeps what it has.
    """
    if not details:
        return
    with catalog.transaction() as session:
        connection = session.connection()
        for picture_id, facts in details.items():
            columns = {name: value for name, value in facts.items() if name != "keywords"}
            connection.execute(
                update(Picture).where(Picture.id == bindparam("picture")),
                {"picture": picture_id, "facts_version": FACTS_VERSION, **columns},
            )
            if facts:
                session.execute(delete(Keyword).where(Keyword.picture_id == picture_id))
        add_keywords(session, {id_: facts.get("keywords", ()) for id_, facts in details.items()})
        bump_generation(session)
