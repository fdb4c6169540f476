"""Waiting for files to settle: one that is still being written would be read half."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# A file is read when nothing has happened to it for so long (seconds), on top of the quarter of a
# second in which events are gathered. Folders wait as well: meanwhile the system begins to watch
# what is in a new one.
_QUIET_SECONDS = 0.25
# But at least every so often (seconds), for some files are written all the time. What fails then
# is tried again when it is written to again.
_PATIENCE_SECONDS = 3.0


@dataclass
class Settling:
    """Paths at which something happened; true while there are any."""

    # When that was first, and last.
    _moments: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._moments)

    def touch(self, path: str, now: float) -> None:
        """Note that something happened at `path`."""
        first, _ = self._moments.get(path, (now, now))
        self._moments[path] = first, now

    def take(self, now: float) -> list[str]:
        """Return, and forget, the paths that have waited long enough."""
        ready = [path for path, moments in self._moments.items() if _due(*moments) <= now]
        for path in ready:
            del self._moments[path]
        return ready

    def put_back(self, paths: Iterable[str]) -> None:
        """Take paths in again that could not be dealt with; they have waited long enough."""
        for path in paths:
            self._moments.setdefault(path, (float("-inf"), float("-inf")))

    def next_moment(self) -> float | None:
        """Return when the next of them will have waited long enough; None if there is none."""
        return min((_due(*moments) for moments in self._moments.values()), default=None)


def _due(first: float, last: float) -> float:
    return min(last + _QUIET_SECONDS, first + _PATIENCE_SECONDS)
