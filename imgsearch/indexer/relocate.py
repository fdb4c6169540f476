"""Explicit changes of where a library's folders are: one has moved, or one shall be forgotten."""

from __future__ import annotations

import os
from pathlib import Path

from imgsearch.data.catalog import Catalog, is_below
from imgsearch.data.connection import connect_read_only
from imgsearch.data.lock import writer_lock
from imgsearch.data.paths import from_stored
from imgsearch.data.photo_store import remove_root
from imgsearch.data.place_store import forget_below, move_root
from imgsearch.data.presence import read_places
from imgsearch.data.reader import CatalogReader
from imgsearch.errors import FolderInvalid, RootUnknown
from imgsearch.indexer.found_again import share_there


def relocate_root(library: Path, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
    """Let a root's files be those below another folder; return how many files the root has.

    Whatever is not as it was is found by the next run of the indexer. At least one of the root's
    files must be in its place, unchanged. Raises RootUnknown, FolderInvalid or a LibraryError.
    """
    # Opening for writing would create a library that is not there.
    connect_read_only(library).close()
    target = os.path.realpath(os.path.expanduser(new))
    if not os.fspath(new) or not os.path.isdir(target):
        raise FolderInvalid(f"There is no folder {new}. Give the one that the photos are in now.")
    with Catalog(library) as catalog, writer_lock(library):
        known = catalog.roots()
        source = _named(old, known)
        for root in known:
            if root == target or (
                root != source and (is_below(root, target) or is_below(target, root))
            ):
                raise FolderInvalid(
                    f"{new} is the folder {root} of this library, or one inside or around it. "
                    f"Forget that one first: imgsearch remove {root}"
                )
        with CatalogReader(library) as reader:
            [(files,)] = reader.rows("SELECT count(*) FROM file WHERE root_id = ?", known[source])
            if files and not share_there(reader, source, target, needed=0):
                raise FolderInvalid(
                    f"{new} holds none of the photos of {source}, by path, size and time. Give the "
                    f"folder that corresponds to it, or add it as new: imgsearch index {new}"
                )
        move_root(catalog, source, target)
    return int(files)


def forget_folder(library: Path, folder: str | os.PathLike[str]) -> int:
    """Forget a root, or a disk mounted inside one; return how many files there were.

    Raises RootUnknown or a LibraryError.
    """
    connect_read_only(library).close()
    if not os.fspath(folder):
        raise RootUnknown("No folder was named. `imgsearch status` lists those of the library.")
    with Catalog(library) as catalog, writer_lock(library):
        known = catalog.roots()
        given = os.path.abspath(os.path.expanduser(folder))
        with CatalogReader(library) as reader:
            place = _mounted_inside(reader, given)
        if place is not None and given not in known:
            return forget_below(catalog, *place)
        # As it was named when it was indexed; or, by way of a link, the folder behind it.
        return remove_root(catalog, given if given in known else os.path.realpath(given))


def _named(root: str | os.PathLike[str], known: dict[str, int]) -> str:
    """Return the known root of that name. Raises RootUnknown."""
    given = os.path.abspath(os.path.expanduser(root))
    for one in (given, os.path.realpath(given)):
        if os.fspath(root) and one in known:
            return one
    held = ", ".join(known) or "none"
    raise RootUnknown(f"{root} is not a folder of this library. Its folders: {held}.")


def _mounted_inside(reader: CatalogReader, folder: str) -> tuple[int, str] | None:
    """Return root and relative path of a folder where another file system was found."""
    if reader.is_uninitialised():
        return None
    for root_id, stored in reader.rows("SELECT id, path FROM root"):
        root = from_stored(stored)
        if is_below(folder, root):
            prefix = os.path.relpath(folder, root)
            if prefix in read_places(reader, root_id):
                return root_id, prefix
    return None
