"""What the catalog costs as a library grows: re-scan, `status`, a page of results, the UI's lists.

For each number of pictures it makes that many files in folders of 1,000 (each the same JPEG of 8 x
8 pixels with its own number behind the end, so that all contents differ; a block of the disk each)
and a catalog that knows all of them truly: names, sizes, times, SHA-256. The vectors are random
unit rows of 512 dimensions; dates, cameras, places and keywords are invented. Both are deleted
afterwards, unless --keep is given.

The re-scan is `imgsearch index` as a process of its own, imports and all, on a tree in which
nothing has changed. The operating system's own walk is os.scandir and a stat of every file in a
bare Python process, right before; what the re-scan takes longer is what is counted. All are warm:
the second time that the same is done.

A page of results is what turns ids into results with paths and metadata, 24 random ones a page.
Processor times are there for machines that have other work meanwhile.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from catalogs import library_of_files, warmed
from common import (
    CannotMeasure,
    Measured,
    Result,
    at_least,
    at_most,
    excuses,
    imgsearch_command,
    measured,
    new_parser,
    report,
    say,
)
from PIL import Image

from imgsearch import Library
from imgsearch.data.records import PictureFacts
from imgsearch.search.query import Query

# For a library of so many pictures: files/s, seconds, milliseconds.
AIMED_AT = 1_000_000
TARGET_RATE, TARGET_STATUS, TARGET_PAGE = 60_000, 0.3, 5.0
_PER_FOLDER = 1_000
_PAGE = 24
_BYTES_A_FILE = 4_096 + 2_600
_WALK = """
import os, sys
count, waiting = 0, [sys.argv[1]]
while waiting:
    with os.scandir(waiting.pop()) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                entry.stat(follow_symlinks=False)
                count += 1
