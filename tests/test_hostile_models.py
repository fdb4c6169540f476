"""Models made to do harm are refused with one reason, and nothing of them gets into a library."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import hub
import numpy as np
import pytest
from conftest import MakePhoto
from hostile_models import (
    FOLDERS,
    content,
    endless_loop,
    pickled,
    write_model,
)
from test_checkpoints import make_clip
from test_hub import NAME, assert_one_clear_message, run

from imgsearch import IndexSettings, Library, load_encoder
from imgsearch.encoders.base import ModelDescription, Preprocessing, checked_rows
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.encoders.layout import check_names
from imgsearch.encoders.model_files import check_safetensors
from imgsearch.encoders.trial import check, try_out
from imgsearch.errors import ModelError, ModelInvalid


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    """A model folder to spoil."""
    return shutil.copytree(sound, tmp_path / "tiny")


# These need the limits of the process that tries a model.
ALONE = ("a huge constant",)


@pytest.mark.parametrize("name", [name for name in FOLDERS if name not in ALONE])
def test_a_hostile_folder_is_refused_before_it_costs_anything(model: Path, name: str) -> None:
    attack, reason = FOLDERS[name]
    attack(model)
    tracemalloc.start()

    with pytest.raises(ModelError, match=reason) as refused:
        check(load_encoder(str(model)))

    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    message = str(refused.value)
    assert len(message) < 700
    assert message.isprintable()
    assert not (model.parent / "harm").exists()


def test_the_model_that_they_are_made_of_is_sound(model: Path) -> None:
    check(load_encoder(str(model)))
    try_out(str(model), None, ("tiny", "1"))


def test_what_a_graph_says_in_its_refusal_is_printable(model: Path) -> None:
    graph = model / "text.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"Gather", b"Gat\x05\x1br"))

    with pytest.raises(ModelInvalid, match="Gat r") as refusal:
        load_encoder(str(model)).encode_texts(["cat"])

    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ALONE)
def test_a_graph_that_asks_for_all_memory_is_refused_and_nothing_is_stored(
    model: Path, name: str, make_photo: MakePhoto, folder: Path, tmp_path: Path
) -> None:
    FOLDERS[name][0](model)
    make_photo("a.jpg")

    done = subprocess.run(
        [sys.executable, "-m", "imgsearch", "index", str(folder), "--model", str(model),
         "--library", str(tmp_path / "library")],
        capture_output=True, text=True,
    )  # fmt: skip

    assert_one_clear_message(done, "tiny")
    assert not (tmp_path / "library" / "catalog.sqlite").exists()


def test_a_graph_that_never_ends_is_given_up(model: Path) -> None:
    endless_loop(model)

    with pytest.raises(ModelInvalid, match="did not answer within 4 s"):
        try_out(str(model), None, ("tiny", "1"), seconds=4)


def test_a_model_that_changes_while_it_is_tried_is_refused(model: Path) -> None:
    with pytest.raises(ModelInvalid, match="changed meanwhile"):
        try_out(str(model), None, ("tiny", "0"))


def test_vectors_that_are_none_never_get_into_the_catalog(
    make_photo: MakePhoto, folder: Path, tmp_path: Path, settings: IndexSettings
) -> None:
    class Liar(FakeEncoder):
        factor: float = 1.0

        def encode_images(self, pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            with np.errstate(invalid="ignore"):
                return np.asarray(super().encode_images(pixels) * np.float32(self.factor))

    for number in range(3):
        make_photo(f"{number}.jpg", mark=number)
    encoder = Liar()
    with Library.open(tmp_path / "library", model=encoder) as library:
        for encoder.factor in (float("nan"), float("inf"), 0.0, 3.0, -1e30):
            with pytest.raises(ModelInvalid, match="'fake'"):
                library.index(folder, settings=settings)
            assert library.status().pictures == 0
        encoder.factor = 1.0
        assert library.index(folder, settings=settings).added == 3


@pytest.mark.parametrize("shape", [(2, 8), (1, 7), (8,), (1, 8, 1)])
def test_rows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    known = ModelDescription("m", "m", "1", 8, Preprocessing(8), 9, "MIT")

    with pytest.raises(ModelInvalid, match="shape"):
        checked_rows(np.ones(shape, np.float32) / 8**0.5, 1, known)


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(first: int, last: int, *shape: object, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04\x95", safetensors({}, length=1 << 60), safetensors({}, length=1 << 30),
     safetensors({"a": tensor(0, 8, 1 << 40)}, b"\0" * 8),
     safetensors({"a": tensor(0, 8, 2), "b": tensor(4, 12, 2)}, b"\0" * 12),
     safetensors({"a": tensor(0, 8, 2), "b": tensor(9, 17, 2)}, b"\0" * 17),
     safetensors({"a": tensor(0, 1 << 50, 1 << 48)}, b"\0" * 8),
     safetensors({"a": tensor(-8, 0, 2)}, b"\0" * 8),
     safetensors({"a": tensor(0, 8, -1, -2)}, b"\0" * 8),
     safetensors({"a": tensor(0, 8, 2.0)}, b"\0" * 8),
     safetensors({"a": tensor(0, 8, 1, dtype="OBJECT")}, b"\0" * 8),
     safetensors({"a": tensor(0, 8, 2)}, b"\0" * 9), safetensors({"a": [1]}),
     safetensors(b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "a": {}}', b"\0" * 8),
     safetensors(b"[" * 100_000), safetensors([])],
    ids=range(17),
)  # fmt: skip
def test_safetensors_that_are_none_are_refused_by_their_header(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)

    with pytest.raises(ModelInvalid, match="safetensors"):
        check_safetensors(path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "model"
    make_clip(folder)
    assert check_safetensors(folder / "model.safetensors") > 1_000
    return folder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"auto_map": {"AutoConfig": "evil.Config"}}, "programs of its own"),
        ({"projection_dim": 10**12}, "projection_dim"),
        ({"text_config": {"num_hidden_layers": 10**6}}, "num_hidden_layers"),
        ({"vision_config": {"image_size": -7}}, "image_size"),
        ({"text_config": {"hidden_size": 4_000_000}}, "cannot be loaded|weights"),
        ({"text_config": {"vocab_size": 3_000_000}}, "weights|cannot be loaded"),
    ],
)
def test_configurations_that_ask_for_too_much_are_refused(
    clip: Path, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    folder = shutil.copytree(clip, tmp_path / "clip")
    told = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        told[key] = told.get(key, {}) | value if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(told))

    with pytest.raises(ModelInvalid, match=reason):
        load_encoder(str(folder)).encode_texts(["a cat"])


def test_weights_that_lack_are_not_made_up(clip: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(clip, tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelInvalid, match="lacks 1 of its weights"):
        load_encoder(str(folder)).encode_texts(["a cat"])


def test_a_checkpoint_that_is_a_pickle_runs_nothing(clip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip, tmp_path / "clip")
    content("model.safetensors", pickled)(folder)

    with pytest.raises(ModelInvalid, match="not a safetensors file"):
        load_encoder(str(folder)).encode_texts(["a cat"])
    assert not (tmp_path / "harm").exists()


def test_vectors_that_come_with_a_model_are_no_pickles(model: Path) -> None:
    from imgsearch.encoders.onnx_folder import OnnxFolderEncoder, known_texts_name

    encoder = OnnxFolderEncoder(model)
    path = model / known_texts_name(["cat"])
    evil = np.array([pickled], dtype=object)
    wide = b"\x93NUMPY\x01\x00\x76\x00" + (
        b"{'descr': '<f2', 'fortran_order': False, 'shape': (1, 4611686018427387904), }"
    ).ljust(117) + b"\n"  # fmt: skip

    for data in (pickled(model), wide, b""):
        path.write_bytes(data)
        assert encoder.known_vectors(["cat"]) is None
    with path.open("wb") as file:
        np.save(file, np.array([evil.tolist()], dtype=object)[:, :0], allow_pickle=True)
    assert encoder.known_vectors(["cat"]) is None
    for row in (np.zeros(8), np.full(8, np.nan)):
        np.save(path, row[None].astype(np.float16))
        assert encoder.known_vectors(["cat"]) is None
    np.save(path, np.eye(1, 8, dtype=np.float16))
    assert encoder.known_vectors(["cat"]) is not None
    assert not (model.parent / "harm").exists()


@pytest.mark.parametrize(
    "name",
    ["../../../evil", "/tmp/evil", "a/../../evil", "C:\\evil", "a\\..\\evil", "x\x1b[2J", ""],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ModelInvalid, match="has a file named") as refused:
        check_names(["model.json", name], "owner/tiny")

    assert str(refused.value).isprintable()


def test_a_repository_whose_files_lead_elsewhere_is_refused(model: Path, tmp_path: Path) -> None:
    behaviour = hub.Behaviour(extra=["../../../token"])
    with hub.serve(NAME, model, behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME)

    assert_one_clear_message(answer, "has a file named")
    assert behaviour.ranges == []


def test_of_a_repository_nothing_that_could_be_a_program_is_fetched(
    clip: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(clip, tmp_path / "clip")
    for name in ("tokenizer.pkl", "vocab.bin", "tokenization_evil.py", "added_tokens.npz"):
        (folder / name).write_bytes(b"evil")
    behaviour = hub.Behaviour()
    with hub.serve(NAME, folder, behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME)

    assert answer.returncode == 0, answer.stderr
    fetched = {name for name, _ in behaviour.ranges}
    assert "model.safetensors" in fetched
    assert not [name for name in fetched if not name.endswith((".json", ".safetensors"))]
