"""Walking the folders: every file that may be an image, with its stat values, nothing opened."""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imgsearch.data.catalog import is_below
from imgsearch.data.presence import FileSystem
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
# How often a walk asks whether to stop.
_PULSE_SECONDS = 0.1


class ScanStopped(Exception):
    """The walk was asked to end. Never leaves this package."""


class Pulse:
    """Called for every file and folder that is met, so that a long walk can be stopped."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._due = time.monotonic() + _PULSE_SECONDS

    def __call__(self) -> None:
        """Ask, now and then, whether to stop. Raises ScanStopped."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _PULSE_SECONDS
            if self._should_stop():
                raise ScanStopped


# For a look at few files.
_NO_PULSE = Pulse(lambda: False)


@dataclass
class ScanNotes:
    """What the walk could not or would not enter; the scan goes on without it."""

    unreadable: list[Scope] = field(default_factory=list)
    unreadable_paths: list[str] = field(default_factory=list)
    links_skipped: int = 0
    # The file systems of the folders where another one begins, the roots' among them.
    places: dict[Scope, FileSystem] = field(default_factory=dict)

    def add_unreadable(self, scope: Scope, path: str, error: OSError) -> None:
        """Note a folder or file that could not be looked at, and why."""
        self.unreadable.append(scope)
        self.unreadable_paths.append(f"{path}: {error.strerror or error}")


@dataclass(frozen=True)
class Scanner:
    """Walks folders, leaving out hidden names, symbolic links and whatever `excludes` names.

    `excludes` are shell patterns, compared with a file's or folder's name and with its path
    relative to the root. `library`, resolved, is imgsearch's own folder: never anybody's photos.
    `offline` folders are not entered: what lies there now is not what the library knows.
    """

    library: Path
    excludes: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()

    def walk(
        self,
        root: str,
        scope: Scope,
        notes: ScanNotes,
        pulse: Pulse,
        since_ns: int | None = None,
    ) -> Iterator[ScannedFile]:
        """Yield the candidates below `scope` of the absolute folder `root`, depth first.

        Those whose status has changed since `since_ns` (Unix time) are marked as touched. Raises
        ScanStopped, by `pulse`.
        """
        own = str(self.library)
        root_id, prefix = scope.root_id, scope.prefix
        # Each with the number of the device that the folder above it lies on.
        waiting = [(prefix, _device_above(root, prefix))]
        while waiting:
            pulse()
            folder, outer = waiting.pop()
            full = os.path.join(root, folder) if folder else root
            if full == own:
                continue
            if full in self.offline:
                notes.unreadable.append(Scope(root_id, folder))
                continue
            try:
                with os.scandir(full) as entries:
                    device = os.stat(full).st_dev
                    if device != outer and (outer is not None or not folder):
                        notes.places[Scope(root_id, folder)] = FileSystem.of(full)
                    for entry in entries:
                        pulse()
                        path = os.path.join(folder, entry.name) if folder else entry.name
                        if self._excluded(entry.name, path):
                            continue
                        # Links are not followed: that ends loops, and keeps photos in their root.
                        if _is_link(entry):
                            notes.links_skipped += 1
                        elif entry.is_dir(follow_symlinks=False):
                            waiting.append((path, device))
                        else:
                            yield from _candidate(entry, root_id, path, notes, since_ns)
            except OSError as error:
                notes.add_unreadable(Scope(root_id, folder), full, error)

    def look(self, root: str, scope: Scope, notes: ScanNotes) -> Iterator[ScannedFile]:
        """Yield what `walk` would find at the file or folder `scope`, and below it.

        That is nothing where it is not there (any more), is a link, or is left out. The folders
        between it and the root are not looked at: `reaches` tells whether a walk enters them.
        """
        root_id, path = scope.root_id, scope.prefix
        if not path:
            yield from self.walk(root, scope, notes, _NO_PULSE)
            return
        full = os.path.join(root, path)
        try:
            facts = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            notes.add_unreadable(Scope(root_id, path), full, error)
            return
        if self._excluded(os.path.basename(path), path) or _is_junction(full):
            return
        if stat.S_ISDIR(facts.st_mode):
            yield from self.walk(root, scope, notes, _NO_PULSE)
        elif stat.S_ISREG(facts.st_mode):
            verdict = judge_name(os.path.basename(path))
            if verdict is not Verdict.OTHER:
                file = FileStat.of(root_id, path, facts.st_size, facts.st_mtime_ns)
                yield ScannedFile(file, sniff=verdict is Verdict.UNKNOWN)

    def reaches(self, outer: str, inner: str) -> bool:
        """Tell whether a walk of the folder `outer` would come to the folder `inner` below it."""
        if not is_below(inner, outer):
            return False
        parts = os.path.relpath(inner, outer).split(os.sep)
        return not any(
            self._excluded(part, os.path.join(*parts[: depth + 1]))
            for depth, part in enumerate(parts)
        )

    def _excluded(self, name: str, path: str) -> bool:
        if name.startswith(".") or name in DEFAULT_EXCLUDES:
            return True
        return any(
            fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path, pattern)
            for pattern in self.excludes
        )


def _device_above(root: str, prefix: str) -> int | None:
    """Return the number of the device that the folder above `prefix` lies on; None for a root."""
    try:
        return os.stat(os.path.dirname(os.path.join(root, prefix))).st_dev if prefix else None
    except OSError:
        return None


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a symbolic link or, where Python can tell (3.12), a junction."""
    is_junction = getattr(entry, "is_junction", None)
    return entry.is_symlink() or (is_junction is not None and is_junction())


def _is_junction(path: str) -> bool:
    is_junction = getattr(os.path, "isjunction", None)
    return is_junction is not None and is_junction(path)


def _candidate(
    entry: os.DirEntry[str], root_id: int, path: str, notes: ScanNotes, since_ns: int | None
) -> Iterator[ScannedFile]:
    verdict = judge_name(entry.name)
    if verdict is Verdict.OTHER:
        return
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        # Deleted since the folder was listed, or its disk was pulled out: the next run will know.
        notes.unreadable.append(Scope(root_id, path))
        return
    except OSError as error:
        # It is there all the same; what the catalog knows of it must stay.
        notes.add_unreadable(Scope(root_id, path), entry.path, error)
        return
    # Opening a FIFO, socket or device could block for ever.
    if stat.S_ISREG(facts.st_mode):
        file = FileStat.of(root_id, path, facts.st_size, facts.st_mtime_ns)
        touched = since_ns is not None and facts.st_ctime_ns >= since_ns
        yield ScannedFile(file, sniff=verdict is Verdict.UNKNOWN, touched=touched)
