"""``imgsearch query``, and what belongs to it: saved searches, many queries, results as files."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

import imgsearch
from imgsearch import terminal
from imgsearch.cli_arguments import TextCommand
from imgsearch.cli_filters import (
    AfterOption,
    BeforeOption,
    CameraOption,
    DatesOption,
    FolderOption,
    HasPlaceOption,
    KeywordOption,
    LensOption,
    MaxBytesOption,
    MaxSizeOption,
    MinBytesOption,
    MinSizeOption,
    NameOption,
    NearOption,
    OfflineOption,
    OnOption,
    OrientationOption,
    RatingOption,
    TypeOption,
    filters_of,
    with_dates_of,
)
from imgsearch.cli_options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    examples,
    print_json,
)
from imgsearch.data.paths import printable
from imgsearch.errors import ImageUnreadable, PhotoNotFound, UsageError

if TYPE_CHECKING:
    from imgsearch.library import Library
    from imgsearch.search.query import Query
    from imgsearch.search.results import SearchHit, SearchResults

# Wide enough to recognise a photo; a page of ten fits two screens.
_PREVIEW_COLUMNS = 24

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
ExplainToOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--explain-to",
        metavar="DIR",
        help="Also write each result as a picture that shows where the words were found.",
    ),
]
PathsOption = Annotated[bool, typer.Option("--paths", help="Print nothing but paths.")]
NullOption = Annotated[
    bool, typer.Option("-0", "--null", help="Like --paths, separated by NUL for xargs -0.")
]
PreviewOption = Annotated[
    bool, typer.Option("--preview", help="Show the pictures, in terminals that can.")
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


_FILTERS = (
    *("folder", "after", "before", "on", "dates", "camera", "lens", "near", "gps", "offline"),
    *(
        "orientation",
        "min_size",
        "max_size",
        "min_bytes",
        "max_bytes",
        "type_",
        "rating",
        "keyword",
        "name",
    ),
)
_FORMS = ("as_json", "paths", "null", "preview", "output")
# Parameters of `query`, each with those that would do nothing beside it.
_CLASHES = {
    "saved": (*_FILTERS, "sort", "min_strength", "everything", "no_group"),
    "save": ("queries", *_FORMS, "explain", "explain_to"),
    "output": ("as_json", "paths", "null", "preview"),
    "as_json": ("paths", "null", "preview"),
    "preview": ("paths", "null"),
}


def query(
    context: typer.Context,
    text: TextArgument = None,
    without: NotOption = None,
    like: LikeOption = None,
    folder: FolderOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    on: OnOption = None,
    dates: DatesOption = False,
    camera: CameraOption = None,
    lens: LensOption = None,
    near: NearOption = None,
    gps: HasPlaceOption = None,
    offline: OfflineOption = None,
    orientation: OrientationOption = None,
    min_size: MinSizeOption = None,
    max_size: MaxSizeOption = None,
    min_bytes: MinBytesOption = None,
    max_bytes: MaxBytesOption = None,
    type_: TypeOption = None,
    rating: RatingOption = None,
    keyword: KeywordOption = None,
    name: NameOption = None,
    limit: LimitOption = 10,
    page: PageOption = 1,
    sort: SortOption = "match",
    min_strength: StrengthOption = 0,
    everything: AllOption = False,
    no_group: NoGroupOption = False,
    good: GoodOption = None,
    bad: BadOption = None,
    explain: ExplainOption = False,
    explain_to: ExplainToOption = None,
    paths: PathsOption = False,
    null: NullOption = False,
    as_json: JsonOption = False,
    preview: PreviewOption = False,
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
    matching well. Where nothing does, what comes closest is shown, and it is said. Photos must meet
    all filters. --folder, --name, --camera, --lens, --keyword, --orientation and --type, given
    several times, ask for any of their values. Without TEXT, filters list what passes them, newest
    first.
    """
    from imgsearch.batch import BatchError, read_batch
    from imgsearch.search.query import Query, split_picture, terms_of

    words = " ".join(text or [])
    _refuse_mixed(bool(words or without or like or good or bad), queries, saved)
    _refuse_useless(context)
    filters = filters_of(
        folders=folder,
        after=after,
        before=before,
        on=on,
        cameras=camera,
        lenses=lens,
        near=near,
        has_place=gps,
        offline=offline,
        orientations=orientation,
        min_size=min_size,
        max_size=max_size,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        types=type_,
        rating=rating,
        keywords=keyword,
        names=name,
    )
    sink = Sink(
        as_json, paths, null, None if output is None else Path(output), preview, (page - 1) * limit
    )
    sink.check()
    with imgsearch.Library.open(library, model=model, device=device) as opened:

        def ask(text: str, pictures: Sequence[object] = (), without: Sequence[str] = ()) -> Query:
            words, narrowed = with_dates_of(text, filters) if dates else (text, filters)
            terms = terms_of(words, list(pictures), without)
            # Nothing but filters: what passes them, newest first.
            listing = narrowed.any and not terms and not good
            return Query(
                terms=terms,
                filters=narrowed,
                sort="date" if listing and sort == "match" else sort,
                min_strength=min_strength,
                cut_off=not everything,
                group=not no_group,
                good=tuple(_picture_id(opened, one) for one in good or ()),
                bad=tuple(_picture_id(opened, one) for one in bad or ()),
            )

        failed: Sequence[BatchError] = ()
        if queries is not None:
            batch = read_batch(queries)
            failed, names = batch.errors, [line.text for line in batch.lines]
            asked = [ask(line) for line in names]
        elif saved is not None:
            names, asked = [saved], [opened.saved_search(saved)]
        else:
            pictures = [split_picture(one) for one in like or ()]
            names, asked = [words], [ask(words, pictures, without or ())]
        if save is not None:
            opened.save_search(save, asked[0])
            print(f"Saved. Run it with: imgsearch query --saved {printable(shlex.quote(save))}")
            return
        results = opened.answer_all(
            [replace(one, limit=limit, offset=(page - 1) * limit, explain=explain) for one in asked]
        )
        if explain_to is not None:
            _explain(opened, asked, results, explain_to)
        sink.write(opened, names, results)
    for error in failed:
        terminal.print_note(f"Line {error.number} of the queries was left out: {error.reason}")
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Sink:
    """Where the results of a command go, and in what form."""

    as_json: bool
    paths: bool
    null: bool
    file: Path | None
    preview: bool
    offset: int

    def check(self) -> None:
        """Raise what would keep the results from being written, before any work is done."""
        if self.file is not None:
            from imgsearch.outputs import check_place

            check_place(self.file)

    def write(
        self, library: Library, names: Sequence[str], results: Sequence[SearchResults]
    ) -> None:
        """Write the results of the queries of these names."""
        if self.file is not None:
            from imgsearch.outputs import write_results

            write_results(results, names, self.file, first=self.offset + 1)
            count = sum(len(found) for found in results)
            print(f"Wrote {count} results to {printable(str(self.file))}.")
        elif self.as_json and len(results) == 1:
            print_json(asdict(results[0]))
        elif self.as_json:
            from imgsearch.outputs import as_json

            print(as_json(results, names, self.offset + 1))
        elif self.paths or self.null:
            found = [hit.path for one in results for hit in one]
            terminal.write_paths(found, b"\0" if self.null else b"\n")
        else:
            show = _previewer(library) if self.preview else None
            for name, one in zip(names, results, strict=True):
                one_of_many = name if len(results) > 1 else ""
                if one_of_many:
                    print(f"{printable(name)}:")
                terminal.print_results(one, self.offset + 1, show, one_of_many)
            if results:
                terminal.print_note(f"Model: {results[0].model}")
        for name, one in zip(names, results, strict=True):
            if one.note:
                terminal.print_note(f"{name}: {one.note}" if len(results) > 1 else one.note)


