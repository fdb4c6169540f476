"""One run of ``imgsearch index``: compare folders with the catalog, then do what follows."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import catalog_path
from imgsearch.data.index_ladder import import_faiss
from imgsearch.data.lock import writer_lock
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import FailureKind
from imgsearch.data.scan_table import (
    Change,
    GoneFile,
    PendingFile,
    ScanTable,
    Scope,
    gone_by_picture,
)
from imgsearch.data.thumbnail_store import ThumbnailStore
from imgsearch.data.vector_cache import VectorCache
from imgsearch.encoders import Encoder
from imgsearch.indexer.content import sniff
from imgsearch.indexer.pipeline import Pipeline
from imgsearch.indexer.report import IndexReport, ProgressCallback
from imgsearch.indexer.reread import reread_details
from imgsearch.indexer.roots import Target, check_folders, targets
from imgsearch.indexer.scan import Scanner, ScanNotes
from imgsearch.settings import IndexSettings


def index_folders(
    library: Path,
    paths: Sequence[str | Path],
    encoder: Encoder,
    *,
    excludes: Sequence[str],
    retry_failed: bool,
    dry_run: bool,
    progress: ProgressCallback,
    should_stop: Callable[[], bool],
    settings: IndexSettings,
) -> IndexReport:
    """Bring the library folder `library` up to date with the photos below `paths`.

    Committed work is never lost: when `should_stop` turns true, or the process is killed, a further
    run goes on from there. With `dry_run` everything up to the decoding happens in a transaction
    that is undone. Raises FolderInvalid, ExtraMissing, a ModelError, or a LibraryError.
    """
    started = time.monotonic()
    folders = check_folders(paths, library)
    # Found out now rather than after hours of embedding.
    import_faiss()
    report = IndexReport(model=encoder.description.name, dry_run=dry_run)
    scanner = Scanner(library, tuple(excludes))
    with contextlib.ExitStack() as stack:
        place = library
        if dry_run and not catalog_path(library).exists():
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        catalog = stack.enter_context(Catalog(place))
        stack.enter_context(catalog.rehearsal() if dry_run else writer_lock(place))
        run = _Run(place, catalog, encoder, settings, report, retry_failed)
        run.scan(folders, scanner)
        if dry_run:
            run.predict()
        else:
            run.execute(progress, should_stop)
    report.seconds = time.monotonic() - started
    return report


class _Run:
    def __init__(
        self,
        library: Path,
        catalog: Catalog,
        encoder: Encoder,
        settings: IndexSettings,
        report: IndexReport,
        retry_failed: bool,
    ) -> None:
        self._retry_failed = retry_failed
        self._library = library
        self._catalog = catalog
        self._encoder = encoder
        self._settings = settings
        self._report = report
        self._table = ScanTable(catalog)
        self._notes = ScanNotes()
        self._targets: list[Target] = []
        self._clean: list[Scope] = []
        self._gone: list[GoneFile] = []
        self._pending = 0
        identity = encoder.description
        self._model_id = catalog.register_model(
            identity.name, identity.revision, identity.source, identity.dimension
        )

    def scan(self, folders: Sequence[str], scanner: Scanner) -> None:
        """List the folders' files and compare them with the catalog."""
        self._targets = targets(self._catalog, folders, scanner)
        for target in self._targets:
            scope = target.scope
            walk = scanner.walk(target.root, scope.root_id, scope.prefix, self._notes)
            self._table.add(walk)
        self._clean = self._scopes_to_clean()
        self._gone = self._table.gone(self._clean, self._notes.unreadable)
        report, table = self._report, self._table
        report.links_skipped = self._notes.links_skipped
        report.unreadable = self._notes.unreadable_paths
        report.removed = len(self._gone)
        report.failed = table.count_set_aside(self._model_id, FailureKind.DAMAGED)
        if self._retry_failed:
            report.failed = 0
        no_images = table.count_set_aside(self._model_id, FailureKind.NO_IMAGE)
        self._pending = table.count_pending(self._model_id, retry_failed=self._retry_failed)
        report.unchanged = table.count() - self._pending - report.failed - no_images

    def _scopes_to_clean(self) -> list[Scope]:
        """Return the scopes whose missing files may be forgotten.

        A root that is an empty folder now, and was not before, looks like the mount point of a disk
        that is not plugged in: its photos are kept until they are removed by name.
        """
        scopes = []
        for target in self._targets:
            whole = not target.scope.prefix
            if whole and _is_empty(target.root):
                if self._table.holds_files(target.scope.root_id):
                    self._report.kept_roots.append(target.root)
                continue
            scopes.append(target.scope)
        return scopes

    def predict(self) -> None:
        """Fill the report with what a run would do, as far as names, sizes and times can tell."""
        root_paths = {target.scope.root_id: target.root for target in self._targets}
        for item in self._pending_files():
            path = os.path.join(root_paths[item.file.root_id], item.file.path)
            if item.sniff and not _is_image(path):
                continue
            if item.change is Change.NEW:
                self._report.added += 1
            elif item.change is Change.CHANGED:
                self._report.changed += 1
            else:
                self._report.unchanged += 1

    def execute(self, progress: ProgressCallback, should_stop: Callable[[], bool]) -> None:
        """Do the work, then bring the catalog's book-keeping and the FAISS cache up to date."""
        if self._catalog.active_model() is None:
            # From the first committed batch on, queries have a model to ask.
            self._catalog.activate_model(self._model_id)
        store = PhotoStore(self._catalog, self._model_id)
        lost: Counter[int] = gone_by_picture(self._gone)
        store.remove_files([item.file_id for item in self._gone])
        root_paths = {target.scope.root_id: target.root for target in self._targets}
        if self._pending:
            with ThumbnailStore(self._library) as thumbnails:
                pipeline = Pipeline(
                    store, thumbnails, self._encoder, root_paths, lost, self._report, self._settings
                )
                pipeline.run(self._pending_files(), self._pending, progress, should_stop)
        if self._report.interrupted:
            return
        outdated = self._table.count_outdated()
        if not reread_details(
            self._catalog,
            self._table,
            root_paths,
            self._encoder.description.preprocessing,
            self._settings,
            progress,
            should_stop,
        ):
            self._report.interrupted = True
            return
        self._table.forget_gone_failures(self._clean, self._notes.unreadable)
        self._catalog.mark_scanned(sorted(root_paths))
        if store.purge_orphans(self._settings.orphan_days):
            with ThumbnailStore(self._library) as thumbnails:
                thumbnails.prune()
        self._report.without_vectors = store.count_without_vectors()
        if store.has_vectors() and self._may_take_over():
            self._catalog.activate_model(self._model_id)
        active = self._catalog.active_model()
        self._report.active_model = active[0] if active else self._report.model
        self._refresh_cache(should_stop)

    def _may_take_over(self) -> bool:
        """Tell whether queries can go over to this run's model without missing any picture."""
        if not self._report.without_vectors:
            return True
        with CatalogReader(self._library) as reader:
            active = reader.active_model()
            return active is None or not len(reader.visible_ids(active.id))

    def _pending_files(self) -> Iterator[PendingFile]:
        return self._table.pending(self._model_id, retry_failed=self._retry_failed)

    def _refresh_cache(self, should_stop: Callable[[], bool]) -> None:
        """Let searches find everything at once, which then need not wait for it."""
        with CatalogReader(self._library) as reader:
            model = reader.active_model()
            if model is None:
                return
            cache = VectorCache(self._library, model)
            if cache.is_behind(reader):
                cache.load(reader)
                cache.improve(reader, should_stop)


def _is_empty(folder: str) -> bool:
    """Tell whether a folder holds nothing at all, or cannot be listed (any more)."""
    try:
        return not os.listdir(folder)
    except OSError:
        return True


def _is_image(path: str) -> bool:
    try:
        return sniff(path)
    except OSError:
        return False
