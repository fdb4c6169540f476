"""What the commands share: options, examples in help texts, JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Optional

import typer


def examples(*lines: str) -> str:
    """Return an epilog; the backspace is Click's mark for lines that must not be rewrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


LibraryOption = Annotated[
    Optional[str],  # noqa: UP045 - Typer reads the annotation at run time
    typer.Option("--library", metavar="DIR", help="Library folder [default: $IMGSEARCH_LIBRARY]."),
]
ModelOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A name that `imgsearch models` lists, a model folder, or a hub name (owner/name).",
    ),
]
DeviceOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Where torch models compute: cpu, cuda, cuda:1, mps, or cuda:0,cuda:1 to index with "
        "several [default: the best there is].",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def print_json(value: Any) -> None:
    # ASCII output survives every terminal encoding; file names that are not UTF-8 stay distinct.
    # Of what a terminal could obey, JSON leaves only DEL as it is.
    print(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))
