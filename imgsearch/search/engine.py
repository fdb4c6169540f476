"""From a query to the nearest pictures of a library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.connection import damaged
from imgsearch.data.facets import Facets, read_facets
from imgsearch.data.filters import count_filtered, filtered_ids, listed_ids
from imgsearch.data.prompt_cache import prompt_vectors
from imgsearch.data.reader import CatalogReader, StoredModel, StoredPicture
from imgsearch.data.vector_cache import VectorCache
from imgsearch.data.vector_index import VectorIndex
from imgsearch.encoders import STARTER, Encoder, load_encoder
from imgsearch.encoders.base import KnowsTexts, LetsGoOfImages
from imgsearch.errors import LibraryEmpty, ModelNotFound
from imgsearch.search.answer import Answering, candidates_needed
from imgsearch.search.background import FIXED_TEXTS, SAMPLE, Background
from imgsearch.search.encoding import PicturePixels, encode_queries
from imgsearch.search.grouping import Likeness
from imgsearch.search.query import Query
from imgsearch.search.ranking import EncodedQuery, IndexImplausible
from imgsearch.search.remarks import remark_on
from imgsearch.search.results import SearchHit, SearchResults, hit_of

# Queries that are searched for at once: on GPUs fewer would not pay (see `data.gpu_index`).
_TOGETHER = 128
_NO_PICTURES: PicturePixels = {}
_Candidates = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]


class QueryEngine:
    """Answers queries over one library. Keeps encoder and index for the next query.

    The index is refreshed when another process has changed the catalog. Use as a context manager.
    """

    def __init__(
        self, library: Path, encoder: Encoder | None = None, device: str | None = None
    ) -> None:
        """Open the library; `encoder` overrides its active model, `device` is for loading that.

        Raises a LibraryError.
        """
        self._device = device
        self._reader = CatalogReader(library)
        self._library = library
        self._override = encoder
        self._loaded = encoder
        self._index: tuple[int, str, VectorIndex] | None = None
        self._ground: tuple[VectorIndex, Background] | None = None
        self._facets: tuple[str, Facets] | None = None

    def close(self) -> None:
        """Release the catalog."""
        self._reader.close()

    def search_all(
        self, queries: Sequence[Query], pixels: PicturePixels = _NO_PICTURES
    ) -> list[SearchResults]:
        """Return what matches each query, in its order; towers and index are loaded once.

        `pixels` has the files that are searched by. Raises LibraryEmpty, PhotoNotFound, or a
        ModelError.
        """
        with self._one_moment():
            return self._search_all(queries, pixels)

    def _search_all(self, queries: Sequence[Query], pixels: PicturePixels) -> list[SearchResults]:
        model = self._model()
        asking = [query for query in queries if not query.is_empty]
        if not asking:
            return [self._listed(query, model) for query in queries]
        # Loading the text tower and opening the index take about as long as each other, and both
        # spend their time outside the interpreter.
        with ThreadPoolExecutor(1) as beside:
            encoding = beside.submit(self._encoded, asking, model, pixels)
            index = self._current_index(model)
            encoded = encoding.result()
        if not len(index):
            raise LibraryEmpty(
                f"This library holds no vectors of the model {model.name!r} yet. Make them with: "
                "imgsearch index FOLDER"
            )
        answers = iter(
            [
                self._answered(query, one, model, candidates)
                for query, one, candidates in zip(
                    asking, encoded, _candidates(index, asking, encoded), strict=True
                )
            ]
        )
        return [
            self._listed(query, model) if query.is_empty else next(answers) for query in queries
        ]

    def pictures(self, ids: Sequence[int]) -> tuple[SearchHit, ...]:
        """Return the pictures with these ids, in their order, without those that are gone."""
        with self._one_moment():
            return self._hits(ids)

    def _hits(self, ids: Sequence[int]) -> tuple[SearchHit, ...]:
        found = self._reader.pictures(ids)
        return tuple(hit_of(found[id_]) for id_ in ids if id_ in found)

    def facets(self) -> Facets:
        """Return what the library can be filtered by."""
        with self._one_moment():
            generation = "" if self._reader.is_uninitialised() else self._generation()
            if self._facets is None or self._facets[0] != generation:
                self._facets = generation, read_facets(self._reader)
            return self._facets[1].with_absent_folders(self._reader.offline_folders())

    def stored(self, content_hash: bytes) -> tuple[StoredPicture, list[str]] | None:
        """Return a picture that the library shows, and the library's roots; or None."""
        with self._one_moment():
            if self._reader.is_uninitialised():
                return None
            picture = self._reader.picture_of(content_hash)
            return None if picture is None else (picture, self._reader.roots())

    def picture_at(self, path: str) -> int | None:
        """Return the id of the picture that the file at an absolute path shows, or None."""
        with self._one_moment():
            return None if self._reader.is_uninitialised() else self._reader.picture_at(path)

    def saved(self) -> dict[str, str]:
        """Return the saved searches as JSON, by name, in alphabetical order."""
        with self._one_moment():
            if self._reader.is_uninitialised():
                return {}
            rows = self._reader.rows("SELECT name, query FROM saved_search ORDER BY name")
        return {str(name): str(query) for name, query in rows}

    def prepare(self) -> None:
        """Make what the first query would wait for. Raises a LibraryError or a ModelError."""
        with self._one_moment():
            self._fixed_texts(self._model())

    def encoder(self) -> Encoder:
        """Return the encoder that queries use. Raises LibraryEmpty or a ModelError."""
        with self._one_moment():
            return self._encoder_of(self._model())

    @contextlib.contextmanager
    def _one_moment(self) -> Iterator[None]:
        """Show this block the catalog as it is now, without what is written meanwhile.

        Otherwise a picture that goes between two statements would look like a damaged index. The
        catalog is opened again where its file was replaced.
        """
        if not self._reader.is_current():
            self._reader.close()
            self._index = self._ground = self._facets = None
            self._reader = CatalogReader(self._library)
        with self._reader.snapshot():
            yield

    def _model(self) -> StoredModel:
        if self._reader.is_empty():
            raise LibraryEmpty(
                f"The library {self._library} holds no photos yet. Add some with: "
                "imgsearch index FOLDER"
            )
        if self._override is None:
            active = self._reader.active_model()
            if active is None:
                raise LibraryEmpty(
                    f"The library {self._library} was never indexed to the end of a batch. Run: "
                    "imgsearch index FOLDER"
                )
            return active
        wanted = self._override.description
        for model in self._reader.models():
            if _is(model, self._override):
                return model
        raise ModelNotFound(
            f"This library has no vectors of the model {wanted.name!r} (revision "
            f"{wanted.revision}). Make them with: imgsearch index FOLDER --model {wanted.name}"
        )

    def _encoder_of(self, model: StoredModel) -> Encoder:
        encoder = self._override or self._loaded
        if encoder is None or not _is(model, encoder):
            # Another process may have switched the library to another model.
            encoder = load_encoder(model.source, self._device)
        described = encoder.description
        if not _is(model, encoder):
            raise ModelNotFound(
                f"The photos were indexed with {model.name} {model.revision}; installed is "
                f"{described.name} {described.revision}. Index them again: imgsearch index FOLDER"
            )
        self._loaded = encoder
        return encoder

    def _generation(self) -> str:
        return self._reader.meta("generation") or "0"

    def _current_index(self, model: StoredModel) -> VectorIndex:
        generation = self._generation()
        if self._index is None or self._index[:2] != (model.id, generation):
            index = VectorCache(self._library, model).load(self._reader)
            self._index = (model.id, generation, index)
        return self._index[2]

    def _encoded(
        self, queries: Sequence[Query], model: StoredModel, pixels: PicturePixels
    ) -> list[EncodedQuery]:
        return encode_queries(queries, self._encoder_of(model), self._reader, model, pixels)

    def _answered(
        self,
        query: Query,
        encoded: EncodedQuery,
        model: StoredModel,
        candidates: _Candidates | None,
    ) -> SearchResults:
        among = filtered_ids(self._reader, model, query.filters) if query.filters.any else None
        note = remark_on(query, self._encoder_of(model))
        for trust_cache in (True, False):
            if not trust_cache:
                index = VectorCache(self._library, model).load(self._reader, trust_cache=False)
                self._index = (model.id, self._generation(), index)
            index = self._current_index(model)
            ground = self._background(index, model)
            # Measured for the built-in model, guessed for others.
            alike = Likeness() if model.source == STARTER else Likeness.measured(ground.sample)
            answering = Answering(self._reader, index, ground, alike)
            with contextlib.suppress(IndexImplausible):
                found = answering.answer(query, encoded, among, candidates if trust_cache else None)
                return SearchResults(found.hits, model.name, note, found.total, found.matching)
        raise damaged(self._library)

    def _listed(self, query: Query, model: StoredModel) -> SearchResults:
        """Return the pictures that pass the filters, in an order without a match."""
        ids = listed_ids(self._reader, model, query.filters, query.sort, query.limit, query.offset)
        total = count_filtered(self._reader, model, query.filters)
        return SearchResults(self._hits(ids.tolist()), model.name, None, total)

    def _fixed_texts(self, model: StoredModel) -> npt.NDArray[np.float32]:
        encoder = self._encoder_of(model)
        brought = encoder.known_vectors(FIXED_TEXTS) if isinstance(encoder, KnowsTexts) else None
        if brought is not None:
            return brought

        def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
            # After the first photos were indexed: both towers would take the most memory of all.
            if isinstance(encoder, LetsGoOfImages):
                encoder.let_go_of_images()
            return encoder.encode_texts(texts)

        return prompt_vectors(self._library, model, FIXED_TEXTS, encode)

    def _background(self, index: VectorIndex, model: StoredModel) -> Background:
        """Return what matches are measured against; kept as long as the index is."""
        if self._ground is None or self._ground[0] is not index:
            self._ground = index, Background.of(index.sample(SAMPLE), self._fixed_texts(model))
        return self._ground[1]


def _candidates(
    index: VectorIndex, queries: Sequence[Query], encoded: Sequence[EncodedQuery]
) -> Iterator[_Candidates | None]:
    """Yield what a search for many at once finds for each query; None to search for it alone."""
    for start in range(0, len(queries), _TOGETHER):
        part = queries[start : start + _TOGETHER]
        if len(part) == 1 or any(query.filters.any for query in part):
            yield from [None] * len(part)
            continue
        targets = np.stack([one.target for one in encoded[start : start + _TOGETHER]])
        ids, scores = index.search_many(targets, max(map(candidates_needed, part)))
        yield from zip(ids, scores, strict=True)


def _is(model: StoredModel, encoder: Encoder) -> bool:
    """Tell whether an encoder makes the vectors of a stored model."""
    described = encoder.description
    return (described.name, described.revision) == (model.name, model.revision)
