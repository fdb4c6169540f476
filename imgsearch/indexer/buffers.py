"""Arrays that are used again and again instead of being made for every photo.

A fresh array of 150 kB or more comes from the system page by page, cleared: that costs more than
filling it does.
"""

from __future__ import annotations

import queue

import numpy as np
import numpy.typing as npt


class Buffers:
    """Arrays of one shape, uint8. There are as many as were in use at once. Safe for threads."""

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self._free: queue.SimpleQueue[npt.NDArray[np.uint8]] = queue.SimpleQueue()

    def take(self) -> npt.NDArray[np.uint8]:
        """Return an array with any content."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return np.empty(self._shape, dtype=np.uint8)

    def give_back(self, array: npt.NDArray[np.uint8]) -> None:
        """Let an array be taken again: nobody may use it any more."""
        self._free.put(array)
