"""ONNX exports as the hub lays them out, from a folder and from the hub, against the checkpoint.

The models are tiny, built on the spot, and exported here as optimum and transformers.js do it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import hub
import numpy as np
import pytest
from conftest import EXAMPLES
from test_checkpoints import MAKERS, TEXTS, make_clip, pixels_for
from test_hub import NAME, NOWHERE, assert_one_clear_message, run

from imgsearch import load_encoder
from imgsearch.encoders.architectures import ARCHITECTURES, sizes_of
from imgsearch.errors import ModelInvalid
from imgsearch.models import export_model

KINDS = sorted(MAKERS)
# Prints the vectors of the photos and texts in a process where nothing else was imported.
ALONE = """
import sys
import numpy as np
from imgsearch import load_encoder
encoder = load_encoder(sys.argv[1])
given = np.load(sys.argv[2])
seen, read = encoder.encode_images(given["pixels"]), encoder.encode_texts(list(given["texts"]))
known = encoder.description
np.savez(sys.argv[3], seen=seen, read=read, who=[known.name, known.revision, known.source])
assert not {"torch", "transformers", "onnx"} & set(sys.modules)
"""


def traced(module: Any, inputs: dict[str, Any], outputs: list[str], path: Path) -> None:
    """Export a module with a free number of rows, and of tokens unless it has a fixed context."""
    import torch

    path.parent.mkdir(exist_ok=True)
    axes = {name: {0: f"{name}_rows"} for name in [*inputs, *outputs]}
    for name in ("input_ids", "attention_mask"):
        if name in inputs and inputs[name].shape[1] != 64:
            axes[name][1] = "tokens"
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(inputs.values()), str(path), input_names=list(inputs),
            output_names=outputs, dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip


def towers(folder: Path) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Return what the towers of a checkpoint take, for tracing, and whether they have a mask."""
    import torch

    kind = json.loads((folder / "config.json").read_text())["model_type"]
    masked = kind != "siglip"
    tokens = torch.randint(5, 90, (2, 7 if masked else 64))
    texts = {"input_ids": tokens}
    if masked:
        texts["attention_mask"] = torch.ones_like(tokens)
    return {"pixel_values": torch.rand(2, 3, 32, 32)}, texts, masked


