"""Several decoding processes at work on a stream of files.

The standard process pools take every waiting task down with a dead worker; here a crash costs one
file and one restart.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from imgsearch.encoders.base import Preprocessing
from imgsearch.indexer.decode_process import DecodeProcess, Outcome, Request
from imgsearch.indexer.watchdog import Watchdog
from imgsearch.settings import DecodeLimits

# How long the pipeline may wait for a photo before it gets a chance to commit what it has.
_POLL_SECONDS = 0.5


class DecodePool:
    """A set of decoding processes, each fed by a thread. Use as a context manager."""

    def __init__(self, preprocessing: Preprocessing, limits: DecodeLimits, workers: int) -> None:
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
        process: DecodeProcess | None = None
        try:
            while (request := self._inbox.get()) is not None:
                if self._stopping.is_set():
                    continue
                if process is None or process.dead:
                    process = DecodeProcess(self._preprocessing, self._limits, self._watchdog)
                    self._processes.add(process)
                self._outbox.put(process.decode(request))
        except Exception as error:  # whatever ends this thread must end the run, not stall it
            self._outbox.put(error)
        finally:
            if process is not None:
                process.close()
