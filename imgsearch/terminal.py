"""Text for terminals and pipes: safe file names, links, progress, summaries, tables."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

from imgsearch.data.paths import printable
from imgsearch.safe_stream import unguarded
from imgsearch.wording import human_bytes

if TYPE_CHECKING:
    from imgsearch.data.records import FailedFile, LibraryStatus, ModelListing
    from imgsearch.indexer.report import IndexReport, Progress
    from imgsearch.search.near_duplicates import DuplicateGroup
    from imgsearch.search.results import SearchHit, SearchResults

# Without a terminal, a line of progress is printed this often (seconds).
_PLAIN_PROGRESS_SECONDS = 5.0
_FAILURES_SHOWN = 5


def print_error(message: str) -> None:
    """Print one error on standard error; file names in it cannot control the terminal."""
    lines = (printable(line) for line in str(message).splitlines())
    print("imgsearch: " + "\n".join(lines), file=sys.stderr)


def print_note(message: str) -> None:
    """Print a remark on standard error, where it does not disturb pipes."""
    print(printable(message), file=sys.stderr)


def write_paths(paths: Sequence[str], end: bytes) -> None:
    """Write paths to standard output as the bytes they are on disk, each followed by `end`.

    On a terminal, where nobody can do anything with such bytes, they are shown as elsewhere.
    """
    if sys.stdout.isatty():
        for path in paths:
            print(printable(path))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(os.fsencode(path) + end for path in paths))
    sys.stdout.buffer.flush()


def print_results(
    results: SearchResults,
    first: int = 1,
    show: Callable[[SearchHit], None] | None = None,
    name: str = "",
) -> None:
    """Print hits as rank, match strength (or day) and path; on a terminal, paths are links.

    `first` is the rank of the first; `show` shows the picture of a hit. What is said about the
    whole goes to standard error, after the `name` of the query if it is one of many.
    """
    about = f"{name}: " if name else ""
    if not results:
        beyond = f"Only {results.total} were found; there is nothing on this page."
        print_note(about + (beyond if results.total else "No photo was found."))
    elif results.matching == 0:
        print_note(about + "Nothing matches well; the closest are:")
    for rank, hit in enumerate(results, start=first):
        if show is not None:
            show(hit)
        measure = hit.date[:10] if hit.strength is None else hit.strength
        away = "  (offline)" if hit.offline else ""
        print(f"{rank:3d}  {measure:>3}  {_linked(hit.path)}{away}{_more_of(hit)}")
        if hit.parts:
            parts = ", ".join(f"{printable(one.part)} {one.strength}" for one in hit.parts)
            print(f"          id {hit.picture_id}: {parts}")
    left = results.total - (first - 1) - len(results)
    if left > 0:
        print_note(f"{about}{left} more: add -n {results.total}, or --page.")


def _more_of(hit: SearchHit) -> str:
    counts = []
    if hit.duplicates:
        counts.append(f"+{len(hit.duplicates)} identical")
    if hit.others:
        counts.append(f"+{len(hit.others)} of the same moment")
    return f"  ({', '.join(counts)})" if counts else ""


def print_groups(groups: Sequence[DuplicateGroup], *, advise: bool) -> None:
    """Print groups of near-duplicates, the best of each first and marked.

    With `advise` every line begins with KEEP or with what else it is, for people to decide.
    """
    for number, group in enumerate(groups, start=1):
        count = f"{group.file_count} files"
        print(f"{number}. {count}, {human_bytes(group.wasted_bytes)} besides the best")
        for hit, alike in zip(group.hits, group.alike, strict=True):
            facts = hit.facts
            size = f"{facts.width} x {facts.height}, {facts.format}, {human_bytes(hit.byte_size)}"
            for copy, path in enumerate((hit.path, *hit.duplicates)):
                keep = hit is group.best and not copy
                mark = ("KEEP " if keep else "other") if advise else ("*" if keep else " ")
                how = "best" if keep else "same content" if alike == 1 or copy else f"{alike:.2f}"
                print(f"  {mark} {how:12}  {_linked(path)}  ({size})")


def file_uri(path: str) -> str:
    """Return the ``file://`` address of an absolute path, whatever bytes it is made of."""
    if os.name == "nt":
        return PurePath(path).as_uri()
    return "file://" + quote(os.fsencode(path))


