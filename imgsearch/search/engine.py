"""From a query to the nearest pictures of a library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.connection import damaged
from imgsearch.data.facets import Facets, read_facets
from imgsearch.data.filters import filtered_ids, newest_ids
from imgsearch.data.reader import CatalogReader, StoredModel, StoredPicture
from imgsearch.data.vector_cache import VectorCache, VectorIndex, plausible
from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.base import unit_rows
from imgsearch.errors import ImageUnreadable, LibraryEmpty, ModelNotFound, PhotoNotFound
from imgsearch.search.query import PictureReference, Query, note_about
from imgsearch.search.results import SearchHit, SearchResults, hit_of
from imgsearch.search.strength import NULL_PROMPTS, StrengthScale
from imgsearch.settings import DecodeLimits

# Pictures that the strength of matches is measured against; more change it by less than a point.
_SAMPLE = 2_000
# Sorted by date, and with a minimum strength, so many of the best matches are weighed.
_MOST_WEIGHED = 2_000
# Weaker matches are noise, which an order by date would bring to the top.
_WORTH_SORTING = 35


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
        self._sample: tuple[int, str, npt.NDArray[np.float32]] | None = None
        self._scales: dict[tuple[bool, bool], StrengthScale] = {}
        self._facets: tuple[str, Facets] | None = None

    def close(self) -> None:
        """Release the catalog."""
        self._reader.close()

    def search(self, query: Query) -> SearchResults:
        """Return the pictures nearest to the query, best first.

        Words and a picture together are searched by the sum of their unit vectors. Raises
        LibraryEmpty, ImageUnreadable, PhotoNotFound, or a ModelError.
        """
        self._refresh()
        model = self._model()
        if query.is_empty:
            return self._newest(query, model)
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
        answer = self._answer(index, vector, query, model)
        if answer is None:
            generation = self._generation()
            index = VectorCache(self._library, model).load(self._reader, trust_cache=False)
            self._index = (model.id, generation, index)
            answer = self._answer(index, vector, query, model)
        if answer is None:
            raise damaged(self._library)
        hits, total = answer
        return SearchResults(hits, model.name, note, total)

    def pictures(self, ids: Sequence[int]) -> tuple[SearchHit, ...]:
        """Return the pictures with these ids, in their order, without those that are gone."""
        self._refresh()
        found = self._reader.pictures(ids)
        return tuple(_hit(found[id_], None, None) for id_ in ids if id_ in found)

    def facets(self) -> Facets:
        """Return what the library can be filtered by."""
        self._refresh()
        generation = "" if self._reader.is_uninitialised() else self._generation()
        if self._facets is None or self._facets[0] != generation:
            self._facets = generation, read_facets(self._reader)
        return self._facets[1].with_present_folders()

    def stored(self, content_hash: bytes) -> tuple[StoredPicture, list[str]] | None:
        """Return a picture that the library shows, and the library's roots; or None."""
        self._refresh()
        if self._reader.is_uninitialised():
            return None
        picture = self._reader.picture_of(content_hash)
        return None if picture is None else (picture, self._reader.roots())

    def encoder(self) -> Encoder:
        """Return the encoder that queries use. Raises LibraryEmpty or a ModelError."""
        self._refresh()
        return self._encoder_of(self._model())

    def _refresh(self) -> None:
        """Open the catalog again where its file was replaced."""
        if not self._reader.is_current():
            self._reader.close()
            self._index = self._sample = self._facets = None
            self._reader = CatalogReader(self._library)

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

    def _encode(
        self, query: Query, model: StoredModel
    ) -> tuple[npt.NDArray[np.float32], str | None]:
        encoder = self._encoder_of(model)
        parts = []
        if query.words:
            parts.append(encoder.encode_texts([query.words])[0])
        if query.like is not None:
            parts.append(self._vector_of(query.like, encoder, model))
        total = np.stack(parts).sum(axis=0, keepdims=True)
        return unit_rows(total)[0], note_about(query.words, encoder.description)

    def _vector_of(
        self, like: Path | int | PictureReference, encoder: Encoder, model: StoredModel
    ) -> npt.NDArray[np.float32]:
        """Return the unit vector of a picture, float32 [d]."""
        if isinstance(like, Path):
            return _encode_picture(encoder, like)
        if isinstance(like, PictureReference):
            if (like.model, like.revision) != (model.name, model.revision):
                raise ModelNotFound("The library has changed its model; give the picture again.")
            return like.vector
        for _, vectors in self._reader.vectors(model, np.array([like], dtype=np.int64)):
            if len(vectors):
                return np.asarray(vectors[0], dtype=np.float32)
        raise PhotoNotFound("The picture to search by is not in the library any more.")

    def _generation(self) -> str:
        return self._reader.meta("generation") or "0"

    def _current_index(self, model: StoredModel) -> VectorIndex:
        generation = self._generation()
        if self._index is None or self._index[:2] != (model.id, generation):
            index = VectorCache(self._library, model).load(self._reader)
            self._index = (model.id, generation, index)
        return self._index[2]

    def _answer(
        self,
        index: VectorIndex,
        vector: npt.NDArray[np.float32],
        query: Query,
        model: StoredModel,
    ) -> tuple[tuple[SearchHit, ...], int] | None:
        """Return the hits and their number on all pages; None if the index cannot be true."""
        among = filtered_ids(self._reader, model, query.filters) if query.filters.any else None
        by_date = query.sort == "date"
        scale = None
        if query.with_strength or query.min_strength or by_date:
            scale = self._scale(query, model)
        end = query.offset + query.limit
        weakest = max(query.min_strength, _WORTH_SORTING if by_date else 0)
        ids, scores = index.search(vector, _MOST_WEIGHED if weakest else end, among)
        if not plausible(ids[:0], scores, set()):
            return None
        total = len(index) if among is None else len(among)
        if weakest and scale is not None:
            strong = np.array([scale.strength(float(one)) >= weakest for one in scores], dtype=bool)
            if by_date and not query.min_strength and not strong.any():
                # Nothing matches well; the best of what there is, rather than nothing.
                strong[: query.limit] = True
            ids, scores = ids[strong], scores[strong]
            total = len(ids)
        chosen = ids if by_date else ids[query.offset : end]
        pictures = self._reader.pictures(chosen.tolist())
        if not plausible(chosen, scores, set(pictures)):
            return None
        found = [
            _hit(pictures[id_], float(score), scale)
            for id_, score in zip(
                chosen.tolist(), scores if by_date else scores[query.offset : end], strict=True
            )
        ]
        if by_date:
            found.sort(key=lambda hit: hit.date, reverse=True)
            found = found[query.offset : end]
        return tuple(found), total

    def _newest(self, query: Query, model: StoredModel) -> SearchResults:
        """Return the pictures that pass the filters, newest first."""
        ids = newest_ids(self._reader, model, query.filters, query.limit, query.offset)
        total = len(filtered_ids(self._reader, model, query.filters))
        return SearchResults(self.pictures(ids.tolist()), model.name, None, total)

    def _scale(self, query: Query, model: StoredModel) -> StrengthScale:
        """Return the scale for queries of this kind: by words, by picture, or by both."""
        generation = self._generation()
        if self._sample is None or self._sample[:2] != (model.id, generation):
            self._sample = (model.id, generation, self._sampled(model))
            self._scales.clear()
        kind = bool(query.words), query.like is not None
        if kind not in self._scales:
            pictures = self._sample[2]
            unrelated = np.zeros((1, model.dimension), dtype=np.float32)
            if query.like is not None:
                # Some pictures stand for queries, and are compared with the others.
                count = min(len(NULL_PROMPTS), len(pictures) // 2)
                unrelated, pictures = pictures[:count], pictures[count:]
            if query.words:
                prompts = self._encoder_of(model).encode_texts(NULL_PROMPTS)
                unrelated = prompts if query.like is None else unrelated + prompts[: len(unrelated)]
            self._scales[kind] = StrengthScale.measured(unit_rows(unrelated), pictures)
        return self._scales[kind]

    def _sampled(self, model: StoredModel) -> npt.NDArray[np.float32]:
        """Return the vectors of pictures evenly spread over the library, in random order."""
        ids = self._reader.visible_ids(model.id)
        step = max(1, len(ids) // _SAMPLE)
        pages = [vectors for _, vectors in self._reader.vectors(model, ids[::step])]
        stacked = np.concatenate(pages).astype(np.float32)
        return np.random.default_rng(0).permutation(stacked)


def _hit(picture: StoredPicture, score: float | None, scale: StrengthScale | None) -> SearchHit:
    strength = None if scale is None or score is None else scale.strength(score)
    return hit_of(picture, score, strength)


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
