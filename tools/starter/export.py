"""Writes the two finished graphs: fixed features, then the trained heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from onnx import TensorProto

from backbone import Weights
from graph import MICROSOFT, Array, Graph, unit_rows
from graphics_export import add_joined, add_picture_tower, add_word_tower
from graphics_towers import DIMENSION, Graphics, PictureTower
from hubs import ADDED, Pull
from image_features import add_features, normalised_pixels
from minilm import TextTower
from quantize import quantize

LAYER_NORM_EPSILON = 1e-5
# Standardised (and emphasised) features are limited to this size.
CLIP = 20.0
# The vectors before those of drawings join them; `patches` looks for them by this name.
PHOTO_ROWS = "photo_rows"


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


def add_head(graph: Graph, x: str, head: HeadWeights, pull: Pull, linear: Linear) -> str:
    """The nodes of the head and of the pull, from raw features [n, f] to unit rows [n, d]."""
    x = graph.node("Sub", x, graph.const(head.mean, "mean"))
    x = graph.node("Mul", x, graph.const(head.scale, "scale"))
    x = graph.node("Clip", x, graph.const(-CLIP), graph.const(CLIP))
    hidden = graph.node("Gelu", linear(x, *head.up), domain=MICROSOFT)
    y = graph.node("Add", linear(hidden, *head.down), linear(x, *head.skip))
    weight, bias = (graph.const(part, "norm") for part in head.norm)
    y = graph.node("LayerNormalization", y, weight, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)
    unit = unit_rows(graph, y)
    near = graph.linear(unit, pull.centres, pull.offsets)
    near = graph.node("ReduceLogSumExp", near, axes=[1], keepdims=1)
    added = graph.node("Mul", near, graph.const(pull.factor, "factor"))
    added = graph.node("Add", added, graph.const(pull.level, "level"))
    return unit_rows(graph, graph.node("Concat", unit, added, axis=1), PHOTO_ROWS)


def export_image(
    path: Path,
    weights: Weights,
    size: int,
    label_vectors: Array,
    parts: Sequence[str],
    head: HeadWeights,
    pull: Pull,
    drawings: PictureTower,
    pixels: Array | None,
) -> None:
    """Write image.onnx: uint8 `pixels` [n, size, size, 3] to unit float32 `embedding` [n, d].

    The head reads those `parts` of the features, in their order. Ranges of the maps come from the
    photos `pixels`, as in `ImageFeatures`; without them all is computed in float32.
    """
    graph = Graph("starter-image")
    x = normalised_pixels(graph)
    features, _ = add_features(graph, x, weights, size, label_vectors)
    joined = graph.node("Concat", *(features[part] for part in parts), axis=1)
    rows = add_head(graph, joined, head, pull, graph.linear)
    add_joined(graph, rows, add_picture_tower(graph, x, size, drawings))
    with TemporaryDirectory() as folder:
        exact = Path(folder) / path.name
        graph.save(
            exact,
            {"pixels": (TensorProto.UINT8, ["n", size, size, 3])},
            {"embedding": (TensorProto.FLOAT, ["n", dimension(head)])},
        )
        if pixels is None:
            exact.replace(path)
        else:
            quantize(exact, path, graph.in_eight_bits, pixels)


def dimension(head: HeadWeights) -> int:
    """How many numbers the vectors have that are made with this head."""
    return len(head.norm[0]) + ADDED + DIMENSION


def export_text(
    path: Path,
    minilm: Path,
    context_length: int,
    head: HeadWeights,
    pull: Pull,
    drawings: Graphics,
) -> None:
    """Write text.onnx: int64 `input_ids`, `attention_mask` [n, t] to float32 `embedding` [n, d]."""
    graph = Graph("starter-text")
    tower = TextTower(graph, minilm, context_length)
    features = tower.build("input_ids", "attention_mask")
    rows = add_head(graph, features, head, pull, graph.linear8)
    drawn = add_word_tower(graph, "input_ids", "attention_mask", drawings.text, drawings.tokens)
    add_joined(graph, rows, drawn)
    tokens = (TensorProto.INT64, ["n", "t"])
    graph.save(
        path,
        {"input_ids": tokens, "attention_mask": tokens},
        {"embedding": (TensorProto.FLOAT, ["n", dimension(head)])},
    )
