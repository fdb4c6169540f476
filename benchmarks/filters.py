"""What filters cost: the SELECT for the ids that pass, and the search among these, warm.

A library of pictures that exist nowhere, with random vectors and facts of which a tenth, a
hundredth and a thousandth of the pictures pass. Times are the best of some rounds, in milliseconds,
of wall time and of this process's processor time; none of them holds the time of the text tower. A
filter that keeps a hundredth of the pictures, or fewer, should not make the search among vectors
slower than none.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from common import Result, at_most, excuses, new_parser, report, say, starter_revision

from imgsearch import Filters, Near
from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import SCHEMA_VERSION
from imgsearch.data.filters import filtered_ids, listed_ids
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
from imgsearch.data.vector_cache import VectorCache
from imgsearch.encoders import load_encoder

_BATCH = 2_000
_TARGET_MS = 150.0
_TOP_K = 60
_ROUNDS = 15
_FIRST = datetime(2005, 1, 1)
_ROOT = "/nowhere/photos"
# Picture number n carries the word of every share that divides n.
_SHARES = (1, 10, 100, 1_000)
_FILTERS = {
    "keyword": [Filters(keywords=(f"every {share}",)) for share in _SHARES],
    "lens": [Filters(lenses=("* F?.?",))] + [Filters(lenses=(f"{n}MM f1.8",)) for n in (85, 200)],
    "rating": [Filters(min_rating=one) for one in (0, 3, 4, 5)],
    # All of the earth, a third, about a tenth, a town.
    "near": [Filters(near=Near(45.0, 5.0, km)) for km in (20_016, 8_000, 2_000, 30)],
    "names": [Filters(names=(pattern,)) for pattern in ("img_*", "*7.jpg", "*77.jpg", "*777.JPG")],
    "path": [Filters(names=("2010/*/IMG_*.jpg",))],
    "folder": [Filters(folders=(_ROOT + below,)) for below in ("", "/2010", "/2010/05")],
    "days": [
        Filters(since=_FIRST.date()),
        Filters(since=date(2010, 1, 1), until=date(2011, 12, 31)),
        Filters(since=date(2010, 5, 1), until=date(2010, 5, 31)),
    ],
    "orientation": [Filters(orientations=("portrait",))],
    "together": [
        Filters(
            keywords=("every 10",), since=date(2010, 1, 1), names=("img_*",), min_rating=3,
            near=Near(45.0, 5.0, 8_000), folders=(_ROOT,),
        )
    ],
}  # fmt: skip


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--count", type=int, default=50_000, help="pictures [%(default)s]")
    arguments = parser.parse_args()
    with excuses():
        library = _library(arguments.work, arguments.count, arguments.seed)
        results = _measure(library, arguments.count, arguments.seed)
    report("Filters", results, arguments.seed, as_json=arguments.json)


def _measure(library: Path, count: int, seed: int) -> list[Result]:
    random = np.random.default_rng([seed, 2])
    with CatalogReader(library) as reader:
        model = reader.active_model()
        assert model is not None
        index = VectorCache(library, model).load(reader)
        query = random.standard_normal(model.dimension).astype(np.float32)
        query /= np.linalg.norm(query)
        unfiltered, cpu = _timed(lambda: index.search(query, _TOP_K))
        results = [
            at_most(f"none (all {count})", unfiltered, "ms", _TARGET_MS, f"cpu {cpu:.1f}"),
        ]
        for kind, wanted in _FILTERS.items():
            for one in wanted:
                ids = filtered_ids(reader, model, one)
                select, select_cpu = _timed(lambda one=one: filtered_ids(reader, model, one))
                search, search_cpu = _timed(lambda ids=ids: index.search(query, _TOP_K, ids))
                note = (
                    f"select {select:.1f} (cpu {select_cpu:.1f}), "
                    f"search {search:.2f} (cpu {search_cpu:.2f})"
                )
                if len(ids) <= count / 100:
                    note += ", not slower than none" if search_cpu <= cpu else ", SLOWER than none"
                what = f"{kind}: {len(ids)} pass"
                results.append(at_most(what, select + search, "ms", _TARGET_MS, note))
        by_date, cpu = _timed(lambda: listed_ids(reader, model, Filters(), "date", _TOP_K, 0))
        results.append(at_most("none, by date", by_date, "ms", _TARGET_MS, f"cpu {cpu:.1f}"))
    return results


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the best wall time and the best processor time, in milliseconds.

    The best and not the median, because other programs may be running.
    """
    work()
    walls, processors = [], []
    for _ in range(_ROUNDS):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(1e3 * (time.perf_counter() - wall))
        processors.append(1e3 * (time.process_time() - processor))
    return min(walls), min(processors)


def _library(work: Path, count: int, seed: int) -> Path:
    library = work / f"filters-{count}-seed{seed}-{starter_revision()}-schema{SCHEMA_VERSION}"
    done = library.with_name(library.name + ".done")
    if done.exists():
        return library
    shutil.rmtree(library, ignore_errors=True)
    say(f"making a catalog of {count} pictures ...")
    random = np.random.default_rng([seed, 1])
    starter = load_encoder("starter").description
    with Catalog(library) as catalog:
        model = catalog.register_model(
            starter.name, starter.revision, starter.source, starter.dimension
        )
        catalog.activate_model(model)
        root_id = catalog.add_root(_ROOT)
        store = PhotoStore(catalog, model)
        for start in range(0, count, _BATCH):
            numbers = range(start, min(count, start + _BATCH))
            rows = random.standard_normal((len(numbers), starter.dimension), dtype=np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            store.store(
                [
                    _photo(root_id, number, row.tobytes(), random)
                    for number, row in zip(numbers, rows.astype("<f2"), strict=True)
                ]
            )
    done.touch()
    return library


def _photo(root_id: int, number: int, vector: bytes, random: np.random.Generator) -> NewPhoto:
    taken = _FIRST + timedelta(seconds=int(random.integers(20 * 365 * 86_400)))
    width, height = ((4_000, 3_000), (3_000, 4_000))[random.integers(2)]
    focal_length = random.choice((35, 50, 85, 200), p=(0.7, 0.19, 0.1, 0.01))
    # One in a hundred is in or around one town.
    home = random.random() < 0.01
    spread = 0.1 if home else 30.0
    facts = PictureFacts(
        width=width,
        height=height,
        format="JPEG",
        taken_at=taken.isoformat() if random.random() < 0.9 else None,
        camera=f"Maker Model {random.integers(30)}",
        lens=f"{focal_length}mm F1.8",
        latitude=float(np.clip(random.normal(45.0, spread), -90, 90)),
        longitude=float(np.clip(random.normal(5.0, spread), -180, 180)),
        rating=int(random.choice(6, p=(0.7, 0.1, 0.1, 0.06, 0.03, 0.01))),
        keywords=tuple(f"every {share}" for share in _SHARES if number % share == 0),
    )
    path = f"{taken:%Y/%m}/IMG_{number:06d}.jpg"
    digest = hashlib.sha256(path.encode()).digest()
    modified = int(taken.timestamp()) * 1_000_000_000
    return NewPhoto(FileStat(root_id, path, 3_000_000 + number, modified), digest, facts, vector)


if __name__ == "__main__":
    main()
