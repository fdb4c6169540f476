"""Why the index ladder has the rungs it has: kinds of index over many vectors, side by side.

The vectors and queries are those of ladder.py: 50 vectors of pictures that are not in the index,
and 50 of captions. Times are of processor time of one thread, the median query. Recall is the part
of the ten nearest, by comparing every vector, that is among the 2,000 candidates of an index, which
would then be compared exactly. Every index takes as much memory as one bit a dimension or less,
but for the vectors themselves. A million take 4 GB of memory and some minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import faiss
import numpy as np
import numpy.typing as npt
from common import Result, excuses, new_parser, report, say
from ladder import QUERIES, captions, real_library, vectors_of

from imgsearch.bench.clustered import Floats, LikePhotos
from imgsearch.bench.growth import TOP_K
from imgsearch.data.coded_vectors import SAMPLE, CodedVectors
from imgsearch.data.vector_block import VectorBlock

CANDIDATES = 2_000
# Vectors that an index is trained on, for each of its lists or in all.
_PER_LIST, _SAMPLE = 40, 60_000
_PAGE = 50_000
_READ_ONE_IN = 8

# The kind that imgsearch.data.coded_vectors makes.
USED = "turned, PQx4fs"

Rows = npt.NDArray[np.float16]
Search = Callable[[Floats], npt.NDArray[np.int64]]


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument("--count", type=lambda text: int(float(text)), default=1_000_000)
    parser.add_argument("--lists", type=int, default=2_048, help="inverted lists [%(default)s]")
    options = parser.parse_args()
    with excuses():
        like = LikePhotos(vectors_of(real_library(options.work)), options.seed)
        rows = np.concatenate(list(like.pages(0, options.count)))
        [unknown] = like.pages(2 * options.count, 2 * options.count + QUERIES)
        queries = np.concatenate([unknown.astype(np.float32), captions()])
        faiss.omp_set_num_threads(1)
        results = _measured(rows, queries, options.lists)
    report("rungs", results, options.seed, as_json=options.json)


def _measured(rows: Rows, queries: Floats, lists: int) -> list[Result]:
    dimension = rows.shape[1]
    block = VectorBlock.of(rows, dimension)
    every = _timed(lambda query: block.search(query[None, :], TOP_K), queries)
    nearest = [block.search(query[None, :], TOP_K)[1][0] for query in queries]
    results = [Result("every vector, float16: query", every, "ms")]
    for name in (USED, f"PQ{dimension // 4}x4fs", "RaBitQfs", f"IVF{lists},RaBitQ"):
        say(f"making {name} ...")
        search = _used(rows) if name == USED else _made(name, rows, lists)
        label = name
        if name.startswith("IVF"):
            label += f", {100 / _READ_ONE_IN} % of the lists"
        ms = _timed(search, queries)
        found = [search(query) for query in queries]
        results += [
            Result(f"{label}: query", ms, "ms"),
            Result(f"{label}: recall, pictures", _recall(found, nearest, 0), ""),
            Result(f"{label}: recall, sentences", _recall(found, nearest, QUERIES), ""),
        ]
        del search
    return results


def _used(rows: Rows) -> Search:
    """Return how candidates are found by the codes that imgsearch makes."""
    faiss.omp_set_num_threads(2)
    random = np.random.default_rng(0)
    sample = rows[np.sort(random.choice(len(rows), min(SAMPLE, len(rows)), replace=False))]
    codes = CodedVectors.trained(sample.astype(np.float32))
    for first in range(0, len(rows), _PAGE):
        codes.add(rows[first : first + _PAGE].astype(np.float32))
    faiss.omp_set_num_threads(1)
    return lambda query: codes.nearest(query, CANDIDATES)[1]


def _made(name: str, rows: Rows, lists: int) -> Search:
    """Return how an index of that kind, made on all cores, finds candidates."""
    faiss.omp_set_num_threads(2)
    index = faiss.index_factory(rows.shape[1], name, faiss.METRIC_INNER_PRODUCT)
    count = _PER_LIST * lists if name.startswith("IVF") else _SAMPLE
    random = np.random.default_rng(0)
    sample = rows[np.sort(random.choice(len(rows), min(count, len(rows)), replace=False))]
    if name.startswith("IVF"):
        faiss.extract_index_ivf(index).cp.spherical = True
    index.train(sample.astype(np.float32))
    for first in range(0, len(rows), _PAGE):
        index.add(rows[first : first + _PAGE].astype(np.float32))
    faiss.omp_set_num_threads(1)
    if name.startswith("IVF"):
        faiss.extract_index_ivf(index).nprobe = lists // _READ_ONE_IN
    return lambda query: index.search(query[None, :], CANDIDATES)[1][0]


def _timed(search: Callable[[Floats], object], queries: Floats) -> float:
    """Return the milliseconds of processor time of the median query."""
    taken = []
    for query in queries:
        began = time.thread_time()
        search(query)
        taken.append(1000 * (time.thread_time() - began))
    return float(np.median(taken))


def _recall(
    found: list[npt.NDArray[np.int64]], nearest: list[npt.NDArray[np.int64]], first: int
) -> float:
    """Return the recall of QUERIES queries from the `first` on."""
    pairs = list(zip(found, nearest, strict=True))[first : first + QUERIES]
    return sum(len(np.intersect1d(ours, best)) for ours, best in pairs) / (TOP_K * len(pairs))


if __name__ == "__main__":
    main()
