"""The FAISS index of a library: a cache that may be deleted, damaged or stale at any time.

``faiss/`` in the library holds, for each model, an index file and a small JSON *stamp* that names
it and tells which generation of which catalog it was made from. Both are replaced atomically, the
stamp last; whatever does not fit is brought up to date, or made again from SQLite.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgsearch.data.cache_lock import cache_turn
from imgsearch.data.gpu_index import batch_index, exact_scores, pays, propose
from imgsearch.data.index_types import import_faiss, new_index
from imgsearch.data.reader import CatalogReader, StoredModel

if TYPE_CHECKING:
    import faiss

FOLDER_NAME = "faiss"
# Scores of unit vectors in float16 stray from [-1, 1] by less than this.
_SCORE_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index file was made from."""

    file: str
    library_id: str
    generation: int
    revision: str
    dimension: int
    count: int
    bytes: int


class VectorIndex:
    """The searchable vectors of one model. `picture_ids` outside the catalog never come back."""

    def __init__(self, index: faiss.IndexIDMap) -> None:
        self._index = index
        self._places: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
        # The vectors on the GPUs, once a batch was worth it; `index` itself where they do not fit.
        self._moved: faiss.Index | None = None
        self._gpus = threading.Lock()

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def vectors(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the unit vectors of pictures of this index: float32 [n, d].

        Raises KeyError for an id that it does not hold.
        """
        if self._places is None:
            held = _ids_of(self._index)
            order = np.argsort(held, kind="stable")
            self._places = held[order], order
        held, order = self._places
        found = np.searchsorted(held, ids)
        if not len(ids):
            return np.empty((0, self._index.d), dtype=np.float32)
        if not len(held) or (held[np.minimum(found, len(held) - 1)] != ids).any():
            raise KeyError("a picture that is not in the index")
        rows: npt.NDArray[np.float32] = self._index.index.reconstruct_batch(order[found])
        return rows

    def ids(self) -> npt.NDArray[np.int64]:
        """Return the ids of all pictures, int64 [n], in the order of the index."""
        return _ids_of(self._index)

    def sample(self, count: int) -> npt.NDArray[np.float32]:
        """Return vectors of at most `count` pictures, evenly spread, in random order: [n, d]."""
        if not len(self):
            return np.empty((0, self._index.d), dtype=np.float32)
        step = -(-len(self) // count)
        places = np.random.default_rng(0).permutation(np.arange(0, len(self), step))
        rows: npt.NDArray[np.float32] = self._index.index.reconstruct_batch(places)
        return rows

    def search(
        self,
        query: npt.NDArray[np.float32],
        top_k: int,
        among: npt.NDArray[np.int64] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return (picture ids int64 [k], cosines float32 [k]), best first, ties by lower id.

        `query` is a unit vector, float32 [d]; with `among` (ids) only these pictures are looked at.
        k is `top_k` or the number of pictures if smaller.
        """
        top_k = min(top_k, len(self) if among is None else len(among))
        if not top_k or not len(self):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        with_these = None if among is None else _Among(among)
        parameters = None if with_these is None else with_these.parameters
        # Of those that are as near as the last, FAISS keeps any: look at all of them.
        most = len(self) if among is None else len(among)
        asked = min(most, top_k + 1)
        with _one_thread():
            while True:
                scores, ids = self._index.search(query[None, :], asked, params=parameters)
                if asked == most or scores[0, -1] != scores[0, top_k - 1]:
                    break
                asked = min(most, 2 * asked)
        return _best_first(ids[0], scores[0], top_k)

    def search_many(
        self,
        queries: npt.NDArray[np.float32],
        top_k: int,
        among: npt.NDArray[np.int64] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return (picture ids int64 [m, k], cosines float32 [m, k]): what `search` gives for each.

        `queries` are unit vectors, float32 [m, d]. All of them together are searched faster than
        one by one, and where faiss can use GPUs a large batch is searched there (not with `among`).
        """
        top_k = min(top_k, len(self) if among is None else len(among), len(self))
        found_ids = np.empty((len(queries), max(top_k, 0)), dtype=np.int64)
        found_scores = np.empty(found_ids.shape, dtype=np.float32)
        if not found_ids.size:
            return found_ids, found_scores
        ids, scores, limits = self._candidates(queries, top_k, among)
        for row in range(len(queries)):
            best_ids, best_scores = _best_first(ids[row], scores[row], top_k)
            # Another picture might be as near as the last: the long way then.
            if not best_scores[-1] > limits[row]:
                best_ids, best_scores = self.search(queries[row], top_k, among)
            found_ids[row], found_scores[row] = best_ids, best_scores
        return found_ids, found_scores

    def _candidates(
        self,
        queries: npt.NDArray[np.float32],
        top_k: int,
        among: npt.NDArray[np.int64] | None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return ids [m, c], their scores [m, c], and for each query what no other picture exceeds.

        c is at least `top_k`.
        """
        if among is None and pays(len(queries)):
            proposed = self._proposed(queries, top_k)
            if proposed is not None:
                positions, limits = proposed
                ids = _ids_of(self._index)[positions]
                return ids, exact_scores(self._index, queries, positions), limits
        with_these = None if among is None else _Among(among)
        parameters = None if with_these is None else with_these.parameters
        most = len(self) if among is None else len(among)
        asked = min(most, top_k + 1)
        scores, ids = self._index.search(queries, asked, params=parameters)
        return ids, scores, np.full(len(queries), -np.inf) if asked == most else scores[:, -1]

    def _proposed(
        self, queries: npt.NDArray[np.float32], top_k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
        """Return what the GPUs propose (see `propose`), to one batch at a time; None without."""
        with self._gpus:
            if self._moved is None:
                self._moved = batch_index(self._index)
            if self._moved is self._index:
                return None
            return propose(self._moved, queries, top_k)


class _Among:
    """Search parameters that let only some pictures through; keeps alive what FAISS points to."""

    def __init__(self, ids: npt.NDArray[np.int64]) -> None:
        import faiss

        wanted = np.zeros(int(ids.max()) + 1, dtype=bool)
        wanted[ids] = True
        self._bitmap = np.packbits(wanted, bitorder="little")
        self._selector = faiss.IDSelectorBitmap(len(self._bitmap), faiss.swig_ptr(self._bitmap))
        self.parameters = faiss.SearchParameters()
        self.parameters.sel = self._selector


def _best_first(
    ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], top_k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the `top_k` with the highest scores, ties by lower id."""
    order = np.lexsort((ids, -scores))[:top_k]
    return ids[order], scores[order]


def _ids_of(index: faiss.IndexIDMap) -> npt.NDArray[np.int64]:
    """Return the picture ids of an index by position, int64 [n]."""
    import faiss

    return np.asarray(faiss.vector_to_array(index.id_map))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let FAISS use no other threads.

    It divides queries among them, of which there is one; the others only wait for each other, which
    takes up to 80 ms where another program has taken a core.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class VectorCache:
    """Gives the vector index of a model, from the cache if it is good, else from the catalog."""

    def __init__(self, library: Path, model: StoredModel) -> None:
        self._folder = library / FOLDER_NAME
        self._model = model
        self._stamp_path = self._folder / f"model-{model.id}.json"

    def load(self, reader: CatalogReader, *, trust_cache: bool = True) -> VectorIndex:
        """Return the index of the catalog's present generation.

        Without `trust_cache` it is made from the catalog alone, and the cache replaced. A cache
        that cannot be written (a read-only library, a full disk) is no error: the index then lives
        in memory only.
        """
        import_faiss()
        library_id = reader.meta("library_id") or ""
        generation = reader.generation()
        stamp = self._read_stamp(library_id) if trust_cache else None
        if stamp is not None and stamp.generation > generation:
            # Of commits that a power cut took back: ids have other pictures since, or will have.
            stamp = None
        if stamp is not None and stamp.generation == generation:
            index = self._read_index(stamp, memory_map=True)
            if index is not None:
                return VectorIndex(index)
        index = None if stamp is None else self._read_index(stamp, memory_map=False)
        if index is None:
            index = new_index(self._model.dimension)
        index = self._brought_up_to_date(index, reader)
        with contextlib.suppress(OSError, RuntimeError, TypeError):
            self._write(index, library_id, generation)
        return VectorIndex(index)

    def tidy(self) -> None:
        """Delete what processes that were killed have left behind."""
        with (
            contextlib.suppress(OSError),
            cache_turn(self._folder, self._model.id) as ours,
        ):
            if ours:
                self._delete_all_but(self._named_by_stamp())

    def forget_lost_commits(self, reader: CatalogReader) -> None:
        """Remove a cache of commits that the catalog does not have any more.

        A power cut can take the last commits back. To be called before others are made: they will
        have the same generations and the same ids.
        """
        stamp = self._read_stamp(reader.meta("library_id") or "")
        if stamp is not None and stamp.generation > reader.generation():
            self.delete()

    def contents(self, reader: CatalogReader) -> tuple[Stamp, VectorIndex] | None:
        """Return the cache as it is, of whatever generation, or None if it cannot be used."""
        import_faiss()
        stamp = self._read_stamp(reader.meta("library_id") or "")
        index = None if stamp is None else self._read_index(stamp, memory_map=True)
        return None if stamp is None or index is None else (stamp, VectorIndex(index))

    def is_absent(self) -> bool:
        """Tell whether there is no trace of a cache for this model."""
        return next(self._folder.glob(f"model-{self._model.id}[.-]*"), None) is None

    def delete(self) -> None:
        """Remove the cache of this model."""
        for path in self._folder.glob(f"model-{self._model.id}[.-]*"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _read_stamp(self, library_id: str) -> Stamp | None:
        try:
            stamp = Stamp(**json.loads(self._stamp_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        ours = (library_id, self._model.revision, self._model.dimension)
        theirs = (stamp.library_id, stamp.revision, stamp.dimension)
        # The name must stay a name: a stamp is input like any other.
        return stamp if ours == theirs and stamp.file == os.path.basename(stamp.file) else None

    def _read_index(self, stamp: Stamp, *, memory_map: bool) -> faiss.IndexIDMap | None:
        """Return the stamped index, or None if its file is missing or is not what was written."""
        import faiss

        path = self._folder / stamp.file
        try:
            if path.stat().st_size != stamp.bytes:
                return None
            # A mapped index opens at once and is shared between processes, but cannot be changed.
            flags = faiss.IO_FLAG_MMAP_IFC if memory_map else 0
            index = faiss.read_index(str(path), flags)
        except (OSError, RuntimeError, MemoryError, TypeError):
            return None  # FAISS takes no path that is not UTF-8, and says so by TypeError.
        fits = index.d == stamp.dimension and index.ntotal == stamp.count
        return index if fits and isinstance(index, faiss.IndexIDMap) and _is_sound(index) else None

    def _brought_up_to_date(
        self, index: faiss.IndexIDMap, reader: CatalogReader
    ) -> faiss.IndexIDMap:
        """Remove from and add to `index` until it holds the catalog's pictures, in two batches."""
        import faiss

        held = _ids_of(index)
        wanted = reader.visible_ids(self._model.id)
        if len(np.unique(held)) != len(held):
            index, held = new_index(self._model.dimension), np.empty(0, dtype=np.int64)
        surplus = np.setdiff1d(held, wanted, assume_unique=True)
        if len(surplus):
            index.remove_ids(faiss.IDSelectorBatch(surplus))
        missing = np.setdiff1d(wanted, held, assume_unique=True)
        for ids, vectors in reader.vectors(self._model, missing):
            index.add_with_ids(vectors.astype(np.float32), ids)
        return index

    def _write(self, index: faiss.IndexIDMap, library_id: str, generation: int) -> None:
        """Replace the cache, unless another process is writing it at this moment."""
        import faiss

        with cache_turn(self._folder, self._model.id) as ours:
            if not ours:
                return
            # First, for they may be what the disk is full of.
            self._delete_all_but(self._named_by_stamp())
            name = f"model-{self._model.id}-{uuid.uuid4().hex[:12]}.faiss"
            path = self._folder / name
            stamp_draft = path.with_suffix(".json")
            try:
                faiss.write_index(index, str(path))
                stamp = Stamp(
                    file=name,
                    library_id=library_id,
                    generation=generation,
                    revision=self._model.revision,
                    dimension=self._model.dimension,
                    count=index.ntotal,
                    bytes=path.stat().st_size,
                )
                stamp_draft.write_text(json.dumps(asdict(stamp)), encoding="utf-8")
                os.replace(stamp_draft, self._stamp_path)
            except (OSError, RuntimeError, TypeError):
                for draft in (path, stamp_draft):
                    with contextlib.suppress(OSError):
                        draft.unlink()
                raise
            self._delete_all_but(name)

    def _named_by_stamp(self) -> str:
        """Return the name of the file that the stamp speaks of, or "" without a stamp."""
        try:
            return str(json.loads(self._stamp_path.read_text(encoding="utf-8"))["file"])
        except (OSError, ValueError, TypeError, LookupError):
            return ""

    def _delete_all_but(self, name: str) -> None:
        """Delete index files and drafts of stamps, except the index file `name`."""
        for ending in ("faiss", "json"):
            for old in self._folder.glob(f"model-{self._model.id}-*.{ending}"):
                if old.name != name:
                    # Windows refuses while another process maps it; the next time tries again.
                    with contextlib.suppress(OSError):
                        old.unlink()


def _is_sound(index: faiss.IndexIDMap) -> bool:
    """Tell whether an index holds codes of our kind and its parts fit together.

    FAISS believes the lengths that a file gives, and would read beyond what there is.
    """
    import faiss

    # Kept in a variable: its parts do not outlive it.
    example = new_index(index.d)
    codes, model = faiss.downcast_index(index.index), faiss.downcast_index(example.index)
    return (
        isinstance(codes, faiss.IndexScalarQuantizer)
        and isinstance(model, faiss.IndexScalarQuantizer)
        and (codes.d, codes.metric_type, codes.code_size)
        == (model.d, model.metric_type, 2 * model.d)
        and (codes.sq.d, codes.sq.qtype, codes.sq.code_size)
        == (model.sq.d, model.sq.qtype, model.sq.code_size)
        and index.metric_type == model.metric_type
        and index.ntotal == codes.ntotal == index.id_map.size()
        and codes.codes.size() == codes.ntotal * codes.code_size
    )


def plausible(ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], known: set[int]) -> bool:
    """Tell whether a search result can be true of the catalog; False means the cache is damaged."""
    finite = bool(np.isfinite(scores).all())
    return (
        finite
        and float(np.abs(scores).max(initial=0.0)) <= 1 + _SCORE_TOLERANCE
        and (set(ids.tolist()) <= known)
    )
