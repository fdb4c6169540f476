"""Decoding processes that may die, hang or run out of memory, one file at a time.

The standard process pools take every waiting task down with a dead worker, and re-import the
caller's main script; here a worker is a plain child process behind two pipes, so that a three-line
script without a ``__main__`` guard works, and a crash costs one file and one restart.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.data.records import FailureKind, FileFailure, FileStat, PictureFacts
from imgsearch.encoders.base import Preprocessing
from imgsearch.errors import ImgsearchError
from imgsearch.indexer.frames import FrameError, read_frame, write_frame
from imgsearch.settings import DecodeLimits

# How long the pipeline may wait for a photo before it gets a chance to commit what it has.
_POLL_SECONDS = 0.5
# How long a process that has closed its output gets to end by itself.
_LAST_WORDS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """A file to decode; `path` is absolute."""

    file: FileStat
    path: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file that was read: `file` has the stat values of the very bytes that were decoded.

    `pixels` is uint8 [s, s, 3]; `content_hash` is SHA-256.
    """

    file: FileStat
    content_hash: bytes
    facts: PictureFacts
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Gone:
    """A file that was deleted after it was listed."""

    file: FileStat


Outcome = Decoded | FileFailure | Gone


class DecodePool:
    """A set of decoding processes, each fed by a thread. Use as a context manager."""

    def __init__(self, preprocessing: Preprocessing, limits: DecodeLimits, workers: int) -> None:
        self._preprocessing = preprocessing
        self._limits = limits
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._children: set[_Child] = set()
        self._threads = [
            threading.Thread(target=self._serve, name=f"imgsearch-decode-{n}", daemon=True)
            for n in range(workers)
        ]

    def __enter__(self) -> DecodePool:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for _ in self._threads:
            self._inbox.put(None)
        # After an interruption nobody waits for files in hand: one may take its full time limit.
        for child in list(self._children):
            child.kill_if_busy()
        for thread in self._threads:
            thread.join()

    def outcomes(self, requests: Iterable[Request | None], ahead: int) -> Iterator[Outcome | None]:
        """Yield what became of each request, in the order of completion.

        At most `ahead` requests are under way or waiting to be taken. None is yielded when
        nothing was ready for half a second, and for each None among the requests, so that the
        caller keeps control meanwhile. Raises ImgsearchError if no process can be started.
        """
        stream = iter(requests)
        under_way = 0
        exhausted = False
        while under_way or not exhausted:
            while not exhausted and under_way < ahead:
                try:
                    request = next(stream)
                except StopIteration:
                    exhausted = True
                    continue
                if request is None:
                    yield None
                    continue
                self._inbox.put(request)
                under_way += 1
            if not under_way:
                return
            try:
                outcome = self._outbox.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(outcome, Exception):
                raise outcome
            under_way -= 1
            yield outcome

    def _serve(self) -> None:
        child: _Child | None = None
        try:
            while (request := self._inbox.get()) is not None:
                if self._stopping.is_set():
                    continue
                if child is None or child.dead:
                    child = _Child(self._preprocessing, self._limits)
                    self._children.add(child)
                self._outbox.put(child.decode(request))
        except Exception as error:  # whatever ends this thread must end the run, not stall it
            self._outbox.put(error)
        finally:
            if child is not None:
                child.close()


class _Child:
    """One decoding process."""

    def __init__(self, preprocessing: Preprocessing, limits: DecodeLimits) -> None:
        self.dead = False
        self._busy = False
        self._edge = preprocessing.size
        self._timeout = limits.timeout_seconds
        self._timed_out = False
        try:
            self._process = subprocess.Popen(
                # -P: a numpy.py lying in the folder that the user is in must not be imported.
                [sys.executable, "-P", "-m", "imgsearch.indexer.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        except OSError as error:
            raise ImgsearchError(f"No decoding process can be started: {error}.") from error
        try:
            self._send(
                {
                    "limits": asdict(limits),
                    "size": preprocessing.size,
                    "resize": preprocessing.resize.value,
                    "resample": preprocessing.resample,
                }
            )
            self._receive()
        except (FrameError, OSError) as error:
            self._bury()
            raise ImgsearchError(
                "The decoding process ends at its start. Try `python -c 'import "
                "imgsearch.indexer.worker'` to see why."
            ) from error

    def decode(self, request: Request) -> Outcome:
        """Have one file decoded; afterwards `dead` tells whether the process survived it."""
        watchdog = threading.Timer(self._timeout, self._time_out)
        watchdog.start()
        self._busy = True
        try:
            self._send({"path": request.path})
            header, body = self._receive()
            return self._outcome(request.file, header, body)
        except (FrameError, OSError, KeyError, TypeError, ValueError, RecursionError):
            return FileFailure(request.file, self._bury(), FailureKind.DAMAGED)
        finally:
            self._busy = False
            watchdog.cancel()
            watchdog.join()
            # The time may have run out just after the answer came: no further file for this one.
            if self._timed_out and not self.dead:
                self._bury()

    def kill_if_busy(self) -> None:
        """End the process if it is at work."""
        if self._busy:
            self._process.kill()

    def close(self) -> None:
        """Let the process end: it does when its standard input is closed."""
        if not self.dead:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()

    def _outcome(self, file: FileStat, header: dict[str, Any], body: bytes) -> Outcome:
        kind = header["kind"]
        if kind == "gone":
            return Gone(file)
        if kind != "photo":
            return FileFailure(file, str(header["reason"]), FailureKind(kind))
        pixels = np.frombuffer(body, dtype=np.uint8).reshape(self._edge, self._edge, 3)
        read = FileStat.of(file.root_id, file.path, int(header["size"]), int(header["mtime_ns"]))
        content_hash = bytes.fromhex(header["hash"])
        return Decoded(read, content_hash, PictureFacts(**header["facts"]), pixels)

    def _send(self, header: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        write_frame(self._process.stdin, header)  # type: ignore[arg-type]

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdout is not None
        return read_frame(self._process.stdout)  # type: ignore[arg-type]

    def _time_out(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _bury(self) -> str:
        """End the process for good and return what to say of the file that it died of."""
        self.dead = True
        # If it is dying by itself, its own exit code tells more than that of being killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
        self._process.kill()
        self._process.communicate()
        if self._timed_out:
            return f"decoding took longer than {self._timeout:g} seconds"
        code = self._process.returncode
        try:
            cause = signal.Signals(-code).name
        except ValueError:
            cause = f"exit code {code}"
        return f"its decoder crashed ({cause})"


def _environment() -> dict[str, str]:
    """Return the environment of a decoding process: this package importable, one thread each."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    parent = Path(__file__).resolve().parents[2]
    if parent.name not in ("site-packages", "dist-packages"):
        # Run from its source folder, the package is not on the child's path.
        inherited = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (inherited, str(parent))))
    return environment
