"""imgsearch and rclip side by side, in one run, with the same weights: an ONNX ViT-B/32.

Before: ``python benchmarks/peers/rclip.py --work DIR`` installs rclip in an environment of its own
and makes the model (random weights: the speed is real, the results are not). imgsearch runs the
same graphs as a model folder (see same_weights.py).

The programs take turns. Indexing is a whole process over a new library or database, of which the
fastest round counts, as the least disturbed; of rclip, which ends with a query, the time of a query
is taken off. imgsearch's includes trying the new model, and the vectors of 345 texts that its
answers are measured against. A re-scan is a whole process as well; rclip's cannot be had without a
query, so that what it takes longer than a query without one is told besides. Memory is the largest
sum of PSS over a program's processes while it indexes, and the peak of the one process of a query.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from catalogs import synthetic_library
from common import (
    Bystanders,
    CannotMeasure,
    Measured,
    Result,
    add_photo_source,
    at_least,
    at_most,
    excuses,
    imgsearch_command,
    measured,
    new_parser,
    report,
    say,
)
from memory import run_and_watch
from peers.rclip import VERSION, Rclip
from peers.same_weights import make_folder
from photo_maker import make_photos

QUERIES = ("a cup of coffee", "two dogs running through the snow", "the sea at sunset")
_INDEX, _RESCAN, _SMALL, _LARGE = "indexing", "re-scan", "query, small", "query, large"
_RESCAN_ALONE = "re-scan less a query"


@dataclass
class Contender:
    """What was measured of one program: seconds by task, and the largest peaks in bytes."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    # Of indexing.
    processor_seconds: list[float] = field(default_factory=list)

    def note(self, task: str, seconds: float, peak: int) -> None:
        """Keep one measurement."""
        self.seconds.setdefault(task, []).append(seconds)
        self.peaks[task] = max(peak, self.peaks.get(task, 0))

    def typical(self, task: str) -> float:
        """Return the median of the seconds; for indexing the least."""
        taken = self.seconds[task]
        return min(taken) if task == _INDEX else median(taken)


class Ours(Contender):
    """imgsearch, with rclip's weights as a model folder."""

    def __init__(self, model: Path, place: Path) -> None:
        super().__init__()
        self._model = model
        self._library = place / "library"

    def index(self, photos: Path) -> None:
        """Index into a new library."""
        shutil.rmtree(self._library, ignore_errors=True)
        peak, seconds = run_and_watch([*self._command(photos), "--model", str(self._model)])
        self.processor_seconds.append(peak.processor_seconds)
        self.note(_INDEX, seconds, peak.pss)

    def rescan(self, photos: Path) -> None:
        """Index what is indexed."""
        run = measured(self._command(photos))
        self.note(_RESCAN, run.seconds, run.peak_bytes)

    def query(self, task: str, words: str, library: Path | None = None) -> None:
        """Ask in a fresh process."""
        place = library or self._library
        run = measured([*imgsearch_command(), "query", words, "--all", "--library", str(place)])
        self.note(task, *_answered(run))

    def _command(self, photos: Path) -> list[str]:
        return [*imgsearch_command(), "index", str(photos), "--library", str(self._library)]


