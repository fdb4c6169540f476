"""The encoder over an ONNX export of a CLIP-like model, as the hub has them; see `layout`.

The image graph takes ``pixel_values`` float [n, 3, s, s], normalised here by what
``preprocessor_config.json`` says; the text graph takes ``input_ids`` and often ``attention_mask``,
int [n, t]. They give ``image_embeds`` and ``text_embeds``, or, without a projection after the
towers (SigLIP), ``pooler_output``: float [n, d]. Runs on ONNX Runtime and tokenizers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.architectures import architecture_of, read_tokenizer, sizes_of
from imgsearch.encoders.base import ModelDescription, unit_rows
from imgsearch.encoders.checkpoint import (
    CONFIG,
    PREPROCESSOR,
    preprocessing_of,
    revision_of,
)
from imgsearch.encoders.layout import Layout, missing_in
from imgsearch.encoders.model_files import (
    check_config,
    check_inside,
    check_tokenizer,
    read_object,
    reason_of,
)
from imgsearch.encoders.onnx_session import external_files, open_session
from imgsearch.encoders.text_batches import TEXTS_PER_RUN, encoded_in_batches
from imgsearch.errors import ModelInvalid
from imgsearch.settings import available_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

# As in `onnx_folder`: the activations of few pictures stay in the caches of a core.
_IMAGES_PER_RUN = 4
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


class OnnxExportEncoder:
    """A dual encoder from an ONNX export. Thread-safe; each tower is loaded when first used."""

    def __init__(self, name: str, folder: Path, layout: Layout, revision: str, source: str) -> None:
        """Read the configuration; name, revision and source become the model's identity.

        Raises ModelInvalid if the folder is incomplete or of another kind of model.
        """
        missing = missing_in(folder, layout)
        if missing:
            raise ModelInvalid(f"The model {name!r} is not complete: {', '.join(missing)} missing.")
        check_inside(folder, layout.needed)
        check_tokenizer(folder / "tokenizer.json")
        self._folder = folder
        self._image_graph, self._text_graph = layout.graphs
        facts, config = read_object(folder / PREPROCESSOR), read_object(folder / CONFIG)
        check_config(config, name)
        self._architecture = architecture_of(config, name)
        dimension, context = sizes_of(config, self._architecture, name)
        mean = _three(facts.get("image_mean") or self._architecture.mean, name)
        deviation = _three(facts.get("image_std") or self._architecture.std, name)
        if (deviation <= 0).any():
            raise ModelInvalid(f"The {PREPROCESSOR} of {name!r} is not usable.")
        # (x / 255 - mean) / deviation as one product and one sum.
        self._scale, self._shift = 1 / (255 * deviation), -mean / deviation
        self._description = ModelDescription(
            name=name,
            source=source,
            revision=revision,
            dimension=dimension,
            preprocessing=preprocessing_of(facts, name),
            context_length=context,
            licence="see the model's own page",
        )

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
        size = self._description.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, 3):
            raise ValueError(f"expected uint8 [n, {size}, {size}, 3], got {pixels.shape}")
        if not len(pixels):
            return np.empty((0, self._description.dimension), dtype=np.float32)
        per_run = _rows_per_run(self._image_session, "pixel_values") or _IMAGES_PER_RUN
        parts = np.array_split(pixels, -(-len(pixels) // per_run))
        return unit_rows(np.concatenate(list(self._image_threads.map(self._image_rows, parts))))

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed n texts to unit rows [n, d]; what exceeds the context length is cut off."""
        if not texts:
            return np.empty((0, self._description.dimension), dtype=np.float32)
        per_run = _rows_per_run(self._text_session, "input_ids") or TEXTS_PER_RUN
        return unit_rows(encoded_in_batches(texts, self._text_rows, per_run))

    def let_go_of_images(self) -> None:
        """Free the memory of the image tower; it is loaded again when it is used again."""
        self.__dict__.pop("_image_session", None)

    def _image_rows(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        values = pixels * self._scale + self._shift
        given = {"pixel_values": np.ascontiguousarray(values.transpose(0, 3, 1, 2))}
        return self._run(self._image_session, ("image_embeds", "pooler_output"), given)

    def _text_rows(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self._architecture.fixed_length:
            # SigLIP 2 was trained on lower case; SigLIP's own tokenizer does it anyway.
            texts = [text.lower() for text in texts]
        encodings = self._tokenizer.encode_batch(list(texts))
        given = {
            "input_ids": np.array([one.ids for one in encodings]),
            "attention_mask": np.array([one.attention_mask for one in encodings]),
        }
        return self._run(self._text_session, ("text_embeds", "pooler_output"), given)

    def _run(
        self, session: InferenceSession, outputs: tuple[str, ...], given: dict[str, Any]
    ) -> npt.NDArray[np.float32]:
        """Run a graph on what it takes of `given`; return rows [n, d], not normalised."""
        from onnxruntime.capi import onnxruntime_pybind11_state as reasons

        offered = {one.name for one in session.get_outputs()}
        taken = {one.name for one in session.get_inputs()}
        main = next(iter(given))
        if main not in taken:
            raise ModelInvalid(
                f"A graph of {self._description.name!r} takes {', '.join(sorted(taken))} and no "
                f"{main}: it is not one of a CLIP-like model."
            )
        output = next((name for name in outputs if name in offered), None)
        # Pooled vectors are in one space only where no projection follows.
        if output is None or (output == "pooler_output" and not self._architecture.fixed_length):
            raise ModelInvalid(
                f"The graphs of {self._description.name!r} give {', '.join(sorted(offered))} and "
                f"no {outputs[0]}: they were exported without the projection into one space."
            )
        inputs = {}
        for one in session.get_inputs():
            value = given.get(one.name)
            if value is None:
                value = self._nothing_for(one.name)
            inputs[one.name] = value.astype(self._dtype(one), copy=False)
        try:
            rows = np.asarray(session.run([output], inputs)[0])
        except (reasons.InvalidArgument, reasons.Fail, reasons.RuntimeException) as error:
            raise ModelInvalid(
                f"A graph of {self._description.name!r} does not run on what its configuration "
                f"says: {reason_of(error)}"
            ) from error
        if rows.ndim != 2 or rows.shape[1] != self._description.dimension:
            raise ModelInvalid(
                f"The graphs of {self._description.name!r} give vectors of shape {rows.shape}; "
                f"its {CONFIG} says dimension {self._description.dimension}."
            )
        if not np.isfinite(rows).all():
            raise ModelInvalid(
                f"The graphs of {self._description.name!r} give vectors that are not numbers."
            )
        return rows.astype(np.float32, copy=False)

    def _nothing_for(self, name: str) -> npt.NDArray[Any]:
        """Return what the other tower gets, where one graph holds both and wants both fed."""
        size = self._description.preprocessing.size
        if name == "pixel_values":
            return np.zeros((1, 3, size, size))
        if name in ("input_ids", "attention_mask"):
            encoding = self._tokenizer.encode_batch([""])[0]
            return np.array([encoding.ids if name == "input_ids" else encoding.attention_mask])
        raise ModelInvalid(
            f"The graphs of {self._description.name!r} want an input {name!r}, which is not known "
            "of CLIP-like models."
        )

    def _dtype(self, one: Any) -> Any:
        if one.type not in _DTYPES:
            raise ModelInvalid(
                f"The graphs of {self._description.name!r} want {one.type} for {one.name!r}, which "
                "is not supported."
            )
        return _DTYPES[one.type]

    @cached_property
    def _image_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(available_cores(), thread_name_prefix="imgsearch-image-tower")

    @cached_property
    def _image_session(self) -> InferenceSession:
        # One thread a run and several runs at once, as in `onnx_folder`.
        return open_session(self._folder / self._image_graph, threads=1, optimize=True)

    @cached_property
    def _text_session(self) -> InferenceSession:
        if self._text_graph == self._image_graph:
            return self._image_session
        threads = min(2, available_cores())
        return open_session(self._folder / self._text_graph, threads, optimize=True)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        context = self._description.context_length
        shape = _shape(self._text_session, "input_ids")
        # A graph that was traced at one length of text takes no other.
        traced = shape[1] if len(shape) == 2 and isinstance(shape[1], int) else None
        whole = context if self._architecture.fixed_length else None
        tokenizer: Tokenizer = read_tokenizer(
            self._folder, traced or context, self._description.name, padded_to=traced or whole
        )
        return tokenizer


def from_export_folder(folder: Path, layout: Layout) -> OnnxExportEncoder:
    """Load an export from a local folder; its revision is the hash of its files.

    Raises ModelInvalid.
    """
    names = dict.fromkeys(layout.needed)
    for graph in layout.graphs:
        place = graph.rpartition("/")[0]
        beside = external_files(folder / graph)
        names |= dict.fromkeys(f"{place}/{name}" if place else name for name in beside)
    revision = revision_of(folder, names) + layout.mark
    return OnnxExportEncoder(folder.name, folder, layout, revision, str(folder))


def _rows_per_run(session: InferenceSession, name: str) -> int | None:
    """Return 1 for a graph that was traced for one row at a time, None for one that takes many."""
    shape = _shape(session, name)
    return 1 if shape and shape[0] == 1 else None


def _shape(session: InferenceSession, name: str) -> list[Any]:
    """Return the shape of an input, numbers where it is fixed and names where not."""
    return next((list(one.shape) for one in session.get_inputs() if one.name == name), [])


def _three(values: Any, name: str) -> npt.NDArray[np.float32]:
    """Return a number for each of red, green and blue: float32 [3]. Raises ModelInvalid."""
    try:
        found = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ModelInvalid(f"The {PREPROCESSOR} of {name!r} is not usable.") from error
    if found.shape != (3,) or not np.isfinite(found).all():
        raise ModelInvalid(f"The {PREPROCESSOR} of {name!r} is not usable.")
    return found