def _explain(
    library: Library, asked: Sequence[Query], results: Sequence[SearchResults], folder: str
) -> None:
    """Write where the words were found into `folder`, and tell how many pictures that made."""
    from imgsearch.explain_files import write_explanations

    if len(asked) > 1:
        raise UsageError("--explain-to shows one query at a time; leave out --queries.")
    written = len(write_explanations(library, results[0], asked[0].words, folder))
    lost = len(results[0]) - written
    missing = f"; {lost} could not be read" if lost else ""
    terminal.print_note(f"Wrote {written} pictures into {printable(folder)}{missing}.")


def _previewer(library: Library) -> Callable[[SearchHit], None] | None:
    """Return what shows a result's picture on this terminal, or say why that cannot be."""
    from imgsearch.preview import Preview, why_not

    found = Preview.detect(sys.stdout)
    if found is None:
        terminal.print_note(why_not(sys.stdout))
        return None
    preview = found

    def show(hit: SearchHit) -> None:
        # A photo whose disk is unplugged is still a result.
        with contextlib.suppress(PhotoNotFound, ImageUnreadable):
            preview.show(library.thumbnail(hit.content_hash), _PREVIEW_COLUMNS)

    return show


def _refuse_mixed(given: bool, queries: str | None, saved: str | None) -> None:
    if given + (queries is not None) + (saved is not None) > 1:
        raise UsageError(
            "A saved search and a file of queries stand for themselves. Leave out the other parts "
            "of the query."
        )


