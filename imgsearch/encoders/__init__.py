"""The two towers behind one small protocol: pictures and texts into one space of unit vectors."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from imgsearch.encoders.base import Encoder, ModelDescription, Preprocessing, Resize
from imgsearch.errors import ModelNotFound

__all__ = ["STARTER", "Encoder", "ModelDescription", "Preprocessing", "Resize", "load_encoder"]

STARTER = "starter"


def load_encoder(model: str = STARTER, device: str | None = None) -> Encoder:
    """Return the encoder that `model` names.

    ``"starter"`` is the built-in one; a folder with a ``model.json`` is a model folder (ONNX); one
    with a ``config.json`` is a checkpoint or an ONNX export of one; a short name of `registry`, or
    ``owner/name`` with or without ``@revision``, is any of these on the hub. `device` ("cpu",
    "cuda:1", "mps", by default the best there is) is for checkpoints. Several, such as
    "cuda:0,cuda:1", work together when many pictures are embedded (see `fleet`); so do all NVIDIA
    GPUs by default. Raises ModelNotFound, ModelInvalid, ExtraMissing or UsageError.
    """
    if model == STARTER:
        from imgsearch.encoders.onnx_folder import OnnxFolderEncoder

        return OnnxFolderEncoder(Path(__file__).parent / STARTER, source=STARTER)
    from imgsearch.encoders.registry import known_model

    known = known_model(model)
    if known is not None:
        model = known.hub_source
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        return _from_folder(folder.resolve(), device)
    if model.count("/") == 1 and not model.startswith((".", "/", "~")):
        from imgsearch.encoders.hub import from_hub

        return from_hub(model, device)
    raise ModelNotFound(
        f"There is no model {model!r}. Use 'starter', a name that `imgsearch models` lists, a "
        "model folder, or a hub name such as openai/clip-vit-base-patch32."
    )


def _from_folder(folder: Path, device: str | None) -> Encoder:
    if (folder / "model.json").is_file():
        from imgsearch.encoders.onnx_folder import OnnxFolderEncoder

        return OnnxFolderEncoder(folder)
    if (folder / "config.json").is_file():
        return _from_transformers_files(folder, device)
    raise ModelNotFound(
        f"{folder} holds no model: neither a model.json (ONNX) nor a config.json (a checkpoint, or "
        "an ONNX export of one)."
    )


def _from_transformers_files(folder: Path, device: str | None) -> Encoder:
    from imgsearch.encoders.layout import Kind, files_of, layout_of

    layout = layout_of(files_of(folder), str(folder))
    if layout.kind is Kind.EXPORT:
        from imgsearch.encoders.onnx_export import from_export_folder

        return from_export_folder(folder, layout)
    from imgsearch.encoders.checkpoint import from_folder
    from imgsearch.encoders.fleet import on_devices

    return on_devices(partial(from_folder, folder), device)
