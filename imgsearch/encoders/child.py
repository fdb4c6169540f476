"""What every child process of ours needs: this package, and an output that nobody prints into."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment and `more`, with which a child can import this package."""
    environment = {**os.environ, **more}
    parent = Path(__file__).resolve().parents[2]
    if parent.name not in ("site-packages", "dist-packages"):
        # Run from its source folder, the package is not on the child's path.
        inherited = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (inherited, str(parent))))
    return environment


def private_stdout() -> BinaryIO:
    """Return standard output under another number, so that no library's print gets into it."""
    sink = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return sink
