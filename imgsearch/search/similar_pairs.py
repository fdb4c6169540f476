"""Which pictures of a library look alike: compares those that were not compared before.

Rough descriptors choose the candidates, one matrix product a turn and a window; `alignment` looks
at each of them closely: of the 1.25 billion pairs of 50,000 pictures, some 100,000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgsearch.data.reader import CatalogReader
from imgsearch.data.signature_store import SignatureStore
from imgsearch.errors import ImageUnreadable, PhotoNotFound
from imgsearch.search.alignment import alikeness
from imgsearch.search.near_duplicates import LEAST_ALIKE
from imgsearch.settings import available_cores

# Change it with anything that changes signatures or how alike two of them are.
VERSION = "1"
# Cosine of the descriptors from which on a pair is looked at closely. 98 % of edited copies lie
# above, and 1 in 20,000 pairs of other photos (benchmarks/near_duplicates.py).
_CANDIDATE = 0.87
# Of one picture so many candidates at most, the best: keeps thousands of screenshots of one program
# from taking hours.
_MOST_CANDIDATES = 64
# Pictures compared and recorded at once; columns of the products, so that they stay in the cache.
_ROWS = 256
_COLUMNS = 4_096
_PAIRS = 128
_SIGNATURES = 64

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Pairs worth a closer look, each int64 [n]: the whole of `template`, found in `image`."""

    template: Integers
    image: Integers
    turn: Integers
    window: Integers

    def batches(self, size: int) -> Iterator[_Candidates]:
        for start in range(0, len(self.template), size):
            part = slice(start, start + size)
            yield _Candidates(
                self.template[part], self.image[part], self.turn[part], self.window[part]
            )


def examine(
    reader: CatalogReader,
    store: SignatureStore,
    thumbnail: Callable[[str], bytes],
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Bring `store` up to date with the pictures of the catalog; tell whether all are compared.

    `thumbnail` returns a picture's JPEG by its content hash (hexadecimal); pictures that have none
    are left out and tried again next time. `progress` is told how many pictures are done, and of
    how many. What is done when `should_stop` says so is kept.
    """
    stamp = f"{reader.meta('library_id')}:{reader.meta('generation')}"
    if store.stamp() == stamp:
        return True
    store.prune(catalog_hashes(reader))
    wanted = catalog_hashes(reader, "WHERE orphaned_at IS NULL")
    missing = sorted(wanted - store.known())
    tried = 0
    for count in _add_signatures(missing, store, thumbnail):
        tried += count
        # A picture is half done when its signature is there.
        progress(tried // 2, len(missing))
        if should_stop():
            return False
    while not _compare(store, progress, should_stop):
        if should_stop():
            return False
    complete = store.known() >= wanted
    if complete:
        store.set_stamp(stamp)
    return complete


def catalog_hashes(reader: CatalogReader, condition: str = "") -> set[bytes]:
    """Return the content hashes of the catalog's pictures, of those that meet an SQL condition."""
    rows = reader.rows(f"SELECT content_hash FROM picture {condition}")
    return {bytes(row[0]) for row in rows}


def _add_signatures(
    hashes: Sequence[bytes], store: SignatureStore, thumbnail: Callable[[str], bytes]
) -> Iterator[int]:
    """Make and keep signatures; yield how many pictures have been tried since the last time."""
    from imgsearch.encoders.signature import descriptors, grey_of

    def grey(content_hash: bytes) -> npt.NDArray[np.uint8] | None:
        try:
            return grey_of(thumbnail(content_hash.hex()))
        except (PhotoNotFound, ImageUnreadable, OSError, ValueError):
            return None

    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(hashes), _SIGNATURES):
            page = hashes[start : start + _SIGNATURES]
            found = [
                (one, made)
                for one, made in zip(page, pool.map(grey, page), strict=True)
                if made is not None
            ]
            if found:
                rough = descriptors(np.stack([made for _, made in found])).astype("<f2")
                store.add(
                    [
                        (one, row.tobytes(), made.tobytes())
                        for (one, made), row in zip(found, rough, strict=True)
                    ]
                )
            yield len(page)


