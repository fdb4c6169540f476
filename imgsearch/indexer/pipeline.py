"""Decode, embed and store, overlapping: what makes an index out of a list of files.

Decoding runs in other processes, the encoder and storing in background threads (computation and
SQLite release the interpreter); the caller's thread hands the work from one to the next. What may
wait between them is bounded, so memory stays flat however large the library is.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt

from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.records import FailedFile, FailureKind, FileFailure, FileStat, NewPhoto
from imgsearch.data.scan_table import Change, PendingFile
from imgsearch.data.thumbnail_store import ThumbnailStore
from imgsearch.encoders import Encoder
from imgsearch.encoders.base import checked_rows
from imgsearch.encoders.indexing import at_work, pace_of
from imgsearch.indexer.buffers import Buffers
from imgsearch.indexer.content import hash_file, sniff
from imgsearch.indexer.decode_pool import DecodePool
from imgsearch.indexer.decode_process import Decoded, Outcome, Request
from imgsearch.indexer.report import IndexReport, Progress, ProgressCallback
from imgsearch.indexer.stages import NO_STAGES, Stage, Stages
from imgsearch.settings import IndexSettings

# Files looked at together before any of them is decoded, to find those whose content is known.
_RECOGNISE_PAGE = 32
# So many of them are hashed first, if their sizes are known, and the others if one is a copy. Among
# many small photos most sizes are known, and to hash all twice takes a third of this thread's time.
_PROBES = 8
# A batch that is not full is embedded after this many seconds all the same.
_BATCH_AGE_SECONDS = 1.0
_FIRST_BATCH = 4
_PROGRESS_SECONDS = 0.1

# Batches that are being stored or wait for it; one that waits keeps the disk busy.
_STORING_DEPTH = 2
# Failures are written down so many together, or when the oldest is this old.
_FAILURE_PAGE = 100
_FAILURE_AGE_SECONDS = 1.0

_Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _Embedded:
    """A batch with its vectors, float32 [n, d], and the seconds that they took."""

    batch: list[Decoded]
    vectors: npt.NDArray[np.float32]
    seconds: float


class Pipeline:
    """One run over the files that need work. Adds what it does to `report`."""

    def __init__(
        self,
        store: PhotoStore,
        thumbnails: ThumbnailStore,
        encoder: Encoder,
        root_paths: dict[int, str],
        lost: Counter[int],
        report: IndexReport,
        settings: IndexSettings,
        stages: Stages = NO_STAGES,
    ) -> None:
        """`lost` counts, for each picture, the paths that this run found gone."""
        self._stages = stages
        self._store = store
        self._thumbnails = thumbnails
        self._encoder = encoder
        # With the separator at the end: a path is then put together without `os.path.join`.
        self._root_paths = {root: os.path.join(path, "") for root, path in root_paths.items()}
        self._lost = lost
        self._report = report
        self._settings = settings
        self._under_way: dict[_Key, PendingFile] = {}
        self._decoded: list[Decoded] = []
        self._oldest = 0.0
        self._batch_size = min(_FIRST_BATCH, self._largest_batch())
        # The batches that are being embedded, oldest first.
        self._embedding: deque[Future[_Embedded]] = deque()
        # What is being stored, oldest first. The threads that use it are those of `run`.
        self._storing: deque[Future[Sequence[Decoded]]] = deque()
        self._store_broken = threading.Event()
        self._failures: list[FileFailure] = []
        self._oldest_failure = 0.0
        size = encoder.description.preprocessing.size
        self._batches = Buffers(self._largest_batch(), size, size, 3)
        self._warm: Future[None] | None = None
        self._done = 0

    def run(
        self,
        pending: Iterator[PendingFile],
        total: int,
        progress: ProgressCallback,
        should_stop: Callable[[], bool],
    ) -> None:
        """Work through `pending`. When `should_stop` turns true, finish the batch in hand."""
        settings = self._settings
        preprocessing = self._encoder.description.preprocessing
        started, shown = time.monotonic(), 0.0
        ahead = settings.batches_ahead * self._largest_batch()
        with (
            at_work(self._encoder, total),
            ThreadPoolExecutor(1, thread_name_prefix="imgsearch-store") as writer,
            ThreadPoolExecutor(
                pace_of(self._encoder).calls, thread_name_prefix="imgsearch-embed"
            ) as background,
            DecodePool(
                preprocessing,
                settings.limits,
                settings.worker_count(total),
                held=ahead,
                stages=self._stages,
            ) as pool,
        ):
            # Loading the image tower takes as long as the decoding processes take to start.
            self._warm = background.submit(self._warm_up)
            for outcomes in pool.outcomes(self._requests(pending, should_stop), ahead):
                for outcome in outcomes:
                    self._take(outcome)
                    if len(self._decoded) >= self._batch_size:
                        self._advance(background, writer)
                self._advance(background, writer)
                now = time.monotonic()
                if now - shown >= _PROGRESS_SECONDS:
                    shown = now
                    progress(Progress(self._done, total, self._report.failed, now - started))
                if should_stop():
                    self._report.interrupted = True
                    break
            self._embed(background)
            while self._embedding:
                self._finish_embedding(writer)
            self._write_failures(writer)
            while self._storing:
                self._finish_storing()
        progress(Progress(self._done, total, self._report.failed, time.monotonic() - started))

    def _take(self, outcome: Outcome) -> None:
        if isinstance(outcome, Decoded):
            self._oldest = self._oldest if self._decoded else time.monotonic()
            self._decoded.append(outcome)
        elif isinstance(outcome, FileFailure):
            self._fail(outcome)
        else:
            self._under_way.pop(_key(outcome.file))
            self._done += 1

    def _requests(
        self, pending: Iterator[PendingFile], should_stop: Callable[[], bool]
    ) -> Iterator[Request | None]:
        """Yield the files that must be decoded; those whose content is known are linked at once.

        None is yielded after every page, for hashing many files takes its time.
        """
        while page := self._next_page(pending):
            if should_stop():
                self._report.interrupted = True
                return
            with self._stages.timed(Stage.KNOWN, len(page)):
                rest = self._unrecognised(page)
            for item in rest:
                if item.sniff and self._is_no_image(item.file):
                    continue
                self._under_way[_key(item.file)] = item
                yield Request(item.file, self._full_path(item.file))
            yield None

    def _next_page(self, pending: Iterator[PendingFile]) -> list[PendingFile]:
        with self._stages.timed(Stage.COMPARE):
            return list(islice(pending, _RECOGNISE_PAGE))

    def _is_no_image(self, file: FileStat) -> bool:
        """Tell whether a file of unknown kind is no image, and remember those that are not."""
        try:
            if sniff(self._full_path(file)):
                return False
        except OSError:
            return False  # The decoding process will say why it cannot be read.
        reason = "not an image in a supported format"
        self._remember(FileFailure(file, reason, FailureKind.NO_IMAGE))
        self._done += 1
        return True

    def _unrecognised(self, page: list[PendingFile]) -> list[PendingFile]:
        """Link the files of `page` whose content is embedded already; return the others.

        Some copies may be among the others: they are told after they were decoded.
        """
        likely = [item for item in page if item.size_known]
        hashed = self._hashed(likely[:_PROBES])
        known = self._known(hashed)
        if known:
            more = self._hashed(likely[_PROBES:])
            hashed |= more
            known |= self._known(more)
        links: list[tuple[PendingFile, FileStat, int]] = []
        rest: list[PendingFile] = []
        for item in page:
            content_hash, stat = hashed.get(_key(item.file), (b"", item.file))
            if content_hash in known:
                links.append((item, stat, known[content_hash]))
            else:
                rest.append(item)
        self._link(links)
        return rest

    def _hashed(self, items: list[PendingFile]) -> dict[_Key, tuple[bytes, FileStat]]:
        """Return the content hashes of files, as far as they can be read, and their new stat."""
        hashed = {}
        for item in items:
            found = hash_file(self._full_path(item.file))
            if found is not None:
                content_hash, facts = found
                hashed[_key(item.file)] = content_hash, item.file.with_stat(facts)
        return hashed

    def _known(self, hashed: dict[_Key, tuple[bytes, FileStat]]) -> dict[bytes, int]:
        """Return the ids of those pictures that are embedded already, by their content hash."""
        return self._store.known_pictures(content_hash for content_hash, _ in hashed.values())

    def _full_path(self, file: FileStat) -> str:
        return self._root_paths[file.root_id] + file.path

    def _fail(self, outcome: FileFailure) -> None:
        item = self._under_way.pop(_key(outcome.file))
        damaged = outcome.kind is FailureKind.DAMAGED
        self._remember(replace(outcome, replaced=damaged and item.change is Change.CHANGED))
        self._report.failed += 1
        path = self._full_path(outcome.file)
        self._report.failures.append(FailedFile(path, outcome.reason))
        self._done += 1

    def _remember(self, failure: FileFailure) -> None:
        self._oldest_failure = self._oldest_failure if self._failures else time.monotonic()
        self._failures.append(failure)

    def _write_failures(self, writer: ThreadPoolExecutor) -> None:
        failures, self._failures = self._failures, []
        if failures:
            self._hand_over(writer, partial(self._store_failures, failures))

    def _advance(self, background: ThreadPoolExecutor, writer: ThreadPoolExecutor) -> None:
        """Hand what is embedded over to the store, and to the encoder the next batch.

        That is when it is full or old enough.
        """
        while self._storing and self._storing[0].done():
            self._finish_storing()
        while self._embedding and self._embedding[0].done():
            self._finish_embedding(writer)
        if self._failures and (
            len(self._failures) >= _FAILURE_PAGE
            or time.monotonic() - self._oldest_failure > _FAILURE_AGE_SECONDS
        ):
            self._write_failures(writer)
        full = len(self._decoded) >= self._batch_size
        old = bool(self._decoded) and time.monotonic() - self._oldest > _BATCH_AGE_SECONDS
        if full and len(self._embedding) >= pace_of(self._encoder).calls:
            self._finish_embedding(writer)
        if full or (old and not self._embedding):
            self._embed(background)

    def _warm_up(self) -> None:
        """Have the image tower loaded."""
        size = self._encoder.description.preprocessing.size
        with self._stages.timed(Stage.LOAD):
            self._encoder.encode_images(np.zeros((1, size, size, 3), dtype=np.uint8))

    def _embed(self, background: ThreadPoolExecutor) -> None:
        batch, self._decoded = self._decoded, []
        known = self._store.known_pictures(photo.content_hash for photo in batch)
        copies = [photo for photo in batch if photo.content_hash in known]
        for photo in copies:
            photo.give_back()
        self._link(
            [
                (self._under_way.pop(_key(photo.file)), photo.file, known[photo.content_hash])
                for photo in copies
            ]
        )
        fresh = [photo for photo in batch if photo.content_hash not in known]
        if fresh:
            self._embedding.append(background.submit(self._encode, fresh))

    def _encode(self, batch: list[Decoded]) -> _Embedded:
        if self._warm is not None:
            self._warm.result()
        started = time.monotonic()
        unique = {photo.content_hash: photo.pixels for photo in batch}
        buffer = self._batches.take()
        if len(buffer) < len(unique):
            # An encoder may find out that it wants more at once.
            buffer = np.empty((len(unique), *buffer.shape[1:]), dtype=np.uint8)
        pixels = np.stack(list(unique.values()), out=buffer[: len(unique)])
        for photo in batch:
            photo.give_back()
        self._stages.keep_sample(pixels)
        with self._stages.timed(Stage.ENCODE, len(pixels)):
            rows = self._encoder.encode_images(pixels)
        self._batches.give_back(buffer)
        rows = checked_rows(rows, len(unique), self._encoder.description)
        position = {content_hash: row for row, content_hash in enumerate(unique)}
        vectors = rows[[position[photo.content_hash] for photo in batch]]
        return _Embedded(batch, vectors, time.monotonic() - started)

    def _finish_embedding(self, writer: ThreadPoolExecutor) -> None:
        """Wait for the oldest batch that is being embedded, and have it stored."""
        with self._stages.timed(Stage.AWAIT_ENCODER):
            embedded = self._embedding.popleft().result()
        self._adapt_batch_size(embedded.seconds)
        self._hand_over(writer, partial(self._store_batch, embedded))

    def _hand_over(self, writer: ThreadPoolExecutor, work: Callable[[], Sequence[Decoded]]) -> None:
        if len(self._storing) == _STORING_DEPTH:
            self._finish_storing()
        self._storing.append(writer.submit(self._unless_broken, work))

    def _unless_broken(self, work: Callable[[], Sequence[Decoded]]) -> Sequence[Decoded]:
        """Do what stores something, unless that went wrong before: then the run is at its end."""
        if self._store_broken.is_set():
            raise CancelledError
        try:
            return work()
        except BaseException:
            self._store_broken.set()
            raise

    def _store_failures(self, failures: list[FileFailure]) -> Sequence[Decoded]:
        self._store.record_failures(failures)
        return ()

    def _store_batch(self, embedded: _Embedded) -> Sequence[Decoded]:
        """Commit a batch; return its photos."""
        batch = embedded.batch
        stored = embedded.vectors.astype("<f2")
        photos = [
            NewPhoto(photo.file, photo.content_hash, photo.facts, row.tobytes())
            for photo, row in zip(batch, stored, strict=True)
        ]
        # Before the catalog: whoever is killed in between makes both again, and no photo that is in
        # the catalog is without its thumbnail.
        with self._stages.timed(Stage.THUMBNAILS, len(batch)):
            self._thumbnails.add({photo.content_hash: photo.thumbnail for photo in batch})
        with self._stages.timed(Stage.STORE, len(batch)):
            self._store.store(photos)
        return batch

    def _finish_storing(self) -> None:
        """Wait for what has been with the store for longest, and count it. Raises what it met."""
        with self._stages.timed(Stage.AWAIT_STORE):
            batch = self._storing.popleft().result()
        self._report.embedded += len({photo.content_hash for photo in batch})
        for photo in batch:
            item = self._under_way.pop(_key(photo.file))
            self._count(item, copy_of=None, was_orphan=False)

    def _adapt_batch_size(self, seconds: float) -> None:
        """Keep batches short enough for regular commits, and otherwise as large as allowed."""
        if seconds > self._settings.commit_seconds / 2:
            self._batch_size = max(1, self._batch_size // 2)
        elif seconds < self._settings.commit_seconds / 4:
            self._batch_size = min(self._largest_batch(), self._batch_size * 2)

    def _largest_batch(self) -> int:
        edge = self._encoder.description.preprocessing.size
        return self._settings.largest_batch(pace_of(self._encoder).pictures, edge * edge * 3)

    def _link(self, links: list[tuple[PendingFile, FileStat, int]]) -> None:
        """Let files show pictures that are in the catalog, and count what that means."""
        orphans = self._store.orphaned(picture_id for _, _, picture_id in links)
        self._store.link([(file, picture_id) for _, file, picture_id in links])
        for item, _, picture_id in links:
            self._count(item, copy_of=picture_id, was_orphan=picture_id in orphans)

    def _count(self, item: PendingFile, copy_of: int | None, was_orphan: bool) -> None:
        self._done += 1
        report = self._report
        if item.change is Change.UNEMBEDDED or (copy_of is not None and copy_of == item.picture_id):
            report.unchanged += 1
        elif item.change is Change.CHANGED:
            report.changed += 1
        elif copy_of is not None and self._lost[copy_of] > 0:
            # The path that showed this picture is gone, and this one has come: one file moved.
            self._lost[copy_of] -= 1
            report.removed -= 1
            report.moved += 1
        elif was_orphan and copy_of is not None and copy_of not in self._lost:
            # It lost its last path in an earlier run; further paths of it are copies.
            self._lost[copy_of] = 0
            report.moved += 1
        else:
            report.added += 1


def _key(file: FileStat) -> _Key:
    return file.root_id, file.path
