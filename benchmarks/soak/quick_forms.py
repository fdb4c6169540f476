"""What the soak shares with the tests: their attackers, and their modules as they are."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from attack import CannotAttack


def quick_form(name: str) -> ModuleType:
    """Return a module of tests/. Raises CannotAttack where its tools are not installed."""
    folder = str(Path(__file__).parents[2] / "tests")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CannotAttack(f"install the dev extra: {error}") from error
