"""Memory for pixels that two processes see: nothing of it goes through a pipe.

A file without a name (Linux), so that nothing is left behind however the processes end. It is not
bound by the size of /dev/shm, which containers limit to 64 MB and which multiprocessing's shared
memory lies in.
"""

from __future__ import annotations

import math
import mmap
import os

import numpy as np
import numpy.typing as npt

# Reserved in larger steps, memory is seldom mapped anew.
_STEP_BYTES = 1 << 22


def can_share() -> bool:
    """Tell whether this system has such files."""
    return hasattr(os, "memfd_create")


class SharedPixels:
    """Room for uint8 pixels; made by one process, and opened by its child through `number`."""

    def __init__(self, number: int | None = None) -> None:
        """Make a new one, or open the one with this file descriptor, inherited from the parent.

        Raises OSError where there is none to be had.
        """
        self.number = _new_file() if number is None else number
        self._reserved = 0
        self._bytes = np.empty(0, dtype=np.uint8)

    def reserve(self, count: int) -> None:
        """Have room for so many bytes. Raises OSError where memory is short."""
        if count > self._reserved:
            steps = -(-count // _STEP_BYTES)
            # Now an error; without it, later, the end of the process.
            more = steps * _STEP_BYTES - self._reserved
            os.posix_fallocate(self.number, self._reserved, more)
            self._reserved += more

    def write(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Put pixels of any shape at the beginning. Raises OSError where memory is short."""
        self.reserve(pixels.nbytes)
        np.copyto(self.read(pixels.shape), pixels)

    def read(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """Return the pixels at the beginning, in this shape; they are not copied."""
        count = math.prod(shape)
        if count > len(self._bytes):
            length = os.fstat(self.number).st_size
            self._bytes = np.frombuffer(mmap.mmap(self.number, length), dtype=np.uint8)
        return self._bytes[:count].reshape(shape)

    def close(self) -> None:
        """Give the memory back, as soon as nobody holds what `read` returned."""
        self._bytes = np.empty(0, dtype=np.uint8)
        os.close(self.number)


def _new_file() -> int:
    import fcntl

    number = os.memfd_create("imgsearch-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    # If a child that a hostile picture has taken over made it shorter, we would die of reading it.
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return number
