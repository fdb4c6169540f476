"""Writes the nodes of the towers for drawings, and joins what they say with the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto
from torch import Tensor, nn

from graph import MICROSOFT, Graph, unit_rows
from graphics_towers import CHANNELS, GRID, SIDE, TEXT_WIDTH, PictureTower, WordTower
from tensors import array

# How much of the square of a vector's length the drawing part has where its gate is wide open.
MOST = 0.85
# The size of BERT's vocabulary.
TOKENS = 30522
# PyTorch keeps a recurrent unit's gates in the order reset, update, new; ONNX wants update first.
GATES = (1, 0, 2)


@dataclass(frozen=True)
class Drawn:
    """Names of tensors: unit `rows` [n, k], and `gate` [n, 1], which is not limited yet."""

    rows: str
    gate: str


def add_picture_tower(graph: Graph, pixels: str, side: int, tower: PictureTower) -> Drawn:
    """From float32 [n, 3, side, side], about -1..1."""
    factor = side // SIDE
    window = {"kernel_shape": [factor] * 2, "strides": [factor] * 2}
    x = graph.node("AveragePool", pixels, **window)
    for stage in tower.fine:
        x = _stage(graph, x, stage)
    near = _regions(graph, _one_by_one(graph, x, tower.near), tower.near_regions)
    narrow = _one_by_one(graph, _stage(graph, x, tower.coarse), tower.narrow)
    pooled = graph.node("Concat", near, _regions(graph, narrow, tower.narrow_regions), axis=1)
    parts = _relu(graph, graph.node("Transpose", pooled, perm=[0, 2, 1]), tower.part)
    parts = _relu(graph, parts, tower.part_out)
    cell = SIDE // 2 ** len(CHANNELS) // GRID
    cells = graph.node("AveragePool", narrow, kernel_shape=[cell] * 2, strides=[cell] * 2)
    grid = _relu(graph, graph.node("Flatten", cells, axis=1), tower.grid)
    joined = graph.node("Concat", graph.node("Flatten", parts, axis=1), grid, axis=1)
    return _judged(graph, _relu(graph, joined, tower.hidden), tower.out, tower.gate)


def add_word_tower(graph: Graph, ids: str, mask: str, tower: WordTower, tokens: list[int]) -> Drawn:
    """From int64 token ids and mask [n, t]; `tokens` are those that the tower knows by name."""
    numbers = np.full(TOKENS, len(tokens), dtype=np.uint8)
    numbers[tokens] = np.arange(len(tokens), dtype=np.uint8)
    known = graph.node("Gather", graph.const(numbers, "numbers"), ids)
    index = graph.node("Cast", known, to=TensorProto.INT64)
    words = graph.node("Gather", graph.half(array(tower.words.weight)), index)
    real = graph.node("Cast", mask, to=TensorProto.FLOAT)
    around = _recurrent(graph, words, mask, tower.around)
    x = graph.node("Concat", words, around, axis=2)
    for layer in (tower.first, tower.second):
        x = graph.node("Gelu", _linear(graph, x, layer), domain=MICROSOFT)
    shown = graph.node("Mul", x, graph.node("Unsqueeze", real, graph.const([2])))
    total = graph.node("ReduceSum", shown, graph.const([1]), keepdims=0)
    mean = graph.node("Div", total, graph.node("ReduceSum", real, graph.const([1])))
    return _judged(graph, mean, tower.out, tower.gate)


def add_joined(graph: Graph, unit: str, drawn: Drawn) -> None:
    """The `embedding` [n, d + k] of unit rows [n, d] and what is drawn: unit rows again.

    With gates i and t of a picture and a text, limited to 0..1, and shares MOST * i and MOST * t,
    similarity is sqrt((1 - share_i) (1 - share_t)) * photo + sqrt(share_i share_t) * drawing. So
    photos and what is asked of them, whose gates are shut, are compared as if there were no towers
    for drawings.
    """
    gate = graph.node("Clip", drawn.gate, graph.const(0.0), graph.const(1.0))
    share = graph.node("Mul", gate, graph.const(MOST))
    rest = graph.node("Sub", graph.const(1.0), share)
    photo = graph.node("Mul", unit, graph.node("Sqrt", rest))
    drawing = graph.node("Mul", drawn.rows, graph.node("Sqrt", share))
    graph.node("Concat", photo, drawing, axis=1, out="embedding")


def _stage(graph: Graph, x: str, stage: nn.Module) -> str:
    """Convolutions, into which their normalisation is folded."""
    convolutions = [stage] if isinstance(stage[0], nn.Conv2d) else list(stage)
    for convolution, norm, _ in convolutions:
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel = array(convolution.weight * factor[:, None, None, None])
        bias = array(norm.bias - norm.running_mean * factor)
        stride = list(convolution.stride)
        x = graph.node(
            "Conv",
            *(x, graph.weight8(kernel, axis=0), graph.const(bias)),
            strides=stride,
            pads=[1] * 4,
            kernel_shape=[3, 3],
        )
        x = graph.node("Relu", x)
    return x


def _one_by_one(graph: Graph, x: str, layer: nn.Conv2d) -> str:
    kernel = graph.weight8(array(layer.weight), axis=0)
    x = graph.node("Conv", x, kernel, graph.const(array(layer.bias)), kernel_shape=[1, 1])
    return graph.node("Relu", x)


def _regions(graph: Graph, x: str, regions: Tensor) -> str:
    """Weighted sums of a map [n, c, h, w] over its regions: [n, c, r]."""
    flat = graph.node("Reshape", x, graph.const([0, 0, -1]))
    return graph.node("MatMul", flat, graph.half(array(regions)))


def _recurrent(graph: Graph, words: str, mask: str, unit: nn.GRU) -> str:
    """What stands before and behind every word: [n, t, 2 * TEXT_WIDTH] from [n, t, TEXT_WIDTH]."""
    lengths = graph.node("ReduceSum", mask, graph.const([1]), keepdims=0)
    directions = ("", "_reverse")

    def gates(name: str) -> np.ndarray:
        both = (array(getattr(unit, f"{name}{direction}")) for direction in directions)
        return np.stack([np.concatenate([np.split(one, 3)[i] for i in GATES]) for one in both])

    biases = np.concatenate([gates("bias_ih_l0"), gates("bias_hh_l0")], axis=1)
    around = graph.node(
        "GRU",
        graph.node("Transpose", words, perm=[1, 0, 2]),
        *(graph.weight8(gates(name), axis=0) for name in ("weight_ih_l0", "weight_hh_l0")),
        graph.const(biases),
        graph.node("Cast", lengths, to=TensorProto.INT32),
        direction="bidirectional",
        hidden_size=TEXT_WIDTH,
        linear_before_reset=1,
    )
    around = graph.node("Transpose", around, perm=[2, 0, 1, 3])
    return graph.node("Reshape", around, graph.const([0, 0, 2 * TEXT_WIDTH]))


def _linear(graph: Graph, x: str, layer: nn.Linear) -> str:
    return graph.linear(x, array(layer.weight.T), array(layer.bias))


def _relu(graph: Graph, x: str, layer: nn.Linear) -> str:
    return graph.node("Relu", _linear(graph, x, layer))


def _judged(graph: Graph, x: str, out: nn.Linear, gate: nn.Linear) -> Drawn:
    return Drawn(unit_rows(graph, _linear(graph, x, out)), _linear(graph, x, gate))
