"""The page's own files: the grid and the receiver (JavaScript, CSS), the map of the world."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
WORLD_MAP = _FOLDER / "world.svg"


def read_asset(name: str) -> str:
    """Return the text of one of the files."""
    return (_FOLDER / name).read_text(encoding="utf-8")
