"""Blocks of vectors that FAISS searches exactly where they lie: in a mapped file, or in memory."""

from __future__ import annotations

import errno
import mmap
import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.data.side_by_side import side_by_side

if TYPE_CHECKING:
    import faiss

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

# A file of rows begins with as much empty space, of which a mapping of it is given FAISS's header.
HEADER = 4096
# Where the number of vectors stands in what FAISS writes for an index; the size of all their codes
# is the last thing before them.
_COUNT_AT = 8
# Rows that one core reads at a time, mostly waiting for the memory they lie in.
_ROWS_AT_ONCE = 1_024


class VectorBlock:
    """Unit vectors float16 [n, d], numbered from 0, searched by inner product, exactly.

    The vectors are not copied: FAISS looks at them in the buffer that they lie in.
    """

    def __init__(self, buffer: Bytes, count: int, dimension: int) -> None:
        """`buffer` ends with the vectors; before them are HEADER bytes or more to write on."""
        self._rows = buffer[len(buffer) - count * 2 * dimension :].reshape(count, 2 * dimension)
        self._index, self._keep = _searched_in_place(buffer, count, dimension)
        self._mapping: mmap.mmap | None = None
        self._reader: _Reader | None = None

    @classmethod
    def of(cls, rows: npt.NDArray[Any], dimension: int) -> VectorBlock:
        """Return a block of these rows: float16 [n, d], or the same as bytes [n, 2 d]."""
        buffer = np.empty(HEADER + len(rows) * 2 * dimension, dtype=np.uint8)
        buffer[HEADER:] = np.ascontiguousarray(rows).view(np.uint8).reshape(-1)
        return cls(buffer, len(rows), dimension)

    @classmethod
    def mapped(cls, path: Path, first: int, end: int, dimension: int, most: int) -> VectorBlock:
        """Return the rows `first` to `end` of a file of rows.

        More than `most` bytes are let go of after each search: they count as the memory of this
        process. Of so many, single rows are read instead: with each, Linux maps up to two megabytes
        of what is in its cache. Raises OSError, or ValueError where the file is too short.
        """
        row = 2 * dimension
        begin = HEADER + first * row
        start = (begin - HEADER) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < HEADER + end * row:
                raise ValueError(f"{path} is too short")
            # A copy on write: the header goes into this process's memory, never into the file.
            mapping = mmap.mmap(
                file.fileno(),
                HEADER + end * row - start,
                access=mmap.ACCESS_COPY,
                offset=start,
            )
        block = cls(np.frombuffer(mapping, dtype=np.uint8), end - first, dimension)
        if (end - first) * row > most and hasattr(os, "preadv") and hasattr(mmap, "MADV_DONTNEED"):
            block._mapping, block._reader = mapping, _Reader(path, begin)
        return block

    def __len__(self) -> int:
        return len(self._rows)

    def search(
        self, queries: Scores, top_k: int, allowed: Mask | None = None
    ) -> tuple[Scores, Ids]:
        """Return scores float32 [m, k] and positions int64 [m, k], best first, in no order of ties.

        With `allowed`, bool [n], only those are looked at. `top_k` must not be more than there are.
        """
        with_these = None if allowed is None else _Allowed(allowed)
        parameters = None if with_these is None else with_these.parameters
        scores, positions = self._index.search(queries, top_k, params=parameters)
        if self._mapping is not None:
            self._mapping.madvise(mmap.MADV_DONTNEED)
        return scores, positions

    def rows(self, positions: Ids) -> Bytes:
        """Return the vectors at these positions as they are stored: bytes [n, 2 d].

        Raises OSError where the file cannot be read any more.
        """
        taken = np.empty((len(positions), self._rows.shape[1]), dtype=np.uint8)

        def take(some: slice) -> None:
            if self._reader is not None:
                self._reader.read(positions[some], taken[some])
                return
            # In any other mode numpy would write into a copy first.
            np.take(self._rows, positions[some], axis=0, out=taken[some], mode="clip")

        firsts = range(0, len(positions), _ROWS_AT_ONCE)
        side_by_side(take, [slice(first, first + _ROWS_AT_ONCE) for first in firsts])
        return taken

    def subset(self, positions: Ids) -> VectorBlock:
        """Return a block in memory of the vectors at these positions."""
        return VectorBlock.of(self.rows(positions), self._rows.shape[1] // 2)

    def vectors(self, positions: Ids) -> Scores:
        """Return the vectors at these positions: float32 [n, d]."""
        decoded: Scores = self._index.sa_decode(self.rows(positions))
        return decoded


class _Reader:
    """Reads single rows of a file that begin at an offset."""

    def __init__(self, path: Path, begin: int) -> None:
        """Raises OSError."""
        self._descriptor = os.open(path, os.O_RDONLY)
        self._begin = begin
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, positions: Ids, into: Bytes) -> None:
        """Fill the rows of `into`, bytes [n, w], with those at `positions`. Raises OSError."""
        descriptor, begin, width = self._descriptor, self._begin, into.shape[1]
        for row, position in zip(into, positions.tolist(), strict=True):
            if os.preadv(descriptor, [row], begin + position * width) != width:
                raise OSError(errno.EIO, "the file of vectors is shorter than it was")


class _Allowed:
    """Search parameters that let only some positions through; keeps alive what FAISS points to."""

    def __init__(self, allowed: Mask) -> None:
        import faiss

        self._bitmap = np.packbits(allowed, bitorder="little")
        self._selector = faiss.IDSelectorBitmap(len(self._bitmap), faiss.swig_ptr(self._bitmap))
        self.parameters = faiss.SearchParameters()
        self.parameters.sel = self._selector


def append_rows(
    path: Path, count: int, dimension: int, pages: Iterable[npt.NDArray[np.float16]]
) -> None:
    """Write rows behind the first `count` of a file of rows, which is made if it is not there.

    What an interrupted writer left behind these is overwritten. Raises OSError.
    """
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(HEADER + count * 2 * dimension)
        file.seek(0, os.SEEK_END)
        for page in pages:
            file.write(page.astype("<f2").tobytes())
        file.flush()
        os.fsync(file.fileno())


def blank_rows(path: Path, dimension: int, positions: Ids) -> None:
    """Overwrite rows with zeros: of what was removed nothing may stay. Raises OSError."""
    with path.open("r+b") as file:
        for position in positions.tolist():
            file.seek(HEADER + position * 2 * dimension)
            file.write(bytes(2 * dimension))


def _searched_in_place(
    buffer: Bytes, count: int, dimension: int
) -> tuple[faiss.IndexScalarQuantizer, object]:
    """Return an index over the vectors at the end of `buffer`, and what must live as long as it."""
    import faiss

    codes = faiss.ScalarQuantizer.QT_fp16
    empty = faiss.IndexScalarQuantizer(dimension, codes, faiss.METRIC_INNER_PRODUCT)
    header = bytearray(faiss.serialize_index(empty).tobytes())
    size = count * 2 * dimension
    header[_COUNT_AT : _COUNT_AT + 8] = count.to_bytes(8, "little")
    header[-8:] = size.to_bytes(8, "little")
    begin = len(buffer) - size - len(header)
    buffer[begin : begin + len(header)] = np.frombuffer(bytes(header), dtype=np.uint8)
    written = buffer[begin:]
    # Not in the types that faiss brings.
    reader: Any = faiss.ZeroCopyIOReader(faiss.swig_ptr(written), written.size)  # type: ignore[attr-defined]
    index: Any = faiss.read_index(reader)
    return index, (written, reader)
