"""Several decoding processes at work on a stream of files.

The standard process pools take every waiting task down with a dead worker; here a crash costs one
file and one restart.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from imgsearch.encoders.base import Preprocessing
from imgsearch.indexer.buffers import Buffers
from imgsearch.indexer.decode_process import DecodeProcess, Outcome, Request
from imgsearch.indexer.watchdog import Watchdog
from imgsearch.settings import DecodeLimits

# How long the pipeline may wait for a photo before it gets a chance to commit what it has.
_POLL_SECONDS = 0.5
# After a first outcome further ones are waited for: waking up for each would cost more than taking
# it. Far shorter than what the encoder needs for a batch.
_GATHER_SECONDS = 0.002
# Files that a process holds, so that it has the next one when it is done with one.
_FILES_A_PROCESS = 2


class DecodePool:
    """A set of decoding processes, each fed by a thread. Use as a context manager."""

    def __init__(
        self,
        preprocessing: Preprocessing,
        limits: DecodeLimits,
        workers: int,
        buffers: Buffers | None = None,
    ) -> None:
        """Pixels are put into arrays from `buffers`, for the caller to give back."""
        self._buffers = buffers
        self._preprocessing = preprocessing
        self._limits = limits
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._watchdog = Watchdog()
        self._processes: set[DecodeProcess] = set()
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
        for process in list(self._processes):
            process.kill_if_busy()
        for thread in self._threads:
            thread.join()
        self._watchdog.close()

    def outcomes(self, requests: Iterable[Request | None], ahead: int) -> Iterator[Outcome | None]:
        """Yield what became of each request, in the order of completion.

        At most `ahead` requests are under way or waiting to be taken. None is yielded when
        nothing was ready for half a second, and for each None among the requests, so that the
        caller keeps control meanwhile. Raises ImgsearchError if no process can be started.
        """
        stream = iter(requests)
        under_way = 0
        exhausted = False
        ready: deque[Outcome | Exception] = deque()
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
            ready = ready or self._ready()
            if not ready:
                yield None
                continue
            outcome = ready.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            under_way -= 1
            yield outcome

    def _ready(self) -> deque[Outcome | Exception]:
        """Return the outcomes that are there, having waited a little; none after half a second."""
        found: deque[Outcome | Exception] = deque()
        with contextlib.suppress(queue.Empty):
            found.append(self._outbox.get(timeout=_POLL_SECONDS))
            time.sleep(_GATHER_SECONDS)
            while True:
                found.append(self._outbox.get_nowait())
        return found

    def _serve(self) -> None:
        process: DecodeProcess | None = None
        # What a process that died had in hand and did not die of.
        left: deque[Request] = deque()
        try:
            while not self._stopping.is_set():
                request = left.popleft() if left else self._inbox.get()
                if request is None:
                    break
                if process is None or process.dead:
                    process = DecodeProcess(
                        self._preprocessing, self._limits, self._watchdog, self._buffers
                    )
                    self._processes.add(process)
                process.send(request)
                left.extend(self._keep_busy(process))
        except Exception as error:  # whatever ends this thread must end the run, not stall it
            self._outbox.put(error)
        finally:
            if process is not None:
                process.close()

    def _keep_busy(self, process: DecodeProcess) -> Sequence[Request]:
        """Let a process that was sent a file go on until none waits, or it dies, or all stop.

        Return what it was sent in vain.
        """
        while process.unanswered and not process.dead:
            if len(process.unanswered) < _FILES_A_PROCESS:
                request = self._next_if_any()
                if request is not None:
                    process.send(request)
                    continue
            # Asked after the sending: whoever stops us ends the processes that were sent a file.
            if self._stopping.is_set():
                break
            self._outbox.put(process.collect())
        return process.unanswered

    def _next_if_any(self) -> Request | None:
        try:
            return self._inbox.get_nowait()
        except queue.Empty:
            return None
