"""``imgsearch relocate``: the photos of a folder are somewhere else now."""

from __future__ import annotations

from typing import Annotated

import typer

import imgsearch
from imgsearch.cli_options import LibraryOption
from imgsearch.data.paths import printable

EXAMPLES = ("imgsearch relocate /media/me/photos /mnt/photos",)


def relocate(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A folder that was indexed.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Where its photos are now.")],
    library: LibraryOption = None,
) -> None:
    """Tell the library that a folder's photos are at another place now. Nothing is read again.

    `imgsearch index NEW` finds that out by itself where OLD is gone and most photos are unchanged.
    """
    with imgsearch.Library.open(library) as opened:
        count = opened.relocate(old, new)
    print(f"{printable(old)} is {printable(new)} now ({count} files).")
