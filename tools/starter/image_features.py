"""The fixed (not trained) part of the image tower: from pixels to what the head reads."""

from __future__ import annotations

import itertools

import numpy as np
from onnx import TensorProto

from backbone import Backbone, Weights
from graph import Array, Graph

PIXELS = "pixels"
# One cell of the colour map covers 8 x 8 pixels.
COLOUR_CELL = 8
# Colours are compared with a lattice of four levels per channel, in units where a channel spans
# -1..1. The sharpness lets a colour half way between two lattice points belong to both.
COLOUR_LEVELS = (-0.9, -0.3, 0.3, 0.9)
COLOUR_SHARPNESS = 12.0
# How far from each edge the centre of a map begins, as a share of its side.
CENTRE_MARGIN = 0.25
# Widths of the parts that the head reads, in their order.
WIDTHS = {
    "whole": 1280,
    "narrow4": 120,
    "narrow5": 208,
    "narrow6": 352,
    "centre5": 208,
    "centre6": 352,
    "wide5": 720,
    "wide6": 1248,
    "conse": 384,
    "colours": 128,
}


def normalised_pixels(graph: Graph) -> str:
    """From the input uint8 [n, s, s, 3] to float32 [n, 3, s, s], scaled to about -1..1."""
    x = graph.node("Cast", PIXELS, to=TensorProto.FLOAT)
    # The scaling with which EfficientNet-lite was trained.
    x = graph.node("Mul", graph.node("Sub", x, graph.const(127.0)), graph.const(1.0 / 128.0))
    return graph.node("Transpose", x, perm=[0, 3, 1, 2])


def colour_histogram(graph: Graph, cells: str, side: int) -> str:
    """Shares of 64 lattice colours, of the whole image and of its centre: [n, 128].

    `cells` is float32 [n, 3, side, side]. The softmax of -sharpness * |x - c|^2 over the colours c
    does not depend on |x|^2, so a 1 x 1 convolution computes its logits.
    """
    colours = np.array(list(itertools.product(COLOUR_LEVELS, repeat=3)), dtype=np.float32)
    weight = 2 * COLOUR_SHARPNESS * colours[:, :, None, None]
    bias = -COLOUR_SHARPNESS * (colours**2).sum(axis=1)
    logits = graph.node("Conv", cells, graph.const(weight), graph.const(bias))
    shares = graph.node("Softmax", logits, axis=1)
    return graph.node("Concat", *whole_and_centre(graph, shares, side), axis=1)


def mean(graph: Graph, x: str) -> str:
    """The mean of a map [n, c, h, w] over its positions: [n, c]."""
    return graph.node("ReduceMean", x, axes=[2, 3], keepdims=0)


def whole_and_centre(graph: Graph, x: str, side: int) -> tuple[str, str]:
    """Means of a map [n, c, side, side] over everything and over its middle: two of [n, c]."""
    margin = round(side * CENTRE_MARGIN)
    window = (graph.const([margin] * 2), graph.const([side - margin] * 2), graph.const([2, 3]))
    return mean(graph, x), mean(graph, graph.node("Slice", x, *window))


def conse(graph: Graph, logits: str, label_vectors: Array) -> str:
    """ConSE (Norouzi et al. 2014): the mean of label vectors, weighted by the classifier [n, 384].

    The square root of the probabilities (half the logits) also listens to less likely labels.
    """
    half = graph.node("Mul", logits, graph.const(0.5))
    weight = graph.weight8(label_vectors, axis=1)
    return graph.node("MatMul", graph.node("Softmax", half, axis=1), weight)


def add_features(
    graph: Graph, x: str, weights: Weights, size: int, label_vectors: Array
) -> tuple[dict[str, str], str]:
    """Write the nodes of all image features, from what `normalised_pixels` makes.

    `label_vectors` float32 [1000, 384] are the texts of the classifier's labels. Returns the
    tensors that the head reads, by name, and the classifier's logits float32 [n, 1000].
    """
    backbone = Backbone(graph, weights, size)
    last = backbone.build(x)
    whole = mean(graph, last)
    matrix, bias = weights.classifier()
    logits = graph.node("MatMul", whole, graph.weight8(matrix, axis=1))
    logits = graph.node("Add", logits, graph.const(bias))
    # The classifier's last map has forgotten much of what captions speak about, so the head also
    # sees earlier ones: "narrow" are the outputs of stages, "wide" the maps inside their blocks.
    fifth, sixth = (
        whole_and_centre(graph, backbone.narrow[stage], backbone.size) for stage in (5, 6)
    )
    side = size // COLOUR_CELL
    pool = {"kernel_shape": [COLOUR_CELL] * 2, "strides": [COLOUR_CELL] * 2}
    parts = {
        "whole": whole,
        "narrow4": mean(graph, backbone.narrow[4]),
        "narrow5": fifth[0],
        "narrow6": sixth[0],
        "centre5": fifth[1],
        "centre6": sixth[1],
        "wide5": mean(graph, backbone.wide[5]),
        "wide6": mean(graph, backbone.wide[6]),
        "conse": conse(graph, logits, label_vectors),
        "colours": colour_histogram(graph, graph.node("AveragePool", x, **pool), side),
    }
    return parts, logits
