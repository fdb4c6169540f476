"""``imgsearch watch``: keeps a library up to date."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import imgsearch
from imgsearch import terminal
from imgsearch.cli_interruption import Interruption
from imgsearch.cli_options import DeviceOption, LibraryOption, ModelOption

if TYPE_CHECKING:
    from imgsearch.indexer.report import Progress

EXAMPLES = (
    "imgsearch watch",
    "imgsearch watch ~/Pictures --exclude 'raw*'",
    "imgsearch watch /mnt/nas/photos --poll 300",
)

# A log is not for watching a number grow.
_PROGRESS_SECONDS = 30.0


def watch(
    roots: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads the annotation at run time
        typer.Argument(
            metavar="[ROOT]...", help="Folders of photos [default: all of the library]."
        ),
    ] = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    exclude: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out names or relative paths that match, as in index (repeatable).",
        ),
    ] = None,
    poll: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--poll",
            metavar="SECONDS",
            min=1.0,
            help="Look through the folders this often instead of waiting for the system's word: "
            "for network drives, about which it gives none.",
        ),
    ] = None,
) -> None:
    """Keep the library up to date: new, changed, moved and deleted photos within seconds.

    What changed before is caught up with at the start. A folder that vanishes keeps its photos and
    is watched again when it is back. Prints a line for each batch of changes. Ctrl-C ends it.
    """
    interruption = Interruption("Stopping. Ctrl-C again stops at once.")
    with imgsearch.Library.open(library, device=device) as opened, interruption.watched():
        opened.watch(
            roots or None,
            stop=interruption.is_set,
            on_change=terminal.print_batch,
            on_note=terminal.print_note,
            progress=_Batches(),
            excludes=exclude or (),
            poll_seconds=poll,
            model=model,
        )


class _Batches:
    """Shows the progress of batches that take long."""

    def __init__(self) -> None:
        self._show = terminal.PlainProgress(_PROGRESS_SECONDS)
        self._seen = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._seen > _PROGRESS_SECONDS / 2:
            # The first of another batch.
            self._show = terminal.PlainProgress(_PROGRESS_SECONDS)
        self._seen = now
        self._show(progress)
