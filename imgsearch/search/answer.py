"""From a ranking to what is shown: cut-off, order, groups, the page, the scores of parts."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from imgsearch.data.reader import CatalogReader
from imgsearch.data.vector_index import VectorIndex
from imgsearch.search.background import Background
from imgsearch.search.cutoff import WEIGHED, distinctness, relevant_count
from imgsearch.search.grouping import Likeness, group_hits
from imgsearch.search.query import Query
from imgsearch.search.ranking import (
    POOL,
    EncodedQuery,
    IndexImplausible,
    Ranking,
    part_cosines,
    rank,
)
from imgsearch.search.results import PartScore, SearchHit, hit_of
from imgsearch.search.strength import StrengthScale

# Where queries by pictures stop: at a z of 3.5 (see `strength`).
_LIKE_A_PICTURE = 68


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of the page that was asked for, how many there are on all pages, and how many
    pictures match well (None where the results were not cut off).
    """

    hits: tuple[SearchHit, ...]
    total: int
    matching: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """What a query is answered from: the catalog, an index of its vectors, and their background;
    `likeness` says which pictures show the same.
    """

    reader: CatalogReader
    index: VectorIndex
    background: Background
    likeness: Likeness

    def answer(
        self,
        query: Query,
        encoded: EncodedQuery,
        among: npt.NDArray[np.int64] | None,
        candidates: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None = None,
    ) -> Answer:
        """Answer the query, looking at the pictures `among` or at all.

        `candidates` are the best of these, ids and cosines, at least `candidates_needed` of them if
        there are so many; without, they are searched for. Raises IndexImplausible where index and
        catalog contradict each other.
        """
        if candidates is None:
            candidates = self.index.search(encoded.target, candidates_needed(query), among)
        ranking = rank(self.index, encoded, self.background, candidates)
        scale = encoded.scale(self.background)
        total = len(self.index) if among is None else len(among)
        ranking, matching = self._cut(query, encoded, ranking, scale)
        if query.min_strength or query.cut_off or query.sort != "match":
            total = len(ranking.ids)
        hits, total = self._page(query, ranking, scale, total)
        return Answer(self._explained(query, encoded, hits), total, matching)

    def _cut(
        self,
        query: Query,
        encoded: EncodedQuery,
        ranking: Ranking,
        scale: StrengthScale,
    ) -> tuple[Ranking, int | None]:
        """End the ranking where the query says, or where it stops matching well."""
        if query.min_strength:
            pool = ranking.scores[: ranking.pooled]
            strong = sum(scale.strength(one) >= query.min_strength for one in pool.tolist())
            return ranking.first(strong), None
        if not query.cut_off and query.sort == "match":
            return ranking, None
        matching = self._matching(query, encoded, ranking, scale)
        # Where nothing matches well: the closest of what there is, rather than nothing.
        return ranking.first(matching or query.limit), matching

    def _matching(
        self, query: Query, encoded: EncodedQuery, ranking: Ranking, scale: StrengthScale
    ) -> int:
        """Return how many of the pool match well."""
        pool = ranking.scores[: ranking.pooled]
        if not all(encoded.is_words) or len(encoded.good) or len(encoded.bad):
            # The best match of a picture is itself, or a copy: no measure for the others.
            return sum(scale.strength(one) >= _LIKE_A_PICTURE for one in pool.tolist())
        best = self.index.vectors(ranking.ids[:WEIGHED])
        distinct = distinctness(encoded.target, best, self.background.vocabulary)
        return relevant_count(pool, scale, distinct, len(query.words.split()))

    def _page(
        self, query: Query, ranking: Ranking, scale: StrengthScale, total: int
    ) -> tuple[tuple[SearchHit, ...], int]:
        """Return the results of the page that is asked for, and their number on all pages."""
        start, end = query.offset, query.offset + query.limit
        if query.sort == "match" and not query.group:
            return self._hits(ranking, start, end, scale), total
        pooled = self._hits(ranking, 0, ranking.pooled, scale)
        results = self._grouped(pooled, ranking) if query.group else pooled
        total -= len(pooled) - len(results)
        if query.sort != "match":
            results = _sorted(results, query.sort)
        page = results[start:end]
        # Behind the pool nothing is grouped.
        behind = ranking.pooled - len(results)
        first = max(start + behind, ranking.pooled)
        return page + self._hits(ranking, first, end + behind, scale), total

    def _hits(
        self, ranking: Ranking, start: int, end: int, scale: StrengthScale
    ) -> tuple[SearchHit, ...]:
        ids, scores = ranking.ids[start:end], ranking.scores[start:end]
        if not len(ids):
            return ()
        pictures = self.reader.pictures(ids.tolist())
        if not set(ids.tolist()) <= set(pictures):
            raise IndexImplausible
        return tuple(
            hit_of(pictures[id_], score, scale.strength(score))
            for id_, score in zip(ids.tolist(), scores.tolist(), strict=True)
        )

    def _grouped(self, hits: tuple[SearchHit, ...], ranking: Ranking) -> tuple[SearchHit, ...]:
        """Return the best of every group, which holds the others of it."""
        rows = self.index.vectors(ranking.ids[: len(hits)])
        groups = group_hits(hits, rows, likeness=self.likeness)
        return tuple(replace(group.representative, others=group.hits[1:]) for group in groups)

    def _explained(
        self, query: Query, encoded: EncodedQuery, hits: tuple[SearchHit, ...]
    ) -> tuple[SearchHit, ...]:
        """Add to every hit how well it answers each part of the query, if that is asked for."""
        if not query.explain or not hits or not query.terms:
            return hits
        cosines = part_cosines(self.index, encoded, [hit.picture_id for hit in hits])
        scales = encoded.part_scales(self.background)
        return tuple(
            replace(
                hit,
                parts=tuple(
                    PartScore(term.name, score, scale.strength(score))
                    for term, scale, score in zip(query.terms, scales, row, strict=True)
                ),
            )
            for hit, row in zip(hits, cosines.tolist(), strict=True)
        )


def candidates_needed(query: Query) -> int:
    """Return how many of the best matches a query has to look at."""
    end = query.offset + query.limit
    plain = query.sort == "match" and not (query.cut_off or query.group or query.min_strength)
    if plain and not query.unwanted:
        return end
    # Behind the pool come as many as its groups may take from the page.
    return max(POOL, end + POOL * query.group)


def _sorted(hits: tuple[SearchHit, ...], order: str) -> tuple[SearchHit, ...]:
    """Return the hits in an order other than by match; what is equal in it keeps its place."""
    if order == "date":
        return tuple(sorted(hits, key=lambda hit: hit.date, reverse=True))
    if order == "size":
        return tuple(sorted(hits, key=lambda hit: -hit.byte_size))
    return tuple(sorted(hits, key=lambda hit: os.path.basename(hit.path).lower()))