class Theirs(Contender):
    """rclip."""

    def __init__(self, peer: Rclip, place: Path) -> None:
        super().__init__()
        self._peer = peer
        self._data = place / "data"

    def index(self, photos: Path) -> None:
        """Index into a new database; the query at the end is not counted."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._peer.prepare(self._data)
        command, environment = self._peer.indexing(self._data)
        peak, seconds = run_and_watch(command, cwd=photos, env=environment)
        query = self._peer.query("a photo", photos, self._data).seconds
        self.processor_seconds.append(peak.processor_seconds)
        self.note(_INDEX, seconds - query, peak.pss)

    def rescan(self, photos: Path) -> None:
        """Look for changes, and answer a query."""
        whole = self._peer.rescan(photos, self._data)
        query = self._peer.query("a photo", photos, self._data).seconds
        self.note(_RESCAN, whole.seconds, whole.peak_bytes)
        self.note(_RESCAN_ALONE, whole.seconds - query, whole.peak_bytes)

    def query(self, task: str, words: str, photos: Path, data: Path | None = None) -> None:
        """Ask in a fresh process."""
        self.note(task, *_answered(self._peer.query(words, photos, data or self._data)))


def _answered(run: Measured) -> tuple[float, int]:
    if not run.output.strip():
        raise CannotMeasure("a query was not answered")
    return run.seconds, run.peak_bytes


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=1_000, help="indexed [%(default)s]")
    parser.add_argument("--pictures", type=int, default=100_000, help="synthetic [%(default)s]")
    parser.add_argument("--rounds", type=int, default=2, help="of indexing [%(default)s]")
    parser.add_argument("--runs", type=int, default=9, help="of queries, re-scans [%(default)s]")
    options = parser.parse_args()
    with excuses():
        peer = Rclip(options.work)
        model = make_folder(peer.towers, peer.vocabulary, options.work / "rclip" / "same-weights")
        place = options.work / "compare"
        place.mkdir(exist_ok=True)
        photos = make_photos(options.work, options.photos, options.seed, options.source)
        few = make_photos(options.work, 32, options.seed, options.source)
        ours, theirs = Ours(model, place), Theirs(peer, place)
        library = synthetic_library(options.work, options.pictures, options.seed, str(model))
        # Makes the vectors of the texts that every library needs, for one without real photos.
        measured([*imgsearch_command(), "index", str(few), "--library", str(library)])
        their_photos, data = peer.synthetic(options.pictures, options.seed)
        _index(ours, theirs, photos, options.rounds)
        for words in islice(cycle(("a warm-up", *QUERIES)), options.runs + 1):
            started = time.perf_counter()
            ours.rescan(photos)
            theirs.rescan(photos)
            ours.query(_SMALL, words)
            theirs.query(_SMALL, words, photos)
            ours.query(_LARGE, words, library)
            theirs.query(_LARGE, words, their_photos, data)
            say(f"a round of re-scans and queries: {time.perf_counter() - started:.1f} s")
        for contender in (ours, theirs):
            for task in set(contender.seconds) - {_INDEX}:
                # The first was the warm-up.
                del contender.seconds[task][0]
        title = f"imgsearch and rclip {VERSION}, the same ViT-B/32"
        results = _results(ours, theirs, options.photos, options.pictures)
        report(title, results, options.seed, as_json=options.json)


def _index(ours: Ours, theirs: Theirs, photos: Path, rounds: int) -> None:
    for turn in range(rounds):
        bystanders = Bystanders()
        ours.index(photos)
        theirs.index(photos)
        last = f"{ours.seconds[_INDEX][-1]:.1f} and {theirs.seconds[_INDEX][-1]:.1f} s"
        others = f"(others used {100 * bystanders.share():.0f} % of the cores)"
        say(f"indexing, round {turn + 1} of {rounds}: {last} {others}")


def _results(ours: Contender, theirs: Contender, photos: int, pictures: int) -> list[Result]:
    both = (("imgsearch", ours), ("rclip", theirs))
    results = []
    for name, one in both:
        taken = [photos / seconds for seconds in one.seconds[_INDEX]]
        note = f"{min(taken):.1f} to {max(taken):.1f}"
        rate = photos / one.typical(_INDEX)
        results.append(Result(f"indexing {photos} photos, {name}", rate, "photos/s", note=note))
    faster = theirs.typical(_INDEX) / ours.typical(_INDEX)
    results.append(at_least("indexing: times as fast", faster, "x", 1.0))
    for name, one in both:
        spent = 1e3 * min(one.processor_seconds) / photos
        what = f"indexing, {name}: processor time"
        results.append(Result(what, spent, "ms/photo", note="the whole process, start to end"))
    tasks = {
        _RESCAN: f"re-scan of {photos} photos",
        _SMALL: f"cold query, {photos} pictures",
        _LARGE: f"cold query, {pictures} pictures",
    }
    for task, what in tasks.items():
        for name, one in both:
            taken = one.seconds[task]
            note = f"median of {len(taken)}; {min(taken):.2f} to {max(taken):.2f}"
            results.append(Result(f"{what}, {name}", one.typical(task), "s", note=note))
        share = ours.typical(task) / max(theirs.typical(task), 1e-9)
        results.append(at_most(f"{what}: part of rclip's", share, "", 1.0))
        if task == _RESCAN:
            alone = theirs.typical(_RESCAN_ALONE)
            results.append(Result(f"{what}, rclip, less a query", alone, "s"))
    for task, what in {_INDEX: "indexing", **tasks}.items():
        if task == _RESCAN:
            continue
        for name, one in both:
            results.append(Result(f"peak memory, {what}, {name}", one.peaks[task] / 1e6, "MB"))
        share = ours.peaks[task] / theirs.peaks[task]
        results.append(at_most(f"peak memory, {what}: part of rclip's", share, "", 1.0))
    return results


if __name__ == "__main__":
    main()
