"""Checkpoints of every architecture against the reference: transformers, straightforwardly called.

The models are tiny ones with random weights, built on the spot.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EXAMPLES, WHOLE
from PIL import Image

from imgsearch import Encoder, Library, UsageError, load_encoder
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.errors import ExtraMissing, HeatMapUnavailable, ModelInvalid
from imgsearch.models import export_model

WITHOUT_TORCH = """
import sys
from imgsearch import load_encoder
encoder = load_encoder(sys.argv[1])
print(encoder.encode_texts(["a cat"]).shape[1])
assert not {"torch", "transformers", "onnx"} & set(sys.modules)
"""
PHOTOS = sorted(EXAMPLES.glob("*.jpg"))[:4]
TEXTS = ["a cat", "Two RED Shoes", "", "long words " * 90, "一只猫 in the 雪"]
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}
CHARACTERS = [chr(c) for c in range(33, 127)] + list("一只猫雪")


def write_fast_tokenizer(folder: Path, specials: list[str], end: str, **config: object) -> int:
    """Write a tokenizer.json of single characters; return the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {token: n for n, token in enumerate([*specials, *CHARACTERS])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=specials[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, vocabulary[end])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config})
    )
    return len(vocabulary)


def make_clip(folder: Path) -> None:
    import transformers

    folder.mkdir(exist_ok=True)

    size = write_fast_tokenizer(
        folder, ["<pad>", "<end>", "<unk>"], "<end>", pad_token="<pad>", eos_token="<end>"
    )
    text = {
        **SMALL, "vocab_size": size, "max_position_embeddings": 77, "eos_token_id": 1,
        "pad_token_id": 0, "bos_token_id": 1,
    }  # fmt: skip
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)
    transformers.CLIPModel(config).save_pretrained(folder)
    crop = {"size": {"shortest_edge": 32}, "crop_size": 32}
    transformers.CLIPImageProcessor(**crop).save_pretrained(folder)


def make_siglip(folder: Path) -> None:
    import transformers

    folder.mkdir(exist_ok=True)

    size = write_fast_tokenizer(
        folder, ["<pad>", "<eos>", "<unk>"], "<eos>", pad_token="<pad>", eos_token="<eos>"
    )
    text = {**SMALL, "vocab_size": size, "max_position_embeddings": 64}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    transformers.SiglipModel(config).save_pretrained(folder)
    squash = {"size": {"height": 32, "width": 32}}
    transformers.SiglipImageProcessor(**squash, resample=2).save_pretrained(folder)


