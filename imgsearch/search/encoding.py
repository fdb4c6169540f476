"""The parts of queries as vectors: words by the text tower, pictures by decoding or look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.encoders import Encoder
from imgsearch.encoders.base import checked_rows
from imgsearch.errors import ModelNotFound, PhotoNotFound
from imgsearch.search.query import Picture, PictureReference, Query
from imgsearch.search.ranking import EncodedQuery

# The pixels uint8 [s, s, 3] of the files that are searched by: decoded elsewhere, since their bytes
# may crash a decoder.
PicturePixels = Mapping[Path, npt.NDArray[np.uint8]]
_ANOTHER_MODEL = "The library has changed its model; give the picture again."


def encode_queries(
    queries: Sequence[Query],
    encoder: Encoder,
    reader: CatalogReader,
    model: StoredModel,
    pixels: PicturePixels,
) -> list[EncodedQuery]:
    """Return the queries with their parts as unit vectors; `pixels` has all their files.

    All words go through the text tower in one run. Raises PhotoNotFound or ModelNotFound for a
    picture that cannot be searched by.
    """
    texts = sorted({t.subject for q in queries for t in q.terms if isinstance(t.subject, str)})
    rows = (
        checked_rows(encoder.encode_texts(texts), len(texts), encoder.description) if texts else ()
    )
    known = dict(zip(texts, rows, strict=True))

    def encode(subject: str | Picture) -> npt.NDArray[np.float32]:
        if isinstance(subject, str):
            row: npt.NDArray[np.float32] = known[subject]
            return row
        return _vector_of(subject, encoder, reader, model, pixels)

    return [
        EncodedQuery(
            vectors=_rows([encode(term.subject) for term in query.terms], model),
            weights=np.array([term.weight for term in query.terms], dtype=np.float32),
            is_words=tuple(term.is_words for term in query.terms),
            good=_stored(query.good, reader, model),
            bad=_stored(query.bad, reader, model),
        )
        for query in queries
    ]


def _vector_of(
    like: Picture,
    encoder: Encoder,
    reader: CatalogReader,
    model: StoredModel,
    pixels: PicturePixels,
) -> npt.NDArray[np.float32]:
    """Return the unit vector of a picture, float32 [d]."""
    if isinstance(like, Path):
        if len(pixels[like]) != encoder.description.preprocessing.size:
            raise ModelNotFound(_ANOTHER_MODEL)
        found = encoder.encode_images(pixels[like][None])
        vector: npt.NDArray[np.float32] = checked_rows(found, 1, encoder.description)[0]
        return vector
    if isinstance(like, PictureReference):
        if (like.model, like.revision) != (model.name, model.revision):
            raise ModelNotFound(_ANOTHER_MODEL)
        return like.vector
    rows = _stored([like], reader, model)
    if not len(rows):
        raise PhotoNotFound("The picture to search by is not in the library any more.")
    row: npt.NDArray[np.float32] = rows[0]
    return row


def _stored(
    ids: Sequence[int], reader: CatalogReader, model: StoredModel
) -> npt.NDArray[np.float32]:
    """Return the vectors of those of the pictures that have one: float32 [at most n, d]."""
    pages = reader.vectors(model, np.array(ids, dtype=np.int64))
    return _rows([row for _, rows in pages for row in rows], model)


def _rows(
    vectors: Sequence[npt.NDArray[np.floating]], model: StoredModel
) -> npt.NDArray[np.float32]:
    return np.array(vectors, dtype=np.float32).reshape(-1, model.dimension)
