"""The encoders: the reference reproduced, folders checked, the built-in model as it ships."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hub
import numpy as np
import pytest
from conftest import EXAMPLES, WHOLE
from PIL import Image
from unrounded import unrounded_images

import imgsearch
from imgsearch import Encoder, load_encoder
from imgsearch.encoders.base import LetsGoOfImages, Preprocessing, Resize
from imgsearch.encoders.decode import decode
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.errors import ExtraMissing, ModelInvalid, ModelNotFound
from imgsearch.settings import DecodeLimits

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Cosines = np.ndarray[Any, np.dtype[np.float32]]

STARTER_FOLDER = Path(imgsearch.__file__).parent / "encoders" / "starter"
PHOTOS = sorted(EXAMPLES.glob("*.jpg"))


@pytest.fixture(scope="module")
def starter() -> Encoder:
    return load_encoder("starter")


def embed(encoder: Encoder, data: bytes, *, reduced: bool) -> np.ndarray[Any, Any]:
    """Return the unit vector of an image file, decoded in full or at reduced size."""
    preprocessing = encoder.description.preprocessing
    photo = decode(data, DecodeLimits(), reduce_for=preprocessing if reduced else None)
    return encoder.encode_images(to_pixels(photo.rgb, preprocessing)[None])[0]


def agreement(encoder: Encoder, one: list[Pixels], other: list[Pixels]) -> tuple[Cosines, Cosines]:
    """Return the cosines between the vectors of two ways to the same pictures.

    First before the tower rounds to eight bits, which tells of the two ways, then as it is.
    """
    a, b = np.stack(one), np.stack(other)
    before = (unrounded_images(encoder, a) * unrounded_images(encoder, b)).sum(axis=1)
    return before, (encoder.encode_images(a) * encoder.encode_images(b)).sum(axis=1)


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_the_starter_gives_unit_rows(starter: Encoder) -> None:
    facts = starter.description
    size = facts.preprocessing.size

    images = starter.encode_images(np.zeros((3, size, size, 3), dtype=np.uint8))
    texts = starter.encode_texts(["a dog", "", "x" * 5000])

    assert images.shape == texts.shape == (3, facts.dimension)
    assert np.linalg.norm(images, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(texts, axis=1) == pytest.approx(1, abs=1e-5)
    assert starter.encode_images(np.zeros((0, size, size, 3), dtype=np.uint8)).shape[0] == 0
    assert starter.encode_texts([]).shape == (0, facts.dimension)


def test_a_batch_gives_what_each_would_alone(starter: Encoder) -> None:
    long = "a man in a red jacket climbing a steep rock face above the sea"
    texts = [*(f"{number} dogs{' and cats' * (number % 5)}" for number in range(40)), "cat", long]

    together = starter.encode_texts(texts)
    alone = np.concatenate([starter.encode_texts([text]) for text in texts])

    assert (together * alone).sum(axis=1).min() > 0.999


def test_an_image_tower_that_was_let_go_of_is_loaded_again(starter: Encoder) -> None:
    size = starter.description.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    before = starter.encode_images(pixels)
    assert isinstance(starter, LetsGoOfImages)

    starter.let_go_of_images()

    assert np.array_equal(starter.encode_images(pixels), before)


def test_pixels_of_the_wrong_shape_are_refused(starter: Encoder) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        starter.encode_images(np.zeros((1, 10, 10, 3), dtype=np.uint8))


def test_the_shipped_starter_is_whole_and_small() -> None:
    facts = json.loads((STARTER_FOLDER / "model.json").read_text())
    digest = hashlib.sha256()
    for name in ("image.onnx", "text.onnx", "tokenizer.json"):
        digest.update((STARTER_FOLDER / name).read_bytes())

    assert facts["revision"] == digest.hexdigest()[:12]
    assert facts["text"]["languages"] == ["en"]
    assert (STARTER_FOLDER / "MODEL_CARD.md").is_file()
    assert sum(path.stat().st_size for path in STARTER_FOLDER.iterdir()) <= 40e6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_rotated_copy_has_the_same_embedding(starter: Encoder, orientation: int) -> None:
    stored_as = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in PHOTOS:
        image = Image.open(path)
        turned = jpeg(image.transpose(stored_as[orientation]), exif=exif)

        cosine = embed(starter, turned, reduced=True) @ embed(starter, jpeg(image), reduced=True)

        assert cosine >= 0.99, path.name


@pytest.mark.parametrize("factor", [4, 9])
def test_a_reduced_decode_keeps_the_embedding(starter: Encoder, factor: int) -> None:
    preprocessing = starter.description.preprocessing
    reduced, full = [], []
    for path in PHOTOS:
        image = Image.open(path)
        large = jpeg(image.resize((factor * image.width, factor * image.height)))
        for pixels, way in ((reduced, preprocessing), (full, None)):
            photo = decode(large, DecodeLimits(), reduce_for=way)
            pixels.append(to_pixels(photo.rgb, preprocessing))

    before_rounding, cosines = agreement(starter, reduced, full)

    assert before_rounding.min() >= 0.999
    assert cosines.min() >= 0.998


def test_the_fast_filter_keeps_the_embedding(starter: Encoder) -> None:
    preprocessing = starter.description.preprocessing
    images = [Image.open(path).convert("RGB") for path in PHOTOS]

    before_rounding, cosines = agreement(
        starter,
        [to_pixels(one, preprocessing) for one in images],
        [to_pixels(one, preprocessing, exact=True) for one in images],
    )

    assert before_rounding.min() >= 0.999
    assert cosines.min() >= 0.998


def copied_starter(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STARTER_FOLDER, tmp_path / "model"))


def test_a_model_folder_anywhere_can_be_used(tmp_path: Path, starter: Encoder) -> None:
    folder = copied_starter(tmp_path)

    encoder = load_encoder(str(folder))

    assert encoder.description.source == str(folder)
    assert np.array_equal(encoder.encode_texts(["cat"]), starter.encode_texts(["cat"]))


def description(**changes: object) -> bytes:
    """Return the starter's model.json with some values changed."""
    facts = json.loads((STARTER_FOLDER / "model.json").read_text())
    return json.dumps({**facts, **changes}).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", b"{"),
        ("model.json", b"[]"),
        ("model.json", b'{"format": 99}'),
        ("model.json", b'{"format": 1, "name": "x"}'),
        ("model.json", description(name="evil\x1b[31m")),
        ("model.json", description(dimension=-3)),
        ("model.json", description(image={"size": -5, "resize": "crop", "resample": "bicubic"})),
        ("model.json", description(image={"size": 8, "resize": "crop", "resample": "bogus"})),
        ("image.onnx", b"garbage"),
        ("text.onnx", b""),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", None),
    ],
)
def test_a_broken_model_folder_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = copied_starter(tmp_path)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)

    def use() -> None:
        encoder = load_encoder(str(folder))
        size = encoder.description.preprocessing.size
        encoder.encode_texts(["cat"])
        encoder.encode_images(np.zeros((1, size, size, 3), dtype=np.uint8))

    with pytest.raises(ModelInvalid, match=name.replace(".", r"\.")):
        use()