def _compare(
    store: SignatureStore,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Compare what is not examined with everything else; return whether that was finished.

    It is not if another process came in between, or if it was to stop.
    """
    from imgsearch.encoders.signature import DIMENSION, WINDOWS

    at, examined, ids, packed = store.descriptors()
    if examined == len(ids):
        return True
    if len(packed) != 2 * len(ids) * len(WINDOWS) * DIMENSION:
        store.discard()
    stored = np.frombuffer(packed, dtype="<f2").reshape(len(ids), len(WINDOWS), DIMENSION)
    rough = np.ascontiguousarray(stored.transpose(1, 0, 2), dtype=np.float32)
    fresh = len(ids) - examined
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(examined, len(ids), _ROWS):
            stop = min(start + _ROWS, len(ids))
            batches = _candidates(rough, start, stop).batches(_PAIRS)
            # Each batch in a thread of its own: numpy lets go of the interpreter while it computes.
            found = pool.map(lambda batch: _alike(store, ids, batch), batches)
            pairs = [pair for batch in found for pair in batch]
            if not store.record(at, ids[start:stop], pairs):
                return False
            at += 1
            progress(fresh // 2 + (stop - examined + 1) // 2, fresh)
            if stop < len(ids) and should_stop():
                return False
    return True


def _candidates(rough: Floats, start: int, stop: int) -> _Candidates:
    """Return the pairs worth a look of pictures `start` to `stop` with themselves and all before.

    `rough` are the descriptors of all pictures, float32 [windows, n, d].
    """
    from imgsearch.encoders.signature import TURNS, turned_descriptors

    windows = len(rough)
    whole = rough[0]
    turned = turned_descriptors(whole[start:stop])
    # Kinds: 0 to 7, the picture turned; then a window of the newer picture; then one of the older.
    queries = [*turned, *rough[1:, start:stop]]
    hits: list[tuple[Integers, Integers, Integers, Floats]] = []

    def note(kind: int, scores: Floats, left: int) -> None:
        flat = np.flatnonzero(scores.ravel() >= _CANDIDATE)
        rows, columns = np.divmod(flat, scores.shape[1])
        earlier = columns + left < rows + start
        rows, columns = rows[earlier], columns[earlier]
        kinds = np.full(len(rows), kind, dtype=np.int64)
        hits.append((rows + start, columns + left, kinds, scores[rows, columns]))

    for left in range(0, stop, _COLUMNS):
        columns = slice(left, min(left + _COLUMNS, stop))
        for number, query in enumerate(queries):
            note(number, query @ whole[columns].T, left)
        for number in range(1, windows):
            scores = whole[start:stop] @ rough[number, columns].T
            note(len(queries) + number - 1, scores, left)
    newer, older, kind = (np.concatenate([hit[at] for hit in hits]) for at in range(3))
    score = np.concatenate([hit[3] for hit in hits])
    best = _best_of_each(newer, older, score)
    newer, older, kind = newer[best], older[best], kind[best]
    in_older = kind >= len(queries)
    window = np.where(kind < TURNS, 0, np.where(in_older, kind - len(queries), kind - TURNS) + 1)
    return _Candidates(
        template=np.where(in_older, newer, older),
        image=np.where(in_older, older, newer),
        turn=np.where(kind < TURNS, kind, 0),
        window=window,
    )


def _best_of_each(newer: Integers, older: Integers, score: Floats) -> Integers:
    """Return where the best hit of each pair is, for a newer picture the best pairs only."""
    order = np.lexsort((-score, older, newer))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(newer[order]) != 0) | (np.diff(older[order]) != 0)
    order = order[first]
    order = order[np.lexsort((-score[order], newer[order]))]
    begins = np.searchsorted(newer[order], newer[order], side="left")
    chosen: Integers = order[np.arange(len(order)) - begins < _MOST_CANDIDATES]
    return chosen


def _alike(
    store: SignatureStore, ids: Sequence[int], batch: _Candidates
) -> list[tuple[int, int, float]]:
    """Look closely at some candidates; return those that are alike: id, id, how much."""
    from imgsearch.encoders.signature import EDGE, turned

    places = np.unique(np.concatenate([batch.template, batch.image]))
    greys = store.greys([ids[place] for place in places])
    blank = bytes(EDGE * EDGE)
    packed = b"".join(greys.get(ids[place], blank) for place in places)
    if len(packed) != len(places) * len(blank):
        store.discard()
    pictures = np.frombuffer(packed, np.uint8).reshape(-1, EDGE, EDGE).astype(np.float32)
    images = pictures[np.searchsorted(places, batch.image)]
    for turn in np.unique(batch.turn):
        those = batch.turn == turn
        images[those] = turned(images[those], int(turn))
    templates = pictures[np.searchsorted(places, batch.template)]
    alike = alikeness(templates, images, batch.window)
    return [
        (ids[batch.template[at]], ids[batch.image[at]], float(alike[at]))
        for at in np.flatnonzero(alike >= LEAST_ALIKE)
    ]
