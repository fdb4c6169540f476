"""The catalog, opened for writing: identity, models, roots, and the sessions of the other rooms."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import create_engine, delete, func, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from imgsearch.data.connection import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    connect_writable,
    schema_version,
    translate,
    translated_errors,
)
from imgsearch.data.lost_catalog import lost_catalog
from imgsearch.data.migrations import migrate
from imgsearch.data.paths import to_stored
from imgsearch.data.presence import PLACES_KEY
from imgsearch.data.rehearsal import LARGE_TABLES, SMALL_TABLES, hide_behind_copies
from imgsearch.data.schema import Base, Embedding, Failure, File, Meta, Model, Root

GENERATION_KEY = "generation"
LIBRARY_ID_KEY = "library_id"
ACTIVE_MODEL_KEY = "active_model_id"
# What to tell of a catalog that was lost before this one was made; until it was told.
LOSS_KEY = "lost_catalog"


class Catalog:
    """The one writer's hold on ``catalog.sqlite``.

    Everything runs on a single connection, so that the temporary tables of a scan outlive the
    transactions in between. Safe to use from several threads, whose transactions take turns. Use as
    a context manager.
    """

    def __init__(self, library: Path) -> None:
        """Open the catalog in the folder `library`, creating or migrating it when needed.

        Raises LibraryReadOnly, LibraryDamaged, LibraryTooNew, LibraryFull or LibraryBusy.
        """
        lost = lost_catalog(library)
        self.library = library
        self._rehearsal: Session | None = None
        self._turn = threading.RLock()
        self._connection = connection = connect_writable(library)
        self._engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        try:
            with translated_errors(library):
                version = schema_version(connection)
                if version == 0:
                    self._create("" if lost is None else lost.begun_anew)
                elif version < SCHEMA_VERSION:
                    migrate(connection, library, SCHEMA_VERSION)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the database file."""
        self._engine.dispose()
        # The pool does not close a connection whose first statement failed.
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session; commit at the end, roll back on any error.

        Raises LibraryFull, LibraryReadOnly or LibraryBusy for what SQLite reports.
        """
        if self._rehearsal is not None:
            yield self._rehearsal
            self._rehearsal.flush()
            return
        # The driver is in autocommit mode; IMMEDIATE takes the write lock up front, so that a read
        # never has to be upgraded while another process writes.
        with self._session("BEGIN IMMEDIATE") as session:
            yield session
            session.commit()

    @contextmanager
    def _session(self, begin: str) -> Iterator[Session]:
        try:
            with self._turn, Session(self._engine) as session:
                session.execute(text(begin))
                yield session
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.Error):
                raise translate(error.orig, self.library) from error
            raise

    def statements(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give the driver's own connection in a transaction, as `transaction` does a session.

        For what runs once for every photo: there SQLAlchemy takes longer than SQLite.
        """
        return self._statements("BEGIN IMMEDIATE")

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give the driver's own connection, to read and to write temporary tables only.

        All is of one moment, and no other process's writing is held up.
        """
        return self._statements("BEGIN")

    @contextmanager
    def _statements(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._turn, translated_errors(self.library):
            if self._rehearsal is not None:
                self._rehearsal.flush()
                yield self._connection
                return
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Let the transactions of a run's beginning happen inside this block, and undo them all.

        Others can write meanwhile; the block sees nothing of it.
        """
        # The copies refer to tables that are not copied.
        self._connection.execute("PRAGMA foreign_keys=OFF")
        try:
            with self._session("BEGIN") as session:
                hide_behind_copies(self._connection, SMALL_TABLES)
                self._rehearsal = session
                try:
                    yield
                finally:
                    self._rehearsal = None
                    session.rollback()
        finally:
            self._connection.execute("PRAGMA foreign_keys=ON")

    def _create(self, loss: str) -> None:
        with self.transaction() as session:
            Base.metadata.create_all(session.connection())
            session.execute(
                insert(Meta).on_conflict_do_nothing(),
                [
                    {"key": LIBRARY_ID_KEY, "value": uuid.uuid4().hex},
                    {"key": GENERATION_KEY, "value": "0"},
                    *([{"key": LOSS_KEY, "value": loss}] if loss else []),
                ],
            )
            session.execute(text(f"PRAGMA application_id={APPLICATION_ID}"))
            session.execute(text(f"PRAGMA user_version={SCHEMA_VERSION}"))

    def loss(self) -> str:
        """Return what is to be told of a catalog that was lost before this one; "" for nothing."""
        with self.transaction() as session:
            return session.scalar(select(Meta.value).where(Meta.key == LOSS_KEY)) or ""

    def forget_loss(self) -> None:
        """Note that it was told."""
        with self.transaction() as session:
            session.execute(delete(Meta).where(Meta.key == LOSS_KEY))

    def find_model(self, name: str, revision: str) -> int:
        """Return the id of the model's row, or 0, which no row has."""
        with self.transaction() as session:
            known = session.scalar(
                select(Model.id).where(Model.name == name, Model.revision == revision)
            )
            return known or 0

    def register_model(self, name: str, revision: str, source: str, dimension: int) -> int:
        """Return the id of the model's row, making it when it is new."""
        known = self.find_model(name, revision)
        with self.transaction() as session:
            if known:
                # A model folder may have moved since.
                session.execute(update(Model).where(Model.id == known).values(source=source))
                return known
            model = Model(name=name, revision=revision, source=source, dimension=dimension)
            session.add(model)
            session.flush()
            return model.id

    def activate_model(self, model_id: int) -> None:
        """Let queries that name no model use this one."""
        with self.transaction() as session:
            statement = insert(Meta).values(key=ACTIVE_MODEL_KEY, value=str(model_id))
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=[Meta.key], set_={"value": statement.excluded.value}
                )
            )

    def drop_model(self, model_id: int) -> int:
        """Delete a model and its vectors; return how many there were."""
        with self.transaction() as session:
            removed = session.scalar(
                select(func.count()).select_from(Embedding).where(Embedding.model_id == model_id)
            )
            session.execute(delete(Model).where(Model.id == model_id))
            return removed or 0

    def compact(self) -> None:
        """Give the space of what was deleted back to the disk."""
        with translated_errors(self.library), self._engine.connect() as connection:
            connection.connection.execute("VACUUM")

    def active_model(self) -> tuple[str, str] | None:
        """Return (name, revision) of the active model, or None in a new library."""
        with self.transaction() as session:
            row = session.execute(
                select(Model.name, Model.revision)
                .join(Meta, Meta.value == Model.id)
                .where(Meta.key == ACTIVE_MODEL_KEY)
            ).first()
            return None if row is None else (row.name, row.revision)

    def roots(self) -> dict[str, int]:
        """Return every root's absolute path and id."""
        with self.transaction() as session:
            return {root.path: root.id for root in session.scalars(select(Root))}

    def add_root(self, path: str) -> int:
        """Return the id of the root at the absolute `path`, making it when it is new."""
        with self.transaction() as session:
            known = session.scalar(select(Root.id).where(Root.path == path))
            if known is not None:
                return known
            root = Root(path=path, added_at=time.time())
            session.add(root)
            session.flush()
            return root.id

    def absorb_root(self, outer_path: str, inner_path: str) -> None:
        """Make the root at `inner_path` a part of the one at `outer_path`, above it."""
        with self.transaction() as session:
            if self._rehearsal is not None:
                hide_behind_copies(self._connection, LARGE_TABLES)
            outer = session.scalars(select(Root).where(Root.path == outer_path)).one()
            inner = session.scalars(select(Root).where(Root.path == inner_path)).one()
            _absorb(session, outer, inner)
            bump_generation(session)

    def mark_scanned(self, root_ids: list[int]) -> None:
        """Record that these roots were scanned to the end."""
        with self.transaction() as session:
            session.execute(
                update(Root).where(Root.id.in_(root_ids)).values(scanned_at=time.time())
            )


