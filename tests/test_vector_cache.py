"""The cache of many vectors: what is added, removed, coded and read meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from imgsearch.data import (
    coded_vectors,
    index_ladder,
    vector_cache,
    vector_coding,
    vector_files,
    vector_index,
)
from imgsearch.data.cache_lock import cache_turn
from imgsearch.data.catalog import Catalog
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
from imgsearch.data.vector_cache import VectorCache
from imgsearch.data.vector_index import VectorIndex

Floats = npt.NDArray[np.float32]
DIMENSION = 32
SHARD = 1_024


class Pictures:
    """A library of vectors that gather in clusters, as those of photos do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._random = np.random.default_rng(0)
        self._centres = self._unit((40, DIMENSION))
        self.catalog = Catalog(folder)
        self._root_id = self.catalog.add_root("/photos")
        self._model_id = self.catalog.register_model("m", "1", "m", DIMENSION)
        self.catalog.activate_model(self._model_id)
        self.reader = CatalogReader(folder)
        self.known: dict[int, Floats] = {}
        self._names: dict[int, str] = {}

    def _unit(self, shape: tuple[int, int]) -> Floats:
        rows = self._random.standard_normal(shape).astype(np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def add(self, count: int, cluster: int | None = None) -> list[int]:
        """Store pictures, of all clusters or of one; return their ids."""
        of = self._random.integers(0, len(self._centres), count)
        near = self._centres[of if cluster is None else np.full(count, cluster)]
        rows = 2 * near + self._unit((count, DIMENSION))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        stored = rows.astype("<f2")
        first = len(self._names)
        names = [f"{first + n}.jpg" for n in range(count)]
        digests = [(first + n).to_bytes(32, "big") for n in range(count)]
        ids = PhotoStore(self.catalog, self._model_id).store(
            [
                NewPhoto(
                    FileStat(self._root_id, name, 1, 1),
                    digest,
                    PictureFacts(1, 1, "JPEG"),
                    row.tobytes(),
                )
                for name, digest, row in zip(names, digests, stored, strict=True)
            ]
        )
        for name, digest, row in zip(names, digests, stored, strict=True):
            self.known[ids[digest]] = row.astype(np.float32)
            self._names[ids[digest]] = name
        return [ids[digest] for digest in digests]

    def remove(self, ids: list[int]) -> None:
        """Take pictures out of what can be found."""
        gone = ", ".join(map(str, ids))
        with self.catalog.statements() as connection:
            connection.execute(f"UPDATE picture SET orphaned_at = '2020' WHERE id IN ({gone})")
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
        for id_ in ids:
            del self.known[id_]

    @property
    def model(self) -> StoredModel:
        model = self.reader.active_model()
        assert model is not None
        return model

    @property
    def cache(self) -> VectorCache:
        return VectorCache(self.folder, self.model)

    def index(self) -> VectorIndex:
        """Return the index as a search gets it."""
        return self.cache.load(self.reader)

    def coded(self) -> VectorIndex:
        """Return the index after all was made that makes it fast."""
        self.index()
        self.cache.improve(self.reader)
        return self.index()

    def files(self, ending: str) -> list[Path]:
        return sorted((self.folder / "faiss").glob(f"*.{ending}"))

    def queries(self, count: int = 20) -> Floats:
        return self._unit((count, DIMENSION))

    def centre(self, cluster: int) -> Floats:
        return self._centres[cluster]

    def nearest(self, query: Floats, count: int, among: list[int] | None = None) -> list[int]:
        """Return the ids of the nearest by brute force, ties by the lower one."""
        ids = np.array(sorted(self.known if among is None else among))
        scores = np.stack([self.known[id_] for id_ in ids.tolist()]) @ query
        best: list[int] = ids[np.lexsort((ids, -scores))[:count]].tolist()
        return best


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pictures]:
    """A library whose vectors are coded from 2,000 on, in shards of 1,024."""
    for module in (coded_vectors, vector_coding, vector_index):
        monkeypatch.setattr(module, "SHARD", SHARD)
    monkeypatch.setattr(index_ladder, "_EXACT_UP_TO", 2_000)
    monkeypatch.setattr(index_ladder, "_EXACT_DIMENSION", DIMENSION)
    monkeypatch.setattr(index_ladder, "_UNCODED", 200)
    monkeypatch.setattr(index_ladder, "_WORTH_A_THREAD", 700)
    monkeypatch.setattr(index_ladder, "_FEWEST_CANDIDATES", 400)
    monkeypatch.setattr(vector_cache, "_REMOVED_AT_LEAST", 300)
    made = Pictures(tmp_path)
    yield made
    made.reader.close()
    made.catalog.close()


