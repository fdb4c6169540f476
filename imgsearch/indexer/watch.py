"""Keeping a library up to date while photos come, change, move and go.

One thread does everything in turns: it waits for events, which the system gathers meanwhile, lets
files settle, and has all that is ready indexed in one run of the pipeline. Folders are looked
through as a whole only when it is not known what happened in them: at the start, when one comes
back, and when events may have been lost.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from imgsearch.data.catalog import is_below
from imgsearch.data.connection import catalog_path
from imgsearch.data.reader import CatalogReader
from imgsearch.encoders import Encoder
from imgsearch.errors import FolderInvalid, LibraryBusy, UsageError
from imgsearch.indexer.encoder_keeper import EncoderKeeper
from imgsearch.indexer.folder_events import Batch, CannotWatch, FolderEvents, FolderMissing
from imgsearch.indexer.formats import Verdict, judge_name
from imgsearch.indexer.report import IndexReport, Progress, ProgressCallback
from imgsearch.indexer.roots import check_folders
from imgsearch.indexer.run import index_changes, index_folders, refresh_index
from imgsearch.indexer.scan import Scanner
from imgsearch.indexer.settling import Settling
from imgsearch.indexer.watched_roots import WatchedRoot, holder, identity_of, outermost
from imgsearch.settings import IndexSettings

# How often folders are looked for that may have vanished or come back (seconds). This, waking up
# for events and asking whether to stop are all that is done while nothing happens.
_ROOTS_SECONDS = 2.0
# How often the library is asked which folders it has: others may be added and removed meanwhile.
_LIBRARY_SECONDS = 30.0
_BUSY_SECONDS = 1.0
# Folders are looked through every hour in case events were lost that nobody knows of (as on drives
# of other machines); where that takes long, less often, so that it costs a thousandth of the time.
_HOUR = 3_600.0
_SHARE_WHEN_IDLE = 1_000
# Passes for events that may have been lost, and where the system gives none, cost a twentieth.
_SHARE_IN_DOUBT = 20
# Where the system gives no events and nobody has said how often to look instead.
_POLL_SECONDS = 10.0
# Doubts are cleared up when all is quiet, or after so long (seconds).
_DOUBT_SECONDS = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class WatchOptions:
    """How to watch. `poll_seconds`: look through the folders this often, without events."""

    excludes: tuple[str, ...] = ()
    poll_seconds: float | None = None
    settings: IndexSettings = field(default_factory=IndexSettings)


@dataclass(frozen=True)
class Listener:
    """Who is told what happens.

    `changed` gets a report for each batch in which anything was added, moved, changed, removed or
    failed, and for the first look through the folders; `noted` a sentence; `passed` the encoder
    after each look through a whole folder.
    """

    changed: Callable[[IndexReport], None]
    noted: Callable[[str], None]
    progress: ProgressCallback
    passed: Callable[[Encoder], None]


class FolderWatch:
    """Watches folders for a library until `should_stop` turns true."""

    def __init__(
        self,
        library: Path,
        folders: Sequence[str | Path] | None,
        keeper: EncoderKeeper,
        options: WatchOptions,
        listener: Listener,
        should_stop: Callable[[], bool],
    ) -> None:
        """`folders` need not be there; None means all roots of the library.

        Raises FolderInvalid, UsageError where the library has no roots, or a LibraryError.
        """
        self._library = library
        self._keeper = keeper
        self._options = options
        self._listener = listener
        self._should_stop = should_stop
        self._scanner = Scanner(library, options.excludes)
        self._all_roots = folders is None
        self._roots = [WatchedRoot(path) for path in self._given(folders)]
        self._events = FolderEvents(should_stop)
        self._armed = False
        self._polling = options.poll_seconds is not None
        self._settling = Settling()
        self._first_pass = True
        self._busy = False
        self._doubt_since: float | None = None
        # Whether there is something that the FAISS cache does not have yet.
        self._stale = False
        # What a look through all folders costs (seconds), and when the last one ended.
        self._pass_cost = 0.0
        self._passed_at = 0.0
        # Moments, on the monotonic clock, before which these are not done (again).
        self._next_roots = self._next_library = self._next_run = self._next_refresh = 0.0

    def run(self) -> None:
        """Watch. Raises a ModelError or a LibraryError; LibraryBusy is waited for instead.

        Returns when it was asked to stop, or when the folders were removed from the library.
        """
        try:
            while not self._should_stop() and self._look_after_roots():
                self._pass_if_due()
                self._update()
                self._refresh_if_due()
                self._keeper.release_if_idle()
                self._take_note(self._events.wait(self._patience()))
        finally:
            self._events.close()

    def _given(self, folders: Sequence[str | Path] | None) -> list[str]:
        if folders is None:
            with CatalogReader(self._library) as reader:
                paths = [] if reader.is_uninitialised() else reader.roots()
            if not paths:
                raise UsageError(
                    "This library has no folders yet. Say which to watch: imgsearch watch FOLDER"
                )
        else:
            paths = []
            for folder in folders:
                full = os.path.realpath(os.path.expanduser(folder))
                # One that is not there may be on a disk that will be plugged in.
                there = not os.fspath(folder) or os.path.lexists(full)
                paths += check_folders([folder], self._library, ()) if there else [full]
        return outermost(paths, self._scanner)

    # Folders: there or not.

    def _look_after_roots(self) -> bool:
        """Notice folders that vanished or came back; return whether there are any to watch."""
        now = time.monotonic()
        if now < self._next_roots:
            return True
        self._next_roots = now + _ROOTS_SECONDS
        if now >= self._next_library:
            self._next_library = now + _LIBRARY_SECONDS
            if not self._follow_library():
                return False
        changed = [root for root in self._roots if self._has_changed(root)]
        if changed or not self._armed:
            self._arm()
        return True

    def _has_changed(self, root: WatchedRoot) -> bool:
        """Tell whether another folder, or none, is at a root's place now; say so."""
        found, before = identity_of(root.path), root.identity
        root.identity = found
        if found is None and not root.announced:
            root.announced = True
            self._listener.noted(
                f"{root.path} is not there now. Photos that the library has of it are kept; it is "
                "watched again as soon as it is there."
            )
        elif found is not None and found != before:
            root.needs_pass = True
            if root.announced:
                self._listener.noted(f"{root.path} is there.")
            root.announced = False
        return found != before

    def _arm(self) -> None:
        """Have the system tell of changes in the folders that are there."""
        present = [root.path for root in self._roots if root.identity is not None]
        self._armed = True
        if self._options.poll_seconds is not None:
            return
        try:
            self._events.watch(present)
            self._polling = False
        except FolderMissing:
            self._armed, self._next_roots = False, 0.0
        except CannotWatch as reason:
            self._events.watch([])
            if not self._polling:
                self._listener.noted(
                    f"The system cannot tell what changes: {reason}. The folders are looked "
                    f"through every {_POLL_SECONDS:.0f} seconds or more instead."
                )
            self._polling = True

    def _follow_library(self) -> bool:
        """Drop folders that the library has forgotten, and take in new ones if it is all.

        A folder that somebody has removed from the library must not be added again.
        """
        if not catalog_path(self._library).exists() and not any(one.known for one in self._roots):
            return True
        with CatalogReader(self._library) as reader:
            held = [] if reader.is_uninitialised() else reader.roots()
        for root in list(self._roots):
            covered = any(root.path == one or is_below(root.path, one) for one in held)
            if root.known and not covered:
                self._listener.noted(
                    f"{root.path} was removed from the library and is watched no more."
                )
                self._roots.remove(root)
                self._armed = False
            root.known = covered
        if self._all_roots:
            watched = {root.path for root in self._roots}
            new = [one for one in outermost(held, self._scanner) if one not in watched]
            self._roots += [WatchedRoot(one, known=True) for one in new]
        return bool(self._roots) or self._all_roots

    # Events.

    def _take_note(self, batch: Batch) -> None:
        now = time.monotonic()
        for root in self._roots:
            if root.path in batch.deleted:
                # Even if there is one again by now, it is not the one that is watched.
                root.identity, self._next_roots = None, 0.0
        if batch.lost and self._doubt_since is None:
            self._doubt_since = now
        for path in batch.paths:
            if self._concerns(path):
                self._settling.touch(path, now)

    def _concerns(self, path: str) -> bool:
        """Tell whether a scan of the watched folders would come to this path."""
        own = str(self._library)
        if path == own or is_below(path, own):
            return False
        root = holder(self._roots, path)
        if root is None or root.identity is None or not self._scanner.reaches(root.path, path):
            return False
        if root.kept:
            # Its photos were kept for fear of an unplugged disk; now it has others.
            root.needs_pass, root.kept = True, False
        return True

    def _update(self) -> None:
        """Index what has settled."""
        now = time.monotonic()
        if now < self._next_run:
            return
        ready = self._settling.take(now)
        paths = [path for path in ready if not _is_of_no_interest(path)]
        if not paths:
            return
        present: dict[str, bool] = {}

        def is_present(path: str) -> bool:
            root = holder(self._roots, path)
            if root is not None and root.path not in present:
                present[root.path] = root.is_present()
            return root is not None and present[root.path]

        report = self._attempt(
            lambda: index_changes(
                self._library,
                paths,
                self._keeper.get(),
                excludes=self._options.excludes,
                is_present=is_present,
                progress=self._listener.progress,
                should_stop=self._should_stop,
                settings=self._options.settings,
            )
        )
        if report is None:
            self._settling.put_back(ready)
        elif _tells_anything(report):
            self._stale = True
            self._listener.changed(report)

    # Whole folders.

    def _pass_if_due(self) -> None:
        """Look through those folders of which it is not known what happened in them."""
        now = time.monotonic()
        present = [root for root in self._roots if root.identity is not None]
        due = present if self._all_are_due(now) else [root for root in present if root.needs_pass]
        if not (due and self._armed) or now < self._next_run:
            return
        if not self._follow_library():
            self._next_library = self._next_roots = 0.0
            return
        due = [root for root in due if root in self._roots]
        whole = len(due) == len(present)
        worked = 0.0

        def progress(state: Progress) -> None:
            nonlocal worked
            worked = state.seconds
            self._listener.progress(state)

        encoder = self._keeper.get()
        report = self._attempt(
            lambda: index_folders(
                self._library,
                [root.path for root in due],
                encoder,
                excludes=self._options.excludes,
                retry_failed=False,
                dry_run=False,
                progress=progress,
                should_stop=self._should_stop,
                settings=self._options.settings,
            )
        )
        if report is None or report.interrupted:
            return
        if report.lost_catalog:
            self._listener.noted(report.lost_catalog)
        for root in due:
            root.needs_pass, root.known = False, True
        if whole:
            self._doubt_since = None
            self._passed_at = time.monotonic()
            self._pass_cost = max(0.0, report.seconds - worked)
        self._listener.passed(encoder)
        self._tell_of_pass(report, due)

    def _all_are_due(self, now: float) -> bool:
        since, cost = now - self._passed_at, self._pass_cost
        if since > max(_HOUR, _SHARE_WHEN_IDLE * cost):
            return True
        if self._polling:
            return since > max(self._options.poll_seconds or _POLL_SECONDS, _SHARE_IN_DOUBT * cost)
        if self._doubt_since is None or since < _SHARE_IN_DOUBT * cost:
            return False
        return not self._settling or now - self._doubt_since > _DOUBT_SECONDS

    def _tell_of_pass(self, report: IndexReport, passed: list[WatchedRoot]) -> None:
        if self._first_pass or _tells_anything(report, but_failures=True):
            self._listener.changed(report)
        for root in passed:
            kept = root.path in report.kept_roots
            if kept and not root.kept:
                self._listener.noted(
                    f"{root.path} is empty. In case its disk is not plugged in, its photos are "
                    f"kept; to forget them: imgsearch remove {root.path}"
                )
            root.kept = kept
        if self._first_pass:
            self._first_pass = False
            count = "1 folder" if len(self._roots) == 1 else f"{len(self._roots)} folders"
            self._listener.noted(f"Watching {count}.")

    def _attempt(self, work: Callable[[], T]) -> T | None:
        """Return what `work` does; None if it cannot be done at present."""
        try:
            done = work()
        except LibraryBusy:
            if not self._busy:
                self._listener.noted("Another imgsearch writes this library; waiting for it.")
            self._busy = True
            self._next_run = time.monotonic() + _BUSY_SECONDS
            return None
        except FolderInvalid:
            # It has gone away since it was looked for.
            self._next_roots = 0.0
            return None
        self._busy = False
        return done

    def _refresh_if_due(self) -> None:
        """Bring the FAISS cache up to date, at a twentieth of the time at most.

        It is written as a whole: a gigabyte for a million photos, and not for each that comes.
        """
        now = time.monotonic()
        if not self._stale or self._settling or now < self._next_refresh:
            return
        self._stale = False
        refresh_index(self._library)
        ended = time.monotonic()
        self._next_refresh = ended + _SHARE_IN_DOUBT * (ended - now)

    def _patience(self) -> float:
        """Return for how long nothing is to be done if nothing happens (seconds)."""
        now = time.monotonic()
        moments = [self._next_roots]
        settled = self._settling.next_moment()
        if settled is not None:
            moments.append(max(settled, self._next_run))
        if self._stale:
            moments.append(self._next_refresh)
        return max(0.01, min(moments) - now)


def _is_of_no_interest(path: str) -> bool:
    """Tell whether an ordinary file's name says that it is no image.

    What is not there is of interest: it may have been a folder of photos.
    """
    if judge_name(os.path.basename(path)) is not Verdict.OTHER:
        return False
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _tells_anything(report: IndexReport, *, but_failures: bool = False) -> bool:
    counts = [report.added, report.moved, report.changed, report.removed]
    return any(counts) or bool(report.failures if but_failures else report.failed)