print(count)
"""


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument(
        "--pictures",
        type=_numbers,
        default=[10_000, 100_000],
        help="how many, such as 1e4,1e5,1e6; a million take 7 GB [1e4,1e5]",
    )
    parser.add_argument("--runs", type=int, default=3, help="of each process [%(default)s]")
    parser.add_argument("--pages", type=int, default=50, help="of results [%(default)s]")
    parser.add_argument("--keep", action="store_true", help="keep what was made")
    parser.add_argument(
        "--points", type=Path, help="a file to which re-scans are added, for ladder.py --plot"
    )
    options = parser.parse_args()
    results: list[Result] = []
    with excuses():
        for count in options.pictures:
            tree = make_tree(options.work, count)
            library = library_of_files(options.work, tree, invented_facts)
            try:
                results += _measure(tree, warmed(library), count, options)
            finally:
                if not options.keep:
                    for made in (tree, library):
                        shutil.rmtree(made, ignore_errors=True)
                        made.with_name(made.name + ".done").unlink(missing_ok=True)
        report("catalog_scale", results, options.seed, as_json=options.json)


def _numbers(text: str) -> list[int]:
    return [int(float(one)) for one in text.split(",")]


def make_tree(work: Path, count: int) -> Path:
    """Return a folder with `count` small files, making it when it is not there yet."""
    tree = work / f"tree-{count}"
    done = tree.with_name(tree.name + ".done")
    if done.exists():
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(work).free < count * _BYTES_A_FILE * 1.2:
        raise CannotMeasure(f"{count} files and their catalog do not fit into {work}")
    say(f"making {count} files in {tree} ...")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (90, 120, 150)).save(buffer, "JPEG")
    picture = buffer.getvalue()
    for number in range(count):
        if number % _PER_FOLDER == 0:
            place = number // _PER_FOLDER
            folder = tree / f"{2000 + place // 50}" / f"album {place:05d}"
            folder.mkdir(parents=True)
        with open(f"{folder}/IMG_{number:07d}.jpg", "wb", buffering=0) as file:
            file.write(picture + b"%09d" % number)
    done.touch()
    return tree


def invented_facts(number: int) -> PictureFacts:
    """Return what the catalog says of a picture: 24 cameras, 15 years, some places and keywords."""
    month, day = 1 + number // 31 % 12, 1 + number % 28
    taken = f"{2010 + number % 15}-{month:02d}-{day:02d}T{number % 24:02d}:{number % 60:02d}:00"
    placed = number % 5 == 0
    return PictureFacts(
        width=4000,
        height=3000,
        format="JPEG",
        taken_at=taken if number % 10 else None,
        camera=f"Maker Model {number % 24}" if number % 10 else None,
        lens=f"Lens {number % 12}" if number % 3 else None,
        latitude=(number % 1700) / 10 - 85.0 if placed else None,
        longitude=(number % 3500) / 10 - 175.0 if placed else None,
        rating=number % 6 if number % 4 == 0 else None,
        keywords=(f"word {number % 700}",) if number % 8 == 0 else (),
    )


def _measure(tree: Path, library: Path, count: int, options: argparse.Namespace) -> list[Result]:
    label = f"{count:,}: "
    index = [*imgsearch_command(), "index", str(tree), "--library", str(library), "--json"]
    walk = [sys.executable, "-I", "-S", "-c", _WALK, str(tree)]
    walks, scans = [], []
    for _ in range(options.runs + 1):
        walks.append(_walked(walk, count))
        scans.append(_rescanned(index, count))
    walked, scan = _middle(walks[1:]), _middle(scans[1:])
    if options.points:
        point = {"who": "imgsearch", "pictures": count, "rescan": scan.seconds}
        walking = {"who": "the system's walk", "pictures": count, "rescan": walked.seconds}
        with options.points.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in (point, walking))
    own = max(scan.seconds - walked.seconds, 1e-9)
    own_busy = max(scan.busy_seconds - walked.busy_seconds, 1e-9)
    status = [*imgsearch_command(), "status", "--library", str(library), "--json"]
    cold = _middle([measured(status) for _ in range(options.runs + 1)][1:])
    results = [
        Result(label + "the system's walk", walked.seconds, "s"),
        Result(label + "the system's walk, processor", walked.busy_seconds, "s"),
        Result(label + "re-scan, whole process", scan.seconds, "s"),
        Result(label + "re-scan, processor", scan.busy_seconds, "s"),
        _aimed(
            at_least(label + "re-scan less the walk", count / own, "files/s", TARGET_RATE), count
        ),
        Result(label + "the same by processor time", count / own_busy, "files/s"),
        Result(label + "re-scan, peak memory", scan.peak_bytes / 1e6, "MB"),
        _aimed(at_most(label + "status, whole process", cold.seconds, "s", TARGET_STATUS), count),
        Result(label + "status, processor", cold.busy_seconds, "s"),
        Result(label + "status, peak memory", cold.peak_bytes / 1e6, "MB"),
    ]
    return results + _measure_reading(library, label, count, options)


def _measure_reading(
    library: Path, label: str, count: int, options: argparse.Namespace
) -> list[Result]:
    """Measure what the page asks of an open library."""
    random = np.random.default_rng(options.seed)
    with Library.open(library) as opened:
        known = _ids(library)
        pages = [random.choice(known, _PAGE, replace=False) for _ in range(options.pages)]

        def fetch(ids: object) -> None:
            if len(opened.pictures(ids)) != _PAGE:  # type: ignore[arg-type]
                raise CannotMeasure("results are missing")

        seconds = [_timed(lambda ids=ids: fetch(ids.tolist())) for ids in pages * 2]
        page = 1000 * median(seconds[len(pages) :])
        results = [
            _aimed(at_most(label + "page of results, p50", page, "ms", TARGET_PAGE), count),
            Result(label + "status, open library", _warm(opened.status), "s"),
            Result(label + "facets, first time", _timed(opened.facets), "s"),
        ]
        for order in ("date", "name", "size"):
            query = Query(limit=_PAGE, sort=order)
            shown = _warm(lambda query=query: opened.answer(query))
            results.append(Result(label + f"first page by {order}", shown, "s"))
    doctor = [*imgsearch_command(), "doctor", "--quick", "--json", "--library", str(library)]
    examined = measured(doctor)
    return [
        *results,
        Result(label + "doctor --quick", examined.seconds, "s"),
        Result(label + "doctor --quick, peak memory", examined.peak_bytes / 1e6, "MB"),
    ]


def _aimed(result: Result, count: int) -> Result:
    """Return the figure without its target where that is for more pictures.

    In small libraries a process takes longer to start than it has to do.
    """
    return result if count >= AIMED_AT else replace(result, target="", met=None)


def _ids(library: Path) -> list[int]:
    from imgsearch.data.reader import CatalogReader

    with CatalogReader(library) as reader:
        return reader.ids("SELECT id FROM picture").tolist()  # type: ignore[no-any-return]


def _walked(command: list[str], count: int) -> Measured:
    run = measured(command)
    if int(run.output) != count:
        raise CannotMeasure(f"the tree has {run.output.strip()} files instead of {count}")
    return run


def _rescanned(command: list[str], count: int) -> Measured:
    run = measured(command)
    unchanged = json.loads(run.output)["unchanged"]
    if unchanged != count:
        raise CannotMeasure(f"only {unchanged} of {count} files were unchanged")
    return run


def _middle(runs: list[Measured]) -> Measured:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def _warm(do: Callable[[], object]) -> float:
    """Return the median of three calls after a first one, in seconds."""
    do()
    return median(_timed(do) for _ in range(3))


def _timed(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