def test_a_dimension_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = copied_starter(tmp_path)
    facts = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**facts, "dimension": 7}))

    with pytest.raises(ModelInvalid, match="dimension 7"):
        load_encoder(str(folder)).encode_texts(["cat"])


@pytest.mark.parametrize("name", ["no-such-model", "a/b/c", "./missing", "/nowhere", ""])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFound):
        load_encoder(name)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP checkpoint with random weights, built on the spot, as transformers saves it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny-clip")
    torch.manual_seed(0)
    words = [*(chr(c) for c in range(33, 127)), *(chr(c) + "</w>" for c in range(33, 127))]
    vocabulary = {word: n for n, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    end = len(vocabulary) - 1
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = transformers.CLIPConfig(
        text_config={
            **small,
            "num_attention_heads": 2,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 16,
            "bos_token_id": end - 1,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={**small, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    ).save_pretrained(folder)
    size = {"shortest_edge": 32}
    transformers.CLIPImageProcessor(size=size, crop_size=32).save_pretrained(folder)
    return folder


def test_a_checkpoint_gives_the_reference_embeddings(checkpoint: Path) -> None:
    import torch
    import transformers

    model: Any = transformers.CLIPModel.from_pretrained(checkpoint).eval()
    processor = transformers.CLIPImageProcessor.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    images = [Image.open(path).convert("RGB") for path in PHOTOS]
    texts = ["a cat", "a very long text that goes on and on beyond the context"]
    with torch.inference_mode():
        seen = model.get_image_features(**processor(images, return_tensors="pt"))
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=16, return_tensors="pt")
        read = model.get_text_features(**tokens)

    encoder = load_encoder(str(checkpoint))
    preprocessing = encoder.description.preprocessing
    pixels = np.stack([to_pixels(image, preprocessing) for image in images])

    assert preprocessing == Preprocessing(size=32, resize=Resize.CROP, resample="bicubic")
    assert encoder.description.dimension == 24
    for ours, theirs in (
        (encoder.encode_images(pixels), seen),
        (encoder.encode_texts(texts), read),
    ):
        wanted = np.asarray(getattr(theirs, "pooler_output", theirs))
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
        assert (ours * wanted).sum(axis=1).min() >= 0.999


def test_a_library_can_be_made_with_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    with imgsearch.Library.open(tmp_path / "library", model=str(checkpoint)) as library:
        assert library.index(EXAMPLES).added == len(PHOTOS)
    with imgsearch.Library.open(tmp_path / "library") as reopened:
        assert len(reopened.search("a cat", limit=100, **WHOLE)) == len(PHOTOS)


def test_the_revision_of_a_checkpoint_is_its_content(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    same = load_encoder(str(copy)).description.revision
    config = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**config, "resample": 2}))

    assert same == load_encoder(str(checkpoint)).description.revision
    assert load_encoder(str(copy)).description.revision != same