def _refuse_useless(context: typer.Context) -> None:
    """Raise UsageError for an option that has an empty value, or that another one would silence."""
    given = {
        option.name: option.opts[-1]
        for option in context.command.params
        if option.name is not None and _was_typed(context, option.name)
    }
    for name, option in given.items():
        value = context.params[name]
        # An unset variable of the shell must not come to mean the current folder.
        if name != "text" and (value == "" or (isinstance(value, list) and "" in value)):
            raise UsageError(f"{option} has an empty value. Give it one, or leave it out.")
    for name, silenced in _CLASHES.items():
        useless = [given[other] for other in silenced if other in given]
        if name in given and useless:
            raise UsageError(
                f"{given[name]} cannot be used together with {', '.join(useless)}. Leave out one "
                "or the other."
            )


def _was_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _picture_id(library: Library, named: str) -> int:
    """Return the id of a picture that was named by its id or its path. Raises PhotoNotFound."""
    if named.isascii() and named.isdigit() and len(named) < 16:
        if not library.pictures([int(named)]):
            raise PhotoNotFound(f"There is no photo with the id {named} in this library.")
        return int(named)
    return library.picture_id(named)


def save(context: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Keep a search under a name: `imgsearch save NAME` and then whatever `query` takes.

    Run it with `imgsearch query --saved NAME`; the page shows it, too.
    """
    # Typer brings a Click of its own, whose classes have no public name.
    program: Any = context.find_root().command
    command = program.commands["query"]
    command.main(["--save", name, *context.args], "imgsearch query", standalone_mode=False)


def saved(
    delete: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--delete", metavar="NAME", help="Forget a search."),
    ] = None,
    as_json: JsonOption = False,
    library: LibraryOption = None,
) -> None:
    """List the searches that were saved."""
    from imgsearch.search.saved import to_json

    with imgsearch.Library.open(library) as opened:
        if delete is not None:
            opened.forget_search(delete)
            print(f"Forgot the search {printable(delete)}.")
            return
        found = opened.saved_searches()
    if as_json:
        print_json({name: json.loads(to_json(query)) for name, query in found.items()})
        return
    for name, query in found.items():
        print(f"{printable(name)}: {printable(query.described)}")
    if not found:
        print("No search was saved. Save one with: imgsearch save NAME TEXT")


def add_query_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command(
        cls=TextCommand,
        epilog=examples(
            "imgsearch query 'a red car in the snow'",
            "imgsearch query 'a beach' --not people -n 3",
            "imgsearch query 'in winter' --like garden.jpg:0.5 --after 2021",
            "imgsearch query -0 cat | xargs -0 ls -l",
        ),
    )(query)
    app.command(
        epilog=examples("imgsearch save cats 'a cat' --not dogs --after 2020"),
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(save)
    app.command(epilog=examples("imgsearch saved", "imgsearch saved --delete cats"))(saved)
