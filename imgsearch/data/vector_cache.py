"""The FAISS index of a library: a cache that may be deleted, damaged or stale at any time.

``faiss/`` in the library holds, for each model, an index file and a small JSON *stamp* that names
it and tells which generation of which catalog it was made from. Both are replaced atomically, the
stamp last; whatever does not fit is brought up to date, or made again from SQLite.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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

    def __len__(self) -> int:
        return int(self._index.ntotal)

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
        import faiss

        top_k = min(top_k, len(self) if among is None else len(among))
        if not top_k or not len(self):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        parameters = None
        if among is not None:
            wanted = np.zeros(int(among.max()) + 1, dtype=bool)
            wanted[among] = True
            bitmap = np.packbits(wanted, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
            parameters = faiss.SearchParameters()
            parameters.sel = selector
        # Of those that are as near as the last, FAISS keeps any: look at all of them.
        most = len(self) if among is None else len(among)
        asked = min(most, top_k + 1)
        with _one_thread():
            while True:
                scores, ids = self._index.search(query[None, :], asked, params=parameters)
                if asked == most or scores[0, -1] != scores[0, top_k - 1]:
                    break
                asked = min(most, 2 * asked)
        order = np.lexsort((ids[0], -scores[0]))[:top_k]
        return ids[0][order], scores[0][order]


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
        generation = int(reader.meta("generation") or 0)
        stamp = self._read_stamp(library_id) if trust_cache else None
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
        return index if fits and isinstance(index, faiss.IndexIDMap) else None

    def _brought_up_to_date(
        self, index: faiss.IndexIDMap, reader: CatalogReader
    ) -> faiss.IndexIDMap:
        """Remove from and add to `index` until it holds the catalog's pictures, in two batches."""
        import faiss

        held = faiss.vector_to_array(index.id_map)
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
        import faiss

        self._folder.mkdir(exist_ok=True)
        prefix = f"model-{self._model.id}-"
        name = f"{prefix}{uuid.uuid4().hex[:12]}.faiss"
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
        for old in self._folder.glob(f"{prefix}*.faiss"):
            if old.name != name:
                # Windows refuses while another process maps it; the next refresh tries again.
                with contextlib.suppress(OSError):
                    old.unlink()


def plausible(ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], known: set[int]) -> bool:
    """Tell whether a search result can be true of the catalog; False means the cache is damaged."""
    finite = bool(np.isfinite(scores).all())
    return (
        finite
        and float(np.abs(scores).max(initial=0.0)) <= 1 + _SCORE_TOLERANCE
        and (set(ids.tolist()) <= known)
    )
