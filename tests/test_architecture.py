"""The rooms of the house: imports point one way, and nothing points back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import imgsearch

PACKAGE = Path(imgsearch.__file__).parent

# What each room may import from. `errors`, `settings` and `wording` are for everybody.
FOR_EVERYBODY = {"errors", "settings", "wording"}
ALLOWED = {
    "data": {"data"},
    "encoders": {"encoders"},
    "indexer": {"indexer", "encoders", "data"},
    "search": {"search", "encoders", "data"},
    "doctor": {"doctor", "encoders", "data"},
    "bench": {"bench", "library", "indexer", "search", "encoders", "data"},
    "library": {"models", "doctor", "indexer", "search", "encoders", "data"},
    "models": {"encoders", "data"},
    "explain_files": {"library", "search"},
    "offer": {"encoders", "data"},
    "safe_stream": {"data"},
    "terminal": {"safe_stream", "indexer", "search", "data"},
    "cli_options": set(),
    "cli_models": {"cli_options", "library", "models", "terminal", "data"},
    "outputs": {"search", "data"},
    "preview": set(),
    "batch": {"search"},
    "cli_filters": {"search", "data"},
    "cli_query": {
        "cli_arguments",
        "cli_filters",
        "cli_options",
        "library",
        "terminal",
        "outputs",
        "preview",
        "batch",
        "explain_files",
        "search",
        "data",
    },
    "cli_arguments": {"terminal"},
    "cli_interruption": {"terminal"},
    "cli_doctor": {"cli_options", "library", "doctor", "data"},
    "cli_similar": {"cli_options", "cli_interruption", "library", "search", "terminal"},
    "cli_watch": {"cli_options", "cli_interruption", "library", "indexer", "terminal"},
    "cli_profile": {"indexer"},
    "cli_relocate": {"cli_options", "library", "data"},
    "cli_bench": {"bench", "cli_options", "cli_profile", "library", "terminal", "data"},
    "cli": {
        "cli_bench",
        "cli_arguments",
        "cli_watch",
        "cli_doctor",
        "cli_interruption",
        "cli_options",
        "cli_similar",
        "cli_relocate",
        "cli_profile",
        "cli_models",
        "cli_query",
        "library",
        "offer",
        "safe_stream",
        "terminal",
        "ui",
        "indexer",
        "data",
    },
    "ui": {"ui", "library", "outputs", "search"},
    "errors": set(),
    "settings": set(),
    "wording": set(),
}  # fmt: skip


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a module imports from, at its top or inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "imgsearch" and len(parts) > 1:
                found.add(parts[1])
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_point_one_way(room: str) -> None:
    single = PACKAGE / f"{room}.py"
    modules = [single] if single.exists() else sorted((PACKAGE / room).rglob("*.py"))

    assert modules
    for module in modules:
        wrong = (
            (rooms_imported(module) & set(ALLOWED))
            - ALLOWED[room]
            - {"errors", "settings", "wording"}
        )
        assert not wrong, f"{module} imports {wrong}"


def test_everything_promised_is_there() -> None:
    assert all(hasattr(imgsearch, name) for name in imgsearch.__all__)
    with pytest.raises(AttributeError):
        imgsearch.no_such_name  # noqa: B018
