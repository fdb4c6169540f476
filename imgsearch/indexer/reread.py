"""Reading facts again: those that an older version has read less of, and those that were damaged.

For the former, the pixels are not decoded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from imgsearch.data.catalog import Catalog
from imgsearch.data.fact_checksums import FACT_COLUMNS
from imgsearch.data.keyword_store import replace_details
from imgsearch.data.records import FailureKind, FileFailure
from imgsearch.data.scan_table import OutdatedPicture, ScanTable
from imgsearch.encoders.base import Preprocessing
from imgsearch.indexer.decode_pool import DecodePool
from imgsearch.indexer.decode_process import Decoded, Details, Outcome, Request
from imgsearch.indexer.report import Progress, ProgressCallback
from imgsearch.settings import IndexSettings

# Pictures that are under way.
PICTURES_AT_ONCE = 64
# Pictures stored in one transaction; metadata take about a millisecond each.
_BATCH = 500
_PROGRESS_SECONDS = 0.1


def reread_details(
    catalog: Catalog,
    table: ScanTable,
    root_paths: dict[int, str],
    preprocessing: Preprocessing,
    settings: IndexSettings,
    progress: ProgressCallback,
    should_stop: Callable[[], bool],
) -> bool:
    """Bring the facts of scanned pictures up to date; return whether it came to the end.

    When `should_stop` turns true, what was read is stored, and a further run goes on from there. A
    file that cannot be read at present is left for the next run.
    """
    total = table.count_outdated()
    if not total:
        return True
    started, shown, done = time.monotonic(), 0.0, 0
    pictures: dict[tuple[int, str], OutdatedPicture] = {}

    def requests() -> Iterator[Request]:
        for item in table.outdated():
            pictures[item.file.root_id, item.file.path] = item
            path = os.path.join(root_paths[item.file.root_id], item.file.path)
            yield Request(item.file, path, details_only=not item.suspect)

    batch: dict[int, dict[str, Any]] = {}
    stopped = False
    with DecodePool(preprocessing, settings.limits, settings.worker_count(total)) as pool:
        for outcomes in pool.outcomes(requests(), PICTURES_AT_ONCE):
            for outcome in outcomes:
                picture = pictures.pop((outcome.file.root_id, outcome.file.path))
                values = _values(outcome, picture)
                if values is not None:
                    batch[picture.picture_id] = values
                done += 1
            if len(batch) >= _BATCH:
                replace_details(catalog, batch)
                batch.clear()
            now = time.monotonic()
            if now - shown >= _PROGRESS_SECONDS:
                shown = now
                progress(Progress(done, total, 0, now - started))
            stopped = should_stop()
            if stopped:
                break
    replace_details(catalog, batch)
    return not stopped


def _values(outcome: Outcome, picture: OutdatedPicture) -> dict[str, Any] | None:
    """Return the details to store, none at all for what will not say more the next time either."""
    if isinstance(outcome, Details):
        return outcome.values
    if isinstance(outcome, Decoded):
        same = outcome.content_hash == picture.content_hash
        facts = {name: getattr(outcome.facts, name) for name in (*FACT_COLUMNS, "keywords")}
        return {"byte_size": outcome.file.size, **facts} if same else None
    hopeless = isinstance(outcome, FileFailure) and outcome.kind is FailureKind.DAMAGED
    return {} if hopeless and not picture.suspect else None
