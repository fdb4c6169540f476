"""CLIP checkpoints through torch and transformers, from a local folder or the hub.

torch and transformers are imported only when such a model is asked for (extra ``torch``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import ModelDescription, Preprocessing, Resize, unit_rows
from imgsearch.errors import ExtraMissing, ModelInvalid, ModelNotFound

if TYPE_CHECKING:
    import torch

_WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_ESSENTIAL = (_CONFIG, _WEIGHTS, _PREPROCESSOR)
_NEEDED = (*_ESSENTIAL, "*token*", "vocab*", "merges.txt")
# The filters of Pillow by the numbers that preprocessor_config.json uses.
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# Images a forward pass takes on a CPU; more gains nothing and costs memory.
_IMAGES_PER_PASS = 16


class TransformersClipEncoder:
    """A dual encoder from a CLIP checkpoint (safetensors only, no remote code)."""

    def __init__(self, name: str, folder: Path, revision: str, source: str) -> None:
        """Load the checkpoint in `folder`; the other arguments become the model's identity.

        Raises ExtraMissing without torch and transformers, ModelInvalid for unusable files.
        """
        _require_torch(name)
        import torch
        import transformers

        facts = _read_json(folder / _PREPROCESSOR)
        kind = _read_json(folder / _CONFIG).get("model_type")
        if kind != "clip":
            raise ModelInvalid(f"{name!r} is a {kind!r} model; this imgsearch reads CLIP models.")
        if not (folder / _WEIGHTS).is_file():
            raise ModelInvalid(f"{name!r} has no {_WEIGHTS}; other weight formats are not loaded.")
        try:
            model: Any = transformers.CLIPModel.from_pretrained(
                folder, use_safetensors=True, local_files_only=True
            )
            self._model = model.eval()
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelInvalid(f"The checkpoint {name!r} cannot be loaded: {error}") from error
        self._mean = torch.tensor(facts["image_mean"]).view(1, 3, 1, 1)
        self._std = torch.tensor(facts["image_std"]).view(1, 3, 1, 1)
        self._description = ModelDescription(
            name=name,
            source=source,
            revision=revision,
            dimension=int(self._model.config.projection_dim),
            preprocessing=preprocessing_of(facts, name),
            context_length=int(self._model.config.text_config.max_position_embeddings),
            licence="see the model's own page",
        )

    @property
    def description(self) -> ModelDescription:
        """The model's identity and input format."""
        return self._description

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed pixels [n, s, s, 3] to unit rows [n, d]."""
        import torch

        rows = [np.empty((0, self._description.dimension), dtype=np.float32)]
        for start in range(0, len(pixels), _IMAGES_PER_PASS):
            part = torch.from_numpy(pixels[start : start + _IMAGES_PER_PASS].copy())
            scaled = part.permute(0, 3, 1, 2).to(torch.float32) / 255.0
            with torch.inference_mode():
                features = self._model.get_image_features(
                    pixel_values=(scaled - self._mean) / self._std
                )
            rows.append(_to_numpy(features))
        return unit_rows(np.concatenate(rows))

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed n texts to unit rows [n, d]; what exceeds the context length is cut off."""
        import torch

        if not texts:
            return np.empty((0, self._description.dimension), dtype=np.float32)
        tokens = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._description.context_length,
            return_tensors="pt",
        )
        with torch.inference_mode():
            features = self._model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
        return unit_rows(_to_numpy(features))


def from_folder(folder: Path) -> TransformersClipEncoder:
    """Load a checkpoint from a local folder; its revision is the hash of its files.

    Raises ModelInvalid or ExtraMissing.
    """
    digest = hashlib.sha256()
    for name in _ESSENTIAL:
        try:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ModelInvalid(f"The model folder {folder} has no readable {name}.") from error
    return TransformersClipEncoder(folder.name, folder, digest.hexdigest()[:12], str(folder))


def from_hub(source: str) -> TransformersClipEncoder:
    """Load ``owner/name`` or ``owner/name@revision`` from the hub, or from its cache on this disk.

    Its revision is the commit that the hub resolved. Raises ModelNotFound, ModelInvalid or
    ExtraMissing.
    """
    name, _, wanted = source.partition("@")
    # Before hundreds of megabytes are fetched for nothing.
    _require_torch(name)
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = _snapshot(name, wanted)
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelNotFound(
            f"The model {name!r} cannot be fetched from the hub: {reason}. Check the name and the "
            "network, or use the built-in model: --model starter"
        ) from error
    # The hub's cache names a snapshot's folder after its commit.
    return TransformersClipEncoder(name, folder, folder.name, f"{name}@{folder.name}")


def _require_torch(name: str) -> None:
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise ExtraMissing(
            f"The model {name!r} needs torch and transformers. Install them with: "
            "pip install 'imgsearch-engine[torch]'"
        )


def _snapshot(name: str, revision: str) -> Path:
    """Return the folder of a revision's files; with a pinned one on disk nobody is asked.

    Raises what huggingface_hub raises.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = list(_NEEDED)
    if revision:
        with contextlib.suppress(LocalEntryNotFoundError):
            cached = Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=patterns, local_files_only=True
                )
            )
            # A download that was cut off leaves the folder with some of the files.
            if all((cached / needed).is_file() for needed in _ESSENTIAL):
                return cached
    return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))


def preprocessing_of(facts: dict[str, Any], name: str) -> Preprocessing:
    """Read the geometry from a ``preprocessor_config.json``. Raises ModelInvalid."""
    try:
        size = facts["size"]
        edge = size if isinstance(size, int) else size.get("shortest_edge", size.get("height"))
        crop = facts.get("crop_size", edge)
        crop_edge = crop if isinstance(crop, int) else crop["height"]
        if edge != crop_edge:
            raise ModelInvalid(f"{name!r} crops {crop_edge} out of {edge}, which is not supported.")
        crops = bool(facts.get("do_center_crop", True))
        return Preprocessing(
            size=int(edge),
            resize=Resize.CROP if crops else Resize.SQUASH,
            resample=_RESAMPLE[int(facts.get("resample", 3))],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelInvalid(f"The preprocessor_config.json of {name!r} is not usable.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"The model's {path.name} cannot be read: {path}.") from error
    if not isinstance(facts, dict):
        raise ModelInvalid(f"{path} does not hold an object.")
    return facts


def _to_numpy(features: torch.Tensor | Any) -> npt.NDArray[np.float32]:
    # transformers 5 wraps the projected vectors in an output object; 4 returned the tensor.
    tensor = getattr(features, "pooler_output", features)
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)
