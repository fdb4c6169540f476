"""How many pictures a forward pass takes: found by trying, while the work goes on.

A pass too small leaves a GPU waiting for the next; beyond some size nothing is gained but memory
lost. Where that lies depends on the model and the card, so sizes are doubled while it pays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# A doubling must bring so much (a twentieth) to be kept: less than that drowns in noise.
GAIN = 1.05
# Full passes of a size that are measured, after one that is not: there memory is allocated.
_PASSES_MEASURED = 6


class PassSize:
    """The size of a pass, `now`, from what passes of it cost. For several threads at once.

    Measured is the throughput of all threads together: pictures by seconds in which a pass was
    under way, so that waiting for pictures does not count.
    """

    def __init__(self, start: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with `start` pictures a pass, and never go beyond `most`; `clock` gives seconds."""
        self.now = start
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._settled = 2 * start > most
        self._best_rate = 0.0
        self._under_way = 0
        self._busy_since = 0.0
        self._start_trial()

    def begin(self) -> None:
        """Note that a pass has begun."""
        with self._lock:
            if not self._under_way:
                self._busy_since = self._clock()
            self._under_way += 1

    def end(self, pictures: int) -> None:
        """Note that a pass of so many pictures has ended, and choose the size of the next."""
        with self._lock:
            self._note_time()
            self._under_way -= 1
            if self._settled:
                return
            full = pictures == self.now
            if not self._warm:
                if full:
                    self._start_trial(warm=True)
                return
            self._pictures += pictures
            self._passes += full
            if self._passes >= _PASSES_MEASURED:
                self._judge(self._pictures / max(self._busy, 1e-9))

    def too_large(self, pictures: int) -> None:
        """Note that there was no memory for a pass of so many pictures, which had begun.

        The next take half of that at most, and no larger ones are tried again.
        """
        with self._lock:
            self._note_time()
            self._under_way -= 1
            self.now = min(self.now, max(1, pictures // 2))
            self._settled = True

    def _note_time(self) -> None:
        now = self._clock()
        self._busy += now - self._busy_since
        self._busy_since = now

    def _start_trial(self, *, warm: bool = False) -> None:
        self._warm = warm
        self._pictures = self._passes = 0
        self._busy = 0.0

    def _judge(self, rate: float) -> None:
        """Go on to twice the size, or settle on this one or the one before."""
        if rate < GAIN * self._best_rate:
            self.now //= 2
            self._settled = True
            return
        self._best_rate = rate
        if 2 * self.now > self._most:
            self._settled = True
            return
        self.now *= 2
        self._start_trial()