def found(index: VectorIndex, query: Floats, count: int = 10) -> list[int]:
    ids: list[int] = index.search(query, count)[0].tolist()
    return ids


def agreement(pictures: Pictures, index: VectorIndex) -> float:
    """Return the recall of the ten nearest."""
    hits = [
        len(set(found(index, query)) & set(pictures.nearest(query, 10)))
        for query in pictures.queries()
    ]
    return sum(hits) / (10 * len(hits))


def test_few_vectors_are_searched_exactly_and_get_no_codes(pictures: Pictures) -> None:
    pictures.add(1_900)

    index = pictures.coded()

    assert index.coded == 0
    assert pictures.files("codes") == []
    for query in pictures.queries():
        assert found(index, query) == pictures.nearest(query, 10)


def test_many_vectors_are_found_by_their_codes(pictures: Pictures) -> None:
    pictures.add(3_000)

    index = pictures.coded()

    assert index.coded == 3_000
    assert len(pictures.files("codes")) == 3
    assert agreement(pictures, index) >= 0.98


def test_all_that_is_near_may_lie_in_one_shard(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the 8 x 700 that are wanted, each of six shards is asked for 466 the first time.
    monkeypatch.setattr(vector_index, "_SHARES", 0.5)
    pictures.add(2 * SHARD)
    pictures.add(SHARD, cluster=0)
    pictures.add(3 * SHARD)
    centre = pictures.centre(0)

    nearest = pictures.coded().search(centre, 700)[0].tolist()

    assert len(set(nearest) & set(pictures.nearest(centre, 700))) >= 690


def test_codes_of_an_earlier_kind_are_made_anew(pictures: Pictures) -> None:
    pictures.add(3_000)
    pictures.coded()
    [stamp] = pictures.files("json")
    earlier = pictures.files("codes")
    told = json.loads(stamp.read_text())
    del told["coding"]
    stamp.write_text(json.dumps(told))

    assert pictures.index().coded == 0
    assert not pictures.cache.is_complete(pictures.reader)
    assert pictures.coded().coded == 3_000
    assert not set(earlier) & set(pictures.files("codes"))


def test_until_there_are_codes_everything_is_searched_exactly(pictures: Pictures) -> None:
    pictures.add(3_000)

    index = pictures.index()

    assert index.coded == 0
    for query in pictures.queries():
        assert found(index, query) == pictures.nearest(query, 10)


def test_a_filter_is_exact_whatever_there_is(pictures: Pictures) -> None:
    ids = pictures.add(3_000)
    index = pictures.coded()

    for part in (ids[::2], ids[::100], ids[5:6]):
        for query in pictures.queries(5):
            among = np.array(part, dtype=np.int64)
            assert index.search(query, 10, among)[0].tolist() == pictures.nearest(query, 10, part)


def test_rows_of_a_file_too_large_to_be_kept_in_view_are_read_one_by_one(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = pictures.add(3_000)
    in_view = pictures.coded()
    monkeypatch.setattr(vector_files, "_MOST_HELD", 1)
    few = np.array(ids[::100], dtype=np.int64)

    index = pictures.index()

    for query in pictures.queries():
        assert found(index, query) == found(in_view, query)
        assert index.search(query, 10, few)[0].tolist() == pictures.nearest(query, 10, ids[::100])
    [rows] = pictures.files("rows")
    os.truncate(rows, 8_192)
    with pytest.raises(OSError, match="shorter than it was"):
        index.search(query, 10, few)


def test_what_is_added_is_found_without_making_anything_anew(pictures: Pictures) -> None:
    pictures.add(3_000)
    pictures.coded()
    [rows], codes = pictures.files("rows"), pictures.files("codes")
    before = rows.read_bytes(), [path.read_bytes() for path in codes]

    new = pictures.add(100)
    index = pictures.index()

    assert index.coded == 3_000
    assert [found(index, pictures.known[id_], 1) for id_ in new] == [[id_] for id_ in new]
    assert pictures.files("rows") == [rows]
    assert rows.read_bytes().startswith(before[0])
    assert [path.read_bytes() for path in codes] == before[1]


def test_what_is_removed_is_not_found_and_leaves_nothing(pictures: Pictures) -> None:
    ids = pictures.add(3_000)
    pictures.coded()
    [rows] = pictures.files("rows")
    gone = ids[10:40]
    vectors = {id_: pictures.known[id_] for id_ in gone}

    pictures.remove(gone)
    index = pictures.index()

    assert len(index) == 2_970
    assert not set(gone) & set(index.ids().tolist())
    for vector in vectors.values():
        assert found(index, vector) == pictures.nearest(vector, 10)
        assert vector.astype("<f2").tobytes() not in rows.read_bytes()
    with pytest.raises(KeyError):
        index.vectors(np.array(gone[:1], dtype=np.int64))


def test_a_picture_that_comes_back_is_found_again(pictures: Pictures) -> None:
    ids = pictures.add(50)
    pictures.index()
    vector = pictures.known[ids[3]]
    pictures.remove([ids[3]])
    pictures.index()

    with pictures.catalog.statements() as connection:
        connection.execute("UPDATE picture SET orphaned_at = NULL")
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")

    assert found(pictures.index(), vector, 1) == [ids[3]]


def test_only_what_is_new_gets_codes(pictures: Pictures) -> None:
    pictures.add(3_000)
    pictures.coded()
    full, last = pictures.files("codes")[:2], pictures.files("codes")

    pictures.add(300)
    index = pictures.coded()

    assert index.coded == 3_300
    assert len(set(last) & set(pictures.files("codes"))) == len(full)
    assert agreement(pictures, index) >= 0.98


def test_codes_for_many_more_vectors_are_made_anew(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_ladder, "_OUTGROWN", 2)
    pictures.add(2_500)
    pictures.coded()
    before = set(pictures.files("codes"))

    pictures.add(2_500)
    index = pictures.coded()

    assert index.coded == 5_000
    assert not before & set(pictures.files("codes"))
    assert agreement(pictures, index) >= 0.95


def test_where_many_were_removed_the_others_are_written_anew(pictures: Pictures) -> None:
    ids = pictures.add(3_000)
    pictures.coded()
    [rows] = pictures.files("rows")
    size = rows.stat().st_size

    pictures.remove(ids[:800])
    index = pictures.coded()

    [smaller] = pictures.files("rows")
    assert smaller != rows
    assert smaller.stat().st_size < size
    assert (len(index), index.coded) == (2_200, 2_200)
    assert pictures.files("removed") == []
    assert agreement(pictures, index) >= 0.98


def test_who_reads_is_not_disturbed_by_who_writes(pictures: Pictures) -> None:
    ids = pictures.add(3_000)
    reading = pictures.coded()
    query = pictures.queries(1)[0]
    before = found(reading, query)
    kept = [id_ for id_ in ids if id_ not in before]

    pictures.add(300)
    pictures.coded()
    during_additions = found(reading, query)
    pictures.remove(kept[:1_500])
    pictures.coded()

    assert before == during_additions == found(reading, query)


def test_a_builder_that_is_stopped_leaves_what_there_was(pictures: Pictures) -> None:
    pictures.add(3_000)
    pictures.index()
    asked = iter([False] * 2 + [True] * 99)

    assert not pictures.cache.improve(pictures.reader, lambda: next(asked))
    stopped = pictures.index()
    drafts = len(pictures.files("codes"))

    assert (stopped.coded, drafts) == (0, 2)
    assert pictures.coded().coded == 3_000
    assert [path.name for path in pictures.files("codes") if "draft" in path.name] == []


def test_one_process_makes_codes_and_others_go_on(pictures: Pictures) -> None:
    pictures.add(3_000)
    pictures.index()

    with cache_turn(pictures.folder / "faiss", pictures.model.id, role="builder") as ours:
        changed = pictures.cache.improve(pictures.reader)
        pictures.add(10)
        index = pictures.index()

    assert (ours, changed, index.coded, len(index)) == (True, False, 0, 3_010)
    assert pictures.coded().coded == 3_010


def test_vectors_that_come_while_codes_are_made_are_kept(pictures: Pictures) -> None:
    pictures.add(3_000)
    pictures.index()
    new: list[int] = []

    def meanwhile() -> bool:
        if not new:
            new.extend(pictures.add(20))
            pictures.index()
        return False

    assert pictures.cache.improve(pictures.reader, meanwhile)
    index = pictures.index()

    assert (index.coded, len(index)) == (3_000, 3_020)
    assert found(index, pictures.known[new[0]], 1) == new[:1]


def test_codes_of_rows_that_were_written_anew_meanwhile_are_dropped(pictures: Pictures) -> None:
    pictures.add(3_000)
    pictures.index()

    def meanwhile() -> bool:
        pictures.cache.load(pictures.reader, trust_cache=False)
        return False

    assert not pictures.cache.improve(pictures.reader, meanwhile)
    assert pictures.index().coded == 0
    assert agreement(pictures, pictures.index()) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-70])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "flip", "unlink"])