def make_chinese_clip(folder: Path) -> None:
    import transformers

    folder.mkdir(exist_ok=True)

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [f"##{c}" for c in CHARACTERS]
    vocabulary = [*specials, *CHARACTERS, *pieces]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    # With the usual range the texts of an untrained BERT are all alike.
    text = {
        **SMALL, "vocab_size": len(vocabulary), "max_position_embeddings": 128,
        "initializer_range": 0.5,
    }  # fmt: skip
    config = transformers.ChineseCLIPConfig(
        text_config=text, vision_config=VISION, projection_dim=24
    )
    transformers.ChineseCLIPModel(config).save_pretrained(folder)
    squash = {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    transformers.ChineseCLIPImageProcessor(**squash).save_pretrained(folder)


def make_altclip(folder: Path) -> None:
    import transformers

    folder.mkdir(exist_ok=True)

    size = write_fast_tokenizer(
        folder, ["<s>", "<pad>", "</s>", "<unk>"], "</s>", pad_token="<pad>", eos_token="</s>"
    )
    text = {
        **SMALL, "vocab_size": size, "max_position_embeddings": 130, "pad_token_id": 1,
        "project_dim": 24,
    }  # fmt: skip
    config = transformers.AltCLIPConfig(
        text_config=text, vision_config={**VISION, "projection_dim": 24}, projection_dim=24
    )
    transformers.AltCLIPModel(config).save_pretrained(folder)
    crop = {"size": {"shortest_edge": 32}, "crop_size": 32}
    transformers.CLIPImageProcessor(**crop).save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "clip": make_clip,
    "siglip": make_siglip,
    "chinese_clip": make_chinese_clip,
    "altclip": make_altclip,
}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with random weights, of each architecture in turn."""
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    MAKERS[request.param](folder)
    return folder


def reference(folder: Path) -> tuple[Any, Any]:
    """Return what transformers gives for the photos and the texts: unit rows."""
    import torch
    import transformers

    kind = json.loads((folder / "config.json").read_text())["model_type"]
    model: Any = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    images = [Image.open(path).convert("RGB") for path in PHOTOS]
    if kind == "chinese_clip":
        tokenizer: Any = transformers.BertTokenizer.from_pretrained(folder)
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if kind == "siglip":
        tokens = tokenizer(
            [text.lower() for text in TEXTS], padding="max_length", max_length=64, truncation=True,
            padding_side="right", return_tensors="pt",
        )  # fmt: skip
        inputs = {"input_ids": tokens["input_ids"]}
    else:
        length = {"clip": 77, "chinese_clip": 52, "altclip": 77}[kind]
        tokens = tokenizer(
            TEXTS, padding=True, truncation=True, max_length=length, return_tensors="pt"
        )
        inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        seen = model.get_image_features(**processor(images, return_tensors="pt")).pooler_output
        read = model.get_text_features(**inputs).pooler_output
    normalise = torch.nn.functional.normalize
    return normalise(seen, dim=-1).numpy(), normalise(read, dim=-1).numpy()


def pixels_for(encoder: Encoder) -> Any:
    geometry = encoder.description.preprocessing
    images = [Image.open(path).convert("RGB") for path in PHOTOS]
    return np.stack([to_pixels(image, geometry, exact=True) for image in images])


def test_embeddings_equal_the_reference(checkpoint: Path) -> None:
    seen, read = reference(checkpoint)

    encoder = load_encoder(str(checkpoint))
    ours_seen, ours_read = encoder.encode_images(pixels_for(encoder)), encoder.encode_texts(TEXTS)

    assert encoder.description.dimension == seen.shape[1]
    assert (ours_seen * seen).sum(axis=1).min() >= 0.9999
    assert (ours_read * read).sum(axis=1).min() >= 0.9999
    # The texts and the photos are not all the same to the model, or this would prove nothing.
    assert (read @ read.T).min() < 0.99
    assert (seen @ seen.T).min() < 0.9999


def test_a_library_can_be_made_and_asked(checkpoint: Path, tmp_path: Path) -> None:
    with Library.open(tmp_path / "library", model=str(checkpoint)) as library:
        report = library.index(EXAMPLES)
        by_picture = library.search(like=PHOTOS[0], limit=3, **WHOLE)

    assert report.embedded == 12
    assert Path(by_picture[0].path).name == PHOTOS[0].name
    assert by_picture[0].score is not None
    assert by_picture[0].score > 0.99


def test_an_export_gives_the_same_vectors_without_torch(checkpoint: Path, tmp_path: Path) -> None:
    original = load_encoder(str(checkpoint))

    made = export_model(str(checkpoint), tmp_path / "exported")

    exported = load_encoder(str(made.folder))
    pixels = pixels_for(original)
    images = (original.encode_images(pixels) * exported.encode_images(pixels)).sum(axis=1)
    texts = (original.encode_texts(TEXTS) * exported.encode_texts(TEXTS)).sum(axis=1)
    one_by_one = np.concatenate([exported.encode_texts([text]) for text in TEXTS])
    assert min(images.min(), texts.min()) >= 0.9999
    assert min(made.image_agreement, made.text_agreement) >= 0.9999
    assert (original.encode_texts(TEXTS) * one_by_one).sum(axis=1).min() > 0.9999
    assert exported.description.preprocessing == original.description.preprocessing
    # Vectors of the two are stored apart all the same.
    assert exported.description.revision != original.description.revision
    alone = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(made.folder)], capture_output=True, text=True
    )
    assert alone.stdout.strip() == str(exported.description.dimension), alone.stderr


def test_patches_are_what_the_model_says_when_patches_are_not_mixed_at_the_end(
    checkpoint: Path,
) -> None:
    import torch
    import transformers

    encoder: Any = load_encoder(str(checkpoint))
    model: Any = transformers.AutoModel.from_pretrained(checkpoint).eval()
    pixels = pixels_for(encoder)
    ready = encoder._normalised(torch.from_numpy(pixels))

    patches = encoder.encode_patches(pixels)

    with torch.inference_mode():
        if hasattr(model.vision_model, "head"):
            tokens = model.vision_model(pixel_values=ready).last_hidden_state
            # Each token goes through the pooling head by itself, as if it were the whole picture.
            alone = model.vision_model.head(tokens.reshape(-1, 1, tokens.shape[2]))
        else:
            last = model.vision_model.encoder.layers[-1].self_attn
            last.forward = lambda hidden_states, **_: (
                last.out_proj(last.v_proj(hidden_states)),
                None,
            )
            tokens = model.vision_model(pixel_values=ready).last_hidden_state[:, 1:]
            alone = model.visual_projection(model.vision_model.post_layernorm(tokens))
    wanted = torch.nn.functional.normalize(alone, dim=-1).numpy().reshape(4, 4, 4, -1)
    assert patches.shape == wanted.shape
    assert np.allclose(patches, wanted, atol=1e-5)
    # Patches differ from each other and from the picture, or this would prove nothing.
    assert np.abs(patches[0, 0, 0] - patches[0, 3, 3]).max() > 1e-3


def test_patches_lie_where_they_are_in_the_picture(checkpoint: Path) -> None:
    encoder: Any = load_encoder(str(checkpoint))
    plain = np.full((1, 32, 32, 3), 128, dtype=np.uint8)
    marked = plain.copy()
    marked[:, 0:8, 16:24] = (255, 0, 0)

    difference = np.abs(encoder.encode_patches(marked) - encoder.encode_patches(plain)).sum(axis=3)

    assert np.unravel_index(difference[0].argmax(), (4, 4)) == (0, 2)


@pytest.mark.parametrize("int8", [False, True])
def test_an_export_tells_of_patches_and_stores_no_weight_twice(
    checkpoint: Path, tmp_path: Path, int8: bool
) -> None:
    original: Any = load_encoder(str(checkpoint))

    folder = export_model(str(checkpoint), tmp_path / "exported", int8=int8).folder

    exported: Any = load_encoder(str(folder))
    pixels = pixels_for(original)
    cosines = (original.encode_patches(pixels) * exported.encode_patches(pixels)).sum(axis=3)
    assert exported.maps_pictures
    assert cosines.min() >= (0.8 if int8 else 0.9999)
    part = folder / "patches.part"
    assert part.stat().st_size < (folder / "image.onnx").stat().st_size / 2
    part.unlink()
    assert not exported.maps_pictures
    with pytest.raises(HeatMapUnavailable, match="Export it again"):
        exported.encode_patches(pixels)


def test_bytes_for_weights_are_smaller_and_their_agreement_is_told(tmp_path: Path) -> None:
    make_clip(tmp_path / "model")

    whole = export_model(str(tmp_path / "model"), tmp_path / "whole")
    small = export_model(str(tmp_path / "model"), tmp_path / "small", int8=True)

    assert 0.8 < small.image_agreement <= 1.0
    assert (small.folder / "text.onnx").stat().st_size < (whole.folder / "text.onnx").stat().st_size
    revisions = {load_encoder(str(one.folder)).description.revision for one in (whole, small)}
    assert len(revisions) == 2


def test_an_export_overwrites_nothing_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "model")
    (tmp_path / "there").mkdir()

    with pytest.raises(UsageError, match="there already"):
        export_model(str(tmp_path / "model"), tmp_path / "there")
    with pytest.raises(UsageError, match="already"):
        export_model("starter", tmp_path / "starter")
    monkeypatch.setattr("imgsearch.encoders.export.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"\[export\]"):
        export_model(str(tmp_path / "model"), tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "there"]


def test_when_memory_runs_out_smaller_passes_are_tried(tmp_path: Path) -> None:
    import torch

    make_clip(tmp_path)
    encoder: Any = load_encoder(str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), dtype=np.uint8)
    wanted = encoder.encode_images(pixels)
    passes: list[int] = []
    real = encoder._model.get_image_features

    def short_of_memory(pixel_values: Any) -> Any:
        passes.append(len(pixel_values))
        if len(pixel_values) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(pixel_values=pixel_values)

    encoder._model.get_image_features = short_of_memory

    rows = encoder.encode_images(pixels)

    assert np.allclose(rows, wanted, atol=1e-5)
    assert passes[:4] == [16, 8, 4, 2]
    assert max(passes[3:]) == 2

    def never(pixel_values: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder._model.get_image_features = never
    with pytest.raises(ModelInvalid, match="--device cpu"):
        encoder.encode_images(pixels)


def test_a_device_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    make_clip(tmp_path)

    for device in ("cuda:99", "nonsense"):
        with pytest.raises(UsageError, match="not there"):
            load_encoder(str(tmp_path), device=device)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "siglip2"}, "NaFlex"),
        ({"model_type": "bert"}, "reads altclip"),
        ({"model_type": None}, "reads altclip"),
    ],
)
def test_other_kinds_of_models_are_refused(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    make_clip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))

    with pytest.raises(ModelInvalid, match=reason):
        load_encoder(str(tmp_path))


@pytest.mark.gpu
def test_half_precision_on_a_gpu_agrees(checkpoint: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here: agreement of half precision is not tested")
    cpu = load_encoder(str(checkpoint), device="cpu")
    gpu = load_encoder(str(checkpoint), device="cuda")

    pixels = pixels_for(cpu)
    images = (cpu.encode_images(pixels) * gpu.encode_images(pixels)).sum(axis=1)
    texts = (cpu.encode_texts(TEXTS) * gpu.encode_texts(TEXTS)).sum(axis=1)

    assert min(images.min(), texts.min()) >= 0.999
