"""EfficientNet-lite2 (Tan & Le 2019; the "lite" variant has ReLU6 and no squeeze-excite) in ONNX.

The layout below mirrors the package `efficientnet-lite-pytorch` 0.1.0, whose weights are used.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import torch

from graph import Array, Graph

# (number of blocks, stride of the first one) for the seven stages of EfficientNet-lite2.
STAGES = ((1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1))
BATCH_NORM_EPSILON = 1e-3
FEATURES = 1280
CLASSES = 1000


class Weights:
    """The published weights, with every batch normalisation folded into its convolution."""

    def __init__(self, path: Path) -> None:
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        state = torch.load(path, map_location="cpu", weights_only=True)
        self._state = {name: tensor.double().numpy() for name, tensor in state.items()}
        self._tuned: dict[str, tuple[Array, Array]] = {}

    def with_tuned(self, tuned: dict[str, tuple[Array, Array]]) -> Weights:
        """The same with other folded kernels and biases, float32, for those convolutions."""
        other = copy.copy(self)
        other._tuned = tuned
        return other

    def convolutions(self) -> list[tuple[str, str]]:
        """Every convolution with the normalisation that follows it, in their order."""
        blocks = range(sum(blocks for blocks, _ in STAGES))
        parts = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        inner = [
            (f"_blocks.{index}.{conv}", f"_blocks.{index}.{norm}")
            for index in blocks
            for conv, norm in parts
            if self.has(f"_blocks.{index}.{conv}.weight")
        ]
        return [("_conv_stem", "_bn0"), *inner, ("_conv_head", "_bn1")]

    def folded(self, conv: str, norm: str) -> tuple[Array, Array]:
        """Float32 kernel [out, in/groups, k, k] and bias [out] of `conv` followed by `norm`."""
        if conv in self._tuned:
            return self._tuned[conv]
        kernel = self._state[f"{conv}.weight"]
        deviation = np.sqrt(self._state[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        factor = self._state[f"{norm}.weight"] / deviation
        bias = self._state[f"{norm}.bias"] - self._state[f"{norm}.running_mean"] * factor
        folded = kernel * factor[:, None, None, None]
        return folded.astype(np.float32), bias.astype(np.float32)

    def classifier(self) -> tuple[Array, Array]:
        """Float32 matrix [1280, 1000] and bias [1000] of the ImageNet classifier."""
        matrix = self._state["_fc.weight"].T.astype(np.float32)
        return matrix, self._state["_fc.bias"].astype(np.float32)

    def has(self, name: str) -> bool:
        """Whether the weights hold a tensor of that name."""
        return name in self._state


def same_padding(size: int, kernel: int, stride: int) -> list[int]:
    """TensorFlow's "SAME" padding as ONNX `pads`: the odd pixel goes to the bottom and right."""
    needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before = needed // 2
    return [before, before, needed - before, needed - before]


class Backbone:
    """Writes the network's nodes into a graph, keeping track of the map's side length."""

    def __init__(self, graph: Graph, weights: Weights, size: int) -> None:
        self._graph = graph
        self._weights = weights
        self.size = size
        # Per stage: the inner map of its first block, and the stage's output.
        self.wide: dict[int, str] = {}
        self.narrow: dict[int, str] = {}

    def _conv(
        self, x: str, conv: str, norm: str, *, stride: int = 1, depthwise: bool = False
    ) -> str:
        kernel, bias = self._weights.folded(conv, norm)
        side = kernel.shape[-1]
        pads = same_padding(self.size, side, stride)
        first = conv == "_conv_stem"
        weight = self._graph.half(kernel) if first else self._graph.const(kernel, "kernel")
        self.size = -(-self.size // stride)
        made = self._graph.node(
            "Conv",
            x,
            weight,
            self._graph.const(bias, "bias"),
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=pads,
            group=kernel.shape[0] if depthwise else 1,
        )
        return made if first else self._eight_bits(made)

    def _relu6(self, x: str) -> str:
        bounds = (self._graph.const(0.0), self._graph.const(6.0))
        return self._eight_bits(self._graph.node("Clip", x, *bounds))

    def _eight_bits(self, node: str) -> str:
        self._graph.in_eight_bits.append(node)
        return node

    def _block(self, x: str, index: int, stride: int) -> tuple[str, str]:
        """One inverted bottleneck; returns its wide inner map and its narrow output."""
        prefix = f"_blocks.{index}"
        y = x
        if self._weights.has(f"{prefix}._expand_conv.weight"):
            y = self._relu6(self._conv(y, f"{prefix}._expand_conv", f"{prefix}._bn0"))
        wide = self._relu6(
            self._conv(
                y, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride=stride, depthwise=True
            )
        )
        return wide, self._conv(wide, f"{prefix}._project_conv", f"{prefix}._bn2")

    def build(self, x: str) -> str:
        """From float32 [n, 3, s, s], scaled by (x - 127) / 128, to a map [n, 1280, s/32, s/32]."""
        x = self._relu6(self._conv(x, "_conv_stem", "_bn0", stride=2))
        index = 0
        for stage, (blocks, first_stride) in enumerate(STAGES):
            for position in range(blocks):
                wide, y = self._block(x, index, first_stride if position == 0 else 1)
                if position == 0:
                    self.wide[stage] = wide
                # Only the first block of a stage changes the width, so the others have a shortcut.
                x = self._eight_bits(self._graph.node("Add", x, y)) if position else y
                index += 1
            self.narrow[stage] = x
        return self._relu6(self._conv(x, "_conv_head", "_bn1"))