def test_damaged_codes_cost_speed_only_and_are_made_again(
    pictures: Pictures, damage: Callable[[Path], None]
) -> None:
    pictures.add(3_000)
    pictures.coded()
    damage(pictures.files("codes")[1])

    damaged = pictures.index()
    query = pictures.queries(1)[0]
    answer = found(damaged, query)

    assert (damaged.coded, answer) == (0, pictures.nearest(query, 10))
    assert pictures.coded().coded == 3_000
    assert len(pictures.files("codes")) == 3


def test_a_run_with_nothing_to_do_reads_no_vectors(pictures: Pictures) -> None:
    ids = pictures.add(3_000)
    states = [pictures.cache.is_complete(pictures.reader)]
    pictures.index()
    states.append(pictures.cache.is_complete(pictures.reader))
    pictures.coded()
    states.append(pictures.cache.is_complete(pictures.reader))
    pictures.remove(ids[:1])
    states.append(pictures.cache.is_complete(pictures.reader))

    assert states == [False, False, True, False]


@pytest.mark.parametrize("ending", ["rows", "ids", "removed", "codes"])
def test_what_is_damaged_is_not_complete(pictures: Pictures, ending: str) -> None:
    ids = pictures.add(3_000)
    pictures.index()
    pictures.remove(ids[:5])
    pictures.coded()
    before = pictures.cache.is_complete(pictures.reader)
    cut(pictures.files(ending)[0])

    assert before
    assert not pictures.cache.is_complete(pictures.reader)


