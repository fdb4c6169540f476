"""The encoder over a *model folder*: model.json, image.onnx, text.onnx, tokenizer.json.

``image.onnx`` takes ``pixels`` uint8 [n, s, s, 3]; ``text.onnx`` takes ``input_ids`` and
``attention_mask`` int64 [n, t]; both give ``embedding`` float32 [n, d]. Normalisation is inside the
graphs. Runs on ONNX Runtime alone: neither torch nor transformers is imported.

A folder may hold ``patches.part``, too: what ``image.onnx`` lacks to give ``patches`` float32
[n, g, g, d] besides, the vectors of the cells of a grid. It is a piece of an ONNX file, whose bytes
are put behind those of ``image.onnx``: two encoded messages of protobuf, one after the other, are
the encoding of both merged. So the weights are stored once, and ``image.onnx``, which names the
vectors of libraries, stays as it is. ``graph_part`` and ``tools/starter/patches.py`` write it.

And it may hold ``texts-DIGEST.npy``, float16 [n, d]: the vectors of a list of texts that every
library needs, so that no query waits for them. ``tools/starter/known_texts.py`` writes it. With
``words.txt.gz`` slips of the keys are put right (see `spelling`); ``tools/starter/words.py`` writes
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import (
    ModelDescription,
    Preprocessing,
    Resize,
    checked_rows,
    unit_rows,
)
from imgsearch.encoders.model_files import (
    check_inside,
    check_tokenizer,
    read_object,
    reason_of,
)
from imgsearch.encoders.onnx_session import open_session, run_graph
from imgsearch.encoders.spelling import WORDS, Spelling, respelt
from imgsearch.encoders.text_batches import encoded_in_batches
from imgsearch.errors import HeatMapUnavailable, ModelInvalid
from imgsearch.settings import available_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

FORMAT = 1
# Beyond these a model.json is a mistake or an attack: no published dual encoder comes near.
_MAX_DIMENSION, _MAX_EDGE, _MAX_CONTEXT = 8192, 2048, 65_536
_MAX_NAME, _MAX_LANGUAGES = 200, 500
_RESAMPLE = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
PATCHES = "patches.part"
FILES = ("model.json", "image.onnx", "text.onnx", "tokenizer.json")
# Pictures a single run of the image graph takes. Small runs keep the activations in the caches of
# a core: measured on 2 cores, 4 is a tenth faster than 32.
_IMAGES_PER_RUN = 4


class OnnxFolderEncoder:
    """A dual encoder from a model folder. Thread-safe; each tower is loaded when first used."""

    def __init__(
        self, folder: Path, source: str | None = None, identity: tuple[str, str] | None = None
    ) -> None:
        """Read ``model.json``; `source` is what the model is loaded by, by default the folder.

        `identity` (name, revision) replaces what ``model.json`` says: whoever publishes a model on
        the hub must not be able to name it like another. Raises ModelInvalid if the folder is
        incomplete or makes no sense.
        """
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise ModelInvalid(f"{folder} is not a model folder: {', '.join(missing)} missing.")
        check_inside(folder, (*FILES, PATCHES, WORDS))
        check_tokenizer(folder / "tokenizer.json")
        self._folder = folder
        facts = read_object(folder / "model.json")
        described = _description(facts, folder / "model.json", source or str(folder))
        if identity is not None:
            described = replace(described, name=identity[0], revision=identity[1])
        self._description = described
        # Graphs that were traced at one length of text take no other.
        self._padded = bool(facts["text"].get("padded", False))

    @property
    def description(self) -> ModelDescription:
        """The model's identity and input format."""
        return self._description

    @property
    def folder(self) -> Path:
        """Where the model's files lie."""
        return self._folder

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed pixels [n, s, s, 3] to unit rows [n, d], on all cores this process may use."""
        self._check_pixels(pixels)
        if not len(pixels):
            return np.empty((0, self._description.dimension), dtype=np.float32)
        parts = np.array_split(pixels, -(-len(pixels) // _IMAGES_PER_RUN))
        rows = list(self._image_threads.map(self._run_image_tower, parts))
        return self._checked(np.concatenate(rows))

    @property
    def maps_pictures(self) -> bool:
        """Whether the folder has what `encode_patches` needs."""
        return (self._folder / PATCHES).is_file()

    def encode_patches(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed the cells of a grid over pixels [n, s, s, 3] to unit vectors [n, g, g, d].

        Raises HeatMapUnavailable if the folder has no ``patches.part``.
        """
        self._check_pixels(pixels)
        if not self.maps_pictures:
            raise HeatMapUnavailable(
                f"The model in {self._folder} cannot show where something is in a picture: it has "
                f"no {PATCHES}. Export it again with this imgsearch."
            )
        cells = run_graph(self._patches_session, "patches", {"pixels": pixels}, self._folder)
        count, height, width = (*cells.shape, 0, 0, 0)[:3]
        if cells.ndim != 4 or count != len(pixels) or height != width:
            raise ModelInvalid(
                f"The model in {self._folder} gives patches of shape {cells.shape}; they should be "
                "a square grid of vectors for each picture."
            )
        return self._checked(cells.reshape(-1, cells.shape[3])).reshape(cells.shape)

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed n texts to unit rows [n, d]; what exceeds the context length is cut off."""
        if not texts:
            return np.empty((0, self._description.dimension), dtype=np.float32)
        return encoded_in_batches([self.respelt(text) for text in texts], self._run_text_tower)

    def respelt(self, text: str) -> str:
        """Return a text as it is read: with its slips put right, if the folder has its words."""
        if not (self._folder / WORDS).is_file():
            return text
        # The list takes 10 ms to read: not for words that the tokenizer has whole.
        return respelt(
            text,
            is_known=lambda word: self._tokenizer.token_to_id(word) is not None,
            nearest=lambda word: self._spelling.nearest(word),
        )

    def _run_text_tower(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch(list(texts))
        inputs = {
            "input_ids": np.array([one.ids for one in encodings], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in encodings], dtype=np.int64),
        }
        # A text tower that was trained without a mask has no input for it.
        taken = {one.name for one in self._text_session.get_inputs()}
        given = {name: value for name, value in inputs.items() if name in taken}
        rows = run_graph(self._text_session, "embedding", given, self._folder)
        return self._checked(rows)

    def let_go_of_images(self) -> None:
        """Free the memory of the image tower; it is loaded again when it is used again."""
        # A run in another thread holds the session until it ends.
        self.__dict__.pop("_image_session", None)

    def _check_pixels(self, pixels: npt.NDArray[np.uint8]) -> None:
        size = self._description.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, 3):
            raise ValueError(f"expected uint8 [n, {size}, {size}, 3], got {pixels.shape}")

    def _run_image_tower(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return run_graph(self._image_session, "embedding", {"pixels": pixels}, self._folder)

    def _checked(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        if rows.ndim != 2 or rows.shape[1] != self._description.dimension:
            raise ModelInvalid(
                f"The model in {self._folder} gives vectors of shape {rows.shape}; its model.json "
                f"says dimension {self._description.dimension}."
            )
        if not np.isfinite(rows).all():
            raise ModelInvalid(f"The model in {self._folder} gives vectors that are not numbers.")
        return unit_rows(rows.astype(np.float32, copy=False))

    @cached_property
    def _image_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(available_cores(), thread_name_prefix="imgsearch-image-tower")

    def known_vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """Return the vectors of just these texts if the folder brings them: unit rows [n, d]."""
        shape = len(texts), self._description.dimension
        try:
            with (self._folder / known_texts_name(texts)).open("rb") as file:
                # Not np.load, which makes room for whatever shape a file says that it has.
                if np.lib.format.read_magic(file) != (1, 0):
                    return None
                told, _, dtype = np.lib.format.read_array_header_1_0(file)
                data = file.read(2 * shape[0] * shape[1] + 1)
            if told != shape or dtype != np.float16:
                return None
            rows = np.frombuffer(data, dtype=np.float16).reshape(shape)
            return checked_rows(unit_rows(rows.astype(np.float32)), len(texts), self._description)
        except (OSError, ValueError, ModelInvalid):
            return None

    @cached_property
    def _image_session(self) -> InferenceSession:
        # One thread a run, several runs at once: no core waits for another inside a layer, and
        # whatever time the decoding processes leave is used.
        return open_session(self._folder / "image.onnx", threads=1, optimize=True)

    @cached_property
    def _patches_session(self) -> InferenceSession:
        # For single pictures that somebody waits for: all cores work on the same one.
        return open_session(
            self._folder / "image.onnx",
            available_cores(),
            optimize=True,
            part=self._folder / PATCHES,
        )

    @cached_property
    def _text_session(self) -> InferenceSession:
        # Stored optimized: optimizing again would take most of a cold query's time.
        threads = min(2, available_cores())
        return open_session(self._folder / "text.onnx", threads, optimize=False)

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling.read(self._folder / WORDS)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises bare Exception, nothing narrower
            raise ModelInvalid(
                f"{self._folder / 'tokenizer.json'} cannot be read: {reason_of(error)}"
            ) from error
        context = self._description.context_length
        tokenizer.enable_truncation(context)
        # The padding token is the tokenizer's own affair; without one, the first token is as good.
        padding = tokenizer.padding or {}
        tokenizer.enable_padding(
            length=context if self._padded else None,
            direction="right",
            pad_id=padding.get("pad_id", 0),
            pad_token=padding.get("pad_token", "[PAD]"),
        )
        return tokenizer


def known_texts_name(texts: Sequence[str]) -> str:
    """Return the name of the file in a model folder that holds the vectors of these texts."""
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"texts-{digest[:12]}.npy"


def read_description(path: Path, source: str) -> ModelDescription:
    """Read and check a ``model.json``. Raises ModelInvalid."""
    return _description(read_object(path), path, source)


def _description(facts: dict[str, Any], path: Path, source: str) -> ModelDescription:
    try:
        if facts["format"] != FORMAT:
            raise ModelInvalid(
                f"{path} has format {facts['format']!r:.40}; this imgsearch reads format {FORMAT}."
            )
        image, languages = facts["image"], facts["text"].get("languages", ())
        resample = str(image["resample"])
        if resample not in _RESAMPLE:
            raise ValueError(f"resample is {resample!r}")
        if not isinstance(languages, (list, tuple)) or len(languages) > _MAX_LANGUAGES:
            raise ValueError("languages is no list of codes")
        return ModelDescription(
            name=_plain(facts["name"]),
            source=source,
            revision=_plain(facts["revision"]),
            dimension=_between(1, facts["dimension"], _MAX_DIMENSION),
            preprocessing=Preprocessing(
                size=_between(1, image["size"], _MAX_EDGE),
                resize=Resize(image["resize"]),
                resample=resample,
            ),
            context_length=_between(1, facts["text"]["context_length"], _MAX_CONTEXT),
            licence=_plain(facts["license"]),
            languages=tuple(_plain(code) for code in languages),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelInvalid(
            f"{path} is not a valid model description: {type(error).__name__}: {reason_of(error)}"
        ) from error


def _between(lowest: int, value: object, highest: int) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{value!r:.40} is not a whole number from {lowest} to {highest}")
    return value


def _plain(value: object) -> str:
    """Return a name that can be shown and stored anywhere."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME or not value.isprintable():
        raise ValueError(f"{value!r:.40} is not a name")
    return value
