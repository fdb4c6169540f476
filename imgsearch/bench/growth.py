"""What a library would cost with more pictures: measured on a copy to which vectors are added."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from imgsearch.bench.clustered import LikePhotos
from imgsearch.bench.probe import active_model
from imgsearch.bench.processes import cold_query, found_part, probe
from imgsearch.data.connection import CACHE_FOLDER, catalog_path, connect_read_only
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import FACTS_VERSION
from imgsearch.errors import BenchFailed
from imgsearch.wording import human_bytes

Floats = npt.NDArray[np.float32]

TOP_K = 10
# Pictures that are added at once to a library of each size.
ADDED = 10_000
_ROOT = "/imgsearch-bench"
# Beyond the numbers of all pictures that are ever added.
_NEVER = 1_000_000_000
_COLD_RUNS = 5
# A vector in the catalog and in its cache, with rows and indexes, at 512 dimensions.
_BYTES_EACH = 2_700
_PICTURES = (
    "INSERT INTO picture (id, content_hash, byte_size, width, height, format, orientation, "
    f"facts_version) VALUES (?, ?, 3000000, 4000, 3000, 'JPEG', 1, {FACTS_VERSION})"
)
_FILES = "INSERT INTO file (root_id, path, size, mtime_ns, picture_id) VALUES (?, ?, 3000000, 0, ?)"
_EMBEDDINGS = "INSERT INTO embedding (picture_id, model_id, vector) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """What was measured at one size. Seconds unless the name says otherwise; bytes of memory are
    the most that the whole process took. Recall is against exact search.
    """

    pictures: int
    build: float
    codes: float
    build_peak_bytes: int
    add_10000: float
    query_p50_ms: float
    query_p95_ms: float
    filtered_p50_ms: float
    recall_at_10: float
    memory_bytes: int
    cold_query: float
    cold_peak_bytes: int
    index_bytes: int


def check_room(work: Path, count: int) -> None:
    """Raise BenchFailed where `work` has no room for a copy with so many pictures."""
    needed, free = int(1.1 * count * _BYTES_EACH), shutil.disk_usage(work).free
    if needed > free:
        raise BenchFailed(
            f"{count:,} pictures take about {human_bytes(needed)}; {work} has {human_bytes(free)}. "
            "Name a folder on a larger disk with --work"
        )


@dataclass(frozen=True, slots=True)
class Built:
    """What it took to make the index of what was added: seconds, and bytes of memory."""

    build: float
    codes: float
    build_peak_bytes: int


class GrowingCopy:
    """A copy of a library that gets invented pictures. It may have been made by an earlier one."""

    def __init__(self, library: Path, copy: Path, like: LikePhotos) -> None:
        """`copy` is a folder, empty at first. Raises a LibraryError."""
        self._path = copy
        self._like = like
        if not catalog_path(copy).exists():
            with closing(connect_read_only(library)) as source, closing(_opened(copy)) as target:
                source.backup(target)
                with target:
                    target.execute("INSERT INTO root (path, added_at) VALUES (?, 0)", (_ROOT,))
        with CatalogReader(copy) as reader:
            self._model = active_model(reader)
            self._count = len(reader.visible_ids(self._model.id))
            [(self._root_id,)] = reader.rows("SELECT id FROM root WHERE path = ?", _ROOT)
            [(self._invented,)] = reader.rows(
                "SELECT count(*) FROM file WHERE root_id = ?", self._root_id
            )
            [(self._first_id,)] = reader.rows("SELECT coalesce(max(id), 0) + 1 FROM picture")

    def grow_to(self, count: int) -> Built:
        """Add pictures until there are so many, or more, and make their index.

        Raises BenchFailed.
        """
        self._fill_up_to(count)
        told = probe("build", str(self._path))
        return Built(told["vectors"], told["codes"], told["process_peak_bytes"])

    def measured(self, built: Built, texts: Floats, phrase: str) -> GrowthPoint:
        """Search, then add 10,000 pictures. Raises BenchFailed or a LibraryError.

        `texts` are queries beside as many pictures', float32 [n, d]; `phrase` is what the cold
        process is asked for.
        """
        pictures = self._count
        # Of pictures that are never added.
        [unknown] = self._like.pages(_NEVER, _NEVER + len(texts))
        queries = np.concatenate([unknown.astype(np.float32), texts])
        asked = self._path / "queries.npy"
        np.save(asked, queries)
        searched = probe("search", str(self._path), str(asked), str(TOP_K))
        recall = found_part(self._path, queries, searched["found"], TOP_K)
        cold = [cold_query(self._path, phrase) for _ in range(_COLD_RUNS)]
        index_bytes = sum(path.stat().st_size for path in (self._path / CACHE_FOLDER).iterdir())
        added = self.grow_to(pictures + ADDED)
        return GrowthPoint(
            pictures=pictures,
            build=built.build,
            codes=built.codes,
            build_peak_bytes=built.build_peak_bytes,
            add_10000=added.build + added.codes,
            query_p50_ms=median(searched["ms"]),
            query_p95_ms=float(np.percentile(searched["ms"], 95)),
            filtered_p50_ms=median(searched["filtered_ms"]),
            recall_at_10=recall,
            memory_bytes=searched["peak_bytes"],
            cold_query=median(seconds for seconds, _ in cold),
            cold_peak_bytes=max(peak for _, peak in cold),
            index_bytes=index_bytes,
        )

    def _fill_up_to(self, count: int) -> None:
        with closing(_opened(self._path)) as database:
            # It may be lost, and is faster so.
            database.execute("PRAGMA synchronous=OFF")
            database.execute("PRAGMA journal_mode=MEMORY")
            for page in self._like.pages(self._invented, self._invented + count - self._count):
                with database:
                    self._add(database, page)
            with database:
                database.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
            database.execute("PRAGMA journal_mode=WAL")
        self._invented += max(0, count - self._count)
        self._count = max(self._count, count)

    def _add(self, database: sqlite3.Connection, page: npt.NDArray[np.float16]) -> None:
        first = self._first_id
        ids = range(first, first + len(page))
        self._first_id += len(page)
        database.executemany(_PICTURES, ((id_, id_.to_bytes(32, "big")) for id_ in ids))
        database.executemany(
            _FILES,
            ((self._root_id, f"{id_ // 1000}/IMG_{id_:08d}.jpg", id_) for id_ in ids),
        )
        width = 2 * self._model.dimension
        content = page.astype("<f2").tobytes()
        database.executemany(
            _EMBEDDINGS,
            (
                (id_, self._model.id, content[place * width : (place + 1) * width])
                for place, id_ in enumerate(ids)
            ),
        )


def _opened(library: Path) -> sqlite3.Connection:
    return sqlite3.connect(catalog_path(library))
