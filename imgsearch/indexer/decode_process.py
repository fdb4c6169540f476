"""A decoding process that may die, hang or run out of memory at the cost of one file.

`multiprocessing` would import the caller's main script again; this is a plain child process behind
two pipes, so that a three-line script without a ``__main__`` guard works.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from imgsearch.data.paths import printable
from imgsearch.data.records import FailureKind, FileFailure, FileStat, PictureFacts
from imgsearch.encoders.base import Preprocessing
from imgsearch.encoders.child import child_environment
from imgsearch.encoders.frames import (
    FrameError,
    read_body,
    read_frame,
    read_header,
    read_into,
    write_frame,
)
from imgsearch.errors import ImageUnreadable, ImgsearchError
from imgsearch.indexer.buffers import Buffers
from imgsearch.indexer.watchdog import Watchdog
from imgsearch.settings import DecodeLimits

# How long a process that has closed its output gets to end by itself.
_LAST_WORDS_SECONDS = 1.0
# Room for several answers: pixels in one piece instead of in three with a wait each.
_PIPE_BYTES = 1 << 20
# One thread each; and for glibc: keep freed memory instead of giving it back and clearing it again
# for every photo, which costs 0.3 ms a photo.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """A file to decode; `path` is absolute. With `content`, these bytes are decoded instead.

    With `details_only` just the metadata are read, and only if the file still is as `file` says.
    """

    file: FileStat
    path: str
    content: bytes | None = None
    details_only: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file that was read: `file` has the stat values of the very bytes that were decoded.

    `pixels` is uint8 [s, s, 3]; `content_hash` is SHA-256; `thumbnail` is a small JPEG.
    """

    file: FileStat
    content_hash: bytes
    facts: PictureFacts
    pixels: npt.NDArray[np.uint8]
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """A file that was deleted after it was listed."""

    file: FileStat


@dataclass(frozen=True, slots=True)
class Details:
    """The metadata of a file, by their names in `PictureFacts`, but not those of its pixels."""

    file: FileStat
    values: dict[str, Any]


Outcome = Decoded | FileFailure | Gone | Details


