"""Peak memory of `imgsearch index` and its decoding processes together, for several sizes.

Sampled about 20 times a second from /proc. PSS shares out the pages that processes have in common,
so its sum is what the machine really gives; the sum of RSS counts shared pages once per process.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import (
    CannotMeasure,
    Result,
    add_photo_source,
    at_most,
    child_environment,
    excuses,
    imgsearch_command,
    new_parser,
    report,
    say,
)
from photo_maker import make_photos

TARGET_RATIO = 1.1
_PERIOD_SECONDS = 0.05


@dataclass
class Peak:
    """The largest sums over a process and its descendants (bytes), and the most processes.

    `processor_seconds` is what they used in all.
    """

    pss: int = 0
    rss: int = 0
    processes: int = 0
    processor_seconds: float = 0.0

    def sample(self, root: int) -> None:
        """Look at the processes once."""
        family = _family(root)
        sums = [0, 0]
        for process in family:
            for place, size in enumerate(_pss_and_rss(process)):
                sums[place] += size
        self.pss = max(self.pss, sums[0])
        self.rss = max(self.rss, sums[1])
        self.processes = max(self.processes, len(family))


def _family(root: int) -> list[int]:
    """Return a process and all its descendants."""
    family, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        family.append(process)
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                waiting += [int(one) for one in children.read_text().split()]
            except OSError:
                continue  # The thread has ended since.
    return family


def _pss_and_rss(process: int) -> tuple[int, int]:
    """Return both sizes of one process in bytes; zeros when it has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    return int(sizes.get("Pss", 0)) * 1024, int(sizes.get("Rss", 0)) * 1024


def index_and_watch(photos: Path) -> tuple[Peak, float]:
    """Index `photos` into a new library; return the peak and the seconds it took."""
    with tempfile.TemporaryDirectory() as place:
        command = [*imgsearch_command(), "index", str(photos), "--library", place + "/library"]
        return run_and_watch(command)


def run_and_watch(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[Peak, float]:
    """Run a command; return the peak of it and its children, and the seconds it took."""
    peak = Peak()
    started, used = time.perf_counter(), os.times()
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env or child_environment()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            peak.sample(process.pid)
            time.sleep(_PERIOD_SECONDS)
    if process.returncode:
        raise CannotMeasure(f"{' '.join(command)} ended with {process.returncode}")
    seconds, now = time.perf_counter() - started, os.times()
    peak.processor_seconds = now.children_user + now.children_system
    peak.processor_seconds -= used.children_user + used.children_system
    return peak, seconds


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000], help="photos [%(default)s]"
    )
    options = parser.parse_args()
    with excuses():
        if not Path("/proc/self/smaps_rollup").exists():
            raise CannotMeasure("this needs Linux's /proc/PID/smaps_rollup")
        results, peaks = [], []
        for size in sorted(options.sizes):
            folder = make_photos(options.work, size, options.seed, options.source)
            say(f"indexing {size} photos ...")
            peak, seconds = index_and_watch(folder)
            peaks.append(peak)
            note = f"{peak.processes} processes, RSS sum {peak.rss / 1e6:.0f} MB, {seconds:.0f} s"
            results.append(Result(f"peak PSS, {size} photos", peak.pss / 1e6, "MB", note=note))
        if len(peaks) > 1:
            ratio = peaks[-1].pss / peaks[0].pss
            results.append(at_most("largest size / smallest size", ratio, "", TARGET_RATIO))
        report("memory", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
