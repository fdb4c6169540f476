"""The peer's ONNX model as a model folder of imgsearch: the same weights under both programs.

`make_folder` puts around rclip's two graphs what it does outside of them (normalising pixels before
the image tower, and vectors after both) and writes the tokenizer of CLIP with the vocabulary that
rclip reads. As in imgsearch's own export, the graphs are stored optimized, the text tower's weights
lie beside its graph, and it takes texts of any length: CLIP's is causal, so that what follows the
end of a text changes nothing. Needs onnx (extra ``export``).
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import CannotMeasure

from imgsearch.encoders.onnx_import import import_onnxruntime

if TYPE_CHECKING:
    import onnx

EDGE, DIMENSION, CONTEXT = 256, 512, 77
# Of the text tower.
_WIDTH = 512
# Of CLIP's preprocessing, as in rclip's utils/preprocess.py.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_START, _END = "<start_of_text>", "<end_of_text>"
# The pattern of CLIP's tokenizer (openai/CLIP, simple_tokenizer.py), as tokenizers writes it.
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_MERGES = 49_152 - 256 - 2
_DESCRIPTION = {
    "format": 1,
    "name": "rclip-vit-b-32-256",
    "revision": "random-0+onnx",
    "dimension": DIMENSION,
    "image": {"size": EDGE, "resize": "crop", "resample": "bicubic"},
    "text": {"context_length": CONTEXT, "padded": False},
    "license": "MIT",
}


def make_folder(towers: Path, vocabulary: Path, folder: Path) -> Path:
    """Return `folder`, made of ``visual.onnx`` and ``textual.onnx`` in `towers` unless it is there.

    `vocabulary` is ``bpe_simple_vocab_16e6.txt.gz``. Raises CannotMeasure where onnx is absent.
    """
    if (folder / "model.json").exists():
        return folder
    try:
        import onnx
    except ImportError as error:
        raise CannotMeasure("onnx is not installed: pip install -e '.[export]'") from error
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    image = onnx.load(str(towers / "visual.onnx"))
    _take_pixels(image.graph)
    _finish(image, folder / "image.onnx")
    text = onnx.load(str(towers / "textual.onnx"))
    _rename(text.graph, "input", "input_ids")
    _take_any_length(text.graph)
    _finish(text, folder / "text.onnx")
    _write_tokenizer(vocabulary, folder / "tokenizer.json")
    (folder / "model.json").write_text(json.dumps(_DESCRIPTION, indent=2))
    return folder


def _take_pixels(graph: onnx.GraphProto) -> None:
    """Let a graph that takes normalised [n, 3, s, s] take uint8 pixels [n, s, s, 3]."""
    import onnx
    from onnx import helper, numpy_helper

    scale = 1 / (255 * np.array(_DEVIATION, dtype=np.float32))
    shift = -np.array(_MEAN, dtype=np.float32) / np.array(_DEVIATION, dtype=np.float32)
    graph.initializer.extend(
        [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(shift, "shift")]
    )
    first = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["normal"]),
        helper.make_node("Transpose", ["normal"], ["input"], perm=[0, 3, 1, 2]),
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*first, *rest])
    del graph.input[:]
    graph.input.append(
        helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["n", EDGE, EDGE, 3])
    )


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    graph.input[0].name = new
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _take_any_length(graph: onnx.GraphProto) -> None:
    """Let the text graph, traced at 77 tokens, take fewer: cut what has that length to the input's.

    Those are the table of positions, the causal mask of every layer, and sizes of reshapes.
    """
    from onnx import helper, numpy_helper

    def number(name: str, value: int) -> None:
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))

    for name, value in (("zero", 0), ("one", 1), ("two", 2), ("three", 3)):
        number(f"number/{name}", value)
    first = [
        helper.make_node("Shape", ["input_ids"], ["length/shape"]),
        helper.make_node("Gather", ["length/shape", "number/one"], ["length"], axis=0),
        helper.make_node("Concat", ["length", "length"], ["length/twice"], axis=0),
        helper.make_node("Concat", ["number/zero", "number/zero"], ["number/zeros"], axis=0),
        helper.make_node("Concat", ["number/two", "number/three"], ["number/last"], axis=0),
    ]
    [positions] = [one.name for one in graph.initializer if tuple(one.dims) == (CONTEXT, _WIDTH)]
    first.append(helper.make_node("Slice", [positions, "number/zero", "length"], ["positions/cut"]))
    replaced = {positions: "positions/cut"}
    rest = []
    for node in graph.node:
        value = numpy_helper.to_array(node.attribute[0].t) if node.op_type == "Constant" else None
        if value is not None and value.shape == (1, 1, CONTEXT, CONTEXT):
            mask, cut = node.output[0], node.output[0] + "/cut"
            replaced[mask] = cut
            sliced = [mask, "number/zeros", "length/twice", "number/last"]
            rest += [node, helper.make_node("Slice", sliced, [cut])]
        elif value is not None and value.tolist() == [CONTEXT]:
            replaced[node.output[0]] = "length"
        else:
            node.input[:] = [replaced.get(name, name) for name in node.input]
            rest.append(node)
    del graph.node[:]
    graph.node.extend([*first, *rest])
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = "t"


def _finish(model: onnx.ModelProto, path: Path) -> None:
    """Add the division by the length, and store the graph as ONNX Runtime optimizes it."""
    import onnx
    from onnx import helper

    graph = model.graph
    output = graph.output[0].name
    graph.node.append(helper.make_node("LpNormalization", [output], ["embedding"], axis=-1, p=2))
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", DIMENSION])
    )
    raw = path.with_suffix(".raw")
    onnx.save(model, str(raw))
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    if path.name == "text.onnx":
        for key, value in (("file_name", "text.onnx.data"), ("min_size_in_bytes", "16384")):
            options.add_session_config_entry(
                f"session.optimized_model_external_initializers_{key}", value
            )
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    raw.unlink()


def _write_tokenizer(vocabulary: Path, path: Path) -> None:
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.processors import TemplateProcessing

    with gzip.open(vocabulary, "rt", encoding="utf-8") as file:
        merges = [tuple(line.split()) for line in file.read().split("\n")[1 : _MERGES + 1]]
    characters = _characters()
    words = [*characters, *(one + "</w>" for one in characters), *map("".join, merges)]
    ids = {word: number for number, word in enumerate([*words, _START, _END])}
    tokenizer = Tokenizer(BPE(ids, merges, unk_token=_END, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = TemplateProcessing(
        f"{_START} $A {_END}", special_tokens=[(_START, ids[_START]), (_END, ids[_END])]
    )
    # Zeros, which OpenCLIP's tokenizer fills up with.
    tokenizer.enable_padding(pad_id=0, pad_token="!")
    tokenizer.save(str(path))


def _characters() -> list[str]:
    """Return the characters that stand for bytes, in the order of CLIP's vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    plain += range(ord("®"), ord("ÿ") + 1)
    others = 256 - len(plain)
    return [*map(chr, plain), *(chr(256 + number) for number in range(others))]