class DecodeProcess:
    """One child process that decodes one picture after the other.

    It may be sent further files while it is at work, so that it need not wait for the next. Not for
    several threads at once.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        limits: DecodeLimits,
        watchdog: Watchdog,
        buffers: Buffers | None = None,
    ) -> None:
        """Start the process and wait until it is ready. Raises ImgsearchError.

        Pixels are put into arrays from `buffers`, for the caller to give back.
        """
        self.dead = False
        self._watchdog = watchdog
        # What was sent and is not answered, oldest first. The child works on the first of them.
        self._sent: deque[Request] = deque()
        self._timed_out = False
        edge = preprocessing.size
        self._buffers = buffers or Buffers(edge, edge, 3)
        self._limits = limits
        try:
            self._process = subprocess.Popen(
                # -P: a numpy.py lying in the folder that the user is in must not be imported.
                [sys.executable, "-P", "-m", "imgsearch.indexer.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=child_environment(_ENVIRONMENT),
            )
        except OSError as error:
            raise ImgsearchError(f"No decoding process can be started: {error}.") from error
        stdin, stdout = self._process.stdin, self._process.stdout
        assert isinstance(stdin, io.BufferedWriter)
        assert isinstance(stdout, io.BufferedReader)
        self._input, self._output = stdin, stdout
        _enlarge(stdout)
        try:
            self._send(
                {
                    "limits": asdict(limits),
                    "size": preprocessing.size,
                    "resize": preprocessing.resize.value,
                    "resample": preprocessing.resample,
                }
            )
            read_frame(self._output)
        except (FrameError, OSError) as error:
            self._bury()
            raise ImgsearchError(
                "The decoding process ends at its start. Try `python -c 'import "
                "imgsearch.indexer.worker'` to see why."
            ) from error

    def decode(self, request: Request) -> Outcome:
        """Have one file decoded; afterwards `dead` tells whether the process survived it."""
        self.send(request)
        return self.collect()

    @property
    def unanswered(self) -> Sequence[Request]:
        """What was sent and not collected. Whatever a process died of, it was none of these."""
        return tuple(self._sent)

    def send(self, request: Request) -> None:
        """Have a file decoded after those that were sent before; `collect` returns the outcome."""
        self._sent.append(request)
        header: dict[str, Any] = {} if request.content is not None else {"path": request.path}
        if request.details_only:
            header["details_of"] = [request.file.size, request.file.mtime_ns]
        self._send(header, request.content or b"")

    def collect(self) -> Outcome:
        """Wait for the file that was sent first; afterwards `dead` tells of the process as it is.

        The limit by the clock begins with this call: the files are worked on one by one. Their
        limit of processor time is the child's own.
        """
        file = self._sent[0].file
        outcome = self._answer(
            read=lambda header, length: self._outcome(file, header, length),
            failed=lambda reason: FileFailure(file, reason, self._blame()),
        )
        self._sent.popleft()
        return outcome

    def preview(self, path: str, edge: int) -> tuple[bytes, bytes]:
        """Return the hash of a file (SHA-256), and its picture as a JPEG of at most `edge` pixels.

        Raises ImageUnreadable.
        """

        def read(answer: dict[str, Any], length: int) -> tuple[bytes, bytes] | str:
            if answer["kind"] != "preview":
                return str(answer.get("reason", "it is gone"))
            return bytes.fromhex(answer["hash"]), read_body(self._output, length)

        self._send({"path": path, "preview": edge})
        answer = self._answer(read, failed=str)
        if isinstance(answer, str):
            raise ImageUnreadable(answer)
        return answer

    def _answer(self, read: Callable[[dict[str, Any], int], T], failed: Callable[[str], T]) -> T:
        """Return what `read` makes of the next answer's header and the length of its body.

        If the process dies, takes too long or answers nonsense, it is ended, and the result is
        what `failed` makes of the reason.
        """
        limit = self._watchdog.set(self._limits.stall_seconds, self._process.kill)
        result: list[T] = []
        try:
            result.append(read(*read_header(self._output)))
        except (FrameError, OSError, KeyError, TypeError, ValueError, RecursionError):
            pass
        finally:
            self._timed_out |= self._watchdog.lift(limit)
        if not result:
            return failed(self._bury())
        if self._timed_out:
            # The time ran out just after the answer came: no further file for this process.
            self._bury()
        return result[0]

    def kill_if_busy(self) -> None:
        """End the process if anything was sent that is not answered. From any thread."""
        if self._sent:
            self._process.kill()

    def close(self) -> None:
        """Let the process end: it does when its standard input is closed.

        What it has not answered is given up.
        """
        if not self.dead:
            self.kill_if_busy()
            for pipe in (self._input, self._output):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            self._process.wait()

    def _outcome(self, file: FileStat, header: dict[str, Any], length: int) -> Outcome:
        """Return what became of a file, from the header of the answer and the body, to be read."""
        kind = header["kind"]
        if kind == "gone":
            return Gone(file)
        if kind == "details":
            values = header["facts"]
            facts = PictureFacts.from_json({"width": 0, "height": 0, "format": ""} | values)
            return Details(file, {name: getattr(facts, name) for name in values})
        if kind != "photo":
            return FileFailure(file, printable(str(header["reason"])), FailureKind(kind))
        content_hash = bytes.fromhex(header["hash"])
        if len(content_hash) != hashlib.sha256().digest_size:
            raise FrameError("there is no hash")
        pixels = self._buffers.take()
        if length < pixels.nbytes:
            raise FrameError("there are too few pixels")
        read_into(self._output, pixels)
        if "size" in header:
            size, mtime_ns = int(header["size"]), int(header["mtime_ns"])
            if not 0 <= size <= self._limits.max_file_bytes:
                raise FrameError("the size is not that of a file that was read")
            file = FileStat.of(file.root_id, file.path, size, mtime_ns)
        return Decoded(
            file=file,
            content_hash=content_hash,
            facts=PictureFacts.from_json(header["facts"]),
            pixels=pixels,
            thumbnail=read_body(self._output, length - pixels.nbytes),
        )

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Send a message. If the process is gone, that shows when its answer is awaited."""
        # A path fits into the pipe, even if nobody reads it.
        seconds = self._limits.stall_seconds
        limit = self._watchdog.set(seconds, self._process.kill) if body else None
        try:
            with contextlib.suppress(OSError):
                write_frame(self._input, header, body)
        finally:
            if limit is not None:
                self._timed_out |= self._watchdog.lift(limit)

    def _bury(self) -> str:
        """End the process for good and return what to say of the file that it died of."""
        self.dead = True
        # If it is dying by itself, its own exit code tells more than that of being killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
        self._process.kill()
        self._process.communicate()
        if self._timed_out:
            return f"it was not read and decoded within {self._limits.stall_seconds:g} seconds"
        code = self._process.returncode
        try:
            cause = signal.Signals(-code).name
        except ValueError:
            cause = f"exit code {code}"
        if cause == "SIGXCPU":
            seconds = self._limits.timeout_seconds
            return f"decoding took longer than {seconds:g} seconds of processor time"
        if cause == "SIGKILL":
            return "the system ended its decoder (SIGKILL), perhaps for lack of memory"
        return f"its decoder crashed ({cause})"

    def _blame(self) -> FailureKind:
        """Tell what the file is that a process died of: damaged, if it was the file's fault.

        A disk that does not answer, or a system that runs out of memory, is worth another try.
        """
        # Whether it was us or the system, SIGKILL was not the decoder's doing.
        killed = self._process.returncode == -getattr(signal, "SIGKILL", 0)
        return FailureKind.UNREADABLE if self._timed_out or killed else FailureKind.DAMAGED


def _enlarge(pipe: io.BufferedReader) -> None:
    """Make a pipe larger, where the system can and its allowance for this user is not used up."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
