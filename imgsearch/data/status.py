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
    rows = reader.rows(
        "SELECT r.path, (SELECT count(*) FROM file f WHERE f.root_id = r.id),"
        " (SELECT count(*) FROM failure x WHERE x.root_id = r.id AND x.kind != ?), r.scanned_at"
        " FROM root r ORDER BY r.path",
        FailureKind.NO_IMAGE.value,
    )
    offline = reader.offline_folders()
    roots = []
    for stored, files, failed, scanned_at in rows:
        path = from_stored(stored)
        away = tuple(one for one in offline if is_offline(one, (path,)))
        roots.append(RootStatus(path, files, failed, path not in away, scanned_at, away))
    active = reader.active_model()
    counts = dict(reader.rows("SELECT model_id, count(*) FROM embedding GROUP BY model_id"))
    models = tuple(
        ModelStatus(
            model.name, model.revision, model.dimension, counts.get(model.id, 0), model == active
        )
        for model in reader.models()
    )
    [(pictures,)] = reader.rows("SELECT count(*) FROM picture WHERE orphaned_at IS NULL")
    catalog = catalog_path(reader.library)
    catalog_bytes = sum(
        _size(catalog.with_name(catalog.name + end)) for end in ("", "-wal", "-shm")
    )
    cache = reader.library / CACHE_FOLDER
    return LibraryStatus(
        library=str(reader.library),
        roots=tuple(roots),
        pictures=pictures,
        files=sum(root.files for root in roots),
        failed=sum(root.failed for root in roots),
        models=models,
        catalog_bytes=catalog_bytes,
        cache_bytes=sum(_size(path) for path in cache.glob("*")),
        thumbnail_bytes=sum(_size(path) for path in reader.library.glob(f"{THUMBNAILS}*")),
        similar_bytes=sum(_size(path) for path in reader.library.glob(f"{SIMILAR}*")),
    )


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
