"""Memory that is used again and again instead of being made for every photo, or every batch.

A fresh array of 150 kB or more comes from the system page by page, cleared: that costs more than
filling it does.
"""

from __future__ import annotations

import queue
from collections import deque

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.shared_pixels import SharedPixels

# Rooms begin at the beginning of a page.
_PAGE_BYTES = 4096


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


class Rooms:
    """Memory shared with one child process, in rooms that take an answer each.

    Of each child its own: no child sees what the others have answered. There are as many rooms as
    were in use at once. Safe for threads as long as only one of them calls `take` and `look`.
    """

    def __init__(self, room_bytes: int, most: int) -> None:
        """Rooms of at least `room_bytes`, at most so many. Raises OSError where none can be had."""
        self.room_bytes = -(-room_bytes // _PAGE_BYTES) * _PAGE_BYTES
        self._most = most
        self._count = 0
        self._free: deque[int] = deque()
        self._shared = SharedPixels()

    @property
    def number(self) -> int:
        """The file descriptor that the child opens it by."""
        return self._shared.number

    def take(self) -> int | None:
        """Return the number of a free room, or None where there is none."""
        try:
            # The one that was used last: it is still in the processor's cache.
            return self._free.pop()
        except IndexError:
            return self._new()

    def look(self, room: int) -> npt.NDArray[np.uint8]:
        """Return what lies in a room: uint8 [room_bytes], not a copy."""
        end = (room + 1) * self.room_bytes
        return self._shared.read((end,))[end - self.room_bytes :]

    def give_back(self, room: int) -> None:
        """Let a room be taken again: nobody may look into it any more."""
        self._free.append(room)

    def close(self) -> None:
        """Give the memory back, as soon as nobody holds what `look` returned."""
        self._shared.close()

    def _new(self) -> int | None:
        if self._count >= self._most:
            return None
        try:
            self._shared.reserve((self._count + 1) * self.room_bytes)
        except OSError:
            # Memory is short. What finds no room goes through the pipe.
            self._most = self._count
            return None
        self._count += 1
        return self._count - 1
