"""What every encoder is: two towers into one space, and an immutable description of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from imgsearch.errors import ModelInvalid

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# float16 rounds a unit vector's length by less than 0.001.
_UNIT_TOLERANCE = 0.01


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

    def seen(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return what an encoder sees of a picture: left, top, right, bottom, 0 to 1 of the whole.

        The centre square with `Resize.CROP`, everything with `Resize.SQUASH`.
        """
        if self.resize is Resize.SQUASH:
            return 0.0, 0.0, 1.0, 1.0
        edge = min(width, height)
        left, top = (1 - edge / width) / 2, (1 - edge / height) / 2
        return left, top, 1 - left, 1 - top


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


@dataclass(frozen=True, slots=True)
class Pace:
    """What keeps an encoder busy: so many calls of `encode_images` at once, of so many pictures.

    Two calls, because one is being computed while the other's pictures travel or its vectors are
    stored. 32 pictures keep every core of a CPU busy at under 5 MB of pixels; more gain nothing.
    """

    calls: int = 2
    pictures: int = 32


class Encoder(Protocol):
    """A dual encoder. Implementations load each tower when it is first used.

    One that wants another pace than the usual has an attribute `pace`, which may change; one that
    has to be made ready for many pictures is a context manager, entered for as long as they last
    (see `indexing`).
    """

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


@runtime_checkable
class MapsPictures(Protocol):
    """What an encoder may have besides: vectors of the parts of a picture."""

    @property
    def maps_pictures(self) -> bool:
        """Whether this very model can: an exported folder may lack what it takes."""
        ...

    def encode_patches(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed the cells of a grid over pixels [n, s, s, 3] to unit vectors [n, g, g, d].

        Rows run from top to bottom, columns from left to right; the vectors compare with those of
        `encode_texts`. Raises HeatMapUnavailable where `maps_pictures` is false.
        """
        ...


@runtime_checkable
class KnowsTexts(Protocol):
    """What an encoder may have besides: vectors of lists of texts, made beforehand."""

    def known_vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """Return unit rows [n, d], what `encode_texts` gives but for rounding; or None."""
        ...


@runtime_checkable
class Respells(Protocol):
    """What an encoder may have besides: it reads words that are hardly meant as they are typed as
    others.
    """

    def respelt(self, text: str) -> str:
        """Return a text as `encode_texts` reads it: of as many words."""
        ...


@runtime_checkable
class LetsGoOfImages(Protocol):
    """What an encoder may have besides: towers that are loaded one without the other."""

    def let_go_of_images(self) -> None:
        """Free the memory of the image tower; it is loaded again when it is used again."""
        ...


def checked_rows(
    rows: npt.NDArray[np.float32], count: int, known: ModelDescription
) -> npt.NDArray[np.float32]:
    """Return `rows` if they are what an encoder must give: `count` unit vectors [n, d].

    Raises ModelInvalid for another shape, for what is no number, and for a length that is not 1
    within 0.01, as that of zeros is.
    """
    if rows.shape != (count, known.dimension):
        raise ModelInvalid(
            f"The model {known.name!r} gives vectors of shape {rows.shape}; they should be "
            f"{(count, known.dimension)}."
        )
    import numpy as np

    if not np.isfinite(rows).all():
        raise ModelInvalid(f"The model {known.name!r} gives vectors that are not numbers.")
    # As float64: the square of a large float32 is none.
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    if count and np.abs(lengths - 1).max() > _UNIT_TOLERANCE:
        raise ModelInvalid(f"The model {known.name!r} gives vectors of no length.")
    return rows


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return rows [..., d] divided by their Euclidean norm: float32; zero rows stay zero."""
    import numpy as np

    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
