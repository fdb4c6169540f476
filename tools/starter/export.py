"""Writes the two finished graphs: fixed features, then the trained heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from onnx import TensorProto

from backbone import Weights
from graph import MICROSOFT, Array, Graph
from hubs import Pull
from image_features import add_features
from minilm import TextTower
from quantize import quantize

LAYER_NORM_EPSILON = 1e-5
# Standardised (and emphasised) features are limited to this size.
CLIP = 20.0
# Keeps the division by the length of an all-zero row defined.
TINY = 1e-12


@dataclass(frozen=True)
class HeadWeights:
    """One trained head as float32 arrays; matrices are [in, out], each with its bias [out]."""

    mean: Array
    scale: Array
    skip: tuple[Array, Array]
    up: tuple[Array, Array]
    down: tuple[Array, Array]
    norm: tuple[Array, Array]


Linear = Callable[[str, Array, Array], str]


def folded_linear(graph: Graph) -> Linear:
    """Products whose eight-bit weights become float when the session is made."""

    def linear(x: str, weight: Array, bias: Array) -> str:
        product = graph.node("MatMul", x, graph.weight8(weight, axis=1))
        return graph.node("Add", product, graph.const(bias, "bias"))

    return linear


def add_head(graph: Graph, x: str, head: HeadWeights, pull: Pull, linear: Linear) -> None:
    """The nodes of the head and of the pull, from raw features [n, f] to `embedding` [n, d]."""
    x = graph.node("Sub", x, graph.const(head.mean, "mean"))
    x = graph.node("Mul", x, graph.const(head.scale, "scale"))
    x = graph.node("Clip", x, graph.const(-CLIP), graph.const(CLIP))
    hidden = graph.node("Gelu", linear(x, *head.up), domain=MICROSOFT)
    y = graph.node("Add", linear(hidden, *head.down), linear(x, *head.skip))
    weight, bias = (graph.const(part, "norm") for part in head.norm)
    y = graph.node("LayerNormalization", y, weight, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)
    unit = unit_rows(graph, y)
    near = folded_linear(graph)(unit, pull.centres, pull.offsets)
    near = graph.node("ReduceLogSumExp", near, axes=[1], keepdims=1)
    added = graph.node("Mul", near, graph.const(pull.factor, "factor"))
    added = graph.node("Add", added, graph.const(pull.level, "level"))
    unit_rows(graph, graph.node("Concat", unit, added, axis=1), "embedding")


def unit_rows(graph: Graph, x: str, out: str | None = None) -> str:
    """Rows [n, d] divided by their lengths."""
    length = graph.node("ReduceL2", x, axes=[1], keepdims=1)
    return graph.node("Div", x, graph.node("Max", length, graph.const(TINY)), out=out)


def export_image(
    path: Path,
    weights: Weights,
    size: int,
    label_vectors: Array,
    parts: Sequence[str],
    head: HeadWeights,
    pull: Pull,
    pixels: Array | None,
) -> None:
    """Write image.onnx: uint8 `pixels` [n, size, size, 3] to unit float32 `embedding` [n, d].

    The head reads those `parts` of the features, in their order. Ranges of the maps come from the
    photos `pixels`, as in `ImageFeatures`; without them all is computed in float32.
    """
    graph = Graph("starter-image")
    features, _ = add_features(graph, weights, size, label_vectors)
    joined = graph.node("Concat", *(features[part] for part in parts), axis=1)
    add_head(graph, joined, head, pull, folded_linear(graph))
    dimension = len(head.norm[0]) + len(pull.level)
    with TemporaryDirectory() as folder:
        exact = Path(folder) / path.name
        graph.save(
            exact,
            {"pixels": (TensorProto.UINT8, ["n", size, size, 3])},
            {"embedding": (TensorProto.FLOAT, ["n", dimension])},
        )
        if pixels is None:
            exact.replace(path)
        else:
            quantize(exact, path, graph.in_eight_bits, pixels)


def export_text(
    path: Path, minilm: Path, context_length: int, head: HeadWeights, pull: Pull
) -> None:
    """Write text.onnx: int64 `input_ids`, `attention_mask` [n, t] to float32 `embedding` [n, d]."""
    graph = Graph("starter-text")
    tower = TextTower(graph, minilm, context_length)
    features = tower.build("input_ids", "attention_mask")
    add_head(graph, features, head, pull, graph.linear8)
    tokens = (TensorProto.INT64, ["n", "t"])
    graph.save(
        path,
        {"input_ids": tokens, "attention_mask": tokens},
        {"embedding": (TensorProto.FLOAT, ["n", len(head.norm[0]) + len(pull.level)])},
    )
