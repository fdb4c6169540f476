"""Lets the image tower compute in eight bits instead of float32.

Ranges of the maps come from a few photos. What stays in float32 is what sees raw pixels (the first
convolution, the colours) and everything after the maps.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from graph import Array
from photos import ORIGINAL, view_pixels

PHOTOS = 200
_PER_RUN = 4


class _Reader:
    """Feeds photos to the quantizer, a few at a time."""

    def __init__(self, pixels: Array) -> None:
        self._parts = iter(np.array_split(pixels, -(-len(pixels) // _PER_RUN)))

    def get_next(self) -> dict[str, Array] | None:
        part = next(self._parts, None)
        return None if part is None else {"pixels": part}


def calibration(photos: Sequence[Path], size: int, seed: int = 0) -> Array:
    """Pixels uint8 [PHOTOS, size, size, 3] of a random choice of photos."""
    chosen = np.random.default_rng(seed).choice(len(photos), PHOTOS, replace=False)
    return np.stack([view_pixels(photos[i], size, ORIGINAL, 0) for i in chosen])


def quantize(source: Path, target: Path, nodes: Sequence[str], pixels: Array) -> None:
    """Write the float graph `source` to `target` with those of its nodes in eight bits.

    Kernels over one pixel get seven bits: processors without VNNI add two products of eight bits
    each in sixteen, which may overflow, and two machines would compute different vectors. Depthwise
    kernels take another way, with 32 bits.
    """
    logging.disable(logging.WARNING)  # It advises at length.
    quantize_static(
        source,
        target,
        _Reader(pixels),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=list(nodes),
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"TensorQuantOverrides": _whole_bytes(source, nodes)},
    )
    logging.disable(logging.NOTSET)


def _whole_bytes(source: Path, nodes: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    """The quantizer's exception for depthwise kernels."""
    graph = onnx.load(str(source)).graph
    shapes = {kernel.name: tuple(kernel.dims) for kernel in graph.initializer}
    kernels = [
        node.input[1] for node in graph.node if node.op_type == "Conv" and node.name in nodes
    ]
    exception = {"quant_type": QuantType.QInt8, "reduce_range": False, "axis": 0}
    return {name: [exception] for name in kernels if shapes[name][2:] != (1, 1)}
