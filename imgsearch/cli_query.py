"""``imgsearch query``, and what belongs to it: saved searches, many queries, results as files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import imgsearch
from imgsearch import terminal
from imgsearch.cli_options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    examples,
    print_json,
)
from imgsearch.data.paths import printable
from imgsearch.errors import UsageError

if TYPE_CHECKING:
    from imgsearch.library import Library
    from imgsearch.search.query import Query
    from imgsearch.search.results import SearchResults

TextArgument = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(
        metavar="TEXT",
        help="What the photo shows, in English. Parts: '\"red car\" + snow', weights: 'snow:0.5', "
        "what is not wanted: 'beach -people'.",
    ),
]
NotOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--not", metavar="TEXT[:WEIGHT]", help="What the photo shall not show (repeatable)."
    ),
]
LikeOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--like", metavar="IMAGE[:WEIGHT]", help="Find pictures that look like it (repeatable)."
    ),
]
GoodOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--good", metavar="ID", help="More like this result, by its id or path."),
]
BadOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--bad", metavar="ID", help="Less like this result, by its id or path."),
]
LimitOption = Annotated[int, typer.Option("-n", "--limit", min=1, help="How many results at most.")]
PageOption = Annotated[
    int, typer.Option("--page", min=1, help="Which page of so many results.", show_default=False)
]
SortOption = Annotated[str, typer.Option("--sort", help="match, date, name or size.")]
StrengthOption = Annotated[
    int,
    typer.Option(
        "--min-strength",
        min=0,
        max=100,
        help="Results with at least this match strength, in place of the usual cut-off.",
        show_default=False,
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Do not stop where results stop matching well.")
]
NoGroupOption = Annotated[
    bool, typer.Option("--no-group", help="Show every frame of a moment as a result of its own.")
]
ExplainOption = Annotated[
    bool, typer.Option("--explain", help="Show how well each result answers each part, and its id.")
]
PathsOption = Annotated[bool, typer.Option("--paths", help="Print nothing but paths.")]
NullOption = Annotated[
    bool, typer.Option("-0", "--null", help="Like --paths, separated by NUL for xargs -0.")
]
OutputOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--output", metavar="FILE", help="Write results to a .json, .csv or .parquet."),
]
QueriesOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--queries", metavar="FILE", help="Run every line of a text file (- for stdin)."),
]
SavedOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--saved", metavar="NAME", help="Run a search that was saved."),
]
SaveOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--save", metavar="NAME", help="Keep this search under a name, without running."),
]


def query(
    text: TextArgument = None,
    without: NotOption = None,
    like: LikeOption = None,
    limit: LimitOption = 10,
    page: PageOption = 1,
    sort: SortOption = "match",
    min_strength: StrengthOption = 0,
    everything: AllOption = False,
    no_group: NoGroupOption = False,
    good: GoodOption = None,
    bad: BadOption = None,
    explain: ExplainOption = False,
    paths: PathsOption = False,
    null: NullOption = False,
    as_json: JsonOption = False,
    output: OutputOption = None,
    queries: QueriesOption = None,
    saved: SavedOption = None,
    save: SaveOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Find the photos that show what TEXT says.

    The best come first, each with its match strength, 0 to 100, and the results end where they stop
    matching well. Where nothing does, what comes closest is shown, and it is said.
    """
    from imgsearch.search.query import Query, split_picture, terms_of

    words = " ".join(text or [])
    _refuse_mixed(words or without or like or good or bad, queries, saved)
    if output is not None:
        check_place(Path(output))
    shown = _Shown(as_json, paths, null, output, preview)
    with imgsearch.Library.open(library, model=model, device=device) as opened:

        def ask(words: str, pictures: Sequence[str] = (), unwanted: Sequence[str] = ()) -> Query:
            return Query(
                terms=terms_of(words, [split_picture(one) for one in pictures], unwanted),
                sort=sort,
                min_strength=min_strength,
                cut_off=not everything,
                group=not no_group,
                good=tuple(_picture_id(opened, one) for one in good or ()),
                bad=tuple(_picture_id(opened, one) for one in bad or ()),
            )

        if queries is not None:
            lines = _lines(queries)
            asked = [ask(line) for line in lines]
        else:
            lines = [words if saved is None else saved]
            asked = [ask(words, like or (), without or ()) if saved is None else opened.saved_search(saved)]
        if save is not None:
            opened.save_search(save, asked[0])
            print(f"Saved. Run it with: imgsearch query --saved {printable(save)}")
            return
        paged = [
            replace(one, limit=limit, offset=(page - 1) * limit, explain=explain) for one in asked
        ]
        results = opened.answer_all(paged)
        _show(opened, lines, results, shown)
