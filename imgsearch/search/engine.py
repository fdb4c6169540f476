"""From a query to the nearest pictures of a library."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.connection import damaged
from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.data.vector_cache import VectorCache, VectorIndex, plausible
from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.base import unit_rows
from imgsearch.errors import ImageUnreadable, LibraryEmpty, ModelNotFound
from imgsearch.search.query import Query, note_about
from imgsearch.search.results import SearchHit, SearchResults
from imgsearch.settings import DecodeLimits


class QueryEngine:
    """Answers queries over one library. Keeps encoder and index for the next query.

    The index is refreshed when another process has changed the catalog. Use as a context manager.
    """

    def __init__(self, library: Path, encoder: Encoder | None = None) -> None:
        """Open the library; `encoder` overrides its active model. Raises a LibraryError."""
        self._reader = CatalogReader(library)
        self._library = library
        self._override = encoder
        self._loaded = encoder
        self._index: tuple[int, str, VectorIndex] | None = None

    def close(self) -> None:
        """Release the catalog."""
        self._reader.close()

    def search(self, query: Query) -> SearchResults:
        """Return the pictures nearest to the query, best first.

        Words and a picture together are searched by the sum of their unit vectors. Raises
        LibraryEmpty, ImageUnreadable, or a ModelError.
        """
        if not self._reader.is_current():
            self._reader.close()
            self._index = None
            self._reader = CatalogReader(self._library)
        model = self._model()
        # Loading the text tower and opening the index take about as long as each other, and both
        # spend their time outside the interpreter.
        with ThreadPoolExecutor(1) as beside:
            encoding = beside.submit(self._encode, query, model)
            index = self._current_index(model)
            vector, note = encoding.result()
        if not len(index):
            raise LibraryEmpty(
                f"This library holds no vectors of the model {model.name!r} yet. Make them with: "
                "imgsearch index FOLDER"
            )
        hits = self._hits(index, vector, query.limit)
        if hits is None:
            generation = self._generation()
            index = VectorCache(self._library, model).load(self._reader, trust_cache=False)
            self._index = (model.id, generation, index)
            hits = self._hits(index, vector, query.limit)
        if hits is None:
            raise damaged(self._library)
        return SearchResults(hits, model.name, note)

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

    def _encode(
        self, query: Query, model: StoredModel
    ) -> tuple[npt.NDArray[np.float32], str | None]:
        encoder = self._override or self._loaded
        if encoder is None or not _is(model, encoder):
            # Another process may have switched the library to another model.
            encoder = load_encoder(model.source)
        described = encoder.description
        if not _is(model, encoder):
            raise ModelNotFound(
                f"The photos were indexed with {model.name} {model.revision}; installed is "
                f"{described.name} {described.revision}. Index them again: imgsearch index FOLDER"
            )
        self._loaded = encoder
        parts = []
        if query.words:
            parts.append(encoder.encode_texts([query.words])[0])
        if query.like is not None:
            parts.append(_encode_picture(encoder, query.like))
        total = np.stack(parts).sum(axis=0, keepdims=True)
        return unit_rows(total)[0], note_about(query.words, described)

    def _generation(self) -> str:
        return self._reader.meta("generation") or "0"

    def _current_index(self, model: StoredModel) -> VectorIndex:
        generation = self._generation()
        if self._index is None or self._index[:2] != (model.id, generation):
            index = VectorCache(self._library, model).load(self._reader)
            self._index = (model.id, generation, index)
        return self._index[2]

    def _hits(
        self, index: VectorIndex, vector: npt.NDArray[np.float32], limit: int
    ) -> tuple[SearchHit, ...] | None:
        """Return the hits, or None if the index says what cannot be true of the catalog."""
        ids, scores = index.search(vector, limit)
        pictures = self._reader.pictures(ids.tolist())
        if not plausible(ids, scores, set(pictures)):
            return None
        return tuple(
            SearchHit(
                path=pictures[id_].paths[0],
                score=float(score),
                picture_id=id_,
                duplicates=pictures[id_].paths[1:],
                byte_size=pictures[id_].byte_size,
                facts=pictures[id_].facts,
            )
            for id_, score in zip(ids.tolist(), scores, strict=True)
        )


def _is(model: StoredModel, encoder: Encoder) -> bool:
    """Tell whether an encoder makes the vectors of a stored model."""
    described = encoder.description
    return (described.name, described.revision) == (model.name, model.revision)


def _encode_picture(encoder: Encoder, path: Path) -> npt.NDArray[np.float32]:
    """Embed the picture at `path`: a unit vector float32 [d]. Raises ImageUnreadable."""
    # Imported here because queries in words need neither Pillow nor its plugins.
    from imgsearch.encoders.decode import decode
    from imgsearch.encoders.files import read_stable
    from imgsearch.encoders.preprocess import to_pixels

    preprocessing = encoder.description.preprocessing
    limits = DecodeLimits()
    try:
        data, _ = read_stable(os.path.realpath(path), limits)
        photo = decode(data, limits, reduce_for=preprocessing)
    except OSError as error:
        raise ImageUnreadable(f"Cannot search by {path}: {error.strerror or error}.") from error
    except ImageUnreadable as error:
        raise ImageUnreadable(f"Cannot search by {path}: {error}.") from error
    row: npt.NDArray[np.float32] = encoder.encode_images(to_pixels(photo.rgb, preprocessing)[None])[
        0
    ]
    return row
