"""Searches that are kept under a name, as JSON, in the catalog."""

from __future__ import annotations

import time

from sqlalchemy import delete
from sqlalchemy.dialects.sqlite import insert

from imgsearch.data.catalog import Catalog
from imgsearch.data.fact_checksums import search_checksum
from imgsearch.data.schema import SavedSearch


def keep_search(catalog: Catalog, name: str, query: str) -> None:
    """Keep a search, in the place of another of that name. Raises a LibraryError."""
    with catalog.transaction() as session:
        crc = search_checksum(name, query)
        statement = insert(SavedSearch).values(
            name=name, query=query, created_at=time.time(), crc=crc
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[SavedSearch.name],
                set_={"query": query, "created_at": statement.excluded.created_at, "crc": crc},
            )
        )


def forget_search(catalog: Catalog, name: str) -> bool:
    """Forget a search; return whether there was one of that name. Raises a LibraryError."""
    with catalog.transaction() as session:
        gone = session.execute(
            delete(SavedSearch).where(SavedSearch.name == name).returning(SavedSearch.name)
        )
        return gone.first() is not None
