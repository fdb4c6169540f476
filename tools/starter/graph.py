"""A thin builder for ONNX graphs written node by node.

Writing the two towers by hand (instead of tracing them) keeps full control over where weights are
stored as eight-bit integers and which fused ONNX Runtime kernels are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# The first IR version with four-bit tensors.
IR_VERSION = 10
# ONNX Runtime's own operators (block-quantized products, attention), part of every build of it.
MICROSOFT = "com.microsoft"
# Values that share a scale in block-quantized matrices.
BLOCK = 32
# Keeps the division by the length of an all-zero row defined.
TINY = 1e-12

Array = np.ndarray


class Graph:
    """Collects nodes and initializers; every method returns the name of the tensor it made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._counter = 0
        # Names of the nodes that `quantize` is to put into eight-bit arithmetic.
        self.in_eight_bits: list[str] = []

    def fresh(self, hint: str) -> str:
        """A tensor name that is not used yet."""
        self._counter += 1
        return f"{hint}_{self._counter}"

    def const(self, value: Array | float | list[int], hint: str = "const") -> str:
        """Store `value` (floats as float32, integer lists as int64) and return its name."""
        if isinstance(value, float):
            value = np.array(value, dtype=np.float32)
        elif isinstance(value, list):
            value = np.array(value, dtype=np.int64)
        name = self.fresh(hint)
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(
        self, op: str, *inputs: str, domain: str = "", out: str | None = None, **attrs: Any
    ) -> str:
        """Append a node with one output and return the output's name."""
        name = out or self.fresh(op.lower())
        made = helper.make_node(op, list(inputs), [name], name=name, domain=domain, **attrs)
        self._nodes.append(made)
        return name

    def weight8(self, value: Array, axis: int, hint: str = "weight") -> str:
        """Store float `value` as int8 with one scale per index of `axis`; return the float tensor.

        Expanding is a Cast and a Mul and not a DequantizeLinear, since ONNX Runtime folds the
        former at load time and keeps the latter in the graph.
        """
        quantized, scale = symmetric_int8(value, axis)
        cast = self.node("Cast", self.const(quantized, f"{hint}_q"), to=TensorProto.FLOAT)
        return self.node("Mul", cast, self.const(scale, f"{hint}_scale"))

    def half(self, value: Array, hint: str = "weight") -> str:
        """Store float `value` as float16 and return the float32 tensor (folded at load time)."""
        return self.node("Cast", self.const(value.astype(np.float16), hint), to=TensorProto.FLOAT)

    def linear(self, x: str, weight: Array, bias: Array) -> str:
        """x @ weight + bias, for float `weight` [in, out] kept in eight bits in the file alone."""
        product = self.node("MatMul", x, self.weight8(weight, axis=1))
        return self.node("Add", product, self.const(bias, "bias"))

    def linear8(self, x: str, weight: Array, bias: Array) -> str:
        """x @ weight + bias, for float `weight` [in, out] kept in eight bits also while running."""
        inner, outer = weight.shape
        codes, scale = block_codes(weight.T, bits=8)
        product = self.node(
            "MatMulNBits",
            x,
            self.const(codes.reshape(outer, inner // BLOCK, BLOCK), "codes"),
            self.const(scale.reshape(-1), "scale"),
            domain=MICROSOFT,
            K=inner,
            N=outer,
            bits=8,
            block_size=BLOCK,
            accuracy_level=4,  # eight-bit activations, with a scale for each block of each row
        )
        return self.node("Add", product, self.const(bias.astype(np.float32), "bias"))

    def gather4(self, table: Array, ids: str) -> str:
        """The rows `ids` of float `table` [rows, width], which is stored in four bits."""
        codes, scale = block_codes(table, bits=4)
        signed = codes ^ 8  # the code minus 8, in two's complement of four bits
        packed = self.fresh("table")
        self._initializers[packed] = helper.make_tensor(
            packed,
            TensorProto.INT4,
            codes.shape,
            (signed[:, 0::2] | (signed[:, 1::2] << 4)).tobytes(),
            raw=True,
        )
        rows = self.node(
            "GatherBlockQuantized",
            *(packed, ids, self.const(scale.astype(np.float16), "scale")),
            domain=MICROSOFT,
            gather_axis=0,
            quantize_axis=1,
            block_size=BLOCK,
        )
        return self.node("Cast", rows, to=TensorProto.FLOAT)

    def save(
        self,
        path: Path,
        inputs: dict[str, tuple[int, list[int | str]]],
        outputs: dict[str, tuple[int, list[int | str]]],
    ) -> None:
        """Check and write the model. `inputs`/`outputs` map a name to (element type, shape)."""
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
            [helper.make_tensor_value_info(n, t, s) for n, (t, s) in outputs.items()],
            initializer=list(self._initializers.values()),
        )
        domains = {"": OPSET}
        domains |= {node.domain: 1 for node in self._nodes if node.domain}
        model = helper.make_model(
            graph,
            producer_name="imgsearch-starter",
            opset_imports=[helper.make_opsetid(d, v) for d, v in domains.items()],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model)
        onnx.save(model, str(path))


def unit_rows(graph: Graph, x: str, out: str | None = None) -> str:
    """Rows [n, d] divided by their lengths."""
    length = graph.node("ReduceL2", x, axes=[1], keepdims=1)
    return graph.node("Div", x, graph.node("Max", length, graph.const(TINY)), out=out)


def symmetric_int8(value: Array, axis: int) -> tuple[Array, Array]:
    """Round float `value` to int8 in -127..127, one scale for each index of `axis`.

    Returns the int8 array and float32 scales, shaped to broadcast against it.
    """
    others = tuple(i for i in range(value.ndim) if i != axis % value.ndim)
    largest = np.abs(value).max(axis=others, keepdims=True)
    scale = (np.where(largest > 0, largest, 1.0) / 127.0).astype(np.float32)
    return np.rint(value / scale).astype(np.int8), scale


def block_codes(value: Array, bits: int) -> tuple[Array, Array]:
    """Round float `value` [rows, width] to unsigned `bits`-bit codes in blocks of each row.

    Returns uint8 codes [rows, width], whose zero is 2**(bits-1), and float32 scales
    [rows, width / BLOCK]. The entry of a block that is largest in size gets the code 0, which uses
    the range that signed integers have on the negative side.
    """
    blocks = value.reshape(len(value), -1, BLOCK)
    zero = 1 << (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)
    scale = np.where(largest == 0, 1.0, -largest / zero).astype(np.float32)
    codes = np.clip(np.rint(blocks / scale) + zero, 0, 2 * zero - 1)
    return codes.astype(np.uint8).reshape(value.shape), scale[:, :, 0]
