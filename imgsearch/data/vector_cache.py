"""The cache of a library's vectors: it may be deleted, damaged or stale at any time.

``faiss/`` in the library holds for each model its vectors as FAISS searches them, and a small JSON
*stamp* that tells which generation of which catalog they were made from. Whatever does not fit is
brought up to date, or made again from SQLite.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.cache_lock import cache_turn
from imgsearch.data.coded_vectors import CodedVectors
from imgsearch.data.connection import CACHE_FOLDER
from imgsearch.data.index_ladder import import_faiss, needs_codes
from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.data.vector_block import Ids, VectorBlock
from imgsearch.data.vector_coding import code, lacks_codes
from imgsearch.data.vector_files import UNREADABLE, Stamp, VectorFiles
from imgsearch.data.vector_index import VectorIndex

# Scores of unit vectors in float16 stray from [-1, 1] by less than this.
_SCORE_TOLERANCE = 0.01
# Rows are written anew without the removed ones where these are so many and such a part of all.
_REMOVED_AT_LEAST = 10_000
_REMOVED_PART = 5
# Seconds to wait for a process that adds vectors, which takes about one.
_PATIENCE = 60.0


class VectorCache:
    """Gives the vector index of a model, from the cache if it is good, else from the catalog."""

    def __init__(self, library: Path, model: StoredModel) -> None:
        self._folder = library / CACHE_FOLDER
        self._model = model
        self._files = VectorFiles(self._folder, model)

    def load(self, reader: CatalogReader, *, trust_cache: bool = True) -> VectorIndex:
        """Return the index of the catalog's present generation.

        Without `trust_cache` it is made from the catalog alone, and the cache replaced. A cache
        that cannot be written (a read-only library, a full disk, another process that writes it) is
        no error: what it lacks then lives in memory only.
        """
        import_faiss()
        library_id = reader.meta("library_id") or ""
        generation = reader.generation()
        if trust_cache:
            stamp = self._files.stamp(library_id)
            if stamp is not None and stamp.generation == generation:
                with contextlib.suppress(*UNREADABLE):
                    return self._index(stamp)
        with self._writing() as may_write:
            stamp = self._usable(library_id, generation) if trust_cache else None
            if may_write:
                with contextlib.suppress(*UNREADABLE):
                    return self._index(self._written(reader, stamp, library_id, generation))
            return self._in_memory(reader, stamp)

    def improve(
        self, reader: CatalogReader, should_stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Make what lets many vectors be searched fast; return whether anything changed.

        Others search with what there was, until all is ready. It takes about a minute a million
        vectors at first, and seconds for what was added since.
        """
        import_faiss()
        library_id = reader.meta("library_id") or ""
        changed = False
        stamp = self._files.stamp(library_id)
        if stamp is None or not (_has_room(stamp) or needs_codes(stamp.count, stamp.dimension)):
            return False
        with contextlib.suppress(*UNREADABLE), self._writing("builder") as may_build:
            if may_build:
                self._files.sweep_drafts()
                changed = self._without_removed(library_id)
                changed = self._coded(library_id, should_stop) or changed
        return changed

    def is_complete(self, reader: CatalogReader) -> bool:
        """Tell whether `load` and `improve` have nothing to do, by the files but not their rows."""
        stamp = self._files.stamp(reader.meta("library_id") or "")
        return (
            stamp is not None
            and stamp.generation == reader.generation()
            and not _has_room(stamp)
            and not lacks_codes(stamp)
            and self._files.are_whole(stamp)
        )

    def tidy(self) -> None:
        """Delete what processes that were killed have left behind."""
        with self._writing() as may_write:
            if may_write:
                self._files.sweep()

    def forget_lost_commits(self, reader: CatalogReader) -> None:
        """Remove a cache of commits that the catalog does not have any more.

        A power cut can take the last commits back. To be called before others are made: they will
        have the same generations and the same ids.
        """
        stamp = self._files.stamp(reader.meta("library_id") or "")
        if stamp is not None and stamp.generation > reader.generation():
            self.delete()

    def contents(self, reader: CatalogReader) -> tuple[Stamp, VectorIndex] | None:
        """Return the cache as it is, of whatever generation, or None if it cannot be used."""
        import_faiss()
        stamp = self._files.stamp(reader.meta("library_id") or "")
        with contextlib.suppress(*UNREADABLE):
            return None if stamp is None else (stamp, self._index(stamp))
        return None

    def is_absent(self) -> bool:
        """Tell whether there is no trace of a cache for this model."""
        return next(self._folder.glob(f"model-{self._model.id}[.-]*"), None) is None

    def delete(self) -> None:
        """Remove the cache of this model."""
        for pattern in ("model-{}[.-]*", "draft-model-{}-*"):
            for path in self._folder.glob(pattern.format(self._model.id)):
                with contextlib.suppress(OSError):
                    path.unlink()

    @contextlib.contextmanager
    def _writing(self, role: str = "", patience: float = 0) -> Iterator[bool]:
        """Yield whether this process is now, or after some seconds, the only one in that role.

        It is in none where the library cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                ours = stack.enter_context(
                    cache_turn(self._folder, self._model.id, role=role, patience=patience)
                )
            except OSError:
                ours = False
            yield ours

    def _usable(self, library_id: str, generation: int) -> Stamp | None:
        """Return the stamp, if it is of this catalog and the vectors of its files can be read."""
        stamp = self._files.stamp(library_id)
        if stamp is None or stamp.generation > generation:
            # Of commits that a power cut took back: ids have other pictures since, or will have.
            return None
        try:
            held = _Held.of(self._files, stamp)
            self._files.blocks(stamp)
        except UNREADABLE:
            return None
        return stamp if held.is_sound else None

    def _index(self, stamp: Stamp) -> VectorIndex:
        """Return what the files hold. Raises one of UNREADABLE."""
        return VectorIndex(
            stamp.dimension,
            self._files.blocks(stamp),
            self._files.ids(stamp),
            self._files.removed(stamp),
            self._files.codes(stamp),
        )

    def _written(
        self, reader: CatalogReader, stamp: Stamp | None, library_id: str, generation: int
    ) -> Stamp:
        """Bring the files up to date. Raises one of UNREADABLE."""
        if stamp is None:
            self._files.sweep(keep=())
            stamp = Stamp(
                library_id=library_id,
                generation=generation,
                revision=self._model.revision,
                dimension=self._model.dimension,
                rows=self._files.new_name(".rows"),
                count=0,
            )
            held = _Held.nothing()
        else:
            held = _Held.of(self._files, stamp)
        wanted = reader.visible_ids(self._model.id)
        removed = held.removed_without(wanted)
        new = self._files.append(stamp, reader.vectors(self._model, held.missing(wanted)))
        new = replace(self._files.write_removed(new, removed), generation=generation)
        self._files.write_stamp(new)
        self._files.blank(new, np.setdiff1d(removed, held.removed, assume_unique=True))
        return new

    def _in_memory(self, reader: CatalogReader, stamp: Stamp | None) -> VectorIndex:
        """Return the files' vectors, if there are any, with what they lack, and write nothing."""
        blocks: list[VectorBlock] = []
        codes: list[CodedVectors] = []
        held = _Held.nothing()
        if stamp is not None:
            held = _Held.of(self._files, stamp)
            blocks, codes = self._files.blocks(stamp), self._files.codes(stamp)
        wanted = reader.visible_ids(self._model.id)
        pages = list(reader.vectors(self._model, held.missing(wanted)))
        rows = [VectorBlock.of(page, self._model.dimension) for _, page in pages]
        return VectorIndex(
            self._model.dimension,
            [*blocks, *rows],
            np.concatenate([held.ids, *(ids for ids, _ in pages)]),
            held.removed_without(wanted),
            codes,
        )

    def _without_removed(self, library_id: str) -> bool:
        """Write the rows anew if too many of them were removed; return whether that was so."""
        with self._writing() as may_write:
            stamp = self._files.stamp(library_id)
            if not may_write or stamp is None or not _has_room(stamp):
                return False
            new = replace(
                stamp.without_codes(),
                rows=self._files.new_name(".rows"),
                count=0,
                removed="",
                removed_count=0,
            )
            self._files.write_stamp(self._files.append(new, self._index(stamp).stored()))
            return True

    def _coded(self, library_id: str, should_stop: Callable[[], bool]) -> bool:
        """Make codes for the vectors that have none, if they are many; return whether it did."""
        stamp = self._files.stamp(library_id)
        if stamp is None or (self._files.are_whole(stamp) and not lacks_codes(stamp)):
            return False
        index = self._index(stamp)
        # Codes that cannot be read are made again.
        stamp = replace(stamp, coded=index.coded)
        if not lacks_codes(stamp):
            return False
        made = code(index, self._files, stamp, should_stop)
        if made is None:
            return False
        with self._writing(patience=_PATIENCE) as may_write:
            now = self._files.stamp(library_id)
            if not may_write or now is None or now.rows != stamp.rows:
                return False
            self._files.write_stamp(
                replace(
                    now,
                    codes=self._files.settled(made.codes),
                    coded=stamp.count,
                    trained_for=made.trained_for,
                )
            )
            return True


