"""Libraries for benchmarks: really indexed ones, and ones with random vectors, made in seconds."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from common import CannotMeasure, imgsearch_command, measured, say, starter_revision

from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import SCHEMA_VERSION
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
from imgsearch.encoders import load_encoder

# Photos stored in one transaction.
_BATCH = 2_000
_FACTS = PictureFacts(500, 375, "JPEG")
# A file for the catalog: path relative to the root, bytes, modification time in ns, SHA-256.
Entry = tuple[str, int, int, bytes]
FactsOf = Callable[[int], PictureFacts]


def indexed_library(work: Path, photos: Path) -> Path:
    """Return a library in which the folder `photos` was really indexed, by the command line."""
    library, done = _place(work, f"indexed-{photos.name}")
    if not done.exists():
        say(f"indexing {photos} ...")
        measured([*imgsearch_command(), "index", str(photos), "--library", str(library)])
        done.touch()
    return library


def library_of_files(work: Path, photos: Path, facts_of: FactsOf | None = None) -> Path:
    """Return a library that knows the files below `photos` truly, but with random vectors.

    `facts_of` says what the catalog holds of the picture of each number; the same of all without.
    """
    library, done = _place(work, f"files-{photos.name}")
    if not done.exists():
        say(f"making a catalog of {photos} ...")
        _fill(library, photos, _entries(photos), 0, facts_of or _same_facts)
        done.touch()
    return library


def synthetic_library(work: Path, count: int, seed: int, model: str = "starter") -> Path:
    """Return a library of `count` pictures that exist nowhere, with random vectors.

    They are those of `model`, which is what `load_encoder` takes; but for the starter, the vectors
    of texts that every library needs are not made.
    """
    name = "" if model == "starter" else f"-{Path(model).name}"
    library, done = _place(work, f"synthetic-{count}-seed{seed}{name}")
    if not done.exists():
        say(f"making a catalog of {count} pictures ...")
        _fill(library, work / "nowhere", _invented(count), seed, model=model)
        done.touch()
    return library


def _place(work: Path, name: str) -> tuple[Path, Path]:
    """Return the folder of a library, empty unless it is finished, and the file that says so."""
    # Neither another model's vectors nor another version's tables may be measured.
    folder = work / f"library-{name}-{starter_revision()}-schema{SCHEMA_VERSION}"
    done = folder.with_name(folder.name + ".done")
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
    return folder, done


def _entries(folder: Path) -> Iterator[Entry]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            facts = os.stat(path)
            digest = hashlib.sha256(Path(path).read_bytes()).digest()
            yield os.path.relpath(path, folder), facts.st_size, facts.st_mtime_ns, digest


def _invented(count: int) -> Iterator[Entry]:
    for number in range(count):
        path = f"{2000 + number // 5_000}/holidays/IMG_{number:07d}.jpg"
        digest = hashlib.sha256(path.encode()).digest()
        yield path, 50_000 + number, 1_600_000_000_000_000_000 + number, digest


def _same_facts(_: int) -> PictureFacts:
    return _FACTS


def _fill(
    library: Path,
    root: Path,
    entries: Iterable[Entry],
    seed: int,
    facts_of: FactsOf = _same_facts,
    model: str = "starter",
) -> None:
    """Store the entries with random unit vectors, as if `model` had computed them."""
    random = np.random.default_rng(seed)
    known = load_encoder(model).description
    stream = enumerate(entries)
    with Catalog(library) as catalog:
        model_id = catalog.register_model(known.name, known.revision, known.source, known.dimension)
        catalog.activate_model(model_id)
        root_id = catalog.add_root(os.path.realpath(root))
        store = PhotoStore(catalog, model_id)
        while page := list(islice(stream, _BATCH)):
            vectors = random.standard_normal((len(page), known.dimension), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            store.store(
                [
                    NewPhoto(
                        FileStat(root_id, path, size, mtime),
                        digest,
                        facts_of(number),
                        row.tobytes(),
                    )
                    for (number, (path, size, mtime, digest)), row in zip(
                        page, vectors.astype("<f2"), strict=True
                    )
                ]
            )
        catalog.mark_scanned([root_id])


def warmed(library: Path) -> Path:
    """Ask one query, so that the library's FAISS cache exists and all its files were read once."""
    done = measured([*imgsearch_command(), "query", "a warm-up", "--library", str(library)])
    if not done.output.strip():
        raise CannotMeasure(f"a query over {library} found nothing")
    return library