_NEXT_GENERATION = "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = :key"


def bump_generation(inside: Session | sqlite3.Connection) -> None:
    """Note, inside the caller's transaction, that the set of searchable vectors has changed."""
    if isinstance(inside, Session):
        inside.execute(text(_NEXT_GENERATION), {"key": GENERATION_KEY})
    else:
        inside.execute(_NEXT_GENERATION, {"key": GENERATION_KEY})


def is_below(path: str, folder: str) -> bool:
    """Tell whether the absolute `path` lies strictly below the absolute `folder`."""
    return path != folder and path.startswith(folder.rstrip(os.sep) + os.sep)


# OR IGNORE: the outer root may know the same file already, and one row is enough. A name that is no
# text stays one (see `paths`), also where what is put before it is none.
_ABSORB = """
UPDATE OR IGNORE {table} SET root_id = :outer, path =
CASE WHEN typeof(path) = 'blob' OR typeof(:prefix) = 'blob'
THEN CAST(CAST(:prefix AS TEXT) || CAST(path AS TEXT) AS BLOB) ELSE :prefix || path END
WHERE root_id = :inner
"""


def _absorb(session: Session, outer: Root, inner: Root) -> None:
    """Rewrite the files and failures of `inner` as files of `outer`, then drop `inner`."""
    prefix = to_stored(os.path.join(os.path.relpath(inner.path, outer.path), ""))
    for table in (File, Failure):
        session.execute(
            text(_ABSORB.format(table=table.__tablename__)),
            {"outer": outer.id, "inner": inner.id, "prefix": prefix},
        )
    session.execute(delete(Meta).where(Meta.key == PLACES_KEY.format(inner.id)))
    session.execute(delete(Root).where(Root.id == inner.id))
