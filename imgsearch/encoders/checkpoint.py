"""Dual-encoder checkpoints through torch and transformers, from a folder on this disk.

torch and transformers are imported only when such a model is asked for (extra ``torch``).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.architectures import TextReader, architecture_of
from imgsearch.encoders.base import ModelDescription, Pace, Preprocessing, Resize, unit_rows
from imgsearch.encoders.compiling import CompiledTower, Tower
from imgsearch.encoders.device import choose_device, working_dtype
from imgsearch.encoders.model_files import (
    check_config,
    check_inside,
    check_safetensors,
    read_object,
    reason_of,
)
from imgsearch.encoders.pass_size import PassSize
from imgsearch.encoders.passes import Passes
from imgsearch.encoders.text_batches import encoded_in_batches
from imgsearch.errors import ExtraMissing, ModelInvalid
from imgsearch.settings import compiling_wanted

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
ESSENTIAL = (CONFIG, WEIGHTS, PREPROCESSOR)
# The filters of Pillow by the numbers that preprocessor_config.json uses.
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# Pictures in one forward pass. On a CPU more gains nothing and costs memory.
_PICTURES_PER_PASS_ON_CPU = 16
# On a GPU: where to start, and where to stop trying larger ones (see `pass_size`).
# Weights that share their numbers with others are stored once.
_MOST_UNSTORED = 2
_FIRST_PASS_ON_GPU, _LARGEST_PASS_ON_GPU = 256, 2_048


class CheckpointEncoder:
    """A dual encoder from a checkpoint of transformers (safetensors only, no remote code)."""

    def __init__(
        self, name: str, folder: Path, revision: str, source: str, device: str | None = None
    ) -> None:
        """Read what the checkpoint in `folder` is; its weights are loaded when they are first used.

        Name, revision and source become the model's identity. Raises ExtraMissing without torch
        and transformers, ModelInvalid for unusable files, UsageError for a device that is not
        there.
        """
        require_torch(name)
        import torch
        import transformers

        # A bar for every file that is read from disk says nothing to anybody.
        transformers.utils.logging.disable_progress_bar()
        facts = read_object(folder / PREPROCESSOR)
        told = read_object(folder / CONFIG)
        architecture = architecture_of(told, name)
        check_config(told, name)
        if not (folder / WEIGHTS).is_file():
            raise ModelInvalid(f"{name!r} has no {WEIGHTS}; other weight formats are not loaded.")
        check_inside(folder, ESSENTIAL)
        self._numbers = check_safetensors(folder / WEIGHTS)
        preprocessing = preprocessing_of(facts, name)
        self._device = choose_device(device)
        self._dtype = working_dtype(self._device)
        try:
            config: Any = transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelInvalid(
                f"The checkpoint {name!r} cannot be loaded: {reason_of(error)}"
            ) from error
        self._folder = folder
        self._config = config
        self._model_class = architecture.model_class
        self._loaded: Any = None
        self._loading = threading.Lock()
        context = architecture.context or int(config.text_config.max_position_embeddings)
        self.text_reader = TextReader(folder, architecture, context, name)
        self._with_mask = not architecture.fixed_length
        self._mean, self._std = (
            torch.tensor(facts.get(key) or default, device=self._device).view(1, 3, 1, 1)
            for key, default in (("image_mean", architecture.mean), ("image_std", architecture.std))
        )
        self._pass_size = _pass_size(self._device)
        self._description = ModelDescription(
            name=name,
            source=source,
            revision=revision,
            dimension=architecture.dimension(config),
            preprocessing=preprocessing,
            context_length=context,
            licence="see the model's own page",
        )
        shape = preprocessing.size, self._description.dimension
        tower: Tower = self._features
        if compiling_wanted():
            tower = CompiledTower(tower, self._pass_size)
        self._passes = Passes(tower, self._device, shape, self._pass_size)

    @property
    def description(self) -> ModelDescription:
        """The model's identity and input format."""
        return self._description

    @property
    def pace(self) -> Pace:
        """How it is best kept busy: on a GPU, a call is a pass."""
        return Pace() if self._device.type == "cpu" else Pace(pictures=self._pass_size.now)

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed pixels [n, s, s, 3] to unit rows [n, d]."""
        import torch

        self._load()
        try:
            return unit_rows(self._passes.rows(pixels))
        except torch.OutOfMemoryError as error:
            raise ModelInvalid(
                f"The model {self._description.name!r} does not fit the memory of "
                f"{self._device}. Try --device cpu."
            ) from error

    @property
    def maps_pictures(self) -> bool:
        """Always true: every architecture here is a ViT."""
        return True

    def encode_patches(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed the patches of pixels [n, s, s, 3] to unit vectors [n, g, g, d].

        See `patch_vectors`. Raises ModelInvalid if memory runs out.
        """
        import torch

        part = torch.from_numpy(pixels.copy()).to(self._device)
        try:
            with torch.inference_mode():
                return unit_rows(_to_numpy(self._patch_vectors(part)))
        except torch.OutOfMemoryError as error:
            raise ModelInvalid(
                f"The model {self._description.name!r} does not fit the memory of "
                f"{self._device}. Try --device cpu."
            ) from error

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed n texts to unit rows [n, d]; what exceeds the context length is cut off."""
        if not texts:
            return np.empty((0, self._description.dimension), dtype=np.float32)
        return encoded_in_batches(texts, self._text_rows)

    def _text_rows(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        import torch

        tokens = self.text_reader.read(texts)
        inputs = {"input_ids": torch.tensor(tokens.ids, device=self._device)}
        if self._with_mask:
            inputs["attention_mask"] = torch.tensor(tokens.mask, device=self._device)
        with torch.inference_mode():
            return unit_rows(_to_numpy(_vectors(self._model.get_text_features(**inputs))))

    def towers(self) -> dict[str, torch.nn.Module]:
        """Return both towers as modules, "image" and "text", from pixels or tokens to vectors."""
        import torch

        encoder = self

        class ImageTower(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = encoder._model

            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                return encoder._features(pixels)

        class TextTower(ImageTower):
            def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
                inputs = {"input_ids": ids}
                if encoder._with_mask:
                    inputs["attention_mask"] = mask
                return _vectors(self.model.get_text_features(**inputs))

        # The exporter puts a module back into the mode it had, and the model inside with it.
        return {"image": ImageTower().eval(), "text": TextTower().eval()}

    def patch_tower(self) -> torch.nn.Module:
        """Return a module from pixels to the vectors of patches, as `encode_patches` has them."""
        import torch

        encoder = self

        class PatchTower(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = encoder._model

            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                return encoder._patch_vectors(pixels)

        return PatchTower().eval()

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the image tower on uint8 pixels [n, s, s, 3]: rows [n, d], not normalised."""
        return _vectors(self._model.get_image_features(pixel_values=self._normalised(pixels)))

    def _patch_vectors(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the image tower on uint8 pixels [n, s, s, 3]: [n, g, g, d], not normalised."""
        from imgsearch.encoders.patch_vectors import patch_vectors

        return patch_vectors(self._model, self._normalised(pixels))

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return uint8 pixels [n, s, s, 3] as the model takes them: [n, 3, s, s]."""
        import torch

        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        return ((scaled - self._mean) / self._std).to(self._dtype)

    @property
    def _model(self) -> Any:
        return self._load()

    def _load(self) -> Any:
        """Return the model of transformers, loaded if it is not yet. Raises ModelInvalid."""
        import torch
        import transformers
        from safetensors import SafetensorError

        with self._loading:
            if self._loaded is not None:
                return self._loaded
            name = self._description.name
            kind: Any = getattr(transformers, self._model_class)
            try:
                self._check_size(kind)
                model, loading = kind.from_pretrained(
                    self._folder, use_safetensors=True, local_files_only=True, dtype=self._dtype,
                    output_loading_info=True,
                )  # fmt: skip
                model = model.eval().to(self._device)
            except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
                raise ModelInvalid(
                    f"The checkpoint {name!r} cannot be loaded: {reason_of(error)}"
                ) from error
            if loading["missing_keys"]:
                # They would be random, and so would the vectors.
                lost = sorted(loading["missing_keys"])
                raise ModelInvalid(
                    f"The checkpoint {name!r} lacks {len(lost)} of its weights, such as {lost[0]}."
                )
            # The streams of other threads do not wait for what this one's still copies.
            getattr(torch, self._device.type).synchronize()
            self._loaded = model
            return model

    def _check_size(self, kind: Any) -> None:
        """Raise ModelInvalid where config.json asks for a larger model than the weights are."""
        import torch

        with torch.device("meta"):
            wanted = sum(one.numel() for one in kind(self._config).parameters())
        if wanted > _MOST_UNSTORED * self._numbers:
            raise ModelInvalid(
                f"The config.json of {self._description.name!r} asks for {wanted:,} weights; its "
                f"{WEIGHTS} has {self._numbers:,}."
            )


def _pass_size(device: torch.device) -> PassSize:
    if device.type == "cpu":
        return PassSize(_PICTURES_PER_PASS_ON_CPU, _PICTURES_PER_PASS_ON_CPU)
    # Every size would be compiled anew.
    most = _FIRST_PASS_ON_GPU if compiling_wanted() else _LARGEST_PASS_ON_GPU
    return PassSize(_FIRST_PASS_ON_GPU, most)


def from_folder(folder: Path, device: str | None = None) -> CheckpointEncoder:
    """Load a checkpoint from a local folder; its revision is the hash of its files.

    Raises ModelInvalid, ExtraMissing or UsageError.
    """
    revision = revision_of(folder, ESSENTIAL)
    return CheckpointEncoder(folder.name, folder, revision, str(folder), device)


def revision_of(folder: Path, names: Iterable[str]) -> str:
    """Return 12 hexadecimal digits that stand for the contents of these files of a folder.

    Raises ModelInvalid where one cannot be read.
    """
    digest = hashlib.sha256()
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ModelInvalid(f"The model folder {folder} has no readable {name}.") from error
    return digest.hexdigest()[:12]


def torch_is_here() -> bool:
    """Tell whether checkpoints can be run: torch and transformers are installed."""
    return find_spec("torch") is not None and find_spec("transformers") is not None


def require_torch(name: str) -> None:
    """Raise ExtraMissing where torch or transformers is not installed."""
    if not torch_is_here():
        raise ExtraMissing(
            f"The model {name!r} needs torch and transformers. Install them with: "
            "pip install 'imgsearch-engine[torch]'"
        )


def preprocessing_of(facts: dict[str, Any], name: str) -> Preprocessing:
    """Read the geometry from a ``preprocessor_config.json``. Raises ModelInvalid."""
    try:
        size = facts["size"]
        squashes = isinstance(size, dict) and "height" in size
        edge = size if isinstance(size, int) else size.get("shortest_edge", size.get("height"))
        crops = bool(facts.get("do_center_crop", not squashes))
        if crops:
            crop = facts.get("crop_size", edge)
            crop_edge = crop if isinstance(crop, int) else crop["height"]
            if edge != crop_edge:
                raise ModelInvalid(
                    f"{name!r} crops {crop_edge} out of {edge}, which is not supported."
                )
        elif squashes and size["height"] != size.get("width"):
            raise ModelInvalid(f"{name!r} takes pictures that are not square: not supported.")
        return Preprocessing(
            size=int(edge),
            resize=Resize.CROP if crops else Resize.SQUASH,
            resample=_RESAMPLE[int(facts.get("resample", 3))],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelInvalid(f"The preprocessor_config.json of {name!r} is not usable.") from error


def _vectors(features: Any) -> torch.Tensor:
    # transformers 5 wraps the projected vectors in an output object; 4 returned the tensor.
    tensor: torch.Tensor = getattr(features, "pooler_output", features)
    return tensor


def _to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)
