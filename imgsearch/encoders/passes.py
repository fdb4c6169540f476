"""Running a tower over many pictures: pass after pass, copying one while another is computed.

Each call has a lane of its own: two streams and two sets of buffers. While a pass is computed on
one stream, the pixels of the next travel on the other, out of pinned memory; and the lanes of two
threads fill each other's gaps. On a CPU all of this happens one after the other, in the same lines.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.pass_size import PassSize

if TYPE_CHECKING:
    import torch

# One pass is computed while the next is made ready; a third would only take memory.
_BUFFERS = 2


class Passes:
    """A tower on a device, for any number of pictures. For several threads at once."""

    def __init__(
        self,
        tower: Callable[[torch.Tensor], torch.Tensor],
        device: torch.device,
        shape: tuple[int, int],
        size: PassSize,
    ) -> None:
        """`tower` makes rows [n, d] of uint8 pixels [n, s, s, 3], both on the device; `shape` is
        (s, d)."""
        self._tower = tower
        self._device = device
        self._shape = shape
        self._size = size
        self._idle: list[_Lane] = []
        self._lock = threading.Lock()

    def rows(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the tower on pixels [n, s, s, 3] in main memory: rows float32 [n, d].

        A pass for which memory runs out is tried at half the size. Raises torch.OutOfMemoryError
        where there is none for a single picture.
        """
        with self._lane() as lane:
            return self._run(lane, pixels)

    def _run(self, lane: _Lane, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        import torch

        rows = np.empty((len(pixels), self._shape[1]), dtype=np.float32)
        under_way: deque[tuple[int, _Pass]] = deque()

        def collect() -> None:
            begun, one = under_way.popleft()
            rows[begun : begun + one.count] = one.result()
            self._size.end(one.count)

        start = 0
        while start < len(pixels):
            part = pixels[start : start + self._size.now]
            self._size.begin()
            try:
                under_way.append((start, lane.start(part, self._tower)))
            except torch.OutOfMemoryError:
                self._size.too_large(len(part))
                if len(part) == 1:
                    raise
                while under_way:
                    collect()
                lane.clear()
                torch.cuda.empty_cache()
                continue
            start += len(part)
            if len(under_way) == _BUFFERS:
                collect()
        while under_way:
            collect()
        return rows

    @contextmanager
    def _lane(self) -> Iterator[_Lane]:
        with self._lock:
            lane = self._idle.pop() if self._idle else _Lane(self._device, *self._shape)
        yield lane
        # Not after an error: what it still has under way must not meet the next call.
        with self._lock:
            self._idle.append(lane)


@dataclass(frozen=True, slots=True)
class _Pass:
    """A pass that may still be under way: its rows will lie in `rows` once `done` has happened."""

    count: int
    rows: torch.Tensor
    done: Any

    def result(self) -> npt.NDArray[np.float32]:
        """Wait for the rows float32 [n, d]; they are valid until the buffers come round again."""
        self.done.synchronize()
        return np.asarray(self.rows.numpy(), dtype=np.float32)


class _Lane:
    """Streams and buffers for one thread at a time."""

    def __init__(self, device: torch.device, edge: int, dimension: int) -> None:
        import torch

        self._device = device
        # Apple's GPUs have no streams in torch; copies to and from them wait, as those on a CPU.
        self._asynchronous = device.type == "cuda"
        self._streams: Any = torch.cuda if self._asynchronous else torch.cpu
        make = partial(torch.cuda.Stream, device) if self._asynchronous else torch.cpu.Stream
        self._copying: Any = make()
        self._computing: Any = make()
        self._edge = edge
        self._dimension = dimension
        self._buffers: deque[_Buffers] = deque()

    def start(
        self, pixels: npt.NDArray[np.uint8], tower: Callable[[torch.Tensor], torch.Tensor]
    ) -> _Pass:
        """Begin a pass over pixels [n, s, s, 3]; at most `_BUFFERS` may be under way at once."""
        import torch

        count, streams, wait = len(pixels), self._streams, not self._asynchronous
        buffers = self._next_buffers(count)
        np.copyto(buffers.staged[:count].numpy(), pixels)
        with streams.stream(self._copying):
            buffers.moved[:count].copy_(buffers.staged[:count], non_blocking=not wait)
        self._computing.wait_stream(self._copying)
        with torch.inference_mode(), streams.stream(self._computing):
            rows = buffers.rows[:count]
            rows.copy_(tower(buffers.moved[:count]).float(), non_blocking=not wait)
            done = streams.Event()
            done.record(self._computing)
        return _Pass(count, rows, done)

    def clear(self) -> None:
        """Give the buffers' memory back. Nothing may be under way."""
        self._buffers.clear()

    def _next_buffers(self, count: int) -> _Buffers:
        """Return the buffers that were used longest ago, or new ones where they are too small."""
        buffers = self._buffers.popleft() if len(self._buffers) == _BUFFERS else None
        if buffers is None or len(buffers.staged) < count:
            buffers = self._make_buffers(count)
        self._buffers.append(buffers)
        return buffers

    def _make_buffers(self, count: int) -> _Buffers:
        import torch

        pixels = (count, self._edge, self._edge, 3)
        pinned = self._asynchronous
        with self._streams.stream(self._computing):
            # Belonging to this stream: the allocator gives it to no other while it is in use there.
            moved = torch.empty(pixels, dtype=torch.uint8, device=self._device)
        # Before this stream wrote to that memory, others may have: the first copy waits for them.
        self._copying.wait_stream(self._computing)
        return _Buffers(
            staged=torch.empty(pixels, dtype=torch.uint8, pin_memory=pinned),
            moved=moved,
            rows=torch.empty((count, self._dimension), dtype=torch.float32, pin_memory=pinned),
        )


@dataclass(frozen=True, slots=True)
class _Buffers:
    """Memory for a pass: pixels in main memory, pixels on the device, rows in main memory."""

    staged: torch.Tensor
    moved: torch.Tensor
    rows: torch.Tensor