def test_a_checkpoint_of_pickles_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")

    with pytest.raises(ModelInvalid, match=r"model\.safetensors"):
        load_encoder(str(copy))


def test_another_architecture_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))

    with pytest.raises(ModelInvalid, match="bert"):
        load_encoder(str(copy))


def test_without_torch_the_error_names_the_extra(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch.encoders.checkpoint.find_spec", lambda name: None)

    with pytest.raises(ExtraMissing, match=r"imgsearch-engine\[torch\]"):
        load_encoder(str(checkpoint))


def test_without_faiss_the_error_names_both_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    from imgsearch.data.index_ladder import import_faiss

    monkeypatch.setitem(sys.modules, "faiss", None)

    with pytest.raises(ExtraMissing, match=r"\[cpu\].*\[gpu\]"):
        import_faiss()


def run_with_hub(
    tmp_path: Path, endpoint: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run `imgsearch` with a hub at `endpoint` and an empty cache below `tmp_path`."""
    return subprocess.run(
        [sys.executable, "-m", "imgsearch", *arguments, "--library", str(tmp_path / "library")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub")},
    )


def test_a_checkpoint_comes_from_the_hub_and_then_from_its_cache(
    checkpoint: Path, tmp_path: Path
) -> None:
    with hub.serve("owner/tiny-clip", checkpoint) as endpoint:
        made = run_with_hub(
            tmp_path, endpoint, "index", str(EXAMPLES), "--model", "owner/tiny-clip"
        )
    offline = run_with_hub(tmp_path, "http://127.0.0.1:9", "query", "a cat", "--json")
    models = run_with_hub(tmp_path, "http://127.0.0.1:9", "models", "--json")

    assert made.returncode == 0, made.stderr
    assert offline.returncode == 0, offline.stderr
    assert json.loads(offline.stdout)["model"] == "owner/tiny-clip"
    active = [model for model in json.loads(models.stdout) if model["active"]]
    assert [(model["name"], model["revision"]) for model in active] == [
        ("owner/tiny-clip", hub.COMMIT)
    ]


@pytest.mark.parametrize("reachable", [True, False])
def test_a_model_that_cannot_be_fetched_is_one_clear_message(
    checkpoint: Path, tmp_path: Path, reachable: bool
) -> None:
    # Nothing listens on port 9 of this machine: the connection is refused at once.
    with hub.serve("owner/other", checkpoint) as endpoint:
        address = endpoint if reachable else "http://127.0.0.1:9"
        answer = run_with_hub(tmp_path, address, "index", str(EXAMPLES), "--model", "owner/name")

    assert answer.returncode == 1
    assert "owner/name" in answer.stderr
    assert "--model starter" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) <= 2, answer.stderr
