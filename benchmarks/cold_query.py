"""Wall time and peak memory of a query in a fresh process, of imgsearch and, with --peer, of rclip.

Over a library of really indexed photos, and over a large one with random vectors; the programs
take turns. All files are in the page cache, and imgsearch's index file exists, as after any query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from catalogs import indexed_library, synthetic_library
from common import (
    CannotMeasure,
    Measured,
    Result,
    add_photo_source,
    at_most,
    excuses,
    imgsearch_command,
    measured,
    new_parser,
    report,
)
from peers.rclip import Rclip
from photo_maker import make_photos

QUERIES = (
    "a cup of coffee",
    "two dogs running through the snow",
    "a red car parked in front of a house",
    "children playing football",
    "the sea at sunset",
)
TARGET_SMALL, TARGET_LARGE = 0.65, 0.4
TARGET_LARGE_MB = 500
_SMALL, _LARGE = "indexed", "synthetic"


@dataclass
class Contender:
    """A program over one library, and its runs so far."""

    ask: Callable[[str], Measured]
    runs: list[Measured] = field(default_factory=list)

    def run(self, words: str, *, warm_up: bool = False) -> None:
        """Ask once in a fresh process."""
        done = self.ask(words)
        if not done.output.strip():
            raise CannotMeasure(f"no answer to {words!r}")
        if not warm_up:
            self.runs.append(done)

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return median(run.seconds for run in self.runs)

    @property
    def megabytes(self) -> float:
        """Largest peak memory."""
        return max(run.peak_bytes for run in self.runs) / 1e6


def imgsearch_over(library: Path) -> Contender:
    """Return imgsearch's command line over a library."""
    start = [*imgsearch_command(), "query", "--library", str(library)]
    return Contender(lambda words: measured([*start, words]))


def rclip_over(peer: Rclip, photos: Path, data: Path) -> Contender:
    """Return rclip over the index in the folder `data`."""
    return Contender(lambda words: peer.query(words, photos, data))


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=1_000, help="really indexed [%(default)s]")
    parser.add_argument("--pictures", type=int, default=100_000, help="synthetic [%(default)s]")
    parser.add_argument("--runs", type=int, default=15, help="[%(default)s]")
    parser.add_argument("--peer", action="store_true", help="measure rclip as well")
    options = parser.parse_args()
    with excuses():
        photos = make_photos(options.work, options.photos, options.seed, options.source)
        contenders = {
            (_SMALL, "imgsearch"): imgsearch_over(indexed_library(options.work, photos)),
            (_LARGE, "imgsearch"): imgsearch_over(
                synthetic_library(options.work, options.pictures, options.seed)
            ),
        }
        if options.peer:
            peer = Rclip(options.work)
            contenders[_SMALL, "rclip"] = rclip_over(peer, photos, peer.indexed(photos))
            large = peer.synthetic(options.pictures, options.seed)
            contenders[_LARGE, "rclip"] = rclip_over(peer, *large)
        for contender in contenders.values():
            contender.run("a warm-up", warm_up=True)
        for words in islice(cycle(QUERIES), options.runs):
            for contender in contenders.values():
                contender.run(words)
        sizes = {_SMALL: options.photos, _LARGE: options.pictures}
        report("cold query", _results(contenders, sizes), options.seed, as_json=options.json)


def _results(contenders: dict[tuple[str, str], Contender], sizes: dict[str, int]) -> list[Result]:
    results = []
    for (library, program), contender in contenders.items():
        what = f"{program}, {sizes[library]} {library}"
        times = [run.seconds for run in contender.runs]
        note = f"median of {len(times)}; {min(times):.3f} to {max(times):.3f}"
        results.append(Result(what, contender.seconds, "s", note=note))
        limit = TARGET_LARGE_MB if (library, program) == (_LARGE, "imgsearch") else None
        peak = f"{what}: peak memory"
        results.append(
            Result(peak, contender.megabytes, "MB")
            if limit is None
            else at_most(peak, contender.megabytes, "MB", limit)
        )
    for library, target in ((_SMALL, TARGET_SMALL), (_LARGE, TARGET_LARGE)):
        if (library, "rclip") in contenders:
            ours, theirs = contenders[library, "imgsearch"], contenders[library, "rclip"]
            what = f"imgsearch / rclip, {sizes[library]} {library}"
            results.append(at_most(what, ours.seconds / theirs.seconds, "", target))
    return results


if __name__ == "__main__":
    main()
