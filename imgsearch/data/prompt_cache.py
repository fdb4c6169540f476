"""Vectors of fixed sentences under a model, kept beside the FAISS cache: a cache like that one."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.cache_lock import cache_turn
from imgsearch.data.connection import CACHE_FOLDER
from imgsearch.data.reader import StoredModel

# Unit vectors stray from length 1 by less than this; anything else is a damaged file.
_LENGTH_TOLERANCE = 0.01


def prompt_vectors(
    library: Path,
    model: StoredModel,
    prompts: Sequence[str],
    encode: Callable[[Sequence[str]], npt.NDArray[np.float32]],
) -> npt.NDArray[np.float32]:
    """Return the unit vectors of `prompts` under the model, float32 [n, d].

    They are read from a file, or made by `encode` and written there, which may fail without harm.
    """
    identity = "\0".join((model.name, model.revision, *prompts))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    path = library / CACHE_FOLDER / f"model-{model.id}-prompts-{digest}.npy"
    found = _read(path, (len(prompts), model.dimension))
    if found is None:
        found = encode(prompts)
        with contextlib.suppress(OSError):
            _write(path, model.id, found)
    return found


def _read(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.float32] | None:
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if rows.shape != shape or rows.dtype != np.float32:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(rows, axis=1)
    # Written this way round, what is no number does not pass either.
    return rows if (np.abs(lengths - 1) < _LENGTH_TOLERANCE).all() else None


def _write(path: Path, model_id: int, rows: npt.NDArray[np.float32]) -> None:
    with cache_turn(path.parent, model_id) as ours:
        if not ours:
            return
        # The name is always the same: what a killed process left of it is written over.
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                np.save(file, rows, allow_pickle=False)
            os.replace(draft, path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