@pytest.mark.parametrize("ending", ["rows", "ids", "removed"])
def test_damaged_files_are_made_again_from_the_catalog(pictures: Pictures, ending: str) -> None:
    ids = pictures.add(3_000)
    pictures.index()
    pictures.remove(ids[:5])
    pictures.coded()
    cut(pictures.files(ending)[0])

    index = pictures.index()

    for query in pictures.queries(5):
        assert found(index, query) == pictures.nearest(query, 10)


def test_a_library_that_cannot_be_written_finds_what_its_cache_lacks(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = pictures.add(3_000)
    pictures.coded()
    pictures.remove(ids[:5])
    new = pictures.add(5)
    before = {path: path.read_bytes() for path in (pictures.folder / "faiss").iterdir()}

    with cache_turn(pictures.folder / "faiss", pictures.model.id):
        index = pictures.index()

    assert (len(index), index.coded) == (3_000, 3_000)
    for id_ in new:
        assert found(index, pictures.known[id_], 1) == [id_]
    after = {path: path.read_bytes() for path in (pictures.folder / "faiss").iterdir()}
    assert after == before


def test_a_stamp_counts_no_more_than_there_is(pictures: Pictures) -> None:
    pictures.add(100)
    pictures.index()
    [stamp] = pictures.files("json")
    told = json.loads(stamp.read_text())

    for lie in ({"count": 10**9}, {"count": -1}, {"removed_count": 7}, {"coded": 50}):
        stamp.write_text(json.dumps(told | lie))
        query = pictures.queries(1)[0]
        assert found(pictures.index(), query) == pictures.nearest(query, 10)
