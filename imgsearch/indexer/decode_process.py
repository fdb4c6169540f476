"""A decoding process that may die, hang or run out of memory at the cost of one file.

`multiprocessing` would import the caller's main script again; this is a plain child process behind
two pipes, so that a three-line script without a ``__main__`` guard works.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from imgsearch.data.records import FailureKind, FileFailure, FileStat, PictureFacts
from imgsearch.encoders.base import Preprocessing
from imgsearch.encoders.child import child_environment
from imgsearch.encoders.frames import FrameError, read_frame, write_frame
from imgsearch.errors import ImageUnreadable, ImgsearchError
from imgsearch.indexer.watchdog import Watchdog
from imgsearch.settings import DecodeLimits

# How long a process that has closed its output gets to end by itself.
_LAST_WORDS_SECONDS = 1.0
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
    """One child process that decodes one picture at a time. Not for several threads at once."""

    def __init__(
        self, preprocessing: Preprocessing, limits: DecodeLimits, watchdog: Watchdog
    ) -> None:
        """Start the process and wait until it is ready. Raises ImgsearchError."""
        self.dead = False
        self._watchdog = watchdog
        self._busy = False
        self._edge = preprocessing.size
        self._timeout = limits.timeout_seconds
        try:
            self._process = subprocess.Popen(
                # -P: a numpy.py lying in the folder that the user is in must not be imported.
                [sys.executable, "-P", "-m", "imgsearch.indexer.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Pixels in one piece, where the system can, instead of in four with a wait each.
                pipesize=_PIPE_BYTES,
                env=child_environment(_ENVIRONMENT),
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
            self._bury(timed_out=False)
            raise ImgsearchError(
                "The decoding process ends at its start. Try `python -c 'import "
                "imgsearch.indexer.worker'` to see why."
            ) from error

    def decode(self, request: Request) -> Outcome:
        """Have one file decoded; afterwards `dead` tells whether the process survived it."""
        header: dict[str, Any] = {} if request.content is not None else {"path": request.path}
        file = request.file
        if request.details_only:
            header["details_of"] = [file.size, file.mtime_ns]
        return self._exchange(
            header,
            request.content or b"",
            read=lambda answer, body: self._outcome(file, answer, body),
            failed=lambda reason: FileFailure(file, reason, FailureKind.DAMAGED),
        )

    def preview(self, path: str, edge: int) -> tuple[bytes, bytes]:
        """Return the hash of a file (SHA-256), and its picture as a JPEG of at most `edge` pixels.

        Raises ImageUnreadable.
        """

        def read(answer: dict[str, Any], body: bytes) -> tuple[bytes, bytes] | str:
            if answer["kind"] != "preview":
                return str(answer.get("reason", "it is gone"))
            return bytes.fromhex(answer["hash"]), body

        answer = self._exchange({"path": path, "preview": edge}, b"", read, failed=str)
        if isinstance(answer, str):
            raise ImageUnreadable(answer)
        return answer

    def _exchange(
        self,
        header: dict[str, Any],
        body: bytes,
        read: Callable[[dict[str, Any], bytes], T],
        failed: Callable[[str], T],
    ) -> T:
        """Send a message and return what `read` makes of the answer.

        If the process dies, takes too long or answers nonsense, it is ended, and the result is
        what `failed` makes of the reason.
        """
        self._busy = True
        limit = self._watchdog.set(self._timeout, self._process.kill)
        result: list[T] = []
        try:
            self._send(header, body)
            result.append(read(*self._receive()))
        except (FrameError, OSError, KeyError, TypeError, ValueError, RecursionError):
            pass
        finally:
            self._busy = False
            timed_out = self._watchdog.lift(limit)
        if not result:
            return failed(self._bury(timed_out))
        if timed_out:
            # The time ran out just after the answer came: no further file for this process.
            self._bury(timed_out)
        return result[0]

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
        if kind == "details":
            values = header["facts"]
            facts = PictureFacts.from_json({"width": 0, "height": 0, "format": ""} | values)
            return Details(file, {name: getattr(facts, name) for name in values})
        if kind != "photo":
            return FileFailure(file, str(header["reason"]), FailureKind(kind))
        edge = self._edge
        pixels = np.frombuffer(body, dtype=np.uint8, count=edge * edge * 3)
        if "size" in header:
            size, mtime_ns = int(header["size"]), int(header["mtime_ns"])
            file = FileStat.of(file.root_id, file.path, size, mtime_ns)
        return Decoded(
            file=file,
            content_hash=bytes.fromhex(header["hash"]),
            facts=PictureFacts.from_json(header["facts"]),
            pixels=pixels.reshape(edge, edge, 3),
            thumbnail=body[pixels.nbytes :],
        )

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        assert self._process.stdin is not None
        write_frame(self._process.stdin, header, body)  # type: ignore[arg-type]

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdout is not None
        return read_frame(self._process.stdout)  # type: ignore[arg-type]

    def _bury(self, timed_out: bool) -> str:
        """End the process for good and return what to say of the file that it died of."""
        self.dead = True
        # If it is dying by itself, its own exit code tells more than that of being killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
        self._process.kill()
        self._process.communicate()
        if timed_out:
            return f"decoding took longer than {self._timeout:g} seconds"
        code = self._process.returncode
        try:
            cause = signal.Signals(-code).name
        except ValueError:
            cause = f"exit code {code}"
        return f"its decoder crashed ({cause})"