def _has_room(stamp: Stamp) -> bool:
    """Tell whether so many vectors were removed that to write the others anew is worth it."""
    return stamp.removed_count >= max(_REMOVED_AT_LEAST, stamp.count // _REMOVED_PART)


class _Held:
    """The picture ids by position, int64 [n], and the positions that do not count."""

    def __init__(self, ids: Ids, removed: Ids) -> None:
        self.ids = ids
        self.removed = removed
        self._alive = np.ones(len(ids), dtype=bool)
        self._alive[removed] = False

    @classmethod
    def of(cls, files: VectorFiles, stamp: Stamp) -> _Held:
        """Return what the files hold. Raises one of UNREADABLE."""
        return cls(files.ids(stamp), files.removed(stamp))

    @classmethod
    def nothing(cls) -> _Held:
        """Return what is held at first."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    @property
    def is_sound(self) -> bool:
        """Whether no picture is there twice."""
        alive = self.ids[self._alive]
        # They mostly ascend, which is seen sooner than sorted.
        return bool((np.diff(alive) > 0).all()) or len(np.unique(alive)) == len(alive)

    def missing(self, wanted: Ids) -> Ids:
        """Return the ids of those wanted that are not held; `wanted` is ascending."""
        return np.setdiff1d(wanted, self.ids[self._alive], assume_unique=True)

    def removed_without(self, wanted: Ids) -> Ids:
        """Return the positions that do not count if these ids are wanted, ascending."""
        return np.flatnonzero(~(self._alive & np.isin(self.ids, wanted)))


def plausible(ids: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], known: set[int]) -> bool:
    """Tell whether a search result can be true of the catalog; False means the cache is damaged."""
    finite = bool(np.isfinite(scores).all())
    return (
        finite
        and float(np.abs(scores).max(initial=0.0)) <= 1 + _SCORE_TOLERANCE
        and (set(ids.tolist()) <= known)
    )
