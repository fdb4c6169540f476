"""What a library holds, in numbers."""

from __future__ import annotations

import os
from pathlib import Path

from imgsearch.data.connection import CACHE_FOLDER, catalog_path
from imgsearch.data.paths import from_stored
from imgsearch.data.presence import is_offline
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import FailedFile, FailureKind, LibraryStatus, ModelStatus, RootStatus
from imgsearch.data.signature_store import FILE_NAME as SIMILAR
from imgsearch.data.thumbnail_store import FILE_NAME as THUMBNAILS


def read_status(reader: CatalogReader) -> LibraryStatus:
    """Count what the library holds. Raises a LibraryError if the catalog cannot be read."""
    if reader.is_uninitialised():
        return LibraryStatus(str(reader.library), (), 0, 0, 0, (), 0, 0, 0)
    with reader.snapshot():
        roots = _roots(reader)
        models = _models(reader)
        [(pictures, orphans)] = reader.rows(
            "SELECT (SELECT count(*) FROM picture),"
            " (SELECT count(*) FROM picture WHERE orphaned_at IS NOT NULL)"
        )
    catalog = catalog_path(reader.library)
    catalog_bytes = sum(
        _size(catalog.with_name(catalog.name + end)) for end in ("", "-wal", "-shm")
    )
    cache = reader.library / CACHE_FOLDER
    return LibraryStatus(
        library=str(reader.library),
        roots=roots,
        pictures=pictures - orphans,
        files=sum(root.files for root in roots),
        failed=sum(root.failed for root in roots),
        models=models,
        catalog_bytes=catalog_bytes,
        cache_bytes=sum(_size(path) for path in cache.glob("*")),
        thumbnail_bytes=sum(_size(path) for path in reader.library.glob(f"{THUMBNAILS}*")),
        similar_bytes=sum(_size(path) for path in reader.library.glob(f"{SIMILAR}*")),
    )


def _roots(reader: CatalogReader) -> tuple[RootStatus, ...]:
    rows = reader.rows(
        "SELECT r.id, r.path, (SELECT count(*) FROM failure x WHERE x.root_id = r.id"
        " AND x.kind != ?), r.scanned_at FROM root r ORDER BY r.path",
        FailureKind.NO_IMAGE.value,
    )
    files = _counts(reader, "file", "root_id", [row[0] for row in rows])
    offline = reader.offline_folders()
    roots = []
    for id_, stored, failed, scanned_at in rows:
        path = from_stored(stored)
        away = tuple(one for one in offline if is_offline(one, (path,)))
        roots.append(RootStatus(path, files[id_], failed, path not in away, scanned_at, away))
    return tuple(roots)


def _models(reader: CatalogReader) -> tuple[ModelStatus, ...]:
    models, active = reader.models(), reader.active_model()
    vectors = _counts(reader, "embedding", "model_id", [model.id for model in models])
    return tuple(
        ModelStatus(model.name, model.revision, model.dimension, vectors[model.id], model == active)
        for model in models
    )


def _counts(reader: CatalogReader, table: str, column: str, owners: list[int]) -> dict[int, int]:
    """Return how many rows of a table belong to each of its owners.

    SQLite counts all rows of a table by its pages, fifteen times as fast as some of them. So one of
    the owners, often the only one, has what the others have not.
    """
    if not owners:
        return {}
    first, *others = owners
    counted = {
        owner: reader.rows(f"SELECT count(*) FROM {table} WHERE {column} = ?", owner)[0][0]
        for owner in others
    }
    [(total,)] = reader.rows(f"SELECT count(*) FROM {table}")
    return {first: total - sum(counted.values()), **counted}


def read_failures(reader: CatalogReader) -> list[FailedFile]:
    """Return every file that could not be read, with its reason, by path."""
    if reader.is_uninitialised():
        return []
    rows = reader.rows(
        "SELECT r.path, x.path, x.reason FROM failure x JOIN root r ON r.id = x.root_id"
        " WHERE x.kind != ?",
        FailureKind.NO_IMAGE.value,
    )
    failures = [
        FailedFile(os.path.join(from_stored(root), from_stored(path)), reason)
        for root, path, reason in rows
    ]
    return sorted(failures, key=lambda failure: failure.path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
