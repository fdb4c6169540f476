"""The public face: a library of photos that can be indexed and searched."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from imgsearch.encoders import STARTER, Encoder, load_encoder
from imgsearch.errors import PhotoNotFound, QueryInvalid, UsageError
from imgsearch.settings import IndexSettings, default_library_path, preferred_model

if TYPE_CHECKING:
    from imgsearch.data.backup import BackupSummary
    from imgsearch.data.facets import Facets
    from imgsearch.data.filters import Filters
    from imgsearch.data.reader import CatalogReader, StoredPicture
    from imgsearch.data.records import FailedFile, LibraryStatus, ModelListing, ModelStatus
    from imgsearch.data.restoring import RestoreSummary
    from imgsearch.data.thumbnail_store import ThumbnailStore
    from imgsearch.doctor.findings import DoctorReport
    from imgsearch.indexer.guarded import GuardedDecoder
    from imgsearch.indexer.report import IndexReport, Progress
    from imgsearch.search.engine import QueryEngine
    from imgsearch.search.heat import HeatMap, HeatMapper
    from imgsearch.search.near_duplicates import DuplicateGroup
    from imgsearch.search.originals import PhotoFile
    from imgsearch.search.query import PictureReference, Query
    from imgsearch.search.results import SearchHit, SearchResults

    # What `search(like=...)` takes as one picture.
    PictureArgument = (
        str | os.PathLike[str] | int | PictureReference | tuple[str | int | PictureReference, float]
    )


def _silent(*_: object) -> None:
    """Show no progress."""


def _never() -> bool:
    """Never ask to stop."""
    return False


class Library:
    """A folder with a catalog, an index and nothing of the photos themselves.

        library = Library.open()
        library.index(["~/Pictures"])
        for hit in library.search("a cup of coffee"):
            print(hit.score, hit.path)

    Encoder and index stay loaded between searches. Searches, and all else that only reads, may come
    from several threads, which take turns.
    """

    # The rooms are imported inside the methods, because a cold query has no time for what only the
    # indexer needs, and neither has a re-scan for what only a query needs.

    def __init__(
        self, path: Path, encoder: Encoder | None = None, device: str | None = None
    ) -> None:
        """Use `open` instead, which finds the default library and loads models by name."""
        self.path = path
        self._device = device
        self._encoder = encoder
        self._loads_models = encoder is None
        self._engine: QueryEngine | None = None
        self._thumbnails: ThumbnailStore | None = None
        self._guarded: GuardedDecoder | None = None
        self._mapper: HeatMapper | None = None
        self._lock = threading.RLock()
        self._groups: tuple[object, tuple[DuplicateGroup, ...]] | None = None
        self._grouping = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        model: str | Encoder | None = None,
        device: str | None = None,
    ) -> Library:
        """Return the library in the folder `path` (default: `settings.default_library_path`).

        `model` is a name, a folder or an encoder; by default the library's active model, and for a
        new library the one pulled last or else the built-in starter. `device` ("cpu", "cuda:1",
        "mps") is where torch models compute, by default the best there is; `index` can use several
        ("cuda:0,cuda:1"), and by default takes all NVIDIA GPUs. Nothing is created before the first
        `index`. Raises ModelNotFound, ModelInvalid, ExtraMissing or UsageError.
        """
        if path is not None and not os.fspath(path):
            raise UsageError("The library's folder is an empty name. Give one with --library DIR")
        place = default_library_path() if path is None else os.path.expanduser(path)
        encoder = load_encoder(model, device) if isinstance(model, str) else model
        opened = cls(Path(os.path.realpath(place)), encoder, device)
        # An encoder that was handed over is its maker's own affair.
        opened._loads_models = model is None or isinstance(model, str)
        return opened

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release catalog, caches and processes; the library can be used again afterwards."""
        with self._lock:
            for part in (self._engine, self._thumbnails, self._guarded):
                if part is not None:
                    part.close()
            self._engine = self._thumbnails = self._guarded = self._mapper = None

    def index(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        excludes: str | Sequence[str] = (),
        retry_failed: bool = False,
        dry_run: bool = False,
        progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        settings: IndexSettings | None = None,
        profile: bool = False,
    ) -> IndexReport:
        """Bring the library up to date with the photos below the folders `paths`.

        New, changed, moved and deleted files are handled; unchanged ones cost a stat, and damaged
        ones too unless `retry_failed`. `progress` is
        called a few times a second; when `should_stop` returns True the batch in hand is finished
        and a further call goes on from there. With `profile` the report says where the time went;
        the encoder alone is measured for that, after the run. Raises FolderInvalid or a
        LibraryError.
        """
        from imgsearch.indexer.run import index_folders
        from imgsearch.models import try_new_model

        given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        encoder = self._encoder or load_encoder(self._default_model()[1], self._device)
        if self._loads_models and not dry_run:
            try_new_model(encoder, self._device, self._held_models())
        run = partial(
            index_folders,
            self.path,
            [os.fspath(path) for path in given],
            encoder,
            excludes=[excludes] if isinstance(excludes, str) else excludes,
            retry_failed=retry_failed,
            dry_run=dry_run,
            progress=progress or _silent,
            should_stop=should_stop or _never,
            settings=settings or IndexSettings(),
        )
        if profile:
            from imgsearch.indexer.profile import profiled

            report = profiled(run, encoder)
        else:
            report = run()
        if not dry_run:
            self._prepare_queries(encoder)
        return report

    def watch(
        self,
        roots: Iterable[str | os.PathLike[str]] | None = None,
        *,
        stop: Callable[[], bool],
        on_change: Callable[[IndexReport], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
        excludes: str | Sequence[str] = (),
        poll_seconds: float | None = None,
        model: str | None = None,
        settings: IndexSettings | None = None,
    ) -> None:
        """Keep the library up to date with the photos below `roots` until `stop` returns True.

        By default with all folders of the library. They may vanish and come back, or not be there
        yet. `on_change` is told about the first look through them, and each batch of changes;
        `on_note` what else happens, in a sentence. `poll_seconds`: look through the folders that
        often, because the system tells nothing about them (drives of other machines). The model,
        the library's or the one named `model`, is loaded when there is work, and let go after
        minutes without; an encoder that the library was opened with is kept. Other processes that
        write the library are waited for. Raises FolderInvalid, UsageError, or another
        ImgsearchError.
        """
        from imgsearch.indexer.encoder_keeper import EncoderKeeper
        from imgsearch.indexer.watch import FolderWatch, Listener, WatchOptions

        def choose() -> str | Encoder:
            return model or self._encoder or self._default_model()[1]

        FolderWatch(
            self.path,
            None if roots is None else [os.fspath(root) for root in roots],
            EncoderKeeper(choose, self._device),
            WatchOptions(
                (excludes,) if isinstance(excludes, str) else tuple(excludes),
                poll_seconds,
                settings or IndexSettings(),
            ),
            Listener(
                changed=on_change or _silent,
                noted=on_note or _silent,
                progress=progress or _silent,
                passed=self._prepare_queries,
            ),
            stop,
        ).run()

    def search(
        self,
        text: str | None = None,
        *,
        like: PictureArgument | list[PictureArgument] | None = None,
        without: str | Sequence[str] = (),
        limit: int = 10,
        offset: int = 0,
        filters: Filters | None = None,
        sort: str = "match",
        min_strength: int = 0,
        cut_off: bool = True,
        group: bool = True,
        good: Iterable[int] = (),
        bad: Iterable[int] = (),
        explain: bool = False,
    ) -> SearchResults:
        """Return the pictures that show what `text` says, or look like the picture `like`.

        `text` may have several parts, weights, and what is not wanted: ``"red car" + snow -people``
        (see `search.language`); `without` are further words that are not wanted. `like` is a path,
        the `picture_id` of a hit, what `look_at` returned, a pair of one of these and a weight, or
        a list of such.

        The results end where they stop matching well, unless `cut_off` is False or `min_strength`
        (0 to 100, see `search.strength`) is given; where nothing matches well, `matching` of the
        results is 0 and they are what comes closest. With `group`, frames of one moment are one
        result. `sort` is "match", "date" (newest first), "name" or "size" (largest first); without
        a query all pictures are listed in one of the last three orders. `good` and `bad` are ids of
        results to find more, or less, of. `explain` adds how each result answers each part. `limit`
        and `offset` page through the results.

        Raises QueryInvalid, ImageUnreadable, PhotoNotFound, LibraryNotFound, LibraryEmpty or
        another ImgsearchError.
        """
        from imgsearch.data.filters import Filters
        from imgsearch.search.query import Query, terms_of

        return self.answer(
            Query(
                terms=terms_of(text, like, without),
                limit=limit,
                offset=offset,
                filters=filters or Filters(),
                sort=sort,
                min_strength=min_strength,
                cut_off=cut_off,
                group=group,
                good=tuple(good),
                bad=tuple(bad),
                explain=explain,
            )
        )

    def answer(self, query: Query) -> SearchResults:
        """Return the results of a query object; `search` makes one and answers it.

        Raises what `search` raises.
        """
        return self.answer_all([query])[0]

    def answer_all(self, queries: Sequence[Query]) -> list[SearchResults]:
        """Return the results of several queries; all their words are encoded at once.

        Raises what `search` raises.
        """
        # A picture that its decoder hangs on must not hold up the searches of others.
        files = {file for query in queries for file in query.files}
        pixels = {file: self._single_decoder().pixels(file) for file in files}
        with self._lock:
            return self._queries().search_all(queries, pixels)

    def picture_id(self, path: str | os.PathLike[str]) -> int:
        """Return the id of the picture that a file of this library shows. Raises PhotoNotFound."""
        full = os.path.abspath(os.path.expanduser(path))
        with self._lock:
            found = self._queries().picture_at(full)
        if found is None:
            raise PhotoNotFound(f"{full} is not a photo of this library.")
        return found

    def save_search(self, name: str, query: Query) -> None:
        """Keep a search under a name, in the place of another of that name.

        Raises QueryInvalid for a name that cannot be shown, or a search by a picture that is kept
        nowhere; or a LibraryError.
        """
        from imgsearch.data.catalog import Catalog
        from imgsearch.data.connection import connect_read_only
        from imgsearch.data.saved_searches import keep_search
        from imgsearch.search.saved import checked_name, to_json

        named, kept = checked_name(name), to_json(query)
        connect_read_only(self.path).close()
        with Catalog(self.path) as catalog:
            keep_search(catalog, named, kept)

    def saved_searches(self) -> dict[str, Query]:
        """Return the searches that were saved, by name, in alphabetical order.

        Those that cannot be read are left out. Raises a LibraryError.
        """
        from imgsearch.search.saved import readable

        with self._lock:
            return readable(self._queries().saved())

    def saved_search(self, name: str) -> Query:
        """Return a search that was saved. Raises QueryInvalid where there is none to be read."""
        from imgsearch.search.saved import from_json, unknown_search

        with self._lock:
            kept = self._queries().saved()
        if name not in kept:
            raise unknown_search(name, kept)
        return from_json(kept[name])

    def forget_search(self, name: str) -> None:
        """Forget a search that was saved. Raises QueryInvalid if there is none of that name."""
        from imgsearch.data.catalog import Catalog
        from imgsearch.data.connection import connect_read_only
        from imgsearch.data.saved_searches import forget_search
        from imgsearch.search.saved import unknown_search

        connect_read_only(self.path).close()
        with Catalog(self.path) as catalog:
            if not forget_search(catalog, name):
                raise unknown_search(name, self.saved_searches())

    def facets(self) -> Facets:
        """Return what can be filtered by. Raises LibraryNotFound or another LibraryError."""
        with self._lock:
            return self._queries().facets()

    def pictures(self, picture_ids: Iterable[int]) -> tuple[SearchHit, ...]:
        """Return these pictures in the order given, without those that are gone (no scores)."""
        with self._lock:
            return self._queries().pictures(list(picture_ids))

    def look_at(self, content: bytes) -> PictureReference:
        """Return what `search(like=...)` needs of a picture that is given as a file's bytes.

        It is decoded in a process of its own, with the limits of indexing. Raises ImageUnreadable.
        """
        from imgsearch.search.query import PictureReference

        decoded = self._single_decoder().look_at(content)
        with self._lock:
            encoder = self._queries().encoder()
            vector = encoder.encode_images(decoded.pixels[None])[0]
        identity = encoder.description
        return PictureReference(
            vector, identity.name, identity.revision, decoded.thumbnail, decoded.content_hash.hex()
        )

    def thumbnail(self, content_hash: str) -> bytes:
        """Return a small JPEG of a picture of this library, made now if it is not in the cache.

        Raises PhotoNotFound or ImageUnreadable.
        """
        from imgsearch.search.originals import open_original

        digest, picture, roots = self._stored(content_hash)
        with self._lock:
            if self._thumbnails is None:
                from imgsearch.data.thumbnail_store import ThumbnailStore

                self._thumbnails = ThumbnailStore(self.path)
            thumbnails = self._thumbnails
        found = thumbnails.get(digest)
        if found is not None:
            return found
        photo = open_original(picture, roots)
        photo.stream.close()
        made_of, made = self._single_decoder().thumbnail(photo.path)
        if made_of != digest:
            raise PhotoNotFound("The photo has changed since it was indexed.")
        thumbnails.add({digest: made})
        return made

    def open_photo(self, content_hash: str) -> PhotoFile:
        """Open the original of a picture of this library. Raises PhotoNotFound."""
        from imgsearch.search.originals import open_original

        _, picture, roots = self._stored(content_hash)
        return open_original(picture, roots)

    def preview(self, content_hash: str, edge: int = 2_048) -> bytes:
        """Return a JPEG of a picture, its longer edge at most `edge` pixels, for any format.

        Raises PhotoNotFound or ImageUnreadable.
        """
        photo = self.open_photo(content_hash)
        photo.stream.close()
        made_of, made = self._single_decoder().preview(photo.path, edge)
        if made_of.hex() != content_hash.lower():
            raise PhotoNotFound("The photo has changed since it was indexed.")
        return made

    def heat_map(self, content_hash: str, words: str) -> HeatMap:
        """Return where in a picture of this library the words are found.

        Raises QueryInvalid, PhotoNotFound, ImageUnreadable, HeatMapUnavailable or a LibraryError.
        """
        from imgsearch.search.query import cleaned

        asked = cleaned(words)
        if not asked:
            raise QueryInvalid("Only words can be found in a picture. Say what to look for.")
        with self._lock:
            self._heat_mapper()
        photo = self.open_photo(content_hash)
        photo.stream.close()
        decoded = self._single_decoder().read(photo.path)
        if decoded.content_hash.hex() != content_hash.lower():
            raise PhotoNotFound("The photo has changed since it was indexed.")
        with self._lock:
            mapper = self._heat_mapper()
            return mapper.map(decoded.pixels, asked, decoded.facts.width, decoded.facts.height)

    def has_heat_maps(self) -> bool:
        """Tell whether the model in use can make heat maps. Raises a LibraryError."""
        from imgsearch.errors import HeatMapUnavailable

        with self._lock:
            try:
                self._heat_mapper()
            except HeatMapUnavailable:
                return False
        return True

    def near_duplicates(
        self,
        *,
        threshold: float | None = None,
        filters: Filters | None = None,
        progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> tuple[DuplicateGroup, ...]:
        """Return groups of pictures that show the same photograph, most wasted bytes first.

        Found are exact copies and those that were scaled, compressed again, turned by 90 degrees,
        mirrored, cropped or tilted a little, made grey or written on; photos of one scene are not.
        `threshold`, 0.6 to 1, is how alike they are at least (default:
        `search.near_duplicates.DEFAULT_THRESHOLD`).

        Only pictures that were added since the last call are compared, with all others; `progress`
        is told how many of them are done, and of how many. When `should_stop` returns True, what
        was compared is kept, and the groups found so far are returned. Pictures whose thumbnail is
        missing and whose file is not there are left out until it is. Raises UsageError,
        LibraryNotFound or another LibraryError.
        """
        from imgsearch.data.filters import Filters
        from imgsearch.data.reader import CatalogReader
        from imgsearch.search.near_duplicates import checked_threshold

        least = checked_threshold(threshold)
        wanted = filters or Filters()
        with self._grouping, CatalogReader(self.path) as reader:
            if reader.is_uninitialised():
                return ()
            offline = reader.offline_folders()
            state = reader.meta("library_id"), reader.meta("generation"), least, wanted, offline
            if self._groups is not None and self._groups[0] == state:
                return self._groups[1]
            groups, complete = self._grouped(
                reader, least, wanted, progress or _silent, should_stop or _never
            )
            self._groups = (state, groups) if complete else None
            return groups

    def status(self) -> LibraryStatus:
        """Return what the library holds. Raises LibraryNotFound or LibraryDamaged."""
        from imgsearch.data.reader import CatalogReader
        from imgsearch.data.status import read_status

        with CatalogReader(self.path) as reader:
            return read_status(reader)

    def failures(self) -> list[FailedFile]:
        """Return the files that could not be read, with reasons. Raises LibraryNotFound."""
        from imgsearch.data.reader import CatalogReader
        from imgsearch.data.status import read_failures

        with CatalogReader(self.path) as reader:
            return read_failures(reader)

    def models(self) -> list[ModelListing]:
        """Return the models of this library, the built-in one, and those with a short name."""
        from imgsearch.models import list_models

        return list_models(self._held_models())

    def _held_models(self) -> Sequence[ModelStatus]:
        from imgsearch.data.connection import catalog_path

        return self.status().models if catalog_path(self.path).is_file() else ()

    def use_model(self, name: str) -> None:
        """Let queries use a model that has vectors in this library.

        `name` is its name, a short name, or a hub name. Raises ModelNotFound or a LibraryError.
        """
        from imgsearch.data.catalog import Catalog
        from imgsearch.data.connection import connect_read_only
        from imgsearch.data.lock import writer_lock

        connect_read_only(self.path).close()
        with Catalog(self.path) as catalog, writer_lock(self.path):
            catalog.activate_model(self._model_with_vectors(name))

    def prune_models(self) -> dict[str, int]:
        """Delete the vectors of all models but the active one; return their numbers by name.

        Raises a LibraryError.
        """
        from imgsearch.data.catalog import Catalog
        from imgsearch.data.connection import connect_read_only
        from imgsearch.data.lock import writer_lock
        from imgsearch.data.reader import CatalogReader
        from imgsearch.data.vector_cache import VectorCache

        connect_read_only(self.path).close()
        removed: dict[str, int] = {}
        with Catalog(self.path) as catalog, writer_lock(self.path):
            with CatalogReader(self.path) as reader:
                active, held = reader.active_model(), reader.models()
            for model in held:
                if active is not None and model != active:
                    removed[model.name] = removed.get(model.name, 0) + catalog.drop_model(model.id)
                    VectorCache(self.path, model).delete()
            if removed:
                catalog.compact()
        return removed

    def _model_with_vectors(self, name: str) -> int:
        """Return the id of the library's latest model of that name. Raises ModelNotFound."""
        from imgsearch.data.reader import CatalogReader
        from imgsearch.encoders.registry import known_model
        from imgsearch.errors import ModelNotFound

        known = known_model(name)
        wanted, _, revision = (known.hub_source if known else name).partition("@")
        with CatalogReader(self.path) as reader:
            for model in reversed(reader.models()):
                same = model.name == wanted and revision in ("", model.revision)
                if same and len(reader.visible_ids(model.id)):
                    return model.id
            held = ", ".join(sorted({model.name for model in reader.models()})) or "none"
        raise ModelNotFound(
            f"This library has no vectors of the model {name!r}; it has those of: {held}. Make "
            f"them with: imgsearch index FOLDER --model {name}"
        )

    def remove(self, root: str | os.PathLike[str]) -> int:
        """Forget a root, or a disk inside one, never touching its photos; return how many files.

        Raises RootUnknown or a LibraryError.
        """
        from imgsearch.data.thumbnail_store import ThumbnailStore
        from imgsearch.indexer.relocate import forget_folder

        files = forget_folder(self.path, root)
        with ThumbnailStore(self.path) as thumbnails:
            thumbnails.prune()
        self._forget_signatures()
        return files

    def doctor(self, *, repair: bool = False, quick: bool = False) -> DoctorReport:
        """Examine the library; with `repair`, mend what can be (see `doctor.examination`).

        `quick` compares neither the databases' indexes with their tables, nor facts with their
        checksums. Raises LibraryNotFound, LibraryBusy or LibraryReadOnly.
        """
        from imgsearch.doctor.examination import examine

        self.close()
        known = None if self._encoder is None else self._encoder.description
        return examine(self.path, repair=repair, quick=quick, known=known)

    def backup(self, path: str | os.PathLike[str], *, force: bool = False) -> BackupSummary:
        """Write the catalog to the new file `path` (see `data.backup`), while others use it.

        Raises BackupInvalid, BackupFailed or a LibraryError.
        """
        from imgsearch.data.backup import write_backup

        return write_backup(self.path, Path(os.path.expanduser(path)), force=force)

    def restore(self, path: str | os.PathLike[str], *, force: bool = False) -> RestoreSummary:
        """Let the library hold what the backup `path` holds (see `data.restoring`).

        Raises BackupInvalid or a LibraryError.
        """
        from imgsearch.data.restoring import restore_backup

        self.close()
        return restore_backup(self.path, Path(os.path.expanduser(path)), force=force)

    def relocate(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Let the photos of the root `old` be at `new`; return how many files it has.

        Nothing is read again but a few files, to see that they are there. Raises RootUnknown,
        FolderInvalid or a LibraryError.
        """
        from imgsearch.indexer.relocate import relocate_root

        return relocate_root(self.path, old, new)

    def _grouped(
        self,
        reader: CatalogReader,
        threshold: float,
        filters: Filters,
        progress: Callable[[int, int], None],
        should_stop: Callable[[], bool],
    ) -> tuple[tuple[DuplicateGroup, ...], bool]:
        """Compare what is new; return the groups, and whether everything has been compared."""
        from imgsearch.data.signature_store import SignaturesLost, SignatureStore
        from imgsearch.search.near_duplicates import read_groups
        from imgsearch.search.similar_pairs import VERSION, examine

        with SignatureStore(self.path, VERSION) as store:
            try:
                complete = examine(reader, store, self.thumbnail, progress, should_stop)
                return read_groups(reader, store, threshold, filters), complete
            except SignaturesLost:
                # The damaged file is deleted; everything in it can be made again.
                complete = examine(reader, store, self.thumbnail, progress, should_stop)
                return read_groups(reader, store, threshold, filters), complete

    def _forget_signatures(self) -> None:
        """Drop the signatures of pictures that the catalog does not know any more."""
        from imgsearch.data.reader import CatalogReader
        from imgsearch.data.signature_store import FILE_NAME, SignaturesLost, SignatureStore

        if not (self.path / FILE_NAME).is_file():
            return
        from imgsearch.search.similar_pairs import VERSION, catalog_hashes

        with (
            CatalogReader(self.path) as reader,
            SignatureStore(self.path, VERSION) as store,
            contextlib.suppress(SignaturesLost),
        ):
            store.prune(catalog_hashes(reader))

    def _queries(self) -> QueryEngine:
        if self._engine is None:
            from imgsearch.search.engine import QueryEngine

            self._engine = QueryEngine(self.path, self._encoder, self._device)
        return self._engine

    def _prepare_queries(self, encoder: Encoder) -> None:
        """Make now what the first query would wait for; without pictures there is nothing to do."""
        from imgsearch.errors import LibraryEmpty, ModelNotFound
        from imgsearch.search.engine import QueryEngine

        engine = QueryEngine(self.path, encoder)
        with contextlib.closing(engine), contextlib.suppress(LibraryEmpty, ModelNotFound):
            engine.prepare()

    def _heat_mapper(self) -> HeatMapper:
        from imgsearch.search.heat import HeatMapper

        encoder = self._queries().encoder()
        if self._mapper is None or self._mapper.encoder is not encoder:
            self._mapper = HeatMapper(encoder)
        return self._mapper

    def _single_decoder(self) -> GuardedDecoder:
        """Return the decoding process for single pictures, for the present encoder's geometry."""
        with self._lock:
            geometry = self._queries().encoder().description.preprocessing
            if self._guarded is not None and self._guarded.preprocessing != geometry:
                self._guarded.close()
                self._guarded = None
            if self._guarded is None:
                from imgsearch.indexer.guarded import GuardedDecoder
                from imgsearch.settings import decode_limits

                self._guarded = GuardedDecoder(geometry, decode_limits())
            return self._guarded

    def _stored(self, content_hash: str) -> tuple[bytes, StoredPicture, list[str]]:
        """Return a picture's hash and facts, and the library's roots. Raises PhotoNotFound."""
        try:
            digest = bytes.fromhex(content_hash) if len(content_hash) == 64 else b""
        except ValueError:
            digest = b""
        with self._lock:
            found = self._queries().stored(digest) if digest else None
        if found is None:
            raise PhotoNotFound("There is no such photo in this library.")
        return (digest, *found)

    def model_for_indexing(self) -> str:
        """Return the name of the model that `index` makes vectors of. Raises a LibraryError."""
        return self._encoder.description.name if self._encoder else self._default_model()[0]

    def _default_model(self) -> tuple[str, str]:
        """Return name and source of the library's active model; for a new one the preferred."""
        from imgsearch.data.connection import catalog_path
        from imgsearch.data.reader import CatalogReader

        if catalog_path(self.path).is_file():
            with CatalogReader(self.path) as reader:
                active = None if reader.is_uninitialised() else reader.active_model()
                if active:
                    return active.name, active.source
        source = preferred_model() or STARTER
        return source.partition("@")[0], source
