"""From the paths on the command line to the roots of a library and the parts of them to scan."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgsearch.data.catalog import Catalog, is_below
from imgsearch.data.scan_table import Scope
from imgsearch.errors import FolderInvalid
from imgsearch.indexer.scan import Scanner


@dataclass(frozen=True, slots=True)
class Target:
    """What one given path means: the part `scope.prefix` of the root at `root` (absolute)."""

    root: str
    scope: Scope


def check_folders(paths: Sequence[str | Path], library: Path) -> list[str]:
    """Return the given folders, absolute and with links resolved. Raises FolderInvalid."""
    if not paths or not all(map(os.fspath, paths)):
        raise FolderInvalid("No folder was given. Say which: imgsearch index FOLDER")
    folders: list[str] = []
    for path in paths:
        full = os.path.realpath(os.path.expanduser(path))
        if not os.path.lexists(full):
            raise FolderInvalid(f"There is no folder {path}. Check the spelling of the path.")
        if not os.path.isdir(full):
            raise FolderInvalid(
                f"{path} is a file, not a folder. Give the folder it is in: "
                f"imgsearch index {os.path.dirname(path) or '.'}"
            )
        try:
            os.scandir(full).close()
        except OSError as error:
            raise FolderInvalid(
                f"The folder {path} cannot be read: {error.strerror}. Check its permissions."
            ) from error
        if full == str(library) or is_below(full, str(library)):
            raise FolderInvalid(f"{path} is imgsearch's own library folder; it holds no photos.")
        folders.append(full)
    return folders


def targets(catalog: Catalog, folders: Sequence[str], scanner: Scanner) -> list[Target]:
    """Find or make the root of each folder.

    A folder below a known root, or below another of the given ones, is a part of that root; a known
    root below a new one becomes a part of it. Both hold only where a scan of the outer folder comes
    to the inner one: what lies behind a hidden or excluded name keeps a root of its own.
    """
    wanted = list(dict.fromkeys(folders))
    wanted = [one for one in wanted if not any(scanner.reaches(other, one) for other in wanted)]
    found: list[Target] = []
    for folder in wanted:
        known = catalog.roots()
        outer = next((root for root in known if scanner.reaches(root, folder)), None)
        if outer is not None and folder not in known:
            scope = Scope(known[outer], os.path.relpath(folder, outer))
            found.append(Target(outer, scope))
            continue
        root_id = catalog.add_root(folder)
        for inner in known:
            # An inner root that is empty now may be a disk that is not plugged in: it stays apart.
            if scanner.reaches(folder, inner) and _holds_anything(inner):
                catalog.absorb_root(folder, inner)
        found.append(Target(folder, Scope(root_id)))
    return found


def changed_targets(catalog: Catalog, paths: Iterable[str], scanner: Scanner) -> list[Target]:
    """Return the parts of the catalog's roots that some absolute paths stand for.

    A path that no scan comes to is left out: outside all roots, behind a link, or behind a hidden
    or excluded name. So is one below another of them, whose scan comes to it.
    """
    known = catalog.roots()
    # Longest first: where a root lies in another one, its photos are its own.
    roots = sorted(known, key=len, reverse=True)
    straight: dict[str, bool] = {}
    found: list[Target] = []
    scanned: set[str] = set()
    for path in sorted(set(paths)):
        folder = os.path.dirname(path)
        root = next((root for root in roots if path == root or scanner.reaches(root, path)), None)
        if root is None or any(outer in scanned for outer in _folders_above(path, root)):
            continue
        if path != root and folder not in straight:
            straight[folder] = os.path.realpath(folder) == folder
        if path == root or straight[folder]:
            scanned.add(path)
            prefix = "" if path == root else os.path.relpath(path, root)
            found.append(Target(root, Scope(known[root], prefix)))
    return found


def _folders_above(path: str, root: str) -> Iterator[str]:
    while path != root and is_below(path, root):
        path = os.path.dirname(path)
        yield path


def _holds_anything(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False
