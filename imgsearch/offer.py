"""The one question that imgsearch asks: whether to fetch a stronger model, at the first index.

Only somebody at a terminal is asked, once in a lifetime, and only where the answer can be yes:
torch is there, and the network is not forbidden.
"""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from imgsearch.data.connection import catalog_path
from imgsearch.encoders.registry import KNOWN_MODELS, KnownModel
from imgsearch.settings import configuration_folder, preferred_model

OFFERED = KNOWN_MODELS[0]
_NEEDED = ("torch", "transformers", "huggingface_hub")


def model_to_offer(library: Path) -> KnownModel | None:
    """Return the model to offer before the first index of `library`, or None."""
    at_a_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not at_a_terminal or catalog_path(library).exists() or _note().exists():
        return None
    if preferred_model() is not None or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return None
    return OFFERED if all(find_spec(name) is not None for name in _NEEDED) else None


def remember_the_answer(answer: bool) -> None:
    """Never ask again, if that can be written down."""
    with contextlib.suppress(OSError):
        _note().parent.mkdir(parents=True, exist_ok=True)
        _note().write_text(f"{'yes' if answer else 'no'}\n", encoding="utf-8")


def _note() -> Path:
    return configuration_folder() / "stronger-model-offered"
