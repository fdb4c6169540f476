"""The two towers behind one small protocol: pictures and texts into one space of unit vectors."""

from __future__ import annotations

import os
from pathlib import Path

from imgsearch.encoders.base import Encoder, ModelDescription, Preprocessing, Resize
from imgsearch.errors import ModelNotFound

__all__ = ["STARTER", "Encoder", "ModelDescription", "Preprocessing", "Resize", "load_encoder"]

STARTER = "starter"


def load_encoder(model: str = STARTER) -> Encoder:
    """Return the encoder that `model` names.

    ``"starter"`` is the built-in one; a folder with a ``model.json`` is a model folder (ONNX); a
    folder with a ``config.json`` is a CLIP checkpoint; ``owner/name``, with or without
    ``@revision``, is a CLIP checkpoint on the hub. Raises ModelNotFound, ModelInvalid or
    ExtraMissing.
    """
    if model == STARTER:
        from imgsearch.encoders.onnx_folder import OnnxFolderEncoder

        return OnnxFolderEncoder(Path(__file__).parent / STARTER, source=STARTER)
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        return _from_folder(folder.resolve())
    if model.count("/") == 1 and not model.startswith((".", "/", "~")):
        from imgsearch.encoders.transformers_clip import from_hub

        return from_hub(model)
    raise ModelNotFound(
        f"There is no model {model!r}. Use 'starter', a model folder, or a hub name such as "
        "openai/clip-vit-base-patch32."
    )


def _from_folder(folder: Path) -> Encoder:
    if (folder / "model.json").is_file():
        from imgsearch.encoders.onnx_folder import OnnxFolderEncoder

        return OnnxFolderEncoder(folder)
    if (folder / "config.json").is_file():
        from imgsearch.encoders.transformers_clip import from_folder

        return from_folder(folder)
    raise ModelNotFound(
        f"{folder} holds no model: neither a model.json (ONNX) nor a config.json (checkpoint)."
    )
