"""A time limit on waiting for other processes, by one thread for all of them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class TimeLimit:
    """A running limit; `expired` tells whether it ran out."""

    deadline: float
    act: Callable[[], None]
    expired: bool = False


class Watchdog:
    """Calls back when a limit runs out before it is lifted.

    A `threading.Timer` for every file would start a thread for every file.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._limits: set[TimeLimit] = set()
        # When the thread will look again by itself.
        self._wakes = math.inf
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="imgsearch-watchdog", daemon=True)
        self._thread.start()

    def set(self, seconds: float, act: Callable[[], None]) -> TimeLimit:
        """Start a limit: unless it is lifted in time, `act` is called, once, in another thread."""
        limit = TimeLimit(time.monotonic() + seconds, act)
        with self._changed:
            self._limits.add(limit)
            # Seldom so: limits are equally long and mostly lifted, and it sleeps until the oldest.
            if limit.deadline < self._wakes:
                self._changed.notify()
        return limit

    def lift(self, limit: TimeLimit) -> bool:
        """End a limit; return whether it had run out."""
        with self._changed:
            self._limits.discard(limit)
            return limit.expired

    def close(self) -> None:
        """End the thread; limits still running are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for limit in [one for one in self._limits if one.deadline <= now]:
                    self._limits.discard(limit)
                    limit.expired = True
                    limit.act()
                self._wakes = min((one.deadline for one in self._limits), default=math.inf)
                self._changed.wait(None if self._wakes == math.inf else max(0.0, self._wakes - now))
