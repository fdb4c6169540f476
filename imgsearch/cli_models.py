"""``imgsearch models``: list, fetch, switch, remove and export models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

import imgsearch
from imgsearch import terminal
from imgsearch.cli_options import JsonOption, LibraryOption, examples, print_json
from imgsearch.data.paths import printable

models_app = typer.Typer(
    name="models",
    help="List the models; fetch, switch and remove them.",
    epilog=examples(
        "imgsearch models", "imgsearch models pull clip", "imgsearch models use starter"
    ),
    invoke_without_command=True,
    rich_markup_mode=None,
)


@models_app.callback()
def models(
    context: typer.Context, as_json: JsonOption = False, library: LibraryOption = None
) -> None:
    """List the models; fetch, switch and remove them."""
    if context.invoked_subcommand is not None:
        return
    with imgsearch.Library.open(library) as opened:
        found = opened.models()
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        terminal.print_models(found)


@models_app.command(
    epilog=examples(
        "imgsearch models pull clip", "imgsearch models pull openai/clip-vit-base-patch16"
    )
)
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A short name, or owner/name.")],
) -> None:
    """Fetch a model from the hub. If it is cut off, run it again: it goes on where it stopped.

    Libraries made from now on use it; in one that is there already, index with --model NAME.
    """
    from imgsearch.models import pull_model

    folder = pull_model(name)
    print(f"{printable(name)} is on this disk: {printable(str(folder))}")
    print(f"Use it with: imgsearch index FOLDER --model {printable(name)}")


@models_app.command(epilog=examples("imgsearch models use starter"))
def use(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model with vectors here.")],
    library: LibraryOption = None,
) -> None:
    """Let queries use another model of the library. Nothing is lost: its vectors are there."""
    with imgsearch.Library.open(library) as opened:
        opened.use_model(name)
    print(f"Queries use {printable(name)} now.")


@models_app.command(epilog=examples("imgsearch models prune"))
def prune(library: LibraryOption = None) -> None:
    """Delete the vectors of all models but the active one, to free space."""
    with imgsearch.Library.open(library) as opened:
        removed = opened.prune_models()
    for name, count in removed.items():
        print(f"Deleted {count} vectors of {printable(name)}.")
    if not removed:
        print("There are no vectors of other models.")


@models_app.command(
    epilog=examples(
        "imgsearch models export clip --to ./clip-onnx",
        "imgsearch index ~/Pictures --model ./clip-onnx",
    )
)
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model as --model takes it.")],
    to: Annotated[str, typer.Option("--to", metavar="FOLDER", help="A folder not there yet.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="A quarter of the size, vectors a little different.")
    ] = False,
) -> None:
    """Make a model folder that runs without torch, on any processor.

    Its agreement with the model is measured on generated pictures and a few sentences, and shown.
    """
    from pathlib import Path

    from imgsearch.models import export_model

    made = export_model(name, Path(to).expanduser().absolute(), int8=int8)
    print(f"{printable(str(made.folder))}: {made.megabytes:.0f} MB.")
    print(
        f"Agreement with the model (lowest cosine): pictures {made.image_agreement:.4f}, texts "
        f"{made.text_agreement:.4f}."
    )
