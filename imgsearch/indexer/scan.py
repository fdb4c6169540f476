"""Walking the folders: every file that may be an image, with its stat values, nothing opened."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imgsearch.data.records import FileStat
from imgsearch.data.scan_table import ScannedFile, Scope
from imgsearch.indexer.formats import Verdict, judge_name

# Folders that hold thumbnails, caches or deleted files of other programs.
DEFAULT_EXCLUDES = (
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "@eaDir",
    "#recycle",
    "__MACOSX",
    "__pycache__",
    "node_modules",
)


@dataclass
class ScanNotes:
    """What the walk could not or would not enter; the scan goes on without it."""

    unreadable: list[Scope] = field(default_factory=list)
    unreadable_paths: list[str] = field(default_factory=list)
    links_skipped: int = 0


@dataclass(frozen=True)
class Scanner:
    """Walks folders, leaving out hidden names, symbolic links and whatever `excludes` names.

    `excludes` are shell patterns, compared with a file's or folder's name and with its path
    relative to the root. `library`, resolved, is imgsearch's own folder: never anybody's photos.
    """

    library: Path
    excludes: tuple[str, ...] = ()

    def walk(self, root: str, root_id: int, prefix: str, notes: ScanNotes) -> Iterator[ScannedFile]:
        """Yield the candidates below `prefix` of the absolute folder `root`, depth first."""
        own = str(self.library)
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()
            full = os.path.join(root, folder) if folder else root
            if full == own:
                continue
            try:
                with os.scandir(full) as entries:
                    listing = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                notes.unreadable.append(Scope(root_id, folder))
                notes.unreadable_paths.append(f"{full}: {error.strerror or error}")
                continue
            inner: list[str] = []
            for entry in listing:
                path = os.path.join(folder, entry.name) if folder else entry.name
                if self._excluded(entry.name, path):
                    continue
                # Links are not followed: that ends loops, and keeps every photo inside its root.
                if entry.is_symlink():
                    notes.links_skipped += 1
                elif entry.is_dir(follow_symlinks=False):
                    inner.append(path)
                else:
                    yield from _candidate(entry, root_id, path)
            waiting.extend(reversed(inner))

    def _excluded(self, name: str, path: str) -> bool:
        if name.startswith(".") or name in DEFAULT_EXCLUDES:
            return True
        return any(
            fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path, pattern)
            for pattern in self.excludes
        )


def _candidate(entry: os.DirEntry[str], root_id: int, path: str) -> Iterator[ScannedFile]:
    verdict = judge_name(entry.name)
    if verdict is Verdict.OTHER:
        return
    try:
        facts = entry.stat(follow_symlinks=False)
    except OSError:
        return  # Deleted since the folder was listed.
    # Opening a FIFO, socket or device could block for ever.
    if stat.S_ISREG(facts.st_mode):
        file = FileStat(root_id, path, facts.st_size, facts.st_mtime_ns)
        yield ScannedFile(file, sniff=verdict is Verdict.UNKNOWN)
