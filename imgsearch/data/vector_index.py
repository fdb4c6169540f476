"""The searchable vectors of one model: blocks of them, and codes where they are many."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgsearch.data.coded_vectors import SHARD, CodedVectors
from imgsearch.data.gpu_index import pays, propose, vectors_on_gpus
from imgsearch.data.index_ladder import candidates_for
from imgsearch.data.side_by_side import side_by_side
from imgsearch.data.vector_block import Ids, Mask, Scores, VectorBlock

if TYPE_CHECKING:
    import faiss

# So many times fewer vectors than there are: to gather them is faster than to pass over the others.
_FEW = 50
# A shard is asked for so many times its share of what is wanted at first.
_SHARES = 8
# Vectors that travel to GPUs at once: 64 MB at 512 dimensions.
_PAGE = 32_768


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Vectors that are looked at one by one: those of `block`, or the `allowed` ones of them.

    Their positions are `positions`, or count from `start`.
    """

    block: VectorBlock
    start: int = 0
    positions: Ids | None = None
    allowed: Mask | None = None

    def search(self, query: Scores, top_k: int) -> tuple[Ids, Scores, float]:
        """Return positions and scores of the best, and what no other one exceeds."""
        most = len(self.block) if self.allowed is None else int(np.count_nonzero(self.allowed))
        scores, found = self.block.search(query[None, :], min(top_k, most), self.allowed)
        places = found[0] + self.start if self.positions is None else self.positions[found[0]]
        return places, scores[0], -np.inf if top_k >= most else float(scores[0, -1])