def export_as_the_hub_has_it(folder: Path, target: Path, *, together: bool = False) -> None:
    """Write the export of a checkpoint, with its two towers apart or in one graph."""
    import torch
    import transformers

    model: Any = transformers.AutoModel.from_pretrained(folder).eval()
    images, texts, masked = towers(folder)

    def seen(pixels: Any) -> Any:
        return model.get_image_features(pixel_values=pixels).pooler_output

    def read(ids: Any, mask: Any = None) -> Any:
        return model.get_text_features(
            input_ids=ids, **({"attention_mask": mask} if masked else {})
        ).pooler_output

    class Tower(torch.nn.Module):
        def __init__(self, does: Any) -> None:
            super().__init__()
            self.model, self.does = model, does

        def forward(self, *inputs: Any) -> Any:
            return self.does(*inputs)

    def both(ids: Any, pixels: Any, mask: Any = None) -> Any:
        normalise = torch.nn.functional.normalize
        rows = normalise(read(ids, mask), dim=-1), normalise(seen(pixels), dim=-1)
        return rows[0] @ rows[1].T, *rows

    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    if not (target / "tokenizer.json").exists():
        tokenizer = transformers.BertTokenizer.from_pretrained(folder)
        tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))
    if together:
        inputs = {"input_ids": texts["input_ids"], **images, **texts}
        names = ["logits_per_text", "text_embeds", "image_embeds"]
        traced(Tower(both).eval(), inputs, names, target / "onnx" / "model.onnx")
        return
    names = ["image_embeds", "text_embeds"] if masked else ["pooler_output"] * 2
    traced(Tower(seen).eval(), images, names[:1], target / "onnx" / "vision_model.onnx")
    traced(Tower(read).eval(), texts, names[1:], target / "onnx" / "text_model.onnx")


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint of each architecture in turn."""
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param) / "model"
    MAKERS[request.param](folder)
    return folder


@pytest.fixture(scope="module")
def clip_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP as an ONNX export; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("clip-export")
    make_clip(folder / "model")
    export_as_the_hub_has_it(folder / "model", folder / "export")
    return folder / "export"


@pytest.fixture
def export(clip_export: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clip_export, tmp_path / "export")


def assert_agrees_alone(source: str, checkpoint: Path, tmp_path: Path, **extra: str) -> list[str]:
    """Compare with the checkpoint, in a process without torch; return the model's identity."""
    original = load_encoder(str(checkpoint))
    pixels = pixels_for(original)
    np.savez(tmp_path / "given.npz", pixels=pixels, texts=np.array(TEXTS))
    paths = [str(tmp_path / name) for name in ("given.npz", "found.npz")]
    alone = subprocess.run(
        [sys.executable, "-c", ALONE, source, *paths],
        capture_output=True, text=True, env={**os.environ, **extra},
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    found = np.load(paths[1])
    wanted_seen, wanted_read = original.encode_images(pixels), original.encode_texts(TEXTS)
    assert (found["seen"] * wanted_seen).sum(axis=1).min() >= 0.9999
    assert (found["read"] * wanted_read).sum(axis=1).min() >= 0.9999
    # The photos and texts are not all the same to the model, or this would prove nothing.
    assert (wanted_read @ wanted_read.T).min() < 0.99
    assert (wanted_seen @ wanted_seen.T).min() < 0.9999
    return [str(one) for one in found["who"]]


def hub_environment(tmp_path: Path, endpoint: str) -> dict[str, str]:
    return {
        "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip


@pytest.mark.parametrize("together", [False, True])
def test_an_export_gives_the_vectors_of_its_checkpoint(
    checkpoint: Path, tmp_path: Path, together: bool
) -> None:
    export_as_the_hub_has_it(checkpoint, tmp_path / "export", together=together)

    name, revision, source = assert_agrees_alone(str(tmp_path / "export"), checkpoint, tmp_path)

    assert (name, source) == ("export", str(tmp_path / "export"))
    assert revision.endswith("+onnx")


def test_what_a_configuration_leaves_out_is_as_in_transformers() -> None:
    import transformers

    for kind, architecture in ARCHITECTURES.items():
        config = transformers.AutoConfig.for_model(kind)

        dimension, context = sizes_of({"model_type": kind}, architecture, kind)

        assert dimension == architecture.dimension(config)
        assert context == (architecture.context or config.text_config.max_position_embeddings)


def test_an_export_is_pulled_verified_and_found_again_without_a_network(
    export: Path, clip_export: Path, tmp_path: Path
) -> None:
    for variant in ("vision_model_fp16", "text_model_fp16", "vision_model_q4", "decoder"):
        (export / "onnx" / f"{variant}.onnx").write_bytes(b"another variant")
    (export / "pytorch_model.bin").write_bytes(b"a pickle")
    behaviour = hub.Behaviour()
    with hub.serve(NAME, export, behaviour) as endpoint:
        pulled = run(tmp_path, endpoint, "models", "pull", NAME)
    library = ("--library", str(tmp_path / "library"))
    indexed = run(tmp_path, NOWHERE, "index", str(EXAMPLES), *library)
    asked = run(tmp_path, NOWHERE, "query", "a cat", *library)
    by_name = ("index", str(EXAMPLES), "--model", NAME, "--library", str(tmp_path / "other"))
    offline = run(tmp_path, NOWHERE, *by_name, HF_HUB_OFFLINE="1")

    assert pulled.returncode == 0, pulled.stderr
    assert {name for name, _ in behaviour.ranges} == {
        "config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
        "onnx/vision_model.onnx", "onnx/text_model.onnx",
    }  # fmt: skip
    assert f"Model: {NAME}." in indexed.stdout, indexed.stderr
    assert asked.returncode == offline.returncode == 0, asked.stderr + offline.stderr
    identity = assert_agrees_alone(
        f"{NAME}@{hub.COMMIT}+onnx", clip_export.parent / "model", tmp_path,
        **hub_environment(tmp_path, NOWHERE),
    )  # fmt: skip
    assert identity == [NAME, f"{hub.COMMIT}+onnx", f"{NAME}@{hub.COMMIT}+onnx"]


def test_our_own_model_folder_is_pulled_under_the_name_it_has_on_the_hub(tmp_path: Path) -> None:
    make_clip(tmp_path / "model")
    export_model(str(tmp_path / "model"), tmp_path / "repository")
    facts = json.loads((tmp_path / "repository" / "model.json").read_text())
    impostor = {**facts, "name": "starter", "revision": load_encoder().description.revision}
    (tmp_path / "repository" / "model.json").write_text(json.dumps(impostor))
    with hub.serve(NAME, tmp_path / "repository") as endpoint:
        pulled = run(tmp_path, endpoint, "models", "pull", NAME)

    assert pulled.returncode == 0, pulled.stderr
    identity = assert_agrees_alone(
        f"{NAME}@{hub.COMMIT}", tmp_path / "model", tmp_path, **hub_environment(tmp_path, NOWHERE)
    )
    assert identity == [NAME, hub.COMMIT, f"{NAME}@{hub.COMMIT}"]


def test_a_variant_can_be_asked_for_and_is_a_model_of_its_own(export: Path, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graphs = export / "onnx"
    for tower in ("vision_model", "text_model"):
        small = graphs / f"{tower}_quantized.onnx"
        quantize_dynamic(graphs / f"{tower}.onnx", small, weight_type=QuantType.QInt8)
    behaviour = hub.Behaviour()
    source = f"{NAME}@main+onnx-quantized"
    library = ("--library", str(tmp_path / "library"))
    with hub.serve(NAME, export, behaviour) as endpoint:
        indexed = run(tmp_path, endpoint, "index", str(EXAMPLES), "--model", source, *library)
        wrong = run(tmp_path, endpoint, "models", "pull", f"{NAME}@main+onnx-int8")
    asked = run(tmp_path, NOWHERE, "query", "a cat", *library)

    assert indexed.returncode == asked.returncode == 0, indexed.stderr + asked.stderr
    fetched = {name for name, _ in behaviour.ranges if name.startswith("onnx/")}
    assert fetched == {"onnx/vision_model_quantized.onnx", "onnx/text_model_quantized.onnx"}
    status = run(tmp_path, NOWHERE, "status", *library)
    assert f"{hub.COMMIT}+onnx-quantized" in status.stdout
    assert_one_clear_message(wrong, "no ONNX graphs", "+onnx-int8")


def with_weights_beside(graph: Path, location: str) -> None:
    """Move the weights of a graph into a file of its folder, and let the graph name `location`."""
    import onnx

    model = onnx.load(graph)
    onnx.save(
        model, graph, save_as_external_data=True, location=f"{graph.name}_data", size_threshold=64
    )
    model = onnx.load(graph, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save(model, graph)


def test_weights_beside_a_graph_are_fetched_with_it(
    export: Path, clip_export: Path, tmp_path: Path
) -> None:
    for tower in ("vision_model", "text_model"):
        with_weights_beside(export / "onnx" / f"{tower}.onnx", f"{tower}.onnx_data")
    with hub.serve(NAME, export) as endpoint:
        pulled = run(tmp_path, endpoint, "models", "pull", NAME)

    assert pulled.returncode == 0, pulled.stderr
    source = f"{NAME}@{hub.COMMIT}+onnx"
    model = clip_export.parent / "model"
    environment = hub_environment(tmp_path, NOWHERE)
    assert_agrees_alone(source, model, tmp_path, **environment)
    assert_agrees_alone(str(export), model, tmp_path)


def test_weights_that_lack_are_no_whole_model(export: Path, tmp_path: Path) -> None:
    with_weights_beside(export / "onnx" / "text_model.onnx", "text_model.onnx_data")
    (export / "onnx" / "text_model.onnx_data").unlink()
    with hub.serve(NAME, export) as endpoint:
        pulled = run(tmp_path, endpoint, "models", "pull", NAME)

    assert_one_clear_message(pulled, "not complete", "onnx/text_model.onnx_data")
    with pytest.raises(ModelInvalid, match=r"text_model\.onnx_data"):
        load_encoder(str(export))


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "sub/file", "..", "C:\\secret", ""]
)
def test_a_graph_cannot_make_its_reader_open_other_files(export: Path, location: str) -> None:
    (export / "secret").write_bytes(b"x" * 1_000_000)
    with_weights_beside(export / "onnx" / "vision_model.onnx", location)

    with pytest.raises(ModelInvalid, match="does not lie beside it"):
        load_encoder(str(export))


def test_nor_can_a_graph_of_a_model_folder(tmp_path: Path) -> None:
    make_clip(tmp_path / "model")
    made = export_model(str(tmp_path / "model"), tmp_path / "folder")
    with_weights_beside(made.folder / "text.onnx", "../secret")

    with pytest.raises(ModelInvalid, match="does not lie beside it"):
        load_encoder(str(made.folder)).encode_texts(["a cat"])


def test_tensors_inside_nodes_are_looked_at_as_well(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    from imgsearch.encoders.onnx_session import external_files

    def tensor(location: str) -> TensorProto:
        one = TensorProto(name=location, data_type=1, dims=[1], data_location=1)
        one.external_data.add(key="offset", value="0")
        one.external_data.add(key="location", value=location)
        return one

    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["a"], value=tensor("in_a_subgraph"))], "inner", [], []
    )
    node = helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    constant = helper.make_node("Constant", [], ["c"], value=tensor("in_a_node"))
    function = helper.make_function(
        "own", "f", [], ["e"],
        [helper.make_node("Constant", [], ["e"], value=tensor("in_a_function"))], [],
    )  # fmt: skip
    graph = helper.make_graph([constant, node], "outer", [], [], [tensor("initializer")])
    model = helper.make_model(graph, functions=[function])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    found = external_files(tmp_path / "model.onnx")

    assert found == ["in_a_function", "in_a_node", "in_a_subgraph", "initializer"]
    assert onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.name == "outer"


