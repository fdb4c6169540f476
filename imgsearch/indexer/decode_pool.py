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
from imgsearch.indexer.decode_process import DecodeProcess, Outcome, Request
from imgsearch.indexer.stages import NO_STAGES, Stage, Stages
from imgsearch.indexer.watchdog import Watchdog
from imgsearch.settings import DecodeLimits

# How long the pipeline may wait for a photo before it gets a chance to commit what it has.
_POLL_SECONDS = 0.5
# After a first outcome further ones are waited for: waking up for each would cost more than taking
# it. Far shorter than what the encoder needs for a batch.
_GATHER_SECONDS = 0.002
# Files that a process holds, so that it has the next one when it is done with one; and more of them
# if they are small: as many as it works on for so many seconds, which nobody notices at the end.
_FILES_A_PROCESS, _MOST_FILES_A_PROCESS = 2, 8
_HOLD_SECONDS = 0.03
# The time for a file is a running mean, if it grows: the latest one counts as one of so many.
_SMOOTHING = 4


class DecodePool:
    """A set of decoding processes, each fed by a thread. Use as a context manager."""

    def __init__(
        self,
        preprocessing: Preprocessing,
        limits: DecodeLimits,
        workers: int,
        held: int = 0,
        stages: Stages = NO_STAGES,
    ) -> None:
        """About so many pictures may be `held` at once: answered and not given back yet.

        See `Decoded.give_back`. Without it, there is nothing to give back.
        """
        # Some processes hold more pictures than others.
        self._rooms = held and _MOST_FILES_A_PROCESS + 2 * held // workers
        self._stages = stages
        self._preprocessing = preprocessing
        self._limits = limits
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[list[Outcome] | Exception] = queue.SimpleQueue()
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

    def outcomes(
        self, requests: Iterable[Request | None], ahead: int
    ) -> Iterator[Sequence[Outcome]]:
        """Yield what became of the requests, in the order of completion, as many as are there.

        At most `ahead` requests are under way. Nothing ([]) is yielded when nothing was ready for
        half a second, and for each None among the requests, so that the caller keeps control
        meanwhile. Raises ImgsearchError if no process can be started.
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
                    yield ()
                    continue
                self._inbox.put(request)
                under_way += 1
            if not under_way:
                return
            with self._stages.timed(Stage.AWAIT_DECODED):
                ready = self._ready()
            under_way -= len(ready)
            yield ready

    def _ready(self) -> list[Outcome]:
        """Return the outcomes that are there, having waited a little; none after half a second."""
        found: list[Outcome] = []
        with contextlib.suppress(queue.Empty):
            part = self._outbox.get(timeout=_POLL_SECONDS)
            time.sleep(_GATHER_SECONDS)
            while True:
                if isinstance(part, Exception):
                    raise part
                found += part
                part = self._outbox.get_nowait()
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
                    process = self._started()
                    self._processes.add(process)
                process.send(request)
                left.extend(self._keep_busy(process))
        except Exception as error:  # whatever ends this thread must end the run, not stall it
            self._outbox.put(error)
        finally:
            if process is not None:
                process.close()
            self._stages.add(Stage.FEED, 0.0, time.thread_time())

    def _started(self) -> DecodeProcess:
        began = time.perf_counter()
        process = DecodeProcess(
            self._preprocessing, self._limits, self._watchdog, self._rooms, self._stages
        )
        self._stages.add(Stage.STARTING, time.perf_counter() - began, 0.0)
        return process

    def _keep_busy(self, process: DecodeProcess) -> Sequence[Request]:
        """Let a process that was sent a file go on until none waits, or it dies, or all stop.

        Return what it was sent in vain.
        """
        # Of one file.
        seconds = _HOLD_SECONDS
        since = time.monotonic()
        while not process.dead:
            self._send_ahead(process, int(_HOLD_SECONDS / seconds))
            # Asked after the sending: whoever stops us ends the processes that were sent a file.
            if self._stopping.is_set() or not process.files_in_hand:
                break
            # It has enough to do meanwhile; waking up for each answer would cost more than it does.
            process.flush()
            spare = process.files_in_hand - _FILES_A_PROCESS
            time.sleep(min(_HOLD_SECONDS, seconds * max(0, spare) / 2))
            outcomes = process.collect()
            now = time.monotonic()
            latest, since = (now - since) / len(outcomes), now
            # What it took longer may have been the wait above.
            seconds = min(latest, seconds + (latest - seconds) / _SMOOTHING)
            self._outbox.put(outcomes)
        return process.unanswered

    def _send_ahead(self, process: DecodeProcess, files: int) -> None:
        """Let a process have so many files in hand, within bounds, as far as there are any."""
        files = max(_FILES_A_PROCESS, min(_MOST_FILES_A_PROCESS, files))
        with contextlib.suppress(queue.Empty):
            while process.files_in_hand < files and process.may_be_sent_more:
                request = self._inbox.get_nowait()
                if request is None:
                    return
                process.send(request)
