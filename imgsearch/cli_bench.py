"""``imgsearch bench``: how fast and how accurate a library is, and what growth would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import imgsearch
from imgsearch import terminal
from imgsearch.cli_options import JsonOption, LibraryOption, print_json
from imgsearch.cli_profile import print_profile
from imgsearch.data.paths import printable
from imgsearch.errors import FolderInvalid, UsageError
from imgsearch.wording import human_bytes

if TYPE_CHECKING:
    from imgsearch.bench.growth import GrowthPoint
    from imgsearch.bench.own import BenchReport, Spread

EXAMPLES = (
    "imgsearch bench",
    "imgsearch bench --scale 1e6",
    "imgsearch bench --photos 1000 --json",
)
_MOST = 100_000_000


def bench(
    photos: Annotated[
        int,
        typer.Option(
            "--photos", metavar="N", min=0, help="Index so many of the library's photos again."
        ),
    ] = 200,
    scale: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads the annotation at run time
        typer.Option(
            "--scale",
            metavar="N",
            help="Also add invented pictures to a copy until it has so many, such as 1e6: 3 GB of "
            "disk and some minutes for each million.",
        ),
    ] = None,
    work: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--work", metavar="DIR", help="Where copies are made [default: for temporary files]."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Of all that is random.")
    ] = 0,
    as_json: JsonOption = False,
    library: LibraryOption = None,
) -> None:
    """Measure speed, accuracy, memory and disk space with the library's own photos.

    Queries as a new process and in an open library, the index against a comparison with every
    vector, and indexing by stages. The library is not changed, and the photos are only read. Run it
    on a machine that has nothing else to do.
    """
    from imgsearch.bench.own import measure

    if work is not None and not Path(work).is_dir():
        raise FolderInvalid(f"There is no folder {printable(work)} for --work")
    with imgsearch.Library.open(library) as opened:
        report = measure(
            opened,
            photos=photos,
            scale=_number(scale),
            work=None if work is None else Path(work),
            seed=seed,
            say=terminal.print_note,
        )
    if as_json:
        print_json(asdict(report))
    else:
        _print(report)


def _number(text: str | None) -> int:
    """Return what was given as 1000000 or 1e6, and 0 for nothing."""
    try:
        number = 0 if text is None else int(float(text))
    except (ValueError, OverflowError):
        number = -1
    if not 0 <= number <= _MOST:
        raise UsageError(f"--scale takes a number up to 1e8, not {printable(str(text))}")
    return number


def _print(report: BenchReport) -> None:
    machine = report.machine
    print(
        f"{printable(report.library)}: {report.pictures:,} pictures, {report.model} "
        f"({report.dimension} dimensions), seed {report.seed}"
    )
    print(
        f"{machine.processor}, {machine.cores} cores, {human_bytes(machine.memory_bytes)}, "
        f"{machine.system}, Python {machine.python}"
    )
    print(", ".join(f"{name} {number}" for name, number in machine.packages.items()))
    rows = [
        ("query, a new process", _spread(report.cold_query_seconds, "s")),
        ("  memory, most", human_bytes(report.cold_query_peak_bytes)),
        ("query, open library", _spread(report.warm_query_ms, "ms")),
        ("search among the vectors", _spread(report.index_ms, "ms")),
        ("  with a filter that keeps 1 %", _spread(report.filtered_index_ms, "ms")),
        ("  memory, most", human_bytes(report.index_peak_bytes)),
        ("  recall@10 against all vectors", f"{report.recall_at_10:.3f}{_how(report)}"),
    ]
    rows += [
        (f"disk per 1,000 pictures: {name}", human_bytes(size))
        for name, size in report.disk_bytes_per_1000.items()
    ]
    if report.photos_per_second is not None:
        rows.append(("indexing", f"{report.photos_per_second:.1f} photos/s, start-up included"))
    print()
    for what, value in rows:
        print(f"{what:36} {value}")
    if report.indexing is not None:
        print_profile(report.indexing)
    if report.growth:
        _print_growth(report.growth)


def _spread(spread: Spread, unit: str) -> str:
    return f"{spread.p50:.3g} {unit}, 95 % within {spread.p95:.3g} {unit} ({spread.runs} times)"


def _how(report: BenchReport) -> str:
    return f" ({report.coded:,} by codes)" if report.coded else " (every vector is compared)"


def _print_growth(points: Sequence[GrowthPoint]) -> None:
    heads = ("pictures", "query ms", "p95", "1 %", "recall", "memory", "cold s", "+10,000 s")
    print("\nWith invented pictures:")
    print("".join(f"{head:>11}" for head in (*heads, "build s", "index")))
    for point in points:
        cells = (
            f"{point.pictures:,}",
            f"{point.query_p50_ms:.1f}",
            f"{point.query_p95_ms:.1f}",
            f"{point.filtered_p50_ms:.1f}",
            f"{point.recall_at_10:.3f}",
            human_bytes(point.memory_bytes),
            f"{point.cold_query:.2f}",
            f"{point.add_10000:.2f}",
            f"{point.build + point.codes:.1f}",
            human_bytes(point.index_bytes),
        )
        print("".join(f"{cell:>11}" for cell in cells))
