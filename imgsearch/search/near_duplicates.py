"""Groups of pictures that show the same photograph, and which of them to keep."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from imgsearch.data.filters import Filters, filtered_ids
from imgsearch.data.reader import CatalogReader
from imgsearch.data.signature_store import SignatureStore
from imgsearch.errors import UsageError
from imgsearch.search.results import SearchHit, hit_of

# Pairs from here on count as copies. Tuned on one half of the photos of
# benchmarks/near_duplicates.py; the README tells what it finds in the other half.
DEFAULT_THRESHOLD = 0.8
# Less alike pairs are not remembered: nothing below the default is worth showing, but a user may
# look for himself.
LEAST_ALIKE = 0.6
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Pictures that show the same photograph: the best first, then the most alike.

    The best has the most pixels; of several, the one that takes the most bytes a pixel (the least
    compressed), then one that knows when it was taken, then the one with the oldest file. Nothing
    can tell an original for certain, so look before you delete.

    `alike` says for each of `hits` how alike it is to the best, 0 to 1, where 1 is the same
    content. Where the two were not compared, the less alike of the way over the picture that all
    others of the group are like. Files with exactly the same content are `duplicates` of one hit.
    """

    hits: tuple[SearchHit, ...]
    alike: tuple[float, ...]

    @property
    def best(self) -> SearchHit:
        """The picture to keep."""
        return self.hits[0]

    @property
    def surplus_paths(self) -> tuple[str, ...]:
        """The absolute paths of all files but the first of the best picture."""
        others = (path for hit in self.hits[1:] for path in (hit.path, *hit.duplicates))
        return (*self.best.duplicates, *others)

    @property
    def file_count(self) -> int:
        """How many files the group has."""
        return 1 + len(self.surplus_paths)

    @property
    def wasted_bytes(self) -> int:
        """The size of all files but the first of the best picture."""
        total = sum(hit.byte_size * (1 + len(hit.duplicates)) for hit in self.hits)
        return total - self.best.byte_size


def checked_threshold(threshold: float | None) -> float:
    """Return the threshold, or the default for None. Raises UsageError if none can be as alike."""
    if threshold is None:
        return DEFAULT_THRESHOLD
    if not LEAST_ALIKE <= threshold <= 1.0:
        raise UsageError(
            f"The threshold {threshold:g} is not between {LEAST_ALIKE:g} (merely alike) and 1 (the "
            "same to the last detail)."
        )
    return threshold


def read_groups(
    reader: CatalogReader, store: SignatureStore, threshold: float, filters: Filters
) -> tuple[DuplicateGroup, ...]:
    """Return the groups among the pictures that pass the filters, the most wasted bytes first.

    Only what `similar_pairs.examine` has compared is found; exact copies always are.
    """
    pairs = _known_pairs(reader, store, threshold)
    copied = reader.ids(
        "SELECT picture_id FROM file GROUP BY picture_id HAVING count(*) > 1"
    ).tolist()
    passing = _passing(reader, filters)
    if passing is not None:
        pairs = {pair: alike for pair, alike in pairs.items() if passing.issuperset(pair)}
        copied = [one for one in copied if one in passing]
    stored = reader.pictures(sorted({id_ for pair in pairs for id_ in pair} | set(copied)))
    hits = {id_: hit_of(picture) for id_, picture in stored.items()}
    members = _stars(pairs, hits)
    grouped = {id_ for group in members for id_ in group}
    members += [[id_] for id_ in copied if id_ not in grouped and id_ in hits]
    groups = [_group(group, hits, pairs) for group in members]
    groups = [group for group in groups if group.file_count > 1]
    return tuple(sorted(groups, key=lambda group: (-group.wasted_bytes, group.best.path)))


def _known_pairs(
    reader: CatalogReader, store: SignatureStore, threshold: float
) -> dict[tuple[int, int], float]:
    """Return how alike pairs of visible pictures are, by picture ids, the lower first."""
    by_hash = store.pairs(threshold)
    hashes = sorted({one for pair in by_hash for one in pair[:2]})
    ids: dict[bytes, int] = {}
    for start in range(0, len(hashes), _CHUNK):
        chunk = hashes[start : start + _CHUNK]
        ids.update(
            (bytes(content_hash), id_)
            for content_hash, id_ in reader.rows(
                "SELECT content_hash, id FROM picture WHERE orphaned_at IS NULL"
                f" AND content_hash IN ({', '.join('?' * len(chunk))})",
                *chunk,
            )
        )
    return {
        (min(ids[one], ids[other]), max(ids[one], ids[other])): alike
        for one, other, alike in by_hash
        if one in ids and other in ids
    }


def _passing(reader: CatalogReader, filters: Filters) -> set[int] | None:
    """Return the ids that pass the filters, or None where all do."""
    if not filters.any:
        return None
    model = reader.active_model()
    return set() if model is None else set(filtered_ids(reader, model, filters).tolist())


def _stars(pairs: Iterable[tuple[int, int]], hits: Mapping[int, SearchHit]) -> list[list[int]]:
    """Divide pictures into groups in which all are like the first; no chains of likeness.

    The picture that is like the most others goes first, and takes those that are left of them.
    """
    neighbours: dict[int, list[int]] = {}
    for one, other in pairs:
        if one in hits and other in hits:
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
    order = sorted(neighbours, key=lambda id_: (-len(neighbours[id_]), _rank(hits[id_])))
    taken: set[int] = set()
    groups = []
    for centre in order:
        rest = [id_ for id_ in neighbours[centre] if id_ not in taken]
        if centre in taken or not rest:
            continue
        taken.update((centre, *rest))
        groups.append([centre, *rest])
    return groups


def _group(
    members: Sequence[int], hits: Mapping[int, SearchHit], pairs: Mapping[tuple[int, int], float]
) -> DuplicateGroup:
    """Return the group of these pictures, all of which are like the first."""
    best = min(members, key=lambda id_: _rank(hits[id_]))

    def between(one: int, other: int) -> float:
        if one == other:
            return 1.0
        direct = pairs.get((min(one, other), max(one, other)))
        if direct is not None:
            return direct
        return min(between(one, members[0]), between(members[0], other))

    alike = {id_: between(best, id_) for id_ in members}
    order = sorted(members, key=lambda id_: (id_ != best, -alike[id_], _rank(hits[id_])))
    return DuplicateGroup(tuple(hits[id_] for id_ in order), tuple(alike[id_] for id_ in order))


def _rank(hit: SearchHit) -> tuple[int, float, bool, float, str]:
    """Return what sorts pictures by how much one would rather keep them, the best first."""
    pixels = hit.facts.width * hit.facts.height
    undated = hit.facts.taken_at is None
    return -pixels, -hit.byte_size / max(1, pixels), undated, hit.modified, hit.path


def summary(groups: Collection[DuplicateGroup]) -> tuple[int, int, int]:
    """Return the numbers of groups and of files in them, and the bytes of all but the best."""
    files = sum(group.file_count for group in groups)
    return len(groups), files, sum(group.wasted_bytes for group in groups)
