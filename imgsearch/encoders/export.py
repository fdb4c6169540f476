"""A checkpoint as a model folder of ONNX graphs, which needs neither torch nor transformers to run.

The graphs take what `onnx_folder` gives them: uint8 pixels, token ids and mask; normalisation is
inside. They are compared with the checkpoint before they are called done.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.checkpoint import CheckpointEncoder
from imgsearch.encoders.graph_part import write_part
from imgsearch.encoders.onnx_folder import FORMAT, PATCHES, OnnxFolderEncoder
from imgsearch.encoders.onnx_import import import_onnxruntime
from imgsearch.errors import ExtraMissing, ModelError, UsageError

if TYPE_CHECKING:
    import torch

_OPSET = 17
# Enough to see a wrong graph; the pictures are soft random fields, like photos out of focus.
_TEXTS = (
    "a photo of a cat", "two red shoes on a wooden floor", "sunset", "minimalist home office",
    "a child runs along the beach with a kite while a dog barks at the waves", "snow",
    "handwritten notes on a whiteboard", "一只猫",
)  # fmt: skip
_PICTURES = 16
# Smaller weights stay in the graph (bytes).
_LARGE_WEIGHT = 16_384


@dataclass(frozen=True, slots=True)
class Export:
    """A finished model folder. The agreements are the lowest cosines to the model's own vectors."""

    folder: Path
    megabytes: float
    image_agreement: float
    text_agreement: float


def export_checkpoint(encoder: CheckpointEncoder, folder: Path, *, int8: bool = False) -> Export:
    """Write the model folder `folder`, which must not exist.

    With `int8` the weights of matrix products are stored in a byte each: a quarter of the size,
    and vectors that differ a little. Raises UsageError, ExtraMissing or ModelError.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already. Name a folder that is not.")
    if find_spec("onnx") is None:
        raise ExtraMissing(
            "Exporting needs onnx. Install it with: pip install 'imgsearch-engine[export]'"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that a finished folder appears at once, or none.
    draft = Path(tempfile.mkdtemp(prefix=".imgsearch-export-", dir=folder.parent))
    try:
        _write_graphs(encoder, draft, int8=int8)
        encoder.text_reader.save(draft / "tokenizer.json")
        _write_description(encoder, draft, int8=int8)
        exported = OnnxFolderEncoder(draft)
        images, texts = _agreement(encoder, exported)
        worst = min(images, texts, _agreement_of_patches(encoder, exported))
        if not int8 and worst < 0.9999:
            raise ModelError(
                f"The exported graphs differ from the model (cosine {worst:.4f}); nothing was kept."
            )
        size = sum(path.stat().st_size for path in draft.iterdir())
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return Export(folder, size / 1e6, images, texts)


def _write_graphs(encoder: CheckpointEncoder, folder: Path, *, int8: bool) -> None:
    import torch

    edge = encoder.description.preprocessing.size
    tokens = encoder.text_reader.read_whole(["a photo", "two photos of something else"])
    inputs = {
        "image": (torch.zeros((2, edge, edge, 3), dtype=torch.uint8),),
        "text": (torch.tensor(tokens.ids), torch.tensor(tokens.mask)),
    }
    names = {"image": ["pixels"], "text": ["input_ids", "attention_mask"]}
    for tower, module in encoder.towers().items():
        any_length = tower == "text" and not encoder.text_reader.fixed_length
        _trace(
            module, inputs[tower], folder / f"{tower}.raw.onnx", names[tower], "embedding",
            any_length=any_length,
        )  # fmt: skip
        _finish_graph(folder, tower, int8=int8)
    whole = folder / "patches.onnx"
    _trace(
        encoder.patch_tower(), inputs["image"], folder / "patches.raw.onnx", names["image"],
        "patches",
    )  # fmt: skip
    _finish_graph(folder, "patches", int8=int8)
    write_part(whole, folder / "image.onnx", folder / PATCHES)
    whole.unlink()


def _trace(
    module: torch.nn.Module,
    example: tuple[Any, ...],
    path: Path,
    names: list[str],
    output: str,
    *,
    any_length: bool = False,
) -> None:
    """Write a module's graph, for any number of rows and, with `any_length`, of tokens."""
    import torch

    free = {0: "n", 1: "t"} if any_length else {0: "n"}
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns about every size that it takes for constant: they are.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=names,
            output_names=[output],
            dynamic_axes=dict.fromkeys(names, free) | {output: {0: "n"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def _finish_graph(folder: Path, tower: str, *, int8: bool) -> None:
    """Quantize where it is wanted, and store the graph optimized: once, and not at every query."""
    onnxruntime = import_onnxruntime()
    raw = folder / f"{tower}.raw.onnx"
    if int8:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        smaller = folder / f"{tower}.int8.onnx"
        # It advises to do first what is done below.
        logging.disable(logging.WARNING)
        try:
            quantize_dynamic(raw, smaller, weight_type=QuantType.QInt8)
        finally:
            logging.disable(logging.NOTSET)
        raw.unlink()
        raw = smaller
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Beyond this level the graph would fit the machine at hand only.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / f"{tower}.onnx")
    if tower == "text":
        # Every query loads this tower. Weights beside the graph are mapped from their file instead
        # of being read and copied: 0.2 s of processor time instead of 1.1, 210 MB instead of 400.
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{tower}.onnx.data"
        )
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(_LARGE_WEIGHT)
        )
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    raw.unlink()


def _write_description(encoder: CheckpointEncoder, folder: Path, *, int8: bool) -> None:
    known = encoder.description
    geometry = known.preprocessing
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": known.name,
        # Its vectors are not quite the checkpoint's, so they must not be mixed with them.
        "revision": known.revision + ("+int8" if int8 else "+onnx"),
        "dimension": known.dimension,
        "image": {
            "size": geometry.size,
            "resize": geometry.resize.value,
            "resample": geometry.resample,
        },
        # A sentence has a tenth of the tokens of a whole context.
        "text": {
            "context_length": known.context_length,
            "padded": encoder.text_reader.fixed_length,
        },
        "license": known.licence,
    }
    (folder / "model.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _agreement(encoder: CheckpointEncoder, exported: OnnxFolderEncoder) -> tuple[float, float]:
    """Return the lowest cosines between both models' vectors: of pictures, of texts."""
    pixels = _soft_pictures(encoder.description.preprocessing.size)
    images = (encoder.encode_images(pixels) * exported.encode_images(pixels)).sum(axis=1)
    # Together and one by one, which are different lengths.
    alone = np.concatenate([exported.encode_texts([text]) for text in _TEXTS])
    known = encoder.encode_texts(_TEXTS)
    texts = [(known * rows).sum(axis=1).min() for rows in (exported.encode_texts(_TEXTS), alone)]
    return float(images.min()), float(min(texts))


def _agreement_of_patches(encoder: CheckpointEncoder, exported: OnnxFolderEncoder) -> float:
    """Return the lowest cosine between both models' vectors of the patches of a picture."""
    pixels = _soft_pictures(encoder.description.preprocessing.size)[:1]
    cosines = (encoder.encode_patches(pixels) * exported.encode_patches(pixels)).sum(axis=-1)
    return float(cosines.min())


def _soft_pictures(edge: int) -> npt.NDArray[np.uint8]:
    """Return random colour fields, uint8 [n, edge, edge, 3]."""
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (_PICTURES, 6, 6, 3), dtype=np.uint8)
    fields = [Image.fromarray(one).resize((edge, edge), Image.Resampling.BICUBIC) for one in coarse]
    return np.stack([np.asarray(field) for field in fields])
