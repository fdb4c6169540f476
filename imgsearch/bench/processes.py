"""Processes that are measured, and what they found compared with brute force."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.bench.probe import active_model
from imgsearch.data.reader import CatalogReader
from imgsearch.data.vector_cache import VectorCache
from imgsearch.errors import BenchFailed

# Says last, on standard error, how much memory the command took.
_QUERY = (
    "import atexit, sys; from imgsearch.bench.probe import peak_bytes;"
    "atexit.register(lambda: print(peak_bytes(), file=sys.stderr));"
    "from imgsearch.cli import main; main()"
)


def probe(*arguments: str) -> dict[str, Any]:
    """Return what ``imgsearch.bench.probe`` says. Raises BenchFailed."""
    out, _ = _run("-m", "imgsearch.bench.probe", *arguments)
    told: dict[str, Any] = json.loads(out)
    return told


def cold_query(library: Path, phrase: str) -> tuple[float, int]:
    """Return the seconds and the bytes of memory of ``imgsearch query`` in a process of its own.

    Raises BenchFailed.
    """
    began = time.perf_counter()
    _, errors = _run("-c", _QUERY, "query", phrase, "--library", str(library), "--json")
    return time.perf_counter() - began, int(errors.split()[-1])


def found_part(
    library: Path, queries: npt.NDArray[np.float32], found: list[list[int]], top_k: int
) -> float:
    """Return which part of the `top_k` nearest, by comparing all vectors, is in `found`.

    `queries` are unit vectors float32 [m, d]; `found` has the picture ids for each.
    """
    best_scores = np.full((len(queries), top_k), -np.inf, dtype=np.float32)
    best_ids = np.zeros((len(queries), top_k), dtype=np.int64)
    with CatalogReader(library) as reader:
        for ids, rows in VectorCache(library, active_model(reader)).load(reader).stored():
            scores = np.concatenate([best_scores, queries @ rows.astype(np.float32).T], axis=1)
            every = np.concatenate([best_ids, np.tile(ids, (len(queries), 1))], axis=1)
            kept = np.argpartition(-scores, top_k - 1, axis=1)[:, :top_k]
            best_scores = np.take_along_axis(scores, kept, axis=1)
            best_ids = np.take_along_axis(every, kept, axis=1)
    hits = [
        len(set(ours) & set(theirs)) for ours, theirs in zip(found, best_ids.tolist(), strict=True)
    ]
    return sum(hits) / sum(map(len, found))


def _run(*arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise BenchFailed(f"A process that was measured failed: {done.stderr.strip()[-500:]}")
    return done.stdout, done.stderr
