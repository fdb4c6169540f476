"""Codes for the vectors of a cache: the first ones, those of what was added, or all anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imgsearch.data.coded_vectors import SAMPLE, SHARD, CodedVectors, can_code
from imgsearch.data.index_ladder import needs_codes, outgrown, worth_coding
from imgsearch.data.vector_files import Stamp, VectorFiles
from imgsearch.data.vector_index import VectorIndex

# Vectors that are coded at once.
_PAGE = 32_768


@dataclass(frozen=True, slots=True)
class Coding:
    """All files with codes, some of them drafts, with their CRC-32, and for how many vectors the
    codebook was trained.
    """

    codes: dict[str, int]
    trained_for: int


def lacks_codes(stamp: Stamp) -> bool:
    """Tell whether codes are to be made."""
    return (
        can_code(stamp.dimension)
        and needs_codes(stamp.count, stamp.dimension)
        and (worth_coding(stamp.count - stamp.coded) or outgrown(stamp.count, stamp.trained_for))
    )


def code(
    index: VectorIndex, files: VectorFiles, stamp: Stamp, should_stop: Callable[[], bool]
) -> Coding | None:
    """Write codes of all vectors as drafts, or return None if it was stopped.

    Of what has codes already, only the last shard is written anew, unless the codebook is too old.
    Raises one of UNREADABLE.
    """
    if not index.coded or outgrown(stamp.count, stamp.trained_for):
        codes: dict[str, int] = {}
        trained_for = stamp.count
        shard = CodedVectors.trained(index.sample(SAMPLE))
    else:
        codes = dict(stamp.codes)
        trained_for = stamp.trained_for
        last = codes.popitem()
        shard = files.read_codes(last)
        if shard.is_full:
            codes |= [last]
            shard = shard.emptied()
    for start in range(len(codes) * SHARD, stamp.count, SHARD):
        end = min(stamp.count, start + SHARD)
        for first in range(start + len(shard), end, _PAGE):
            if should_stop():
                return None
            shard.add(index.vectors_at(np.arange(first, min(first + _PAGE, end))))
        draft = files.new_draft()
        codes[draft] = files.write_codes(draft, shard)
        shard = shard.emptied()
    return Coding(codes, trained_for)
