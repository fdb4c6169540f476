"""One run of ``imgsearch index``: compare folders with the catalog, then do what follows."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import catalog_path
from imgsearch.data.index_ladder import import_faiss
from imgsearch.data.lock import writer_lock
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.place_store import keep_places
from imgsearch.data.presence import is_offline, read_places
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import FailureKind
from imgsearch.data.scan_marks import file_clock_ns, last_scan, note_scan
from imgsearch.data.scan_table import Change, PendingFile, ScanTable
from imgsearch.data.scopes import Scope
from imgsearch.data.thumbnail_store import ThumbnailStore
from imgsearch.data.vector_cache import VectorCache
from imgsearch.encoders import Encoder
from imgsearch.indexer.content import sniff
from imgsearch.indexer.pipeline import Pipeline
from imgsearch.indexer.report import IndexReport, ProgressCallback
from imgsearch.indexer.reread import reread_details
from imgsearch.indexer.roots import Target, changed_targets, check_folders, targets
from imgsearch.indexer.scan import Pulse, Scanner, ScanNotes, ScanStopped
from imgsearch.indexer.stages import NO_STAGES, Stage, Stages
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
    stages: Stages = NO_STAGES,
) -> IndexReport:
    """Bring the library folder `library` up to date with the photos below `paths`.

    Committed work is never lost: when `should_stop` turns true, or the process is killed, a further
    run goes on from there. With `dry_run` everything up to the decoding happens in a transaction
    that is undone. Raises FolderInvalid, ExtraMissing, a ModelError, or a LibraryError.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        with stages.timed(Stage.START):
            offline = _offline_folders(library)
            folders = check_folders(paths, library, offline)
            # Found out now rather than after hours of embedding.
            import_faiss()
            report = IndexReport(model=encoder.description.name, dry_run=dry_run)
            scanner = Scanner(library, tuple(excludes), offline)
            place = library
            if dry_run and not catalog_path(library).exists():
                place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            catalog = stack.enter_context(Catalog(place))
            stack.enter_context(catalog.rehearsal() if dry_run else writer_lock(place))
            report.lost_catalog = catalog.loss()
            if not dry_run:
                _forget_lost_commits(place)
            run = _Run(place, catalog, encoder, settings, report, retry_failed, stages)
        try:
            run.scan(folders, scanner, Pulse(should_stop))
        except ScanStopped:
            report.interrupted = True
        else:
            if dry_run:
                run.predict()
            else:
                run.execute(progress, should_stop)
                if report.lost_catalog and not report.interrupted:
                    catalog.forget_loss()
    report.seconds = time.monotonic() - started
    return report


def index_changes(
    library: Path,
    paths: Iterable[str],
    encoder: Encoder,
    *,
    excludes: Sequence[str],
    is_present: Callable[[str], bool],
    progress: ProgressCallback,
    should_stop: Callable[[], bool],
    settings: IndexSettings,
) -> IndexReport:
    """Bring the library up to date with some files and folders below its roots, and no others.

    `paths` are absolute, there or not; what is in no root is left alone. The cost is that
    of what is at and below them, not that of the library. Files that failed before are tried again,
    for something has happened to them. After the look at the files, `is_present` is asked for every
    path whether the folder that it was seen in is there still: what lay in one that is not is kept,
    as that of an unplugged disk. The FAISS cache is left to `refresh_index`: queries bring it up to
    date in memory meanwhile. Raises a ModelError or a LibraryError.
    """
    started = time.monotonic()
    report = IndexReport(model=encoder.description.name)
    scanner = Scanner(library, tuple(excludes))
    with Catalog(library) as catalog, writer_lock(library):
        run = _Run(library, catalog, encoder, settings, report, retry_failed=True)
        run.scan_changes(changed_targets(catalog, paths, scanner), scanner, is_present)
        run.work(progress, should_stop)
    report.seconds = time.monotonic() - started
    return report


