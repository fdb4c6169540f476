"""Reading an SQLite write-ahead log, to tell what of it SQLite will believe.

The format is that of https://sqlite.org/fileformat2.html#the_write_ahead_log: a header of 32 bytes,
then frames of 24 bytes and a page each. SQLite believes the frames up to the last commit before the
first one whose salts or checksum are not those that follow from the header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
_FORMAT = 3007000


@dataclass(slots=True)
class Log:
    """What a log holds. `pages` maps page numbers to where their committed content lies in it.

    `valid` tells whether the header is that of a log; `committed` counts frames that SQLite
    believes; `unreadable_commits` counts frames behind these that end a transaction of this same
    log: committed once, and lost because something before them is damaged.
    """

    valid: bool = False
    page_size: int = 0
    salts: tuple[int, int] = (0, 0)
    committed: int = 0
    unreadable_commits: int = 0
    pages: dict[int, int] = field(default_factory=dict)


def read_log(path: Path) -> Log:
    """Read the log at `path`. Raises OSError."""
    content = path.read_bytes()
    log = Log()
    if len(content) < _HEADER.size:
        return log
    magic, version, page_size, _, *salts, sum1, sum2 = _HEADER.unpack_from(content)
    order = ">" if magic & 1 else "<"
    sums = _sums(content[:24], order, (0, 0))
    log.valid = magic & ~1 == _MAGIC and version == _FORMAT and sums == (sum1, sum2)
    log.page_size, log.salts = page_size, (salts[0], salts[1])
    if not log.valid or page_size < 512:
        return log
    _read_frames(content, log, order, sums)
    return log


def _read_frames(content: bytes, log: Log, order: str, sums: tuple[int, int]) -> None:
    intact, open_pages = True, {}
    step = _FRAME.size + log.page_size
    for number, at in enumerate(range(_HEADER.size, len(content) - step + 1, step), start=1):
        page, commit, salt1, salt2, *stored = _FRAME.unpack_from(content, at)
        if (salt1, salt2) != log.salts:
            # Of an earlier use of the file, if not of damage: what is behind it may tell.
            intact = False
            continue
        if intact:
            sums = _sums(content[at : at + 8], order, sums)
            sums = _sums(content[at + _FRAME.size : at + step], order, sums)
            intact = sums == tuple(stored) and page > 0
        if intact:
            open_pages[page] = at + _FRAME.size
            if commit:
                log.pages.update(open_pages)
                open_pages.clear()
                log.committed = number
        elif commit:
            log.unreadable_commits += 1


def _sums(content: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    """Carry the two running sums over some words: s1 += w1 + s2; s2 += w2 + s1, modulo 2^32."""
    words = np.frombuffer(content, dtype=f"{order}u4").astype(np.uint32)
    of_start, of_words = _weights(len(words) // 2)
    ends = of_start @ np.array(start, dtype=np.uint32) + of_words @ words
    return int(ends[0]), int(ends[1])


@lru_cache(maxsize=4)
def _weights(pairs: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return how much the sums at the start [2, 2], and each word [2, 2 * pairs], count at the end.

    The sums are linear in both, which lets numpy do what would be a million steps a second.
    """
    step = np.array([[1, 1], [1, 2]], dtype=np.uint32)
    of_pair = np.array([[1, 0], [1, 1]], dtype=np.uint32)
    power = np.eye(2, dtype=np.uint32)
    of_words = np.empty((2, 2 * pairs), dtype=np.uint32)
    for pair in range(pairs - 1, -1, -1):
        of_words[:, 2 * pair : 2 * pair + 2] = power @ of_pair
        power = power @ step
    return power, of_words


def frames_promised(shared: bytes, log: Log) -> int:
    """Return how many committed frames of `log` the content of the ``-shm`` file speaks of.

    It is left behind where the last process that used the database died; the log must hold as many.
    0 where it speaks of another log, or of none. The format is in the machine's byte order:
    https://sqlite.org/walformat.html#the_wal_index_file_format
    """
    if len(shared) < 96 or shared[:48] != shared[48:96]:
        return 0
    (frames,) = struct.unpack_from("=I", shared, 16)
    # The salts are copied from the log's header as they stand there.
    salts = struct.unpack_from(">2I", shared, 32)
    return int(frames) if salts == log.salts else 0
