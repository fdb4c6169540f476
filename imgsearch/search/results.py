"""What a search gives back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from imgsearch.data.records import PictureFacts


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A picture that was found.

    `score` is the cosine between query and picture, -1 to 1; `path` is absolute, and
    `duplicates` are further files with exactly the same content.
    """

    path: str
    score: float
    picture_id: int
    duplicates: tuple[str, ...]
    byte_size: int
    facts: PictureFacts


@dataclass(frozen=True, slots=True)
class SearchResults(Sequence[SearchHit]):
    """The hits of one query, best first, and the model that judged them.

    `note` is a remark for the person who asked, or None.
    """

    hits: tuple[SearchHit, ...]
    model: str
    note: str | None = None

    @overload
    def __getitem__(self, index: int) -> SearchHit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SearchHit, ...]: ...
    def __getitem__(self, index: int | slice) -> SearchHit | tuple[SearchHit, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.hits)
