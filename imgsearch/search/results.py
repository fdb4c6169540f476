"""What a search gives back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import overload

from imgsearch.data.paths import printable
from imgsearch.data.reader import StoredPicture
from imgsearch.data.records import PictureFacts


@dataclass(frozen=True, slots=True)
class PartScore:
    """How well a picture answers one part of a query: cosine and match strength of that part."""

    part: str
    score: float
    strength: int


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A picture that was found.

    `score` is the cosine between query and picture, -1 to 1, less what parts that are not wanted
    cost, or None where nothing was compared; `path` is absolute, and `duplicates` are further files
    with exactly the same content, whose SHA-256 is `content_hash` (hexadecimal). `modified` is when
    the file was last changed (Unix time). `strength` is the match strength, 0 to 100, or None.
    `parts` holds the scores of the query's parts where they were asked for, and `others` further
    results that this one stands for: frames of the same moment. `offline` tells whether its disk,
    or those of all its files, are not there now.
    """

    path: str
    score: float | None
    picture_id: int
    duplicates: tuple[str, ...]
    byte_size: int
    facts: PictureFacts
    content_hash: str
    modified: float
    strength: int | None = None
    parts: tuple[PartScore, ...] = ()
    others: tuple[SearchHit, ...] = ()
    offline: bool = False

    @property
    def name(self) -> str:
        """The file's name, safe to show anywhere."""
        return printable(os.path.basename(self.path))

    @property
    def shown_path(self) -> str:
        """The path, safe to show anywhere."""
        return printable(self.path)

    @property
    def shown_duplicates(self) -> tuple[str, ...]:
        """The paths of the duplicates, safe to show anywhere."""
        return tuple(printable(path) for path in self.duplicates)

    @property
    def date(self) -> str:
        """When the picture was taken, or else its file changed: local time, ISO 8601."""
        if self.facts.taken_at:
            return self.facts.taken_at
        try:
            return datetime.fromtimestamp(int(self.modified)).isoformat()
        except (OverflowError, ValueError, OSError):
            return ""


@dataclass(frozen=True, slots=True)
class SearchResults(Sequence[SearchHit]):
    """A page of the hits of one query, and the model that judged them.

    `total` is how many results there are on all pages; `note` is a remark for the person who asked,
    or None. `matching` is how many pictures match well: 0 where nothing does, and the hits are only
    what comes closest; None where the results were not cut off.
    """

    hits: tuple[SearchHit, ...]
    model: str
    note: str | None = None
    total: int = 0
    matching: int | None = None

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


def hit_of(
    picture: StoredPicture, score: float | None = None, strength: int | None = None
) -> SearchHit:
    """Return the hit that shows a stored picture."""
    return SearchHit(
        path=picture.paths[0],
        score=score,
        picture_id=picture.id,
        duplicates=picture.paths[1:],
        byte_size=picture.byte_size,
        facts=picture.facts,
        content_hash=picture.content_hash.hex(),
        modified=picture.modified,
        strength=strength,
        offline=picture.offline,
    )
