"""A model on a device in a process of its own, as its parent sees it.

One process for each device: torch's threads in one process would take turns at the interpreter,
and a driver that crashes takes its process along.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch import errors
from imgsearch.encoders.base import ModelDescription, Pace
from imgsearch.encoders.child import child_environment
from imgsearch.encoders.frames import FrameError, read_frame, write_frame
from imgsearch.encoders.shared_pixels import SharedPixels, can_share
from imgsearch.errors import ImgsearchError, ModelError

# Calls that a process takes at once.
SEATS = Pace().calls
# How long a process gets to end by itself once it is told to.
_LAST_WORDS_SECONDS = 10.0
# Pixels that go through a pipe, and vectors: anything larger is no message.
_MAX_BODY = 1 << 31

_Answer = tuple[dict[str, Any], bytes]


class ProcessDied(Exception):
    """The process has ended before it answered; `str(error)` says how."""


class EncoderProcess:
    """A child process that embeds pictures. For several threads at once, one a seat."""

    def __init__(self, model: ModelDescription, device: str) -> None:
        """Start the process; it is waited for when it is first used. Raises ModelError."""
        self.pictures = 0
        self._dimension = model.dimension
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._ids = itertools.count(1)
        self._ready: Future[_Answer] = Future()
        self._waiting: dict[int, Future[_Answer]] = {0: self._ready}
        self._cause: str | None = None
        self._last_words = ""
        self._blocks = [SharedPixels() for _ in range(SEATS)] if can_share() else []
        numbers = [block.number for block in self._blocks]
        try:
            self._process = subprocess.Popen(
                # -P: a numpy.py lying in the folder that the user is in must not be imported.
                [sys.executable, "-P", "-m", "imgsearch.encoders.fleet_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=numbers,
                env=child_environment({}),
            )
        except OSError as error:
            self._close_blocks()
            raise ModelError(f"No process for {device} can be started: {error}.") from error
        self._reader = threading.Thread(
            target=self._read, name=f"imgsearch-encode-{device}", daemon=True
        )
        self._reader.start()
        self._send(
            {
                "model": model.source,
                "identity": [model.name, model.revision],
                "device": device,
                "threads": SEATS,
                "blocks": numbers,
                "max_body": _MAX_BODY,
            }
        )

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self._cause is not None

    def encode(self, seat: int, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed pixels [n, s, s, 3] to unit rows [n, d]; `seat` is one that no other call uses.

        Raises what the encoder raised over there, or ProcessDied.
        """
        _checked(self._ready.result())
        answer: Future[_Answer] = Future()
        with self._lock:
            if self._cause is not None:
                raise ProcessDied(self._cause)
            number = next(self._ids)
            self._waiting[number] = answer
        request = {"id": number, "count": len(pixels)}
        if self._blocks:
            self._blocks[seat].write(pixels)
            self._send({**request, "block": seat})
        else:
            self._send(request, pixels.tobytes())
        header, body = _checked(answer.result())
        self.pictures = int(header["pictures"])
        return np.frombuffer(body, dtype="<f4").reshape(len(pixels), self._dimension)

    def close(self) -> None:
        """Let the process end, and give back what it used. Nobody may be waiting for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._ready.done():
            # Loading a model for nobody would be waited for.
            self._process.kill()
        # What could not be sent to a dead process is still in the buffer.
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join()
        self._process.stdout.close()
        self._close_blocks()

    def _close_blocks(self) -> None:
        for block in self._blocks:
            block.close()
        self._blocks = []

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        assert self._process.stdin is not None
        # A dead process is noticed by whoever reads from it.
        with self._writing, contextlib.suppress(OSError):
            write_frame(self._process.stdin, header, body)  # type: ignore[arg-type]

    def _read(self) -> None:
        """Hand out answers until there are no more."""
        assert self._process.stdout is not None
        with contextlib.suppress(FrameError, OSError, KeyError):
            while True:
                header, body = read_frame(self._process.stdout, _MAX_BODY)  # type: ignore[arg-type]
                if "died" in header:
                    self._last_words = str(header["died"])
                    continue
                with self._lock:
                    answer = self._waiting.pop(header["id"])
                answer.set_result((header, body))
        self._bury()

    def _bury(self) -> None:
        """Find out how the process ended, and tell those who wait."""
        try:
            code = self._process.wait(_LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        cause = self._last_words
        if not cause:
            try:
                cause = signal.Signals(-code).name
            except ValueError:
                cause = f"exit code {code}"
        with self._lock:
            self._cause = cause
            waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.set_exception(ProcessDied(cause))


def _checked(answer: _Answer) -> _Answer:
    """Return an answer; raise the error that it tells of, as what it was over there."""
    header, _ = answer
    if "error" not in header:
        return answer
    kind = getattr(errors, str(header["error"]), ModelError)
    if not (isinstance(kind, type) and issubclass(kind, ImgsearchError)):
        kind = ModelError
    raise kind(str(header["message"]))