@contextmanager
def progress_display() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that shows progress on standard error: a bar, or plain lines when piped."""
    if not _is_terminal(sys.stderr):
        yield PlainProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("Indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(file=unguarded(sys.stderr)), transient=True) as bar:
        task = bar.add_task("", total=None, rate="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                rate=f"{progress.rate:.1f}/s",
            )

        yield show


@contextmanager
def count_display(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback that shows how many of how many are done, as `progress_display` does."""
    if not _is_terminal(sys.stderr):
        last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _PLAIN_PROGRESS_SECONDS:
                last = time.monotonic()
                print(f"{doing}: {done} of {total} photos", file=sys.stderr, flush=True)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(file=unguarded(sys.stderr)), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class PlainProgress:
    """Shows progress as a line on standard error every few seconds."""

    def __init__(self, seconds: float = _PLAIN_PROGRESS_SECONDS) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Print a line, unless the last one was printed a moment ago."""
        if time.monotonic() - self._last < self._seconds:
            return
        self._last = time.monotonic()
        left = progress.remaining_seconds
        rest = f", about {left:.0f} s left" if left is not None else ""
        print(
            f"{progress.done} of {progress.total} files, {progress.rate:.1f}/s{rest}",
            file=sys.stderr,
            flush=True,
        )


def print_report(report: IndexReport) -> None:
    """Print the summary of a run of the indexer."""
    counts = (
        f"added {report.added}, unchanged {report.unchanged}, moved {report.moved}, "
        f"changed {report.changed}, removed {report.removed}, failed {report.failed}"
    )
    if report.dry_run:
        print(f"Would be: {counts}. Nothing was written.")
    else:
        rate = f", {report.photos_per_second:.1f} photos/s" if report.embedded else ""
        print(f"Model: {printable(report.model)}. {report.seconds:.1f} s{rate}.")
        print(f"{counts[0].upper()}{counts[1:]}.")
    if not report.seen_any and not report.kept_roots:
        print("There are no photos in what was given.")
    for failure in report.failures[:_FAILURES_SHOWN]:
        print(f"  failed: {printable(failure.path)}: {printable(failure.reason)}")
    if report.failed:
        print("All failed files with reasons: imgsearch status --failed")
    if report.links_skipped:
        print(f"{report.links_skipped} symbolic links were not followed; index their targets.")
    if report.without_vectors:
        print_note(
            f"{report.without_vectors} pictures have no vectors of this model yet and are not "
            "found with it. Index their folders, too."
        )
    if report.active_model not in ("", report.model):
        print_note(
            f"Queries go on with {report.active_model} until all pictures have vectors of "
            f"{report.model}. To switch now: imgsearch models use {report.model}"
        )
    if report.lost_catalog:
        print_note(report.lost_catalog)
    for place in report.unreadable:
        print_note(f"Cannot read {place}; what the library knows of it was kept.")
    for old, new in report.moved_roots:
        print_note(f"{new} holds the photos that were at {old}: found again, nothing lost.")
    for folder, roots in report.doubtful_roots:
        print_note(
            f"{folder} may be any of {', '.join(roots)}, at another place. It was added as a new "
            "folder; forget the others with: imgsearch remove FOLDER"
        )
    for root in report.kept_roots:
        print_note(
            f"{root} is offline (its disk is not plugged in, or it is empty). Its photos were "
            f"kept; to forget them: imgsearch remove {shlex.quote(root)}"
        )


def print_batch(report: IndexReport) -> None:
    """Print in one line what a batch of changes was, and a line for each of the first failures.

    At once, for whoever reads a log wants to know now.
    """
    names = ("added", "changed", "moved", "removed", "failed")
    counts = [f"{name} {getattr(report, name)}" for name in names if getattr(report, name)]
    said = ", ".join(counts) or f"nothing new ({report.unchanged} photos)"
    print(f"{said[0].upper()}{said[1:]}. {report.seconds:.1f} s.", flush=True)
    for failure in report.failures[:_FAILURES_SHOWN]:
        print(f"  failed: {printable(failure.path)}: {printable(failure.reason)}", flush=True)
    for place in report.unreadable:
        print_note(f"Cannot read {place}; what the library knows of it was kept.")


def print_status(status: LibraryStatus) -> None:
    """Print what a library holds."""
    print(f"Library   {printable(status.library)}")
    print(f"Pictures  {status.pictures} in {status.files} files, {status.failed} failed")
    print(
        f"On disk   catalog {human_bytes(status.catalog_bytes)}, "
        f"index {human_bytes(status.cache_bytes)}, "
        f"thumbnails {human_bytes(status.thumbnail_bytes)}"
        + (f", near-duplicates {human_bytes(status.similar_bytes)}" if status.similar_bytes else "")
    )
    for model in status.models:
        mark = ", active" if model.active else ""
        print(
            f"Model     {printable(model.name)} ({printable(model.revision)}): "
            f"{model.embeddings} vectors of dimension {model.dimension}{mark}"
        )
    for root in status.roots:
        failed = f", {root.failed} failed" if root.failed else ""
        absent = "" if root.present else "  (offline: not there now)"
        print(f"Folder    {printable(root.path)}: {root.files} files{failed}{absent}")
        for inner in root.offline if root.present else ():
            print(f"  offline {printable(inner)}: not there now")


def print_models(models: Sequence[ModelListing]) -> None:
    """Print models with what is known of them; the active one is marked."""
    for one in models:
        mark = "*" if one.active else " "
        size = f"{one.megabytes} MB" if one.megabytes else ""
        disk = "on disk" if one.on_disk else "pull it"
        held = f"{one.embeddings} vectors here" if one.embeddings else ""
        quality = []
        if one.imagenet is not None:
            quality.append(f"ImageNet {one.imagenet:.1f}")
        if one.retrieval is not None:
            quality.append(f"{one.retrieval_on} R@1 {one.retrieval:.1f}")
        facts = [f"d {one.dimension}", one.languages, size, disk, ", ".join(quality), held]
        print(
            f"{mark} {one.short_name or printable(one.name):12}  "
            + "  ".join(fact for fact in facts if fact)
        )
        if one.short_name not in ("", one.name):
            print(f"    {printable(one.name)} @ {printable(one.revision[:12])}")
    print(
        "* is what queries use. Any model folder or hub name of these kinds works with --model. "
        "Quality figures are those that others published: see the README."
    )


def print_failures(failures: Sequence[FailedFile]) -> None:
    """Print failed files with their reasons, one a line."""
    for failure in failures:
        print(f"{printable(failure.path)}: {printable(failure.reason)}")
    if not failures:
        print("No file has failed.")


def _linked(path: str) -> str:
    """Return the path as it is shown; on a terminal, as a link to the file."""
    shown = printable(path)
    if not _is_terminal(sys.stdout):
        return shown
    return f"\x1b]8;;{file_uri(path)}\x1b\\{shown}\x1b]8;;\x1b\\"


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"