def refresh_index(library: Path, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Bring the FAISS cache of the active model up to date: a search then need not wait for it.

    Raises a LibraryError.
    """
    with CatalogReader(library) as reader:
        model = reader.active_model()
        if model is not None:
            cache = VectorCache(library, model)
            if not cache.is_complete(reader):
                cache.load(reader)
                cache.improve(reader, should_stop)
            cache.tidy()


class _Run:
    def __init__(
        self,
        library: Path,
        catalog: Catalog,
        encoder: Encoder,
        settings: IndexSettings,
        report: IndexReport,
        retry_failed: bool,
        stages: Stages = NO_STAGES,
    ) -> None:
        self._stages = stages
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
        self._pending = 0
        self._began_ns = 0
        identity = encoder.description
        self._model_id = catalog.register_model(
            identity.name, identity.revision, identity.source, identity.dimension
        )

    def scan(self, folders: Sequence[str], scanner: Scanner, pulse: Pulse) -> None:
        """List the folders' files and compare them with the catalog. Raises ScanStopped."""
        with CatalogReader(self._library) as reader:
            found = targets(self._catalog, reader, folders, scanner, scanner.offline)
        self._targets = found.scans
        self._report.kept_roots = found.kept
        self._report.moved_roots = found.moved
        self._report.doubtful_roots = found.doubtful
        self._began_ns = file_clock_ns()
        scopes = [target.scope for target in self._targets]
        self._table.know(self._model_id, scopes, pulse)
        for target in self._targets:
            since_ns = last_scan(self._catalog, target.scope)
            walk = scanner.walk(target.root, target.scope, self._notes, pulse, since_ns)
            with self._stages.timed(Stage.COMPARE):
                self._table.add(self._stages.paged(walk, Stage.WALK))
        self._clean = self._scopes_to_clean()
        with self._stages.timed(Stage.COMPARE):
            self._compare()

    def scan_changes(
        self, changed: list[Target], scanner: Scanner, is_present: Callable[[str], bool]
    ) -> None:
        """Look at some files and folders and compare them with the catalog."""
        self._targets = changed
        looks = (scanner.look(target.root, target.scope, self._notes) for target in changed)
        self._table.add(chain.from_iterable(looks))
        self._clean = [
            target.scope
            for target in changed
            if target.scope.prefix and is_present(os.path.join(target.root, target.scope.prefix))
        ]
        self._compare()

    def _compare(self) -> None:
        gone = self._table.find_gone(self._clean, self._notes.unreadable)
        report, table = self._report, self._table
        report.links_skipped = self._notes.links_skipped
        report.unreadable = self._notes.unreadable_paths
        report.removed = gone
        report.failed = table.count_set_aside(self._model_id, FailureKind.DAMAGED)
        if self._retry_failed:
            report.failed = 0
        no_images = table.count_set_aside(self._model_id, FailureKind.NO_IMAGE)
        self._pending = table.count_pending(self._model_id, retry_failed=self._retry_failed)
        report.unchanged = table.count() - self._pending - report.failed - no_images

    def _scopes_to_clean(self) -> list[Scope]:
        """Return the scopes whose missing files may be forgotten.

        What is offline now, though it was there before the scan, is kept: a disk was pulled out. A
        root that is an empty folder looks like the mount point of such a disk. Their photos are
        kept until they are removed by name.
        """
        scopes = []
        with CatalogReader(self._library) as reader:
            offline = reader.offline_folders()
        for target in self._targets:
            scope = target.scope
            folder = os.path.join(target.root, scope.prefix) if scope.prefix else target.root
            if is_offline(folder, offline):
                self._report.kept_roots.append(folder)
                continue
            if not scope.prefix and _is_empty(folder):
                continue
            away = [one for one in offline if is_offline(one, (folder,))]
            self._report.kept_roots += away
            self._notes.unreadable += [
                Scope(scope.root_id, os.path.relpath(one, target.root)) for one in away
            ]
            scopes.append(scope)
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
        # Now rather than at the end, which a run may not come to.
        self._keep_places()
        if not self.work(progress, should_stop):
            return
        self._catalog.mark_scanned(sorted({target.scope.root_id for target in self._targets}))
        for target in self._targets:
            note_scan(self._catalog, target.scope, self._began_ns)
        store = PhotoStore(self._catalog, self._model_id)
        self._report.without_vectors = store.count_without_vectors()
        if store.has_vectors() and self._may_take_over():
            self._catalog.activate_model(self._model_id)
        active = self._catalog.active_model()
        self._report.active_model = active[0] if active else self._report.model
        # Also where nothing was done: the run before may have been killed before it came to this.
        with self._stages.timed(Stage.FINISH):
            refresh_index(self._library, should_stop)

    def work(self, progress: ProgressCallback, should_stop: Callable[[], bool]) -> bool:
        """Take out what is gone and put in what needs work; return whether it came to the end."""
        store = PhotoStore(self._catalog, self._model_id)
        lost = self._table.lost_paths()
        for page in self._table.gone():
            store.remove_files(page)
        root_paths = {target.scope.root_id: target.root for target in self._targets}
        if self._pending:
            with ThumbnailStore(self._library) as thumbnails:
                pipeline = Pipeline(
                    store,
                    thumbnails,
                    self._encoder,
                    root_paths,
                    lost,
                    self._report,
                    self._settings,
                    self._stages,
                )
                pipeline.run(self._pending_files(), self._pending, progress, should_stop)
        if self._report.interrupted:
            return False
        with self._stages.timed(Stage.METADATA):
            whole = reread_details(
                self._catalog,
                self._table,
                root_paths,
                self._encoder.description.preprocessing,
                self._settings,
                progress,
                should_stop,
            )
        if not whole:
            self._report.interrupted = True
            return False
        self._table.forget_gone_failures(self._clean, self._notes.unreadable)
        if store.purge_orphans(self._settings.orphan_days):
            with ThumbnailStore(self._library) as thumbnails:
                thumbnails.prune()
        return True

    def _keep_places(self) -> None:
        """Remember the file systems that the scanned folders lie on, and forget no offline one."""
        with CatalogReader(self._library) as reader:
            for target in self._targets:
                root_id, scanned = target.scope.root_id, target.scope
                met = {
                    scope.prefix: place
                    for scope, place in self._notes.places.items()
                    if scope.root_id == root_id
                }
                known = {
                    prefix: place
                    for prefix, place in read_places(reader, root_id).items()
                    if not scanned.covers(root_id, prefix)
                    or is_offline(os.path.join(target.root, prefix), self._report.kept_roots)
                }
                # What a folder was before it went offline counts: the scan met its mount point.
                if met | known != read_places(reader, root_id):
                    keep_places(self._catalog, root_id, met | known)

    def _may_take_over(self) -> bool:
        """Tell whether queries can go over to this run's model without missing any picture."""
        if not self._report.without_vectors:
            return True
        with CatalogReader(self._library) as reader:
            active = reader.active_model()
            return active is None or not len(reader.visible_ids(active.id))

    def _pending_files(self) -> Iterator[PendingFile]:
        return self._table.pending(self._model_id, retry_failed=self._retry_failed)


def _forget_lost_commits(library: Path) -> None:
    with CatalogReader(library) as reader:
        for model in reader.models():
            VectorCache(library, model).forget_lost_commits(reader)


def _offline_folders(library: Path) -> tuple[str, ...]:
    """Return what is offline of a library that may not be there yet."""
    if not catalog_path(library).is_file():
        return ()
    with CatalogReader(library) as reader:
        return reader.offline_folders()


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
