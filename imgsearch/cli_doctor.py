"""``imgsearch doctor``, ``backup`` and ``restore``: keeping a library whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import imgsearch
from imgsearch.cli_options import JsonOption, LibraryOption, examples, print_json
from imgsearch.data.paths import printable
from imgsearch.wording import human_bytes

if TYPE_CHECKING:
    from imgsearch.doctor.findings import CheckResult, DoctorReport, Finding

ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended; nothing intact is lost.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Do not compare indexes of the databases with their tables."),
    ] = False,
    as_json: JsonOption = False,
    library: LibraryOption = None,
) -> None:
    """Examine the library: is everything in it as it was stored?

    Says what is wrong, what that means, and what to do. Ends with 1 if a fault is left. Nothing is
    changed without --repair, and the photos never are.
    """
    with imgsearch.Library.open(library) as opened:
        report = opened.doctor(repair=repair, quick=quick)
    if as_json:
        print_json(_plain(report))
    else:
        _print_report(report)
    if not report.is_healthy:
        raise typer.Exit(1)


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The new file.")],
    force: ForceOption = False,
    as_json: JsonOption = False,
    library: LibraryOption = None,
) -> None:
    """Write what the library knows to one file, also while it is being indexed.

    Vectors, paths, facts and saved searches are in it; thumbnails and indexes, which are made
    again, are not, and neither are the photos.
    """
    with imgsearch.Library.open(library) as opened:
        made = opened.backup(file, force=force)
    if as_json:
        print_json(asdict(made))
        return
    print(
        f"Wrote {printable(made.path)}: {made.pictures:,} pictures, {made.vectors:,} vectors, "
        f"{human_bytes(made.bytes)}. It was read again and is intact."
    )


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that backup wrote.")],
    force: ForceOption = False,
    as_json: JsonOption = False,
    library: LibraryOption = None,
) -> None:
    """Let the library hold what a backup holds.

    A library that is not empty is replaced with --force only, and kept under another name.
    """
    with imgsearch.Library.open(library) as opened:
        done = opened.restore(file, force=force)
        place = opened.path
    if as_json:
        print_json(asdict(done))
        return
    print(
        f"{printable(str(place))} holds {done.pictures:,} pictures, {done.vectors:,} vectors now."
    )
    if done.kept_as:
        print(f"What it held before was kept as {printable(done.kept_as)}")


def add_doctor_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands: dict[Callable[..., None], tuple[str, ...]] = {
        doctor: ("imgsearch doctor", "imgsearch doctor --repair"),
        backup: ("imgsearch backup ~/photos-2026.imgsearch",),
        restore: ("imgsearch restore ~/photos-2026.imgsearch --library ./new",),
    }
    for command, lines in commands.items():
        app.command(epilog=examples(*lines))(command)


def _plain(report: DoctorReport) -> dict[str, object]:
    return asdict(report) | {"healthy": report.is_healthy, "left": len(report.left)}


def _print_report(report: DoctorReport) -> None:
    width = max(len(check.title) for check in report.checks)
    for check in report.checks:
        print(f"{_verdict(check):7} {check.title:{width}}  {printable(check.seen)}")
        for finding in check.findings:
            _print_finding(finding)
    left, mended = len(report.left), len(report.mended)
    if left:
        print(f"{left} {'fault is' if left == 1 else 'faults are'} left.")
    elif mended:
        print(f"{mended} {'fault was' if mended == 1 else 'faults were'} mended; none is left.")
    else:
        print("The library is healthy.")


def _verdict(check: CheckResult) -> str:
    if any(one.fault and not one.mended for one in check.findings):
        return "FAULT"
    if any(one.mended for one in check.findings):
        return "mended"
    if check.findings:
        return "note"
    return "-" if check.seen.startswith("not looked at") else "ok"


def _print_finding(finding: Finding) -> None:
    print(f"    {printable(finding.problem)}")
    print(f"    What it means: {printable(finding.meaning)}")
    print(f"    What to do:    {printable(finding.remedy)}")
    for item in finding.items:
        print(f"      - {printable(item)}")
