"""``imgsearch similar``: groups of near-duplicates, and which of them to keep."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

import imgsearch
from imgsearch import terminal
from imgsearch.cli_interruption import Interruption
from imgsearch.cli_options import JsonOption, LibraryOption, print_json
from imgsearch.errors import UsageError
from imgsearch.wording import human_bytes

if TYPE_CHECKING:
    from imgsearch.search.near_duplicates import DuplicateGroup

EXAMPLES = (
    "imgsearch similar",
    "imgsearch similar --keep best",
    "imgsearch similar --keep best -0 | xargs -0 ls -l",
)


def similar(
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--threshold",
            metavar="X",
            help="How alike at least, 0.6 to 1 [default: 0.8, tuned on edited photos].",
        ),
    ] = None,
    keep: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--keep",
            metavar="best",
            help="Say for every file whether it is the one to keep. Deletes nothing.",
        ),
    ] = None,
    paths: Annotated[
        bool,
        typer.Option("--paths", help="Print nothing but the paths of files NOT to keep."),
    ] = False,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Like --paths, separated by NUL for xargs -0.")
    ] = False,
    as_json: JsonOption = False,
    library: LibraryOption = None,
) -> None:
    """Find near-duplicates: the same photo scaled, saved again, turned, cropped a little, edited.

    The best of a group has the most pixels; of several, the least compressed, then one with a date,
    then the oldest. The first call compares all photos, later ones those that were added. Nothing
    is ever deleted.
    """
    if keep not in (None, "best"):
        raise UsageError(f"--keep {keep}: the only choice is best.")
    interruption = Interruption()
    with (
        imgsearch.Library.open(library) as opened,
        interruption.watched(),
        terminal.count_display("Comparing") as show,
    ):
        groups = opened.near_duplicates(
            threshold=threshold,
            progress=None if as_json else show,
            should_stop=interruption.is_set,
        )
    if interruption.is_set():
        terminal.print_note("Stopped; what was compared is kept. The next call goes on from there.")
        raise typer.Exit(1)
    if as_json:
        print_json([_plain(group) for group in groups])
    elif paths or null:
        surplus = [path for group in groups for path in group.surplus_paths]
        terminal.write_paths(surplus, b"\0" if null else b"\n")
    else:
        terminal.print_groups(groups, advise=keep is not None)
        _print_summary(groups)


def _plain(group: DuplicateGroup) -> dict[str, Any]:
    hits = [
        asdict(hit) | {"alike": round(alike, 4)}
        for hit, alike in zip(group.hits, group.alike, strict=True)
    ]
    return {
        "best": group.best.path,
        "surplus": list(group.surplus_paths),
        "wasted_bytes": group.wasted_bytes,
        "hits": hits,
    }


def _print_summary(groups: tuple[DuplicateGroup, ...]) -> None:
    # Imported here because other commands must not pay for numpy.
    from imgsearch.search.near_duplicates import summary

    count, files, wasted = summary(groups)
    if not count:
        print("There are no near-duplicates.")
        return
    print(
        f"{count} {'group' if count == 1 else 'groups'} with {files} files. Keeping the best of "
        f"each would free {human_bytes(wasted)}. Nothing was deleted."
    )
