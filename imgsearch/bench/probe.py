"""What is measured in a process of its own, for the sake of its memory and of a cold start.

``python -m imgsearch.bench.probe build LIBRARY`` or ``search LIBRARY QUERIES.npy TOP_K`` prints one
JSON object.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.data.vector_cache import VectorCache

# One picture in so many passes the filter.
_ONE_IN = 100


def build(library: Path) -> dict[str, float]:
    """Bring the vectors' cache up to date."""
    with CatalogReader(library) as reader:
        cache = VectorCache(library, active_model(reader))
        began = time.perf_counter()
        cache.load(reader)
        written = time.perf_counter()
        cache.improve(reader)
        return {"vectors": written - began, "codes": time.perf_counter() - written}


def search(library: Path, queries: Path, top_k: int) -> dict[str, Any]:
    """Search for every vector of a file [n, d], warm: milliseconds each, and the ids found."""
    rows = np.load(queries, allow_pickle=False)
    with CatalogReader(library) as reader:
        model = active_model(reader)
        index = VectorCache(library, model).load(reader)
        ids = index.ids()
        few = np.sort(np.random.default_rng(0).choice(ids, max(1, len(ids) // _ONE_IN), False))
        # What was never looked at is read from the disk first.
        for row in rows:
            index.search(row, top_k)
        all_ms, few_ms, found = [], [], []
        for row in rows:
            began = time.perf_counter()
            best, _ = index.search(row, top_k)
            all_ms.append(1000 * (time.perf_counter() - began))
            found.append(best.tolist())
        memory = peak_bytes()
        for row in rows:
            began = time.perf_counter()
            index.search(row, top_k, few)
            few_ms.append(1000 * (time.perf_counter() - began))
        return {
            "ms": all_ms,
            "filtered_ms": few_ms[1:] or few_ms,
            "found": found,
            "peak_bytes": memory,
            "coded": index.coded,
        }


def peak_bytes() -> int:
    """Return the most memory that this process has taken.

    On Linux not as getrusage tells it, which counts that of whoever started the process.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(one.split()[1]) for one in lines if one.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def active_model(reader: CatalogReader) -> StoredModel:
    """Return the model of a library that is known to have one."""
    model = reader.active_model()
    assert model is not None
    return model


if __name__ == "__main__":
    if sys.argv[1] == "build":
        told: dict[str, Any] = build(Path(sys.argv[2]))
    else:
        told = search(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(told | {"process_peak_bytes": peak_bytes()}))
