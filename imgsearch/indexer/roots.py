"""From the paths on the command line to the roots of a library and the parts of them to scan."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imgsearch.data.catalog import Catalog, is_below
from imgsearch.data.place_store import move_root
from imgsearch.data.presence import is_offline
from imgsearch.data.reader import CatalogReader
from imgsearch.data.scopes import Scope
from imgsearch.errors import FolderInvalid
from imgsearch.indexer.found_again import found_again
from imgsearch.indexer.scan import Scanner


@dataclass(frozen=True, slots=True)
class Target:
    """What one given path means: the part `scope.prefix` of the root at `root` (absolute)."""

    root: str
    scope: Scope


@dataclass(slots=True)
class Targets:
    """What the given paths mean.

    `kept` are those that are offline, and not scanned; `moved` are roots (old path, new path) whose
    files were found again somewhere else; `doubtful` are folders, each with several roots that it
    may be.
    """

    scans: list[Target] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    moved: list[tuple[str, str]] = field(default_factory=list)
    doubtful: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def check_folders(paths: Sequence[str | Path], library: Path, offline: Sequence[str]) -> list[str]:
    """Return the given folders, absolute and with links resolved. Raises FolderInvalid.

    What is `offline` (see `presence`), or below, need not be there.
    """
    if not paths or not all(map(os.fspath, paths)):
        raise FolderInvalid("No folder was given. Say which: imgsearch index FOLDER")
    folders: list[str] = []
    for path in paths:
        full = os.path.realpath(os.path.expanduser(path))
        if is_offline(full, offline):
            folders.append(full)
            continue
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


def targets(
    catalog: Catalog,
    reader: CatalogReader,
    folders: Sequence[str],
    scanner: Scanner,
    offline: Sequence[str],
) -> Targets:
    """Find or make the root of each folder.

    A folder below a known root, or below another of the given ones, is a part of that root; a known
    root below a new one becomes a part of it. Both hold only where a scan of the outer folder comes
    to the inner one: what lies behind a hidden or excluded name keeps a root of its own. A new
    folder that holds the files of an offline root is that root, at another place.
    """
    wanted = list(dict.fromkeys(folders))
    wanted = [one for one in wanted if not any(scanner.reaches(other, one) for other in wanted)]
    found = Targets()
    for folder in wanted:
        if is_offline(folder, offline):
            found.kept.append(folder)
            continue
        known = catalog.roots()
        outer = next((root for root in known if scanner.reaches(root, folder)), None)
        if outer is not None and folder not in known:
            scope = Scope(known[outer], os.path.relpath(folder, outer))
            found.scans.append(Target(outer, scope))
            continue
        # A new folder with roots above or below it is no disk that has come back.
        if not any(one == folder or _nested(one, folder) for one in known):
            _find_again(catalog, reader, folder, offline, found)
        root_id = catalog.add_root(folder)
        for inner in known:
            # An inner root on a disk that is not plugged in stays apart.
            if scanner.reaches(folder, inner) and not is_offline(inner, offline):
                catalog.absorb_root(folder, inner)
        found.scans.append(Target(folder, Scope(root_id)))
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


def _find_again(
    catalog: Catalog,
    reader: CatalogReader,
    folder: str,
    offline: Sequence[str],
    found: Targets,
) -> None:
    """Move the offline root whose files lie below a new folder; note where it may be several."""
    taken = {old for old, _ in found.moved}
    candidates = [one for one in found_again(reader, folder, offline) if one not in taken]
    if len(candidates) == 1:
        move_root(catalog, candidates[0], folder)
        found.moved.append((candidates[0], folder))
    elif candidates:
        found.doubtful.append((folder, tuple(candidates)))


def _nested(one: str, other: str) -> bool:
    return is_below(one, other) or is_below(other, one)
