"""The built-in model's image tower without its rounding to eight bits, to judge what precedes it.

Rounding turns the smallest difference of pixels into a somewhat larger one of vectors: their cosine
then tells of the tower, and no longer of how pictures are decoded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from imgsearch import Encoder
from imgsearch.encoders.onnx_folder import OnnxFolderEncoder

_LEVELS = 255


def unrounded_images(encoder: Encoder, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return unit rows [n, d] for pixels [n, s, s, 3], maps kept in float and in their ranges."""
    assert isinstance(encoder, OnnxFolderEncoder)
    graph = _without_rounding(encoder.folder / "image.onnx").SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # It tells of each scale that is not needed any more.
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    rows = [session.run(["embedding"], {"pixels": one[np.newaxis]})[0] for one in pixels]
    return np.concatenate(rows)


def _without_rounding(path: Path) -> onnx.ModelProto:
    model = onnx.load(str(path))
    values = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    rounded: dict[str, onnx.NodeProto] = {
        node.output[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"
    }
    assert rounded, "this tower does not round"
    nodes = []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded:
            source, scale, zero = rounded[node.input[0]].input
            for bound, level in (("low", 0), ("high", _LEVELS)):
                limit = np.float32((level - int(values[zero])) * values[scale])
                name = f"{node.output[0]}_{bound}"
                model.graph.initializer.append(numpy_helper.from_array(np.array(limit), name))
            limits = [f"{node.output[0]}_low", f"{node.output[0]}_high"]
            node = helper.make_node("Clip", [source, *limits], list(node.output))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
