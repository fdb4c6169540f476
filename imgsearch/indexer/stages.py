"""Stop-watches for the stages of an indexing run, in its threads and its decoding processes.

Without ``--profile`` the run carries `Stages`, whose methods do nothing; with it a `StageRecorder`.
Those of a decoding process are `Laps`: it tells its times with every answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

# Pictures that are kept for measuring the encoder alone; 5 MB at 224 pixels.
_SAMPLE = 32
# A decoding process tells its times in microseconds; no stage of one file takes eleven days.
_MOST_MICROSECONDS = 10**12


class Place(Enum):
    """Who is at work in a stage."""

    MAIN = "main thread"
    ENCODER = "encoder threads"
    STORE = "storing thread"
    FEEDERS = "threads of the decoding processes"
    DECODERS = "decoding processes"


class Stage(Enum):
    """What a run does, by name and place. Those of one thread never overlap."""

    START = "start", Place.MAIN
    WALK = "walk and stat", Place.MAIN
    COMPARE = "compare with the catalog", Place.MAIN
    KNOWN = "hash what may be known", Place.MAIN
    AWAIT_DECODED = "wait for decoded photos", Place.MAIN
    AWAIT_ENCODER = "wait for the encoder", Place.MAIN
    AWAIT_STORE = "wait for the store", Place.MAIN
    METADATA = "read metadata again", Place.MAIN
    FINISH = "update the search index", Place.MAIN
    OTHER = "all else", Place.MAIN
    LOAD = "load the image tower", Place.ENCODER
    ENCODE = "encode", Place.ENCODER
    THUMBNAILS = "store thumbnails", Place.STORE
    STORE = "store in the catalog", Place.STORE
    FEED = "send files, take answers", Place.FEEDERS
    STARTING = "start the processes", Place.DECODERS
    IDLE = "wait for a file", Place.DECODERS
    READ = "read", Place.DECODERS
    HASH = "hash", Place.DECODERS
    DECODE = "decode", Place.DECODERS
    RESIZE = "resize", Place.DECODERS
    COMPRESS = "compress the thumbnail", Place.DECODERS
    FACTS = "read the metadata", Place.DECODERS
    FAILED = "files that gave no photo", Place.DECODERS
    ANSWER = "answer", Place.DECODERS

    def __init__(self, label: str, place: Place) -> None:
        self.label = label
        self.place = place


class Stages:
    """Stop-watches that do not run: what a run has that is not asked where its time goes."""

    on = False

    def timed(self, stage: Stage, count: int = 0) -> AbstractContextManager[None]:
        """Return a block that is counted as `stage`, done for so many photos.

        What a block within it takes is not counted twice.
        """
        return _NOTHING

    def paged(self, pages: Iterable[list[T]], stage: Stage) -> Iterable[list[T]]:
        """Return `pages`; making them is counted as `stage`, done for what is in them."""
        return pages

    def add(self, stage: Stage, wall: float, processor: float, count: int = 0) -> None:
        """Add seconds that were measured elsewhere."""

    def add_spent(self, header: dict[str, Any]) -> None:
        """Add what a decoding process says in an answer that its laps took.

        Raises LookupError, TypeError or ValueError for what cannot be that.
        """

    def keep_sample(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Keep pictures [n, s, s, 3] to measure the encoder with afterwards."""


_NOTHING = nullcontext()
NO_STAGES = Stages()


class StageRecorder(Stages):
    """Stop-watches that run. For several threads at once."""

    on = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Seconds by the clock, of processor time, and how often.
        self.times: dict[Stage, tuple[float, float, int]] = {}
        # When a stage first began and last ended, by time.perf_counter.
        self.spans: dict[Stage, tuple[float, float]] = {}
        self.sample: npt.NDArray[np.uint8] | None = None
        # What the blocks within the present one took, in each thread.
        self._within = threading.local()

    @contextmanager
    def timed(self, stage: Stage, count: int = 0) -> Iterator[None]:
        """See `Stages.timed`."""
        outer: list[float] | None = getattr(self._within, "seconds", None)
        self._within.seconds = inner = [0.0, 0.0]
        began, processor_began = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            ended = time.perf_counter()
            wall, processor = ended - began, time.thread_time() - processor_began
            self._within.seconds = outer
            if outer is not None:
                outer[0] += wall
                outer[1] += processor
            self.add(stage, wall - inner[0], processor - inner[1], count)
            with self._lock:
                first, last = self.spans.get(stage, (began, ended))
                self.spans[stage] = min(first, began), max(last, ended)

    def paged(self, pages: Iterable[list[T]], stage: Stage) -> Iterator[list[T]]:
        """See `Stages.paged`."""
        stream = iter(pages)
        while True:
            with self.timed(stage):
                page = next(stream, None)
            if page is None:
                return
            self.add(stage, 0.0, 0.0, len(page))
            yield page

    def add(self, stage: Stage, wall: float, processor: float, count: int = 0) -> None:
        """See `Stages.add`."""
        with self._lock:
            before = self.times.get(stage, (0.0, 0.0, 0))
            self.times[stage] = before[0] + wall, before[1] + processor, before[2] + count

    def add_spent(self, header: dict[str, Any]) -> None:
        """See `Stages.add_spent`."""
        spent = header.get("spent", {})
        if not isinstance(spent, dict):
            raise TypeError("these are no times")
        for name, (wall, processor) in spent.items():
            stage = Stage[name]
            known = stage.place is Place.DECODERS
            if not (known and 0 <= min(wall, processor) <= max(wall, processor)):
                raise ValueError("these are no times")
            if max(wall, processor) > _MOST_MICROSECONDS:
                raise ValueError("these times are too long")
            self.add(stage, wall / 1e6, processor / 1e6, 1)

    def keep_sample(self, pixels: npt.NDArray[np.uint8]) -> None:
        """See `Stages.keep_sample`."""
        kept = 0 if self.sample is None else len(self.sample)
        if len(pixels) > kept and kept < _SAMPLE:
            self.sample = pixels[:_SAMPLE].copy()


class Laps:
    """The stop-watch of a decoding process that is not asked for its times."""

    def lap(self, stage: Stage) -> None:
        """Count what has passed since the last lap as `stage`."""

    def tell(self, header: dict[str, Any]) -> None:
        """Put the laps since the last call into the header of an answer."""


class RunningLaps(Laps):
    """One that is: begins with what the process has used so far, as its start."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), 0.0
        self._spent: dict[str, tuple[int, int]] = {}
        self.lap(Stage.STARTING)

    def lap(self, stage: Stage) -> None:
        """See `Laps.lap`."""
        # Of the one thread there is: where processor time is limited, Linux brings the clock of the
        # process forward in steps of milliseconds.
        wall, processor = time.perf_counter(), time.thread_time()
        spent = int(1e6 * (wall - self._wall)), int(1e6 * (processor - self._processor))
        self._spent[stage.name] = spent
        self._wall, self._processor = wall, processor

    def tell(self, header: dict[str, Any]) -> None:
        """See `Laps.tell`."""
        header["spent"] = self._spent
        self._spent = {}
