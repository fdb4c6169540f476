"""An encoder that is loaded when there is work, and let go when there was none for a while."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Callable

from imgsearch.encoders import Encoder, load_encoder

# The starter is loaded in 0.8 s and takes 110 to 240 MB (a process that watches has 95 MB without
# it); large models take seconds and gigabytes. Photos come in bursts: while somebody works with
# them the encoder stays, and overnight it is not there.
IDLE_SECONDS = 300.0


class EncoderKeeper:
    """Gives the encoder that `choose` names: a model's source, or an encoder that it keeps."""

    def __init__(self, choose: Callable[[], str | Encoder], device: str | None) -> None:
        self._choose = choose
        self._device = device
        self._held: tuple[str, Encoder] | None = None
        self._used = 0.0

    def get(self) -> Encoder:
        """Return the encoder, loaded now if need be. Raises a ModelError or a LibraryError."""
        self._used = time.monotonic()
        wanted = self._choose()
        if not isinstance(wanted, str):
            return wanted
        if self._held is None or self._held[0] != wanted:
            self._held = wanted, load_encoder(wanted, self._device)
        return self._held[1]

    def release_if_idle(self, idle_seconds: float = IDLE_SECONDS) -> None:
        """Let the encoder go if nobody has asked for it for so long."""
        if self._held is None or time.monotonic() - self._used < idle_seconds:
            return
        self._held = None
        gc.collect()
        if sys.platform == "linux":
            # glibc keeps what was freed (56 MB of the starter) unless it is told; others may not
            # have this function.
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
