"""Models that somebody made to do harm: each a small working model with one thing wrong."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

DIMENSION, EDGE = 8, 16


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


def write_model(folder: Path, **changes: object) -> Path:
    """Write a model folder of two tiny graphs that answer sensibly."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir()
    rng = np.random.default_rng(0)
    flat = EDGE * EDGE * 3
    image = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["real"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
        ],
        "image",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", EDGE, EDGE, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])],
        [numpy_helper.from_array(rng.normal(size=(flat, DIMENSION)).astype("f4"), "weights")],
    )
    words = {"[PAD]": 0, "[UNK]": 1} | {
        word: n for n, word in enumerate("a red apple green tree in the snow cat".split(), 2)
    }
    text = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("ReduceMean", ["rows"], ["embedding"], axes=[1], keepdims=0),
        ],
        "text",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "t"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])],
        [numpy_helper.from_array(rng.normal(size=(len(words), DIMENSION)).astype("f4"), "table")],
    )
    for name, graph in (("image", image), ("text", text)):
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
             folder / f"{name}.onnx")  # fmt: skip
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    describe(folder, **changes)
    assert onnx is not None
    return folder


def describe(folder: Path, **changes: object) -> None:
    """Write its model.json."""
    facts = {
        "format": 1, "name": "tiny", "revision": "1", "dimension": DIMENSION, "license": "MIT",
        "image": {"size": EDGE, "resize": "squash", "resample": "bicubic"},
        "text": {"context_length": 16},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(facts | changes))


def save(model: Any, path: Path) -> None:
    """Write a graph, whatever is in it."""
    path.write_bytes(model.SerializeToString())


def graph_of(path: Path) -> Any:
    """Read a graph without its external data."""
    import onnx

    return onnx.load(path, load_external_data=False)


def with_weights(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return an attack that changes the image tower's weights, float32 [k, d]."""

    def attack(folder: Path) -> None:
        from onnx import numpy_helper

        model = graph_of(folder / "image.onnx")
        weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(change(weights), "weights"))
        save(model, folder / "image.onnx")

    return attack


def with_node(*arguments: Any, graph: str = "image.onnx", **attributes: Any) -> Any:
    """Return an attack that puts a node (operator, inputs) before the end of a tower."""

    def attack(folder: Path) -> None:
        from onnx import helper

        model = graph_of(folder / graph)
        model.graph.node[-1].output[0] = "before"
        domain = attributes.get("domain")
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))
        kind, inputs = arguments
        model.graph.node.append(helper.make_node(kind, inputs, ["embedding"], **attributes))
        save(model, folder / graph)

    return attack


def huge_constant(folder: Path) -> None:
    """Let a graph ask for 4 TB."""
    from onnx import TensorProto, helper

    model = graph_of(folder / "image.onnx")
    model.graph.node[-1].output[0] = "before"
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    model.graph.initializer.append(shape)
    model.graph.node.extend([
        helper.make_node("ConstantOfShape", ["shape"], ["sea"]),
        helper.make_node("ReduceSum", ["sea"], ["drop"], keepdims=0),
        helper.make_node("Add", ["before", "drop"], ["embedding"]),
    ])  # fmt: skip
    save(model, folder / "image.onnx")


def endless_loop(folder: Path) -> None:
    """Let a graph go round 2^62 times."""
    from onnx import TensorProto, helper

    model = graph_of(folder / "image.onnx")
    model.graph.node[-1].output[0] = "before"
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["x"], ["y"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []),
         value("x", TensorProto.FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    model.graph.initializer.append(helper.make_tensor("times", TensorProto.INT64, [], [1 << 62]))
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    loop = helper.make_node("Loop", ["times", "yes", "before"], ["embedding"], body=body)
    model.graph.node.append(loop)
    save(model, folder / "image.onnx")


def external(**entries: str) -> Callable[[Path], None]:
    """Return an attack that keeps the weights in another file, as these entries say."""

    def attack(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"\0" * 64)
        model = graph_of(folder / "image.onnx")
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        save(model, folder / "image.onnx")

    return attack


def wide_shape(folder: Path) -> None:
    """Let a tensor say that it has 2^62 numbers."""
    model = graph_of(folder / "image.onnx")
    model.graph.initializer[0].dims[:] = [1 << 31, 1 << 31]
    save(model, folder / "image.onnx")


def deaf_text(folder: Path) -> None:
    """Let the text tower answer the same to everything."""
    from onnx import numpy_helper

    model = graph_of(folder / "text.onnx")
    table = numpy_helper.to_array(model.graph.initializer[0])
    same = np.repeat(table[:1], len(table), axis=0)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(same, "table"))
    save(model, folder / "text.onnx")


