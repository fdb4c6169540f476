"""How fast and how accurate a library is on the machine it is on."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from imgsearch.bench.clustered import Floats, LikePhotos
from imgsearch.bench.growth import TOP_K, GrowingCopy, GrowthPoint, check_room
from imgsearch.bench.probe import active_model
from imgsearch.bench.processes import cold_query, found_part, probe
from imgsearch.data.reader import CatalogReader
from imgsearch.data.vector_cache import VectorCache
from imgsearch.encoders import load_encoder
from imgsearch.errors import BenchFailed
from imgsearch.indexer.profile import IndexProfile
from imgsearch.library import Library
from imgsearch.search.vocabulary import COMMON_WORDS
from imgsearch.settings import available_cores

Say = Callable[[str], None]

# Fewer have no neighbours to find, and nothing to make others like them from.
_FEWEST = 20
_QUERIES = 50
_COLD_RUNS = 10
_SAMPLE = 5_000
_PACKAGES = ("imgsearch-engine", "numpy", "onnxruntime", "torch", "faiss-cpu", "faiss-gpu-cu12")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured, and with what."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing: the median, and what 95 % of them do not exceed."""

    p50: float
    p95: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return that of some values."""
        return cls(float(np.median(values)), float(np.percentile(values, 95)), len(values))


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What `measure` found. Seconds, milliseconds and bytes as the names say.

    `cold_query_seconds` are of ``imgsearch query`` in a process of its own, `warm_query_ms` of a
    whole query in an open library, `index_ms` of the search among the vectors alone. Recall is of
    the ten nearest, against a comparison with every vector. The bytes of memory are the most that a
    process took.
    """

    library: str
    model: str
    pictures: int
    dimension: int
    coded: int
    seed: int
    machine: Machine
    indexing: IndexProfile | None
    photos_per_second: float | None
    cold_query_seconds: Spread
    cold_query_peak_bytes: int
    warm_query_ms: Spread
    index_ms: Spread
    filtered_index_ms: Spread
    recall_at_10: float
    index_peak_bytes: int
    disk_bytes_per_1000: dict[str, int]
    growth: tuple[GrowthPoint, ...]


def measure(
    library: Library,
    *,
    photos: int = 200,
    scale: int = 0,
    work: Path | None = None,
    seed: int = 0,
    say: Say = lambda _: None,
) -> BenchReport:
    """Measure a library; nothing in it changes.

    So many of its `photos` are indexed again, into a library that is thrown away. With `scale`,
    vectors like its own are added to a copy until it has so many. `work` is where these are made
    (default: the folder for temporary files). Queries are ordinary words and vectors like those of
    its pictures.

    Raises BenchFailed, a LibraryError or a ModelError.
    """
    with CatalogReader(library.path) as reader:
        model = reader.active_model()
        own = None if model is None else VectorCache(library.path, model).load(reader)
    if model is None or own is None or len(own) < _FEWEST:
        raise BenchFailed(
            f"To be measured a library needs {_FEWEST} photos or more; {library.path} has "
            f"{0 if own is None else len(own)}. Add some with: imgsearch index FOLDER"
        )
    if scale:
        check_room(work or Path(tempfile.gettempdir()), scale)
    words = np.random.default_rng(seed).permutation(COMMON_WORDS)[:_QUERIES].tolist()
    texts = load_encoder(model.source).encode_texts(words)
    like = LikePhotos(own.sample(_SAMPLE), seed)
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-", dir=work) as place:
        folder = Path(place)
        say("searching ...")
        index = _search(library.path, folder, np.concatenate([_alike(like, len(texts)), texts]))
        cold = [cold_query(library.path, word) for word in words[:_COLD_RUNS]]
        warm = _warm(library, words)
        profile = _index_again(library, photos, folder / "again", seed, say) if photos else None
        sizes = [size for size in _sizes(scale) if size > len(own)]
        growth = tuple(_grown(library.path, folder / "growth", sizes, like, texts, words[0], say))
    return BenchReport(
        library=str(library.path),
        model=model.name,
        pictures=len(own),
        dimension=model.dimension,
        coded=own.coded,
        seed=seed,
        machine=_machine(),
        indexing=profile,
        photos_per_second=profile.photos / profile.wall_seconds if profile else None,
        cold_query_seconds=Spread.of([seconds for seconds, _ in cold]),
        cold_query_peak_bytes=max(peak for _, peak in cold),
        warm_query_ms=warm,
        index_ms=index.all_ms,
        filtered_index_ms=index.filtered_ms,
        recall_at_10=index.recall,
        index_peak_bytes=index.peak_bytes,
        disk_bytes_per_1000=_disk(library, len(own)),
        growth=growth,
    )


