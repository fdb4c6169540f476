"""How long `imgsearch index` takes when nothing has changed: wall time of the whole process.

The catalog is made from the real files on disk (names, sizes, times, SHA-256) with random vectors,
which a re-scan never reads; every run must report all files as unchanged.
"""

from __future__ import annotations

import json
from statistics import median

from catalogs import library_of_files
from common import (
    CannotMeasure,
    Result,
    add_photo_source,
    at_most,
    excuses,
    imgsearch_command,
    measured,
    new_parser,
    report,
)
from photo_maker import make_photos

TARGET_SECONDS = 1.5


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=10_000, help="[%(default)s]")
    parser.add_argument("--runs", type=int, default=7, help="[%(default)s]")
    options = parser.parse_args()
    with excuses():
        folder = make_photos(options.work, options.photos, options.seed, options.source)
        library = library_of_files(options.work, folder)
        command = [*imgsearch_command(), "index", str(folder), "--library", str(library), "--json"]
        seconds, peaks = [], []
        for _ in range(options.runs + 1):
            run = measured(command)
            unchanged = json.loads(run.output)["unchanged"]
            if unchanged != options.photos:
                raise CannotMeasure(f"only {unchanged} of {options.photos} files were unchanged")
            seconds.append(run.seconds)
            peaks.append(run.peak_bytes)
        # The first run was the warm-up.
        timed = sorted(seconds[1:])
        note = f"median of {len(timed)}; {timed[0]:.2f} to {timed[-1]:.2f}"
        results = [
            at_most(f"re-scan of {options.photos} files", median(timed), "s", TARGET_SECONDS, note),
            Result("peak memory", median(peaks) / 1e6, "MB"),
        ]
        report("rescan", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
