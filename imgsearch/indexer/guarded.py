"""Decoding a single picture from anywhere under the same guards as indexing."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.paths import printable
from imgsearch.data.records import FileFailure, FileStat
from imgsearch.encoders.base import Preprocessing
from imgsearch.errors import ImageUnreadable
from imgsearch.indexer.decode_process import Decoded, DecodeProcess, Request
from imgsearch.indexer.watchdog import Watchdog
from imgsearch.settings import DecodeLimits

_NO_FILE = FileStat(0, "", 0, 0)


class GuardedDecoder:
    """A decoding process for pictures that are asked for one by one.

    Started at first use, and again after a picture that it died of. Safe to use from several
    threads, which take turns.
    """

    def __init__(self, preprocessing: Preprocessing, limits: DecodeLimits) -> None:
        self.preprocessing = preprocessing
        self._limits = limits
        self._lock = threading.Lock()
        self._watchdog: Watchdog | None = None
        self._process: DecodeProcess | None = None

    def close(self) -> None:
        """End the process; the decoder can be used again afterwards."""
        with self._lock:
            if self._process is not None:
                self._process.close()
            if self._watchdog is not None:
                self._watchdog.close()
            self._process = self._watchdog = None

    def look_at(self, content: bytes) -> Decoded:
        """Decode the bytes of an image file. Raises ImageUnreadable."""
        if len(content) > self._limits.max_upload_bytes:
            raise ImageUnreadable(
                f"too large; the limit is {self._limits.max_upload_bytes // 1_000_000} MB"
            )
        return self._decode(Request(_NO_FILE, "", content))

    def read(self, path: str) -> Decoded:
        """Decode a file. Raises ImageUnreadable."""
        return self._decode(Request(_NO_FILE, path))

    def pixels(self, path: Path) -> npt.NDArray[np.uint8]:
        """Return the pixels uint8 [s, s, 3] of a file to search by. Raises ImageUnreadable."""
        try:
            return self.read(os.path.realpath(path)).pixels
        except (ImageUnreadable, ValueError) as error:
            # A name that holds a NUL is a ValueError.
            raise ImageUnreadable(f"Cannot search by {printable(str(path))}: {error}.") from error

    def thumbnail(self, path: str) -> tuple[bytes, bytes]:
        """Return the content hash and the thumbnail of a file. Raises ImageUnreadable."""
        decoded = self.read(path)
        return decoded.content_hash, decoded.thumbnail

    def preview(self, path: str, edge: int) -> tuple[bytes, bytes]:
        """Return the content hash of a file, and its picture as a JPEG of at most `edge` pixels.

        Raises ImageUnreadable.
        """
        with self._lock:
            return self._running().preview(path, edge)

    def _decode(self, request: Request) -> Decoded:
        with self._lock:
            outcome = self._running().decode(request)
        if isinstance(outcome, Decoded):
            return outcome
        reason = outcome.reason if isinstance(outcome, FileFailure) else "it is not there any more"
        raise ImageUnreadable(reason)

    def _running(self) -> DecodeProcess:
        if self._watchdog is None:
            self._watchdog = Watchdog()
        if self._process is None or self._process.dead:
            self._process = DecodeProcess(self.preprocessing, self._limits, self._watchdog)
        return self._process