def _grown(
    library: Path,
    folder: Path,
    sizes: Sequence[int],
    like: LikePhotos,
    texts: Floats,
    phrase: str,
    say: Say,
) -> Iterator[GrowthPoint]:
    if not sizes:
        return
    folder.mkdir()
    copy = GrowingCopy(library, folder, like)
    for size in sizes:
        say(f"{size:,} pictures: adding them and making their index ...")
        built = copy.grow_to(size)
        say(f"{size:,} pictures: searching ...")
        yield copy.measured(built, texts, phrase)


@dataclass(frozen=True, slots=True)
class _IndexFigures:
    all_ms: Spread
    filtered_ms: Spread
    recall: float
    peak_bytes: int


def _search(library: Path, folder: Path, queries: Floats) -> _IndexFigures:
    asked = folder / "queries.npy"
    np.save(asked, queries)
    told = probe("search", str(library), str(asked), str(TOP_K))
    return _IndexFigures(
        Spread.of(told["ms"]),
        Spread.of(told["filtered_ms"]),
        found_part(library, queries, told["found"], TOP_K),
        told["peak_bytes"],
    )


def _alike(like: LikePhotos, count: int) -> Floats:
    return np.concatenate(list(like.pages(0, count))).astype(np.float32)


def _warm(library: Library, words: Sequence[str]) -> Spread:
    library.search(words[0])
    times = []
    for word in words:
        began = time.perf_counter()
        library.search(word)
        times.append(1000 * (time.perf_counter() - began))
    return Spread.of(times)


def _index_again(library: Library, count: int, folder: Path, seed: int, say: Say) -> IndexProfile:
    """Index copies of some of the library's photos, and return the profile of that."""
    with CatalogReader(library.path) as reader:
        ids = reader.ids("SELECT id FROM picture WHERE orphaned_at IS NULL ORDER BY id")
        chosen = np.random.default_rng(seed).permutation(ids)[:count]
        pictures = reader.pictures(chosen.tolist())
        model = active_model(reader)
    photos = folder / "photos"
    photos.mkdir(parents=True)
    say(f"indexing {len(pictures)} photos again ...")
    for number, picture in enumerate(pictures.values()):
        for path in picture.paths:
            try:
                shutil.copyfile(path, photos / f"{number}{Path(path).suffix}")
            except OSError:
                continue  # Moved, or on a disk that is not there.
            break
    if not any(photos.iterdir()):
        raise BenchFailed(
            "None of the photos can be read: is their disk there? To leave indexing out: --photos 0"
        )
    with Library.open(folder / "library", model=load_encoder(model.source)) as again:
        report = again.index(photos, profile=True)
    assert report.profile is not None
    return report.profile


def _disk(library: Library, pictures: int) -> dict[str, int]:
    status = library.status()
    sizes = {
        "catalog": status.catalog_bytes,
        "index": status.cache_bytes,
        "thumbnails": status.thumbnail_bytes,
    }
    return {name: round(1000 * size / pictures) for name, size in sizes.items()}


def _sizes(scale: int) -> list[int]:
    """Return the powers of ten from 10,000 on below `scale`, and `scale`; none for 0."""
    if not scale:
        return []
    powers = [10**power for power in range(4, 10) if 10**power < scale]
    return [*powers, scale]


def _machine() -> Machine:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return Machine(
        processor=_processor(),
        cores=available_cores(),
        memory_bytes=_physical_memory(),
        system=platform.platform(),
        python=platform.python_version(),
        packages=found,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(one.partition(":")[2].strip() for one in lines if one.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _physical_memory() -> int:
    """Return the bytes of memory of this machine, or 0 where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
