"""What every encoder is: two towers into one space, and an immutable description of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Resize(Enum):
    """How a picture becomes a square."""

    # The shorter edge to the target size, then the centre square: what CLIP does.
    CROP = "crop"
    # Both edges to the target size: the whole picture is seen, its proportions are not.
    SQUASH = "squash"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The geometry between a decoded picture and the pixels an encoder takes.

    Normalisation is not part of it: encoders take uint8 pixels and normalise them themselves.
    `resample` is the name of a Pillow filter in lower case.
    """

    size: int
    resize: Resize = Resize.CROP
    resample: str = "bicubic"


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """Who an encoder is. Vectors are comparable only under equal `name` and `revision`.

    `source` is what `load_encoder` takes to load this very model again; `context_length` is in
    tokens; `languages` holds ISO 639-1 codes, empty when unknown.
    """

    name: str
    source: str
    revision: str
    dimension: int
    preprocessing: Preprocessing
    context_length: int
    licence: str
    languages: tuple[str, ...] = ()


class Encoder(Protocol):
    """A dual encoder. Implementations load each tower when it is first used."""

    @property
    def description(self) -> ModelDescription:
        """The model's identity and input format."""
        ...

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed pixels [n, s, s, 3] (RGB, s = preprocessing.size) to unit rows [n, d].

        The array is the caller's, who fills it anew afterwards: nothing may be kept of it.
        """
        ...

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed n texts to unit rows [n, d]; what exceeds the context length is cut off."""
        ...


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return rows divided by their Euclidean norm: float32 [n, d]; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
