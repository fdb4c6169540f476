"""One run of ``imgsearch index``: compare folders with the catalog, then do what follows."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import catalog_path
from imgsearch.data.lock import writer_lock
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.reader import CatalogReader
from imgsearch.data.scan_table import Change, GoneFile, ScanTable, Scope, gone_by_picture
from imgsearch.data.vector_cache import VectorCache
from imgsearch.encoders import Encoder
from imgsearch.indexer.pipeline import Pipeline
from imgsearch.indexer.report import IndexReport, ProgressCallback
from imgsearch.indexer.roots import Target, check_folders, targets
from imgsearch.indexer.scan import Scanner, ScanNotes
from imgsearch.settings import IndexSettings


def index_folders(
    library: Path,
    paths: Sequence[str | Path],
    encoder: Encoder,
    *,
    excludes: Sequence[str],
    dry_run: bool,
    progress: ProgressCallback,
    should_stop: Callable[[], bool],
    settings: IndexSettings,
) -> IndexReport:
    """Bring the library folder `library` up to date with the photos below `paths`.

    Committed work is never lost: when `should_stop` turns true, or the process is killed, a further
    run goes on from there. With `dry_run` nothing is written and no photo is opened. Raises
    FolderInvalid, or a LibraryError if the library cannot be written.
    """
    started = time.monotonic()
    folders = check_folders(paths, library)
    report = IndexReport(model=encoder.description.name, dry_run=dry_run)
    with contextlib.ExitStack() as stack:
        place = library
        if dry_run and not catalog_path(library).exists():
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        catalog = stack.enter_context(Catalog(place))
        if not dry_run:
            stack.enter_context(writer_lock(place))
        run = _Run(place, catalog, encoder, settings, report)
        run.scan(folders, Scanner(library, tuple(excludes)))
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
    ) -> None:
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
        self._model_id = (
            catalog.find_model(identity.name, identity.revision)
            if report.dry_run
            else catalog.register_model(
                identity.name, identity.revision, identity.source, identity.dimension
            )
        )

    def scan(self, folders: Sequence[str], scanner: Scanner) -> None:
        """List the folders' files and compare them with the catalog."""
        self._targets = targets(self._catalog, folders, dry_run=self._report.dry_run)
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
        report.failed = table.count_known_failures()
        self._pending = table.count_pending(self._model_id)
        report.unchanged = table.count() - self._pending - report.failed

    def _scopes_to_clean(self) -> list[Scope]:
        """Return the scopes whose missing files may be forgotten.

        A root that is an empty folder now, and was not before, looks like the mount point of a disk
        that is not plugged in: its photos are kept until they are removed by name.
        """
        scopes = []
        for target in self._targets:
            whole = not target.scope.prefix
            if whole and not os.listdir(target.root):
                if self._table.holds_files(target.scope.root_id):
                    self._report.kept_roots.append(target.root)
                continue
            scopes.append(target.scope)
        return scopes

    def predict(self) -> None:
        """Fill the report with what a run would do, as far as names, sizes and times can tell."""
        for item in self._table.pending(self._model_id):
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
            pipeline = Pipeline(
                store, self._encoder, root_paths, lost, self._report, self._settings
            )
            pending = self._table.pending(self._model_id)
            pipeline.run(pending, self._pending, progress, should_stop)
        if self._report.interrupted:
            return
        self._table.forget_gone_failures(self._clean, self._notes.unreadable)
        self._catalog.mark_scanned(sorted(root_paths))
        store.purge_orphans(self._settings.orphan_days)
        self._catalog.activate_model(self._model_id)
        if self._pending or self._gone:
            self._refresh_cache()

    def _refresh_cache(self) -> None:
        with CatalogReader(self._library) as reader:
            model = reader.active_model()
            if model is not None:
                VectorCache(self._library, model).load(reader)
