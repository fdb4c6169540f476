"""Writes patches.part, with which the image tower also tells about the parts of a picture.

    python tools/starter/patches.py imgsearch/encoders/starter

The tower takes means of its maps over all positions and feeds them to a head. The part repeats what
comes after the means, once for each cell of the last map's grid, with the cell's own values in
place of the means. What a cell says of drawings is left out: those numbers are 0. Its weights are
those in image.onnx (imgsearch/encoders/onnx_folder.py tells how the two files become one graph), so
it takes a few kilobytes and changes no embedding.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export import PHOTO_ROWS
from graphics_towers import DIMENSION

PATCHES = "patches.part"
# Operators whose result at a cell depends on that cell alone once the channels come last.
POINTWISE = ("Add", "Sub", "Mul", "Div", "Max", "Clip", "Gelu", "MatMul", "LayerNormalization")
# The same, but the axis of the channels must be named anew.
ALONG_CHANNELS = ("Softmax", "Concat", "ReduceL2", "ReduceLogSumExp")
CHANNELS = 3


def main() -> None:
    """Write the part for the model folder that is named."""
    write_patches(Path(sys.argv[1]))


def write_patches(folder: Path) -> None:
    """Write patches.part beside the image.onnx in `folder`."""
    model = onnx.load(str(folder / "image.onnx"))
    part = onnx.ModelProto()
    nodes, grid, dimension = cell_nodes(model)
    part.graph.node.extend(nodes)
    shape = ["n", grid, grid, dimension]
    part.graph.output.append(helper.make_tensor_value_info("patches", TensorProto.FLOAT, shape))
    content = part.SerializeToString()
    onnx.checker.check_model((folder / "image.onnx").read_bytes() + content)
    (folder / PATCHES).write_bytes(content)


def cell_nodes(model: onnx.ModelProto) -> tuple[list[NodeProto], int, int]:
    """The nodes from maps to `patches`, the side of the grid, the vectors' dimension."""
    shapes = shapes_of(model)
    means = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    producer = {node.output[0]: node for node in model.graph.node}
    # The mean over the middle of a map is a mean over a slice of it.
    source = {
        mean.output[0]: sliced.input[0] if sliced.op_type == "Slice" else mean.input[0]
        for mean in means
        for sliced in [producer[mean.input[0]]]
    }
    grid = min(shapes[name][-1] for name in source.values())
    nodes: list[NodeProto] = []
    cells: dict[str, str] = {}
    for mean, mapped in source.items():
        cells[mean] = f"cell_{mean}"
        nodes += cells_of(mapped, shapes[mapped][-1] // grid, cells[mean])
    for node in model.graph.node:
        if node.op_type == "ReduceMean" or not any(name in cells for name in node.input):
            continue
        nodes.append(for_cells(node, cells))
        cells[node.output[0]] = nodes[-1].output[0]
        if node.output[0] == PHOTO_ROWS:
            break
    return [*nodes, *without_drawings(cells[PHOTO_ROWS])], grid, shapes["embedding"][-1]


def without_drawings(rows: str) -> list[NodeProto]:
    """Fill rows [n, g, g, d] up with zeros to `patches`, as long as the vectors of pictures."""
    pads = np.array([0] * 7 + [DIMENSION], dtype=np.int64)
    made = numpy_helper.from_array(pads)
    return [
        helper.make_node("Constant", [], ["patch_pads"], "patch_pads", value=made),
        helper.make_node("Pad", [rows, "patch_pads"], ["patches"], "patches"),
    ]


def shapes_of(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The shapes of all tensors that shape inference knows."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }


def cells_of(mapped: str, factor: int, out: str) -> list[NodeProto]:
    """Bring a map [n, c, g * factor, g * factor] to its means over cells [n, g, g, c]."""
    nodes = []
    pooled = mapped
    if factor > 1:
        pooled = f"{out}_pooled"
        window = {"kernel_shape": [factor] * 2, "strides": [factor] * 2}
        nodes.append(helper.make_node("AveragePool", [mapped], [pooled], pooled, **window))
    return [*nodes, helper.make_node("Transpose", [pooled], [out], out, perm=[0, 2, 3, 1])]


def for_cells(node: NodeProto, cells: dict[str, str]) -> NodeProto:
    """`node` on rows [n, c], made to work on cells [n, g, g, c]."""
    if node.op_type not in POINTWISE + ALONG_CHANNELS:
        raise ValueError(f"{node.op_type} after the means: teach this script what it is for a cell")
    out = f"cell_{node.output[0]}"
    made = NodeProto()
    made.CopyFrom(node)
    made.name = made.output[0] = out
    made.input[:] = [cells.get(name, name) for name in node.input]
    for attribute in made.attribute:
        if node.op_type in ALONG_CHANNELS and attribute.name == "axis":
            attribute.i = CHANNELS
        elif node.op_type in ALONG_CHANNELS and attribute.name == "axes":
            attribute.ints[:] = [CHANNELS]
    return made


if __name__ == "__main__":
    main()
