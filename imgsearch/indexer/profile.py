"""Where the time of an indexing run went, and how near it came to the encoder alone."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgsearch.encoders import Encoder
from imgsearch.encoders.indexing import at_work, pace_of
from imgsearch.indexer.report import IndexReport
from imgsearch.indexer.stages import Place, Stage, StageRecorder, Stages
from imgsearch.settings import available_cores

# The encoder alone is measured for so long (seconds), and by so many calls at least.
_CEILING_SECONDS = 2.0
_LEAST_CALLS = 2
# A call takes as many pictures as the run embedded in half of that time, and so many at least.
_LEAST_PICTURES = 4
# But for no longer than the run itself took, or this.
_LEAST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage: seconds by the clock and of processor time, each None where it cannot be told.

    `where` says who was at work; of several threads or processes the seconds are added up. `count`
    is for how many photos (files, in a walk) it was done, 0 where that makes no sense.
    """

    stage: str
    where: str
    wall_seconds: float | None
    processor_seconds: float | None
    count: int


@dataclass(frozen=True, slots=True)
class IndexProfile:
    """The stages of a run, and its ceiling: the rate of the encoder alone (photos per second).

    `photos` were embedded in `wall_seconds`, with `processor_seconds` of this process and its
    children. The stages of the main thread add up to `wall_seconds`. `encoding_seconds` is the time
    from the first batch to the last, without what comes before and behind.

    `ceiling` is measured right after the run, in the same process, by embedding pictures of the run
    again and again, in as many calls at once and of as many pictures as the pipeline makes, with
    nothing else to do. It is None where nothing was embedded; so are the shares: the rate over the
    whole run, and over `encoding_seconds`, as parts of it. `processor_share` is the processor time
    of the encoder alone, of one photo, as a part of that of the run: what the share would be where
    no core ever waits, and what a busy machine does not change as much.
    """

    wall_seconds: float
    processor_seconds: float
    cores: int
    photos: int
    encoding_seconds: float
    ceiling: float | None
    share: float | None
    share_while_encoding: float | None
    processor_share: float | None
    stages: tuple[StageTime, ...]


class RunClock:
    """Measures a run from its creation to `stop`, beside the stages that `recorder` notes."""

    def __init__(self) -> None:
        """Begin. To be stopped in the same thread."""
        self.recorder = StageRecorder()
        self._begun = _Clocks()

    def stop(self, photos: int, encoder: Encoder) -> IndexProfile:
        """Return the profile of a run that has embedded so many photos.

        Measures the encoder alone, which takes about two seconds.
        """
        spent = _Clocks().since(self._begun)
        first, last = self.recorder.spans.get(Stage.ENCODE, (0.0, 0.0))
        used = spent.process + spent.children
        ceiling, cost = self._alone(encoder, photos, spent.wall)
        return IndexProfile(
            wall_seconds=spent.wall,
            processor_seconds=used,
            cores=available_cores(),
            photos=photos,
            encoding_seconds=last - first,
            ceiling=ceiling,
            share=photos / spent.wall / ceiling if ceiling else None,
            share_while_encoding=photos / (last - first) / ceiling if ceiling else None,
            processor_share=photos * cost / used if cost else None,
            stages=tuple(self._stages(spent)),
        )

    def _alone(
        self, encoder: Encoder, photos: int, wall: float
    ) -> tuple[float, float] | tuple[None, None]:
        sample = self.recorder.sample
        if sample is None:
            return None, None
        seconds = min(_CEILING_SECONDS, max(_LEAST_SECONDS, wall))
        size = max(_LEAST_PICTURES, int(photos / wall * seconds / _LEAST_CALLS))
        return rate_alone(encoder, sample, photos, size, seconds)

    def _stages(self, spent: _Clocks) -> list[StageTime]:
        times = dict(self.recorder.times)
        wall, processor = self._sums(Place.MAIN)
        times[Stage.OTHER] = max(0.0, spent.wall - wall), max(0.0, spent.thread - processor), 0
        # What the threads of the encoder's own library use is nobody else's.
        others = spent.thread + self._sums(Place.STORE)[1] + self._sums(Place.FEEDERS)[1]
        encoding = max(0.0, spent.process - others)
        rows = []
        for stage in Stage:
            if stage not in times:
                continue
            seconds, processor_seconds, count = times[stage]
            told: float | None = processor_seconds
            if stage.place is Place.ENCODER:
                told = encoding if stage is Stage.ENCODE else None
            waited = None if stage is Stage.FEED else seconds
            rows.append(StageTime(stage.label, stage.place.value, waited, told, count))
        return rows

    def _sums(self, place: Place) -> tuple[float, float]:
        of_place = [time for stage, time in self.recorder.times.items() if stage.place is place]
        return sum(one[0] for one in of_place), sum(one[1] for one in of_place)


class ProfiledRun(Protocol):
    """A run of the indexer that is yet to begin."""

    def __call__(self, *, stages: Stages) -> IndexReport:
        """Do it, with these stop-watches."""
        ...


def profiled(run: ProfiledRun, encoder: Encoder) -> IndexReport:
    """Do a run and return its report, with its profile."""
    clock = RunClock()
    report = run(stages=clock.recorder)
    report.profile = clock.stop(report.embedded, encoder)
    return report


class _Clocks:
    """The time now: by the clock, of this thread, of this process, of children that ended."""

    def __init__(self) -> None:
        times = os.times()
        self.wall = time.perf_counter()
        self.thread = time.thread_time()
        self.process = time.process_time()
        self.children = times.children_user + times.children_system

    def since(self, other: _Clocks) -> _Clocks:
        """Return what has passed since the other time; takes the place of this one."""
        for name in ("wall", "thread", "process", "children"):
            setattr(self, name, getattr(self, name) - getattr(other, name))
        return self


def rate_alone(
    encoder: Encoder, sample: npt.NDArray[np.uint8], photos: int, size: int, seconds: float
) -> tuple[float, float]:
    """Return how many pictures a second the encoder embeds, and the processor time of one.

    Measured for about so many `seconds`; the processor time is that of this process, in seconds.
    `sample` is uint8 [n, s, s, 3], repeated as needed; for a run of so many `photos` the encoder
    is made ready as for that run. A call takes `size` pictures, but none more than in the pipeline.
    """
    with at_work(encoder, photos):
        pace = pace_of(encoder)
        size = min(pace.pictures, size)
        pixels = np.resize(sample, (size, *sample.shape[1:]))
        with ThreadPoolExecutor(pace.calls) as threads:
            began, processor_began = time.perf_counter(), time.process_time()

            def work(_: int) -> int:
                calls = 0
                while calls < _LEAST_CALLS or time.perf_counter() - began < seconds:
                    encoder.encode_images(pixels)
                    calls += 1
                return calls

            pictures = size * sum(threads.map(work, range(pace.calls)))
            rate = pictures / (time.perf_counter() - began)
            return rate, (time.process_time() - processor_began) / pictures
