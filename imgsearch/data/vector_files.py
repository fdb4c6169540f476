"""The files of a vector cache: rows, their ids, what was removed, codes, and the stamp.

Rows and ids are only ever added to, and whatever else changes gets a new name; the stamp, which is
replaced last and at once, says how much of which files counts. So processes that still use the
former state are not disturbed, and an interrupted writer leaves the former state.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgsearch.data.coded_vectors import KIND, CodedVectors
from imgsearch.data.index_ladder import threads_for
from imgsearch.data.side_by_side import side_by_side
from imgsearch.data.vector_block import HEADER, Ids, VectorBlock, append_rows, blank_rows

if TYPE_CHECKING:
    from imgsearch.data.reader import StoredModel

# What cannot be read is made again, whatever it is; FAISS takes no path that is not UTF-8 and says
# so by TypeError.
UNREADABLE = (OSError, ValueError, TypeError, RuntimeError, MemoryError)
# What a builder writes has this before its name until it counts: no sweep may take it.
_DRAFT = "draft-"
# So much of the mapped rows (bytes) counts as the memory of a process at most. Less would cost more
# time: to let go of them, and to map them again, takes 10 ms.
_MOST_HELD = 2 << 30
# The files of vectors; earlier versions wrote the last kind. Other caches lie beside them.
VECTOR_ENDINGS = (".rows", ".ids", ".removed", ".codes", ".faiss")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which files count, how much of them, and what they were made from.

    `codes` gives for each file of codes its CRC-32: FAISS believes what a file says of its lengths;
    `coding` is their kind.
    """

    library_id: str
    generation: int
    revision: str
    dimension: int
    rows: str
    count: int
    removed: str = ""
    removed_count: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    coded: int = 0
    trained_for: int = 0
    coding: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all files."""
        removed = (self.removed,) if self.removed else ()
        return (self.rows, _ids_name(self.rows), *removed, *self.codes)

    def without_codes(self) -> Stamp:
        """Return the same, but nothing has codes."""
        return replace(self, codes={}, coded=0, trained_for=0, coding=KIND)


class VectorFiles:
    """The files of one model in the folder of the cache."""

    def __init__(self, folder: Path, model: StoredModel) -> None:
        self._folder = folder
        self._model = model
        self._prefix = f"model-{model.id}-"
        self.stamp_path = folder / f"model-{model.id}.json"

    def path(self, name: str) -> Path:
        """Return the path of a file by its name."""
        return self._folder / name

    def new_name(self, suffix: str) -> str:
        """Return a name that no file has."""
        return f"{self._prefix}{uuid.uuid4().hex[:12]}{suffix}"

    def stamp(self, library_id: str) -> Stamp | None:
        """Return the stamp, or None if there is none that is right for this library and model."""
        try:
            told = json.loads(self.stamp_path.read_text(encoding="utf-8"))
            stamp = Stamp(**told)
            # Names must stay names: a stamp is input like any other.
            named = all(name == os.path.basename(name) for name in stamp.names)
            counted = 0 <= stamp.removed_count <= stamp.count and 0 <= stamp.coded <= stamp.count
            counted = counted and isinstance(stamp.codes, dict)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        ours = (library_id, self._model.revision, self._model.dimension)
        theirs = (stamp.library_id, stamp.revision, stamp.dimension)
        if not (ours == theirs and named and counted):
            return None
        return stamp if stamp.coding == KIND else stamp.without_codes()

    def new_draft(self) -> str:
        """Return a name for codes that shall count later."""
        return _DRAFT + self.new_name(".codes")

    def settled(self, codes: Mapping[str, int]) -> dict[str, int]:
        """Rename what was a draft; return them by the names that they have now. Raises OSError."""
        found = {}
        for name, checksum in codes.items():
            settled = name.removeprefix(_DRAFT)
            if name != settled:
                os.replace(self.path(name), self.path(settled))
            found[settled] = checksum
        return found

    def write_codes(self, name: str, shard: CodedVectors) -> int:
        """Write a file of codes; return its CRC-32. Raises OSError."""
        content = shard.to_bytes()
        self.path(name).write_bytes(content)
        return zlib.crc32(content)

    def sweep_drafts(self) -> None:
        """Delete what an interrupted builder left behind."""
        for path in self._folder.glob(f"{_DRAFT}{self._prefix}*"):
            with contextlib.suppress(OSError):
                path.unlink()

    def write_stamp(self, stamp: Stamp) -> None:
        """Let these files count from now on, and delete all others. Raises OSError."""
        draft = self.path(self.new_name(".json"))
        try:
            draft.write_text(json.dumps(asdict(stamp)), encoding="utf-8")
            os.replace(draft, self.stamp_path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        self.sweep(keep=stamp.names)

    def sweep(self, keep: Sequence[str] | None = None) -> None:
        """Delete the vectors' files but those to keep, by default what the stamp names."""
        if keep is None:
            keep = named_by(self.stamp_path)
        for path in self._folder.glob(f"{self._prefix}*"):
            if path.suffix in (*VECTOR_ENDINGS, ".json") and path.name not in keep:
                # Windows refuses while another process maps it; the next writer tries again.
                with contextlib.suppress(OSError):
                    path.unlink()

    def append(self, stamp: Stamp, pages: Iterable[tuple[Ids, npt.NDArray[np.float16]]]) -> Stamp:
        """Write vectors behind those that count; return the stamp that counts them, too.

        Raises OSError; nothing counts then that did not before.
        """
        ids: list[Ids] = []

        def rows() -> Iterator[npt.NDArray[np.float16]]:
            for page_ids, page in pages:
                ids.append(page_ids)
                yield page

        append_rows(self.path(stamp.rows), stamp.count, stamp.dimension, rows())
        with self.path(_ids_name(stamp.rows)).open("r+b" if stamp.count else "wb") as file:
            file.truncate(8 * stamp.count)
            file.seek(0, os.SEEK_END)
            file.write(np.concatenate([np.empty(0, dtype="<i8"), *ids]).astype("<i8").tobytes())
            file.flush()
            os.fsync(file.fileno())
        return replace(stamp, count=stamp.count + sum(map(len, ids)))

    def write_removed(self, stamp: Stamp, removed: Ids) -> Stamp:
        """Write which positions do not count; return the stamp that knows it. Raises OSError."""
        if len(removed) == stamp.removed_count:
            return stamp
        name = self.new_name(".removed")
        self.path(name).write_bytes(removed.astype("<i8").tobytes())
        return replace(stamp, removed=name, removed_count=len(removed))

    def blank(self, stamp: Stamp, positions: Ids) -> None:
        """Overwrite vectors that do not count any more: of what was removed nothing may stay."""
        with contextlib.suppress(OSError):
            blank_rows(self.path(stamp.rows), stamp.dimension, positions)

    def blocks(self, stamp: Stamp) -> list[VectorBlock]:
        """Return the rows in as many blocks as threads look at them. Raises OSError, ValueError."""
        # What has no codes is looked at for every query, and so should be blocks of its own.
        edges = [*_edges(0, stamp.coded), *_edges(stamp.coded, stamp.count), stamp.count]
        return [
            VectorBlock.mapped(
                self.path(stamp.rows), first, end, stamp.dimension, _MOST_HELD // len(edges)
            )
            for first, end in pairwise(edges)
            if end > first
        ]

    def ids(self, stamp: Stamp) -> Ids:
        """Return the picture ids by position, int64 [n]. Raises OSError or ValueError."""
        if not stamp.count:
            return np.empty(0, dtype=np.int64)
        path = self.path(_ids_name(stamp.rows))
        return np.asarray(np.memmap(path, dtype="<i8", mode="r", shape=(stamp.count,)))

    def removed(self, stamp: Stamp) -> Ids:
        """Return the positions that do not count, int64 [n]. Raises OSError or ValueError."""
        if not stamp.removed:
            return np.empty(0, dtype=np.int64)
        removed = np.fromfile(self.path(stamp.removed), dtype="<i8").astype(np.int64)
        if len(removed) != stamp.removed_count or not _are_positions(removed, stamp.count):
            raise ValueError(f"{stamp.removed} is not what the stamp tells")
        return removed

    def codes(self, stamp: Stamp) -> list[CodedVectors]:
        """Return the codes, or none if any of them is not what it should be."""
        try:
            shards = side_by_side(self.read_codes, list(stamp.codes.items()))
        except UNREADABLE:
            return []
        return shards if _fit(shards, stamp) else []

    def are_whole(self, stamp: Stamp) -> bool:
        """Tell whether the files are there, as long as they should be, and codes as written."""
        try:
            sizes = [self.path(name).stat().st_size for name in stamp.names[:2]]
            self.removed(stamp)
            sound = all(
                zlib.crc32(self.path(name).read_bytes()) == crc for name, crc in stamp.codes.items()
            )
        except UNREADABLE:
            return False
        rows = HEADER + 2 * stamp.dimension * stamp.count
        return sound and sizes[0] >= rows and sizes[1] >= 8 * stamp.count

    def read_codes(self, named: tuple[str, int]) -> CodedVectors:
        """Return the codes of a file and its CRC-32. Raises one of UNREADABLE."""
        name, checksum = named
        content = self.path(name).read_bytes()
        if zlib.crc32(content) != checksum:
            raise ValueError(f"{name} is damaged")
        return CodedVectors.of_bytes(content)


def named_by(stamp_path: Path) -> tuple[str, ...]:
    """Return the names of the files that a stamp speaks of, or none if it cannot be read."""
    try:
        return Stamp(**json.loads(stamp_path.read_text(encoding="utf-8"))).names
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return ()


def _edges(first: int, end: int) -> list[int]:
    """Return where the blocks begin into which these rows are divided among threads."""
    edges: list[int] = np.linspace(first, end, threads_for(end - first) + 1).astype(int).tolist()
    return edges[:-1]


def _ids_name(rows: str) -> str:
    return rows.removesuffix(".rows") + ".ids"


def _are_positions(positions: Ids, count: int) -> bool:
    inside = bool(((positions >= 0) & (positions < count)).all())
    return inside and len(np.unique(positions)) == len(positions)


def _fit(shards: Sequence[CodedVectors], stamp: Stamp) -> bool:
    return (
        all(shard.dimension == stamp.dimension for shard in shards)
        and all(shard.is_full for shard in shards[:-1])
        and sum(map(len, shards)) == stamp.coded <= stamp.count
    )
