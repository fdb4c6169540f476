"""Folders that are watched, each of which may vanish and come back at any time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from imgsearch.data.catalog import is_below
from imgsearch.indexer.scan import Scanner

# What tells a folder from another one at the same place: device and inode number.
Identity = tuple[int, int]


@dataclass
class WatchedRoot:
    """A folder at an absolute `path`.

    `identity` is that of the folder which is being watched there, None while there is none.
    `needs_pass`: it must be looked through, because what happened in it is not known. `kept`: it
    was found empty, and its photos were kept as those of a disk that is not plugged in.
    `announced`: it was said that it is not there. `known`: the library has it.
    """

    path: str
    identity: Identity | None = None
    needs_pass: bool = True
    kept: bool = False
    announced: bool = False
    known: bool = False

    def is_present(self) -> bool:
        """Tell whether the folder that is watched still is the one at this place."""
        return self.identity is not None and identity_of(self.path) == self.identity


def identity_of(path: str) -> Identity | None:
    """Return what tells the folder at `path` from others, or None if none can be listed there."""
    try:
        os.scandir(path).close()
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def outermost(folders: Iterable[str], scanner: Scanner) -> list[str]:
    """Return the folders, once each, without those that a scan of another one comes to."""
    wanted = list(dict.fromkeys(folders))
    return [one for one in wanted if not any(scanner.reaches(other, one) for other in wanted)]


def holder(roots: Iterable[WatchedRoot], path: str) -> WatchedRoot | None:
    """Return the innermost of the watched folders that an absolute path is, or is below, of."""
    around = [root for root in roots if path == root.path or is_below(path, root.path)]
    return max(around, key=lambda root: len(root.path), default=None)
