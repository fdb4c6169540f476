"""From the paths on the command line to the roots of a library and the parts of them to scan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgsearch.data.catalog import Catalog, is_below
from imgsearch.data.scan_table import Scope
from imgsearch.errors import FolderInvalid


@dataclass(frozen=True, slots=True)
class Target:
    """What one given path means: the part `scope.prefix` of the root at `root` (absolute)."""

    root: str
    scope: Scope


def check_folders(paths: Sequence[str | Path], library: Path) -> list[str]:
    """Return the given folders, absolute and with links resolved. Raises FolderInvalid."""
    if not any(map(os.fspath, paths)):
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


def targets(catalog: Catalog, folders: Sequence[str], *, dry_run: bool) -> list[Target]:
    """Find or make the root of each folder. A folder below a known root is a part of that root.

    With `dry_run` nothing is made: a root that would be new has a negative id.
    """
    found: list[Target] = []
    for folder in folders:
        known = catalog.roots()
        outer = next((root for root in known if folder == root or is_below(folder, root)), None)
        if outer is not None:
            prefix = "" if folder == outer else os.path.relpath(folder, outer)
            found.append(Target(outer, Scope(known[outer], prefix)))
        elif dry_run:
            found.append(Target(folder, Scope(-1 - len(found))))
        else:
            found.append(Target(folder, Scope(catalog.add_root(folder))))
    return found
