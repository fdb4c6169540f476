"""What one ONNX graph has beyond another, as a piece to be put behind the other's bytes.

`onnx_folder` tells how the two are read. Needs onnx (extra ``export``).
"""

from __future__ import annotations

from pathlib import Path

_PREFIX = "part/"


def write_part(whole: Path, base: Path, part: Path) -> None:
    """Write to `part` what must follow the bytes of `base` for the outputs of `whole` to be there.

    Weights that `base` has are not stored again. Inputs of the same name are taken for the same.
    """
    import onnx

    graph = onnx.load(str(whole)).graph
    # Types and sizes belong to a weight as much as its bytes.
    held = {_content(one): one.name for one in onnx.load(str(base)).graph.initializer}
    names = {one.name: one.name for one in graph.input} | {
        one.name: one.name for one in graph.output
    }
    piece = onnx.ModelProto()
    for weight in graph.initializer:
        known = held.get(_content(weight))
        names[weight.name] = known or _PREFIX + weight.name
        if known is None:
            piece.graph.initializer.append(weight)
            piece.graph.initializer[-1].name = names[weight.name]
    for node in graph.node:
        # An empty name stands for an optional input that is not given.
        for written in (node.input, node.output):
            written[:] = [name and names.setdefault(name, _PREFIX + name) for name in written]
        node.name = _PREFIX + node.name
        piece.graph.node.append(node)
    piece.graph.output.extend(graph.output)
    part.write_bytes(piece.SerializeToString())


def _content(weight: object) -> bytes:
    import onnx

    unnamed = onnx.TensorProto()
    unnamed.CopyFrom(weight)
    unnamed.name = ""
    return bytes(unnamed.SerializeToString(deterministic=True))
