"""Walking the folders: every file that may be an image, with its stat values, nothing opened."""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imgsearch.data.catalog import is_below
from imgsearch.data.presence import FileSystem
from imgsearch.data.records import ScannedRow, storable_ns
from imgsearch.data.scopes import Scope
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
# How often a walk asks whether to stop, and after how many files it looks at the clock.
_PULSE_SECONDS = 0.1
_PULSE_FILES = 64
# Files of one folder that are handed on at once.
_PAGE = 10_000
# Python 3.12 can tell Windows' other kind of links.
_KNOWS_JUNCTIONS = hasattr(os.DirEntry, "is_junction")


class ScanStopped(Exception):
    """The walk was asked to end. Never leaves this package."""


class Pulse:
    """Called over and over while a long walk goes on, so that it can be stopped."""

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
    ) -> Iterator[list[ScannedRow]]:
        """Yield the candidates below `scope` of the absolute folder `root`, depth first, in pages.

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
            listing = _Listing(self, root_id, folder, notes, pulse, since_ns)
            device = outer
            try:
                with os.scandir(full) as entries:
                    device = os.stat(full).st_dev
                    if device != outer and (outer is not None or not folder):
                        notes.places[Scope(root_id, folder)] = FileSystem.of(full)
                    yield from listing.full_pages(entries)
            except OSError as error:
                notes.add_unreadable(Scope(root_id, folder), full, error)
            yield listing.page
            waiting += [(inner, device) for inner in listing.folders]

    def look(self, root: str, scope: Scope, notes: ScanNotes) -> Iterator[list[ScannedRow]]:
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
        if self.excluded(os.path.basename(path), path) or _is_junction(full):
            return
        if stat.S_ISDIR(facts.st_mode):
            yield from self.walk(root, scope, notes, _NO_PULSE)
        elif stat.S_ISREG(facts.st_mode):
            verdict = judge_name(os.path.basename(path))
            if verdict is not Verdict.OTHER:
                mtime_ns = storable_ns(facts.st_mtime_ns)
                sniff = verdict is Verdict.UNKNOWN
                yield [(root_id, path, facts.st_size, mtime_ns, sniff, False)]

    def reaches(self, outer: str, inner: str) -> bool:
        """Tell whether a walk of the folder `outer` would come to the folder `inner` below it."""
        if not is_below(inner, outer):
            return False
        parts = os.path.relpath(inner, outer).split(os.sep)
        return not any(
            self.excluded(part, os.path.join(*parts[: depth + 1]))
            for depth, part in enumerate(parts)
        )

    def excluded(self, name: str, path: str) -> bool:
        """Tell whether a walk leaves out the file or folder `name` at `path` in its root."""
        if name.startswith(".") or name in DEFAULT_EXCLUDES:
            return True
        return bool(self.excludes) and any(
            fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path, pattern)
            for pattern in self.excludes
        )


@dataclass(slots=True)
class _Listing:
    """One folder's entries as a walk sees them.

    `page` has the candidates that were met last; `folders` are those that are to be entered yet.
    """

    scanner: Scanner
    root_id: int
    folder: str
    notes: ScanNotes
    pulse: Pulse
    since_ns: int | None
    page: list[ScannedRow] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def full_pages(self, entries: Iterable[os.DirEntry[str]]) -> Iterator[list[ScannedRow]]:
        """Look at all entries; yield `page` whenever it is full. Raises OSError.

        What happens for every file is here, in one loop: a library may have millions.
        """
        root_id, since_ns, excluded = self.root_id, self.since_ns, self.scanner.excluded
        before = os.path.join(self.folder, "")
        for number, entry in enumerate(entries, start=1):
            if not number % _PULSE_FILES:
                self.pulse()
            name = entry.name
            path = before + name
            if excluded(name, path):
                continue
            if not entry.is_file(follow_symlinks=False):
                self._note(entry, path)
                continue
            verdict = judge_name(name)
            if verdict is Verdict.OTHER:
                continue
            facts = self._facts(entry, path)
            # Opening a FIFO, socket or device could block for ever.
            if facts is None or not stat.S_ISREG(facts.st_mode):
                continue
            touched = since_ns is not None and facts.st_ctime_ns >= since_ns
            mtime_ns, sniff = storable_ns(facts.st_mtime_ns), verdict is Verdict.UNKNOWN
            self.page.append((root_id, path, facts.st_size, mtime_ns, sniff, touched))
            if len(self.page) == _PAGE:
                yield self.page
                self.page = []

    def _note(self, entry: os.DirEntry[str], path: str) -> None:
        """Note what an entry is that is no ordinary file."""
        # Links are not followed: that ends loops, and keeps photos in their root.
        if entry.is_symlink() or (_KNOWS_JUNCTIONS and entry.is_junction()):  # type: ignore[attr-defined]
            self.notes.links_skipped += 1
        elif entry.is_dir(follow_symlinks=False):
            self.folders.append(path)

    def _facts(self, entry: os.DirEntry[str], path: str) -> os.stat_result | None:
        """Return an entry's stat values; None, and a note, where they cannot be had."""
        try:
            return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            # Deleted since the folder was listed, or its disk was pulled out: the next run will
            # know.
            self.notes.unreadable.append(Scope(self.root_id, path))
        except OSError as error:
            # It is there all the same; what the catalog knows of it must stay.
            self.notes.add_unreadable(Scope(self.root_id, path), entry.path, error)
        return None


def _device_above(root: str, prefix: str) -> int | None:
    """Return the number of the device that the folder above `prefix` lies on; None for a root."""
    try:
        return os.stat(os.path.dirname(os.path.join(root, prefix))).st_dev if prefix else None
    except OSError:
        return None


def _is_junction(path: str) -> bool:
    is_junction = getattr(os.path, "isjunction", None)
    return is_junction is not None and is_junction(path)