@pytest.mark.parametrize("content", [b"", b"\x80" * 40, b"not an ONNX graph", b"\x3a\xff\x01x"])
def test_what_is_no_graph_is_refused(export: Path, content: bytes) -> None:
    (export / "onnx" / "text_model.onnx").write_bytes(content)

    with pytest.raises(ModelInvalid, match="cannot be loaded"):
        load_encoder(str(export)).encode_texts(["a cat"])


def test_towers_without_their_projection_are_refused(export: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(export / "onnx" / "text_model.onnx")
    model.graph.output[0].name = "pooler_output"
    for node in model.graph.node:
        node.output[:] = ["pooler_output" if one == "text_embeds" else one for one in node.output]
    onnx.save(model, export / "onnx" / "text_model.onnx")

    with pytest.raises(ModelInvalid, match="without the projection"):
        load_encoder(str(export)).encode_texts(["a cat"])


@pytest.mark.parametrize(
    ("file", "changes", "reason"),
    [
        ("config.json", {"model_type": "bert"}, "reads altclip"),
        ("config.json", {"text_config": {"max_position_embeddings": "many"}}, "not usable"),
        ("config.json", {"projection_dim": None}, "not usable"),
        ("config.json", {"projection_dim": 25}, "says dimension 25"),
        ("preprocessor_config.json", {"image_std": [0, 0, 0]}, "not usable"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "not usable"),
        ("preprocessor_config.json", {"crop_size": 31}, "not supported"),
        ("preprocessor_config.json", {"size": 16, "crop_size": 16}, "does not run"),
    ],
)
def test_configurations_that_cannot_be_used_are_refused(
    export: Path, file: str, changes: dict[str, object], reason: str
) -> None:
    facts = json.loads((export / file).read_text())
    (export / file).write_text(json.dumps({**facts, **changes}))

    def look() -> None:
        encoder = load_encoder(str(export))
        edge = encoder.description.preprocessing.size
        encoder.encode_images(np.zeros((1, edge, edge, 3), dtype=np.uint8))

    with pytest.raises(ModelInvalid, match=reason):
        look()


@pytest.mark.parametrize("missing", ["tokenizer.json", "preprocessor_config.json"])
def test_an_incomplete_export_says_what_is_missing(export: Path, missing: str) -> None:
    (export / missing).unlink()

    with pytest.raises(ModelInvalid, match=missing):
        load_encoder(str(export))


def test_graphs_of_something_else_are_refused_before_the_download(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "onnx").mkdir(parents=True)
    for name in ("config.json", "onnx/encoder_model.onnx", "onnx/vision_model.onnx"):
        (repository / name).write_text("{}")
    behaviour = hub.Behaviour()
    with hub.serve(NAME, repository, behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME)

    assert_one_clear_message(answer, "vision_model.onnx and text_model.onnx")
    assert behaviour.ranges == []


def test_without_torch_a_repository_with_both_is_run_as_an_export(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", export)

    with_torch = load_encoder(str(export)).description.revision
    monkeypatch.setattr("imgsearch.encoders.layout.torch_is_here", lambda: False)
    without = load_encoder(str(export)).description.revision

    assert not with_torch.endswith("+onnx")
    assert without.endswith("+onnx")