class VectorIndex:
    """The vectors of one model by picture id. Ids that are not in the catalog never come back.

    A vector's position counts through all blocks; `removed` are positions that are not to be found
    any more. `codes` are of the first positions, SHARD of them each; the others are looked at one
    by one.
    """

    def __init__(
        self,
        dimension: int,
        blocks: Sequence[VectorBlock] = (),
        ids: Ids | None = None,
        removed: Ids | None = None,
        codes: Sequence[CodedVectors] = (),
    ) -> None:
        """`ids` int64 [n] are the picture ids by position."""
        self._dimension = dimension
        self._blocks = [block for block in blocks if len(block)]
        self._starts = np.cumsum([0, *(len(block) for block in self._blocks)]).tolist()
        self._ids = np.empty(0, dtype=np.int64) if ids is None else ids
        self._removed = 0 if removed is None else len(removed)
        self._alive: Mask | None = None
        if self._removed:
            self._alive = np.ones(len(self._ids), dtype=bool)
            self._alive[removed] = False
        self._codes = codes
        self._coded = sum(map(len, codes))
        self._order: tuple[Ids, Ids | None] | None = None
        # The vectors on the GPUs, once a batch was worth it; None in it where they do not fit.
        self._moved: tuple[faiss.Index | None] | None = None
        self._gpus = threading.Lock()

    def __len__(self) -> int:
        return len(self._ids) - self._removed

    @property
    def coded(self) -> int:
        """How many of the vectors are found by their codes."""
        return self._coded

    def vectors(self, ids: Ids) -> Scores:
        """Return the unit vectors of pictures of this index: float32 [n, d].

        Raises KeyError for an id that it does not hold.
        """
        positions, known = self._positions(ids)
        if not known.all():
            raise KeyError("a picture that is not in the index")
        return self.vectors_at(positions)

    def ids(self) -> Ids:
        """Return the ids of all pictures, int64 [n], in the order of the index."""
        return self._ids if self._alive is None else self._ids[self._alive]

    def sample(self, count: int) -> Scores:
        """Return vectors of at most `count` pictures, evenly spread, in random order: [n, d]."""
        if not len(self):
            return np.empty((0, self._dimension), dtype=np.float32)
        held = self._held()
        held = held[:: -(-len(held) // count)]
        return self.vectors_at(np.random.default_rng(0).permutation(held))

    def search(self, query: Scores, top_k: int, among: Ids | None = None) -> tuple[Ids, Scores]:
        """Return (picture ids int64 [k], cosines float32 [k]), best first, ties by lower id.

        `query` is a unit vector, float32 [d]; with `among` (ids) only these pictures are looked at,
        and every one of them. k is `top_k` or the number of pictures if smaller.
        """
        allowed = self._alive if among is None else self._allowed(among)
        top_k = min(top_k, len(self) if allowed is None else int(np.count_nonzero(allowed)))
        if top_k <= 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        if among is None and self._coded:
            parts = self._likely_parts(query, top_k)
            # Fewer, where most of the nearest were removed.
            if sum(len(part.block) for part in parts) >= top_k:
                return self._best(query, top_k, parts)
        return self._best(query, top_k, self._parts(allowed))

    def search_many(
        self, queries: Scores, top_k: int, among: Ids | None = None
    ) -> tuple[Ids, Scores]:
        """Return (picture ids int64 [m, k], cosines float32 [m, k]): what `search` gives for each.

        `queries` are unit vectors, float32 [m, d]. Where faiss can use GPUs, a large batch is
        searched there (not with `among`), every picture of it exactly.
        """
        proposed = None
        if among is None and len(self) and top_k > 0:
            proposed = self._proposed(queries, min(top_k, len(self)))
        found = [
            (proposed and self._sure(query, min(top_k, len(self)), *proposed, row))
            or self.search(query, top_k, among)
            for row, query in enumerate(queries)
        ]
        if not found:
            return np.empty((0, 0), dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        return np.stack([ids for ids, _ in found]), np.stack([scores for _, scores in found])

    def _likely_parts(self, query: Scores, top_k: int) -> list[_Part]:
        """Return the best by their codes, and what has no code: the nearest are among these."""
        wanted = candidates_for(top_k) + min(self._removed, candidates_for(top_k))
        positions = self._best_by_codes(query, wanted)
        if self._alive is not None:
            positions = positions[self._alive[positions]]
        taken = self._taken(np.sort(positions))
        if self._coded == len(self._ids):
            return [taken]
        rest = np.ones(len(self._ids), dtype=bool) if self._alive is None else self._alive.copy()
        rest[: self._coded] = False
        return [taken, *self._parts(rest)]

    def _best_by_codes(self, query: Scores, wanted: int) -> Ids:
        """Return the positions of so many vectors (or all) that score best by their codes."""
        shards = range(len(self._codes))
        # Most shards have few of the best, and FAISS takes longer to find many.
        asked = min(wanted, int(_SHARES * wanted / len(shards)))
        found = self._nearest_by_codes(query, asked, shards)
        scores = np.concatenate([scores for scores, _ in found.values()])
        enough = len(scores) >= wanted
        limit = np.partition(scores, -wanted)[-wanted] if enough else -np.inf
        # Of pictures of one time, and so of one subject, a shard may have more than its share.
        short = [n for n, (scores, _) in found.items() if scores[-1] >= limit and asked < wanted]
        found |= self._nearest_by_codes(query, wanted, short)
        scores = np.concatenate([scores for scores, _ in found.values()])
        positions = np.concatenate([at + n * SHARD for n, (_, at) in found.items()])
        if len(positions) <= wanted:
            return positions
        return positions[np.argpartition(-scores, wanted)[:wanted]]

    def _nearest_by_codes(
        self, query: Scores, count: int, shards: Sequence[int]
    ) -> dict[int, tuple[Scores, Ids]]:
        """Return scores, roughly, and positions within it, best first, for each of these shards."""
        found = side_by_side(lambda n: self._codes[n].nearest(query, count), shards)
        return dict(zip(shards, found, strict=True))

    def _parts(self, allowed: Mask | None) -> list[_Part]:
        """Return the blocks, as far as `allowed`, bool [n] by position, or whole."""
        parts = []
        for block, start in zip(self._blocks, self._starts, strict=False):
            here = None if allowed is None else allowed[start : start + len(block)]
            count = len(block) if here is None else int(np.count_nonzero(here))
            if here is None or count == len(block):
                parts.append(_Part(block, start))
            elif count * _FEW < len(block):
                places = np.flatnonzero(here)
                parts.append(_Part(block.subset(places), positions=places + start))
            else:
                parts.append(_Part(block, start, allowed=here))
        return [part for part in parts if len(part.block)]

    def _best(self, query: Scores, top_k: int, parts: Sequence[_Part]) -> tuple[Ids, Scores]:
        """Return the `top_k` best of all parts, by picture id, ties by the lower one."""
        asked = top_k + 1
        while True:
            # Of those that are as near as the last, FAISS keeps any: look at all of them.
            found = side_by_side(partial(_Part.search, query=query, top_k=asked), parts)
            ids = self._ids[np.concatenate([positions for positions, _, _ in found])]
            scores = np.concatenate([scores for _, scores, _ in found])
            order = np.lexsort((ids, -scores))[:top_k]
            if scores[order[-1]] > max(limit for _, _, limit in found):
                return ids[order], scores[order]
            asked *= 2

    def _proposed(self, queries: Scores, top_k: int) -> tuple[Ids, Scores] | None:
        """Return what the GPUs propose (see `propose`), to one batch at a time; None without."""
        if not pays(len(queries)):
            return None
        with self._gpus:
            held = self._held()
            if self._moved is None:
                pages = (
                    self.vectors_at(held[first : first + _PAGE])
                    for first in range(0, len(held), _PAGE)
                )
                self._moved = (vectors_on_gpus(self._dimension, pages),)
            moved = self._moved[0]
            found = None if moved is None else propose(moved, queries, top_k)
        return None if found is None else (held[found[0]], found[1])

    def _sure(
        self, query: Scores, top_k: int, positions: Ids, limits: Scores, row: int
    ) -> tuple[Ids, Scores] | None:
        """Return the best of what the GPUs proposed, or None if another may be as near."""
        ids, scores = self._best(query, top_k, [self._taken(positions[row])])
        return (ids, scores) if scores[-1] > limits[row] else None

    def stored(self) -> Iterator[tuple[Ids, npt.NDArray[np.float16]]]:
        """Yield pages of all picture ids and their vectors, float16 [m, d]."""
        held = self._held()
        for first in range(0, len(held), _PAGE):
            positions = held[first : first + _PAGE]
            yield self._ids[positions], self._rows_at(positions).view("<f2")

    def vectors_at(self, positions: Ids) -> Scores:
        """Return the vectors at these positions, removed or not: float32 [n, d]."""
        return self._taken(positions).block.vectors(np.arange(len(positions)))

    def _taken(self, positions: Ids) -> _Part:
        """Return the vectors at these positions, gathered."""
        block = VectorBlock.of(self._rows_at(positions), self._dimension)
        return _Part(block, positions=positions)

    def _rows_at(self, positions: Ids) -> npt.NDArray[np.uint8]:
        """Return the vectors at these positions as they are stored, bytes [n, 2 d]."""
        rows = np.empty((len(positions), 2 * self._dimension), dtype=np.uint8)
        for block, start in zip(self._blocks, self._starts, strict=False):
            here = (positions >= start) & (positions < start + len(block))
            rows[here] = block.rows(positions[here] - start)
        return rows

    def _held(self) -> Ids:
        """Return the positions of all pictures, ascending."""
        return np.arange(len(self._ids)) if self._alive is None else np.flatnonzero(self._alive)

    def _allowed(self, ids: Ids) -> Mask:
        """Return which positions, bool [n], are those of these pictures."""
        positions, known = self._positions(ids)
        allowed = np.zeros(len(self._ids), dtype=bool)
        allowed[positions[known]] = True
        return allowed

    def _positions(self, ids: Ids) -> tuple[Ids, Mask]:
        """Return the position of every picture, int64 [n], and whether it is known, bool [n]."""
        if self._order is None:
            held = self._held()
            own = self._ids[held]
            if (np.diff(own) > 0).all():
                self._order = own, held if self._removed else None
            else:
                order = np.argsort(own, kind="stable")
                self._order = own[order], held[order]
        own, places = self._order
        if not len(own):
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=bool)
        found = np.minimum(np.searchsorted(own, ids), len(own) - 1)
        return found if places is None else places[found], own[found] == ids
