"""What a run of the indexer did, or would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgsearch.data.records import FailedFile

if TYPE_CHECKING:
    from imgsearch.indexer.profile import IndexProfile


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: files done and to do, and seconds since the work on them began."""

    done: int
    total: int
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Files per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """Estimated seconds until the end, or None while that cannot be told."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


ProgressCallback = Callable[[Progress], None]


@dataclass
class IndexReport:
    """The summary of one run; every photo met, or missed, counts in just one of the first six.

    `embedded` counts the vectors that were computed, `links_skipped` the symbolic links that were
    not followed, `seconds` is wall time. `interrupted`: the run was asked to stop and a further one
    goes on from there. `kept_roots`: folders that are offline (see `data.presence`) and were
    therefore left as they were; `moved_roots`: old and new path of those that were found again
    elsewhere; `doubtful_roots`: folders, each with the offline roots whose files it may hold.
    `without_vectors`: pictures of other folders that the model in use has not embedded yet.
    `lost_catalog` is what to tell of a catalog that was gone, so that a new one was begun; or "".
    `active_model` is the one that queries use after the run: until a new model has the vectors of
    all pictures, the one before. `profile`: where the time went, if that was asked for.
    """

    model: str
    added: int = 0
    unchanged: int = 0
    moved: int = 0
    changed: int = 0
    removed: int = 0
    failed: int = 0
    embedded: int = 0
    links_skipped: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    interrupted: bool = False
    failures: list[FailedFile] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    kept_roots: list[str] = field(default_factory=list)
    moved_roots: list[tuple[str, str]] = field(default_factory=list)
    doubtful_roots: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    without_vectors: int = 0
    active_model: str = ""
    profile: IndexProfile | None = None
    lost_catalog: str = ""

    @property
    def seen_any(self) -> bool:
        """Whether the folders, or the library's memory of them, held any photo at all."""
        counts = (self.added, self.unchanged, self.moved, self.changed, self.removed, self.failed)
        return any(counts)

    @property
    def photos_per_second(self) -> float:
        """Photos embedded per second of wall time."""
        return self.embedded / self.seconds if self.seconds > 0 else 0.0