def deaf_picture(folder: Path) -> None:
    """Let the picture tower answer the same to everything."""
    from onnx import helper, numpy_helper

    model = graph_of(folder / "image.onnx")
    model.graph.node[-1].output[0] = "before"
    zero = numpy_helper.from_array(np.zeros(DIMENSION, "f4"), "zero")
    one = numpy_helper.from_array(np.ones(DIMENSION, "f4"), "one")
    model.graph.initializer.extend([zero, one])
    model.graph.node.extend([
        helper.make_node("Mul", ["before", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["embedding"]),
    ])  # fmt: skip
    save(model, folder / "image.onnx")


def narrow_text(folder: Path) -> None:
    """Let the text tower give half the dimension."""
    from onnx import numpy_helper

    model = graph_of(folder / "text.onnx")
    table = numpy_helper.to_array(model.graph.initializer[0])[:, : DIMENSION // 2].copy()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(table, "table"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = DIMENSION // 2
    save(model, folder / "text.onnx")


def link(name: str, target: str) -> Callable[[Path], None]:
    """Return an attack that replaces a file by a link."""

    def attack(folder: Path) -> None:
        moved = folder.parent / f"outside-{name}"
        (folder / name).rename(moved)
        (folder / name).symlink_to(target or moved)

    return attack


def fifo(name: str) -> Callable[[Path], None]:
    """Return an attack that replaces a file by a pipe that nobody writes to."""

    def attack(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return attack


def content(name: str, data: bytes | Callable[[Path], bytes]) -> Callable[[Path], None]:
    """Return an attack that replaces a file's content."""

    def attack(folder: Path) -> None:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data(folder))

    return attack


def pickled(folder: Path) -> bytes:
    """Return a pickle that makes a folder ``harm`` beside the model when it is loaded."""
    return pickle.dumps(Bomb(folder.parent / "harm"))


def vocabulary(size: int) -> bytes:
    """Return a tokenizer.json of so many bytes."""
    head = b'{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"'
    return head + b"a" * size + b'": 0}, "unk_token": "a"}}'


def told(**changes: object) -> Callable[[Path], None]:
    """Return an attack that changes what model.json says."""
    return lambda folder: describe(folder, **changes)


def twice(folder: Path) -> bytes:
    """Return a model.json that says its dimension twice."""
    return (folder / "model.json").read_bytes()[:-1] + b', "dimension": 9}'


# Each with a word that the reason must hold.
FOLDERS: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "NaN weights": (with_weights(lambda w: w * np.float32("nan")), "not numbers"),
    "infinite weights": (with_weights(lambda w: w * np.float32("inf")), "not numbers"),
    "zero weights": (with_weights(lambda w: w * 0), "no length"),
    "tiny weights": (with_weights(lambda w: w * np.float32(1e-38)), "no length"),
    "a picture tower that is deaf": (deaf_picture, "same vector"),
    "a text tower that is deaf": (deaf_text, "same vector"),
    "a text tower of another dimension": (narrow_text, "dimension"),
    "a wrong dimension": (told(dimension=512), "dimension"),
    "a custom operator": (with_node("Evil", ["before"], domain="evil.test"), "evil.test"),
    "an operator that is none": (with_node("RunShell", ["before"]), "RunShell"),
    "a huge constant": (huge_constant, ""),
    "a tensor with an absurd shape": (wide_shape, "cannot be loaded"),
    "weights outside": (external(location="../outside"), "does not lie beside"),
    "weights at an absolute path": (external(location="/etc/passwd"), "does not lie beside"),
    "weights in memory": (
        external(location="*/_ORT_MEM_ADDR_/*", offset="4096"), "does not lie beside",
    ),
    "weights on a drive": (external(location="C:\\secret"), "does not lie beside"),
    "weights beyond their file": (
        external(location="weights.bin", offset=str(1 << 40), length="64"), "cannot be loaded",
    ),
    "weights before their file": (
        external(location="weights.bin", offset="-64"), "cannot be loaded",
    ),
    "weights that lack": (external(location="none.bin"), "missing"),
    "a graph that is a pickle": (content("image.onnx", pickled), "image.onnx"),
    "a tokenizer that is a pickle": (content("tokenizer.json", pickled), "tokenizer.json"),
    "a tokenizer of 101 MB": (content("tokenizer.json", vocabulary(101 << 20)), "tokenizer.json"),
    "a tokenizer with a broken expression": (
        content("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {}, "merges": []}, '
                b'"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+"}, '
                b'"behavior": "Isolated", "invert": false}}'), "tokenizer.json",
    ),
    "a link out of the folder": (link("image.onnx", ""), "leads out"),
    "a link to a device": (link("model.json", "/dev/zero"), "model.json"),
    "a pipe": (fifo("tokenizer.json"), "tokenizer.json"),
    "model.json of 100 MB": (content("model.json", b" " * (100 << 20)), "larger"),
    "model.json nested too deep": (content("model.json", b"[" * 200_000), "model.json"),
    "model.json with a name twice": (content("model.json", twice), "twice"),
    "model.json with NaN": (content("model.json", b'{"format": NaN}'), "NaN"),
    "model.json that is no text": (content("model.json", b"\xff\xfe\x00"), "model.json"),
    "a name with control characters": (told(name="a\x1b]0;b\x07"), "not a name"),
    "a name with bidi controls": (told(revision="a\u202eb"), "not a name"),
    "a licence with control characters": (told(license="\x9b31m"), "not a name"),
    "a name of a megabyte": (told(name="a" * 1_000_000), "not a name"),
    "a dimension of true": (told(dimension=True), "whole number"),
    "a dimension of 2^60": (told(dimension=1 << 60), "whole number"),
    "a dimension as text": (told(dimension="512"), "whole number"),
    "pictures of 2^20 pixels": (
        told(image={"size": 1 << 20, "resize": "crop", "resample": "bicubic"}), "whole number",
    ),
    "texts that are a list": (told(text=[]), "model.json"),
    "languages that are a number": (told(text={"context_length": 9, "languages": 7}), "languages"),
}  # fmt: skip
