"""A library folder without its catalog: somebody has deleted or moved it, and caches remain.

A new catalog may be made there, for nobody can be kept from deleting the old one, but not without a
word, and not over something that the old one can be brought back from.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from imgsearch.data.connection import APPLICATION_ID, CACHE_FOLDER, CATALOG_NAME, catalog_path
from imgsearch.data.paths import printable
from imgsearch.data.signature_store import FILE_NAME as SIMILAR
from imgsearch.data.thumbnail_store import FILE_NAME as THUMBNAILS
from imgsearch.errors import CatalogLost, LibraryDamaged, LibraryNotFound

_DATABASES = (THUMBNAILS, SIMILAR)
# What `doctor --repair` has put aside.
_NO_BACKUPS = tuple(f"{CATALOG_NAME}.{why}-" for why in ("damaged", "foreign", "log"))
_LOG = f"{CATALOG_NAME}-wal"
# The head of a log without a page (bytes).
_EMPTY_LOG = 32


@dataclass(frozen=True, slots=True)
class LostCatalog:
    """What tells that there was a catalog, and what it can be restored from: names of files."""

    library: Path
    traces: tuple[str, ...]
    backups: tuple[str, ...]

    @property
    def begun_anew(self) -> str:
        """What to tell when a new catalog was made: what is lost, and how to go back."""
        return printable(
            f"The library {self.library} had lost its catalog ({self.traces[0]} was there still, "
            f"{CATALOG_NAME} was not), and a new one was begun: saved searches, the list of "
            f"folders and the vectors of the old one are not in it. {self._way_back(force=True)}"
        )

    @property
    def missed(self) -> str:
        """What to tell whoever asks for what is in it."""
        return (
            f"The library {self.library} has lost its catalog: {self.traces[0]} is there still, "
            f"{CATALOG_NAME} is not. {self._way_back(force=False)} Or begin anew: imgsearch index "
            "FOLDER"
        )

    def _way_back(self, *, force: bool) -> str:
        file = shlex.quote(str(self.library / self.backups[0])) if self.backups else "FILE"
        held = "" if self.backups else ", if you have one"
        return f"Go back to a backup{held}: imgsearch restore {'--force ' * force}{file}."


def catalog_not_found(library: Path) -> LibraryNotFound:
    """Return the error for a library without a catalog, which perhaps has lost it."""
    try:
        lost = lost_catalog(library)
    except LibraryDamaged as error:
        return CatalogLost(str(error))
    if lost is not None:
        return CatalogLost(lost.missed)
    return LibraryNotFound(
        f"There is no library in {library} yet. Make one with: imgsearch index FOLDER"
    )


def lost_catalog(library: Path) -> LostCatalog | None:
    """Return what is left of a catalog that is gone or empty, or None.

    None also where there never was one. Raises LibraryDamaged where a new catalog would destroy
    what the old one can be brought back from.
    """
    # Before the look at the catalog: whoever makes one at this moment makes the others after it.
    log = _has_log(library)
    backups = _backups(library)
    traces = tuple(one for one in (*_DATABASES, CACHE_FOLDER) if _has_something(library / one))
    if _is_there(catalog_path(library)):
        return None
    if log:
        raise _can_be_mended(library, f"its log, {_LOG}, is there still", _LOG)
    moved = misplaced_catalog(library)
    if moved is not None:
        raise _can_be_mended(library, f"it lies under the name {moved.name}", moved.name)
    found = (*traces, *backups)
    return LostCatalog(library, found, backups) if found else None


def misplaced_catalog(library: Path) -> Path | None:
    """Return the file of the library that is its catalog under a cache's name, if one is."""
    for name in _DATABASES:
        path = library / name
        if not _is_there(path):
            continue
        with (
            suppress(sqlite3.Error, UnicodeDecodeError),
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection,
        ):
            found = connection.execute(
                "SELECT application_id, user_version FROM pragma_application_id,"
                " pragma_user_version"
            ).fetchone()
            if found[0] == APPLICATION_ID and found[1]:
                return path
    return None


def has_traces(library: Path) -> bool:
    """Tell whether there are caches of a catalog that was not empty."""
    return any(_has_something(library / one) for one in (*_DATABASES, CACHE_FOLDER))


def _can_be_mended(library: Path, why: str, name: str) -> LibraryDamaged:
    return LibraryDamaged(
        f"The catalog of the library {library} is gone, but {why}: what it knew may be brought "
        "back. Nothing was changed. Mend it: imgsearch doctor --repair. To begin anew without it, "
        f"delete {name}, too."
    )


def _has_log(library: Path) -> bool:
    try:
        return (library / _LOG).stat().st_size > _EMPTY_LOG
    except OSError:
        return False


def _backups(library: Path) -> tuple[str, ...]:
    """Return the names of the backups in the folder, the latest first; not of what was damaged."""
    found = []
    with suppress(OSError):
        for path in library.glob("*.backup"):
            if not path.name.startswith(_NO_BACKUPS):
                found.append((-path.stat().st_mtime, path.name))
    return tuple(name for _, name in sorted(found))


def _is_there(path: Path) -> bool:
    """Tell whether a file is there and not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _has_something(path: Path) -> bool:
    """Tell whether a file is not empty, or a folder holds a file that is no lock."""
    try:
        with os.scandir(path) as entries:
            return any(not one.name.endswith(".lock") for one in entries)
    except NotADirectoryError:
        return _is_there(path)
    except OSError:
        return False
