"""``imgsearch bench``: what it measures is there, true and of the library's own photos."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch import BenchFailed, Library
from imgsearch.bench import growth, own
from imgsearch.bench.clustered import LikePhotos, closeness
from imgsearch.cli import main
from imgsearch.data.reader import CatalogReader
from imgsearch.data.vector_cache import VectorCache

EXAMPLES = Path(__file__).parents[1] / "examples" / "photos"
PHOTOS = 24


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of crops of the examples, by the built-in model."""
    place = tmp_path_factory.mktemp("bench")
    sources = sorted(EXAMPLES.glob("*.jpg"))
    (place / "photos").mkdir()
    for number in range(PHOTOS):
        with Image.open(sources[number % len(sources)]) as picture:
            side = 120 + 4 * number
            picture.crop((0, 0, side, side)).convert("RGB").save(place / f"photos/{number}.jpg")
    with Library.open(place / "library") as opened:
        opened.index(place / "photos")
        yield opened


@pytest.fixture
def bench(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command, in this process: returns its exit code and what it printed."""
    monkeypatch.setattr(own, "_COLD_RUNS", 1)
    monkeypatch.setattr(own, "_QUERIES", 6)
    monkeypatch.setattr(growth, "_COLD_RUNS", 1)

    def run(*arguments: str) -> tuple[int, str, str]:
        words = ["imgsearch", "bench", "--library", str(library.path), *arguments]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def test_it_measures_a_library_and_what_growth_would_cost(
    library: Library,
    bench: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growth, "ADDED", 150)
    before = times(library)

    code, out, _ = bench("--photos", "5", "--scale", "4e2", "--work", str(tmp_path), "--json")

    told = json.loads(out)
    assert (code, told["pictures"], told["dimension"], told["coded"]) == (0, PHOTOS, 512, 0)
    assert told["recall_at_10"] == 1
    assert told["indexing"]["photos"] == 5
    assert told["cold_query_seconds"]["runs"] == 1
    assert 0 < told["index_ms"]["p50"] <= told["index_ms"]["p95"]
    assert told["cold_query_peak_bytes"] > told["index_peak_bytes"] > 10_000_000
    assert told["disk_bytes_per_1000"]["catalog"] > 1_000 * 1_024
    assert told["machine"]["packages"]["imgsearch-engine"]
    [point] = told["growth"]
    assert (point["pictures"], point["recall_at_10"]) == (400, 1)
    assert list(tmp_path.iterdir()) == []
    assert times(library) == before


def times(library: Library) -> dict[Path, int]:
    """Return when each file of a library was written; SQLite's shared memory is none."""
    files = [path for path in library.path.rglob("*.*") if not path.name.endswith("-shm")]
    return {path: path.stat().st_mtime_ns for path in files}


def test_the_command_prints_tables(
    bench: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "ADDED", 150)

    code, table, _ = bench("--photos", "3", "--scale", "3e2")

    assert code == 0
    assert re.search(r"recall@10 against all vectors +1\.000 \(every vector is compared\)", table)
    assert re.search(r"indexing +[0-9.]+ photos/s, start-up included", table)
    head, row = table.strip().splitlines()[-2:]
    assert head.split()[:5] == ["pictures", "query", "ms", "p95", "1"]
    assert re.match(r" +300( +[0-9.]+){3} +1\.000 +[0-9.]+ [kMG]B", row)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scale", "many"], "--scale takes a number up to 1e8, not many"),
        (["--scale", "1e99"], "--scale takes a number"),
        (["--work", "/no/such/folder"], "There is no folder /no/such/folder for --work"),
    ],
)
def test_mistakes_are_one_line(
    bench: Callable[..., tuple[int, str, str]], arguments: list[str], says: str
) -> None:
    code, _, errors = bench(*arguments)

    assert code == 2
    assert says in errors
    assert len(errors.splitlines()) == 1


def test_too_few_photos_are_not_measured(library: Library, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 40), "red").save(photos / "a.png")
    with Library.open(tmp_path / "library") as few:
        few.index(photos)
        with pytest.raises(BenchFailed, match=r"needs 20 photos or more; .* has 1"):
            own.measure(few)


def test_a_disk_that_is_too_small_is_told_before(
    bench: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, errors = bench("--photos", "0", "--scale", "1e8")

    assert code == 1
    assert "100,000,000 pictures take about 297.0 GB" in errors


def test_invented_vectors_lie_to_each_other_as_those_of_photos_do(library: Library) -> None:
    with CatalogReader(library.path) as reader:
        model = reader.active_model()
        assert model is not None
        rows = VectorCache(library.path, model).load(reader).sample(PHOTOS)
    like = LikePhotos(rows, seed=1)

    few = like.few(500)
    [page] = list(like.pages(100_100, 100_200))
    [part] = list(like.pages(100_150, 100_160))

    assert np.abs(np.linalg.norm(few, axis=1) - 1).max() < 1e-3
    assert closeness(few).mean == pytest.approx(rows.mean(axis=0) @ rows.mean(axis=0), abs=0.1)
    assert closeness(few).nearest > closeness(few).tenth > closeness(few).mean
    assert (page[50:60] == part).all()
    assert not (LikePhotos(rows, seed=2).few(500) == few).all()
