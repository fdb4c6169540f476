"""Indexing and comparing in the background, one run at a time each, watched by every visitor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from imgsearch import DuplicateGroup, ImgsearchError, IndexReport, Library, Progress


@dataclass(frozen=True, slots=True)
class JobState:
    """How the latest run stands: `report` when it has ended well, `error` when it has not."""

    folders: tuple[str, ...] = ()
    running: bool = False
    progress: Progress | None = None
    report: IndexReport | None = None
    error: str | None = None


class IndexJob:
    """The background run. Safe to use from several threads."""

    def __init__(self, open_library: Callable[[], Library]) -> None:
        """`open_library` gives a library of its own, so that a run does not hold up searches."""
        self._open = open_library
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._state = JobState()

    @property
    def state(self) -> JobState:
        """How the latest run stands."""
        return self._state

    def start(self, folders: Sequence[str], *, retry_failed: bool = False) -> bool:
        """Begin to index; False if a run is under way."""
        with self._lock:
            if self._state.running:
                return False
            self._stop.clear()
            self._state = JobState(folders=tuple(folders), running=True)
        threading.Thread(
            target=self._run, args=(retry_failed,), name="imgsearch-index", daemon=True
        ).start()
        return True

    def stop(self) -> None:
        """Ask the run to finish the batch in hand; what is in stays in."""
        self._stop.set()

    def _run(self, retry_failed: bool) -> None:
        report: IndexReport | None = None
        message: str | None = (
            "The run ended unexpectedly; the terminal that shows this page says why."
        )
        try:
            with self._open() as library:
                report = library.index(
                    self._state.folders,
                    retry_failed=retry_failed,
                    progress=self._note,
                    should_stop=self._stop.is_set,
                )
            message = None
        except ImgsearchError as error:
            message = str(error)
        finally:
            with self._lock:
                self._state = replace(self._state, running=False, report=report, error=message)

    def _note(self, progress: Progress) -> None:
        with self._lock:
            self._state = replace(self._state, progress=progress)


@dataclass(frozen=True, slots=True)
class SimilarState:
    """How the latest comparison stands: `groups` when it has ended well, `error` when not.

    `done` of `total` photos are compared; `stopped` tells that somebody asked it to end early.
    """

    threshold: float = 0.0
    running: bool = False
    done: int = 0
    total: int = 0
    stopped: bool = False
    groups: tuple[DuplicateGroup, ...] | None = None
    error: str | None = None


class SimilarJob:
    """Finds near-duplicates in the background. Safe to use from several threads."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._state = SimilarState()

    @property
    def state(self) -> SimilarState:
        """How the latest comparison stands."""
        return self._state

    def start(self, threshold: float) -> None:
        """Begin to compare what is new, unless a comparison is under way."""
        with self._lock:
            if self._state.running:
                return
            self._stop.clear()
            self._ended.clear()
            self._state = SimilarState(threshold, running=True)
        threading.Thread(target=self._run, name="imgsearch-similar", daemon=True).start()

    def wait(self, seconds: float) -> SimilarState:
        """Return how it stands once it has ended, or after so long."""
        self._ended.wait(seconds)
        return self._state

    def stop(self) -> None:
        """Ask the comparison to end soon; what was compared is kept."""
        self._stop.set()

    def _run(self) -> None:
        groups: tuple[DuplicateGroup, ...] | None = None
        message: str | None = (
            "The comparison ended unexpectedly; the terminal that shows this page says why."
        )
        try:
            groups = self._library.near_duplicates(
                threshold=self._state.threshold,
                progress=self._note,
                should_stop=self._stop.is_set,
            )
            message = None
        except ImgsearchError as error:
            message = str(error)
        finally:
            with self._lock:
                stopped = self._stop.is_set()
                self._state = replace(
                    self._state, running=False, stopped=stopped, groups=groups, error=message
                )
            self._ended.set()

    def _note(self, done: int, total: int) -> None:
        with self._lock:
            self._state = replace(self._state, done=done, total=total)
