"""A tower through torch.compile, for those who ask for it with ``IMGSEARCH_COMPILE=1``.

Not by itself, because it pays only in long runs: compiling takes 20 to 60 seconds on a GPU, in
every process, and a ViT at 256 pictures a pass is bound by its matrix products, which stay as they
are; what is gained is the fusing of what lies between them.

CUDA graphs (``mode="reduce-overhead"``) are left out. They hide the cost of launching kernels,
which passes of this size hide already; their results lie in memory that the next run overwrites;
and they fail in threads other than the one that imported torch (pytorch/pytorch#123177, open in
May 2026), which all of ours are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imgsearch.encoders.pass_size import PassSize

if TYPE_CHECKING:
    import torch

Tower = Callable[["torch.Tensor"], "torch.Tensor"]

_log = logging.getLogger("imgsearch")


class CompiledTower:
    """A tower, compiled for full passes. Where it cannot be compiled, the tower as it is."""

    def __init__(
        self, tower: Tower, size: PassSize, backend: str | Callable[..., Any] = "inductor"
    ) -> None:
        """`tower` makes rows [n, d] of pixels [n, s, s, 3]; nothing is compiled before its use.

        `backend` is one of torch.compile.
        """
        import torch

        self._eager = tower
        self._size = size
        self._compiled: Tower | None = torch.compile(tower, dynamic=False, backend=backend)
        self._proven = False
        self._first = threading.Lock()

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return rows [n, d]. Passes of less than half the full size are not worth filling up."""
        full = self._size.now
        if not full // 2 < len(pixels) <= full:
            return self._eager(pixels)
        if self._proven:
            return self._filled_up(pixels, full)
        with self._first:
            return self._attempt(pixels, full)

    def _attempt(self, pixels: torch.Tensor, full: int) -> torch.Tensor:
        """Run the compiled tower for the first time, or find out that there is none."""
        import torch

        try:
            rows = self._filled_up(pixels, full)
            self._proven = True
            return rows
        except torch.OutOfMemoryError:
            raise
        # A missing compiler shows in any of these, depending on the device and the version.
        except (RuntimeError, ImportError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            _log.warning("The model could not be compiled and runs as it is: %s", reason)
            self._compiled = None
            self._proven = True
            return self._eager(pixels)

    def _filled_up(self, pixels: torch.Tensor, full: int) -> torch.Tensor:
        """Run a pass with black pictures added, so that all have the shape that was compiled."""
        import torch

        if self._compiled is None:
            return self._eager(pixels)
        missing = full - len(pixels)
        padded = torch.nn.functional.pad(pixels, (0, 0, 0, 0, 0, 0, 0, missing))
        return self._compiled(padded)[: len(pixels)]
