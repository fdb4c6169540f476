"""Opening ONNX graphs that came from anywhere: on the CPU, with the files that belong to them.

A graph may keep its weights in other files, and names them by path. Only files that lie beside it
are accepted, so that a graph cannot make its reader open what it likes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.large_blocks import large_blocks_apart
from imgsearch.encoders.model_files import check_inside, reason_of
from imgsearch.encoders.onnx_import import import_onnxruntime
from imgsearch.errors import ModelInvalid

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Where tensors lie in a graph: message -> {field number: message in that field}, from onnx.proto.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
# Graphs within graphs: none of a real model's are nested like this.
_DEEPEST = 32


def open_session(
    path: Path, threads: int, *, optimize: bool, part: Path | None = None
) -> InferenceSession:
    """Load a graph for the CPU, with `threads` to a run. Raises ModelInvalid.

    With `optimize` ONNX Runtime rearranges it for the machine at hand, which takes its time. The
    bytes of the file `part` are put behind the graph's, which adds to it what they hold.
    """
    onnxruntime = import_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as reasons

    beside = external_files(path)
    check_inside(path.parent, (path.name, *beside))
    missing = [name for name in beside if not (path.parent / name).is_file()]
    if part is not None and (beside or external_files(part)):
        # From memory they would be looked for in whatever folder this process runs in.
        raise ModelInvalid(f"{part} cannot be added to a graph that keeps weights in other files.")
    if missing:
        raise ModelInvalid(f"{path} cannot be loaded: {', '.join(missing)} missing beside it.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    # Idle threads that spin would take the time of the decoding processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        graph = str(path) if part is None else path.read_bytes() + part.read_bytes()
        with large_blocks_apart():
            session: InferenceSession = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        return session
    except (
        OSError,
        reasons.Fail,
        reasons.InvalidGraph,
        reasons.InvalidProtobuf,
        reasons.NoSuchFile,
        reasons.NotImplemented,
        reasons.RuntimeException,
        reasons.InvalidArgument,
    ) as error:
        raise ModelInvalid(f"{part or path} cannot be loaded: {reason_of(error)}") from error


def run_graph(
    session: InferenceSession, output: str, inputs: dict[str, npt.NDArray[Any]], place: Path
) -> npt.NDArray[Any]:
    """Return one output of a graph of the model in `place`. Raises ModelInvalid."""
    from onnxruntime.capi import onnxruntime_pybind11_state as reasons

    try:
        return np.asarray(session.run([output], inputs)[0])
    # ONNX Runtime says ValueError for an input that is not there.
    except (reasons.InvalidArgument, reasons.Fail, reasons.RuntimeException, ValueError) as error:
        raise ModelInvalid(f"The model in {place} does not run: {reason_of(error)}") from error


def external_files(path: Path) -> list[str]:
    """Return the names of the files beside a graph that hold weights of its own, sorted.

    Raises ModelInvalid if the file cannot be read, is no ONNX graph, or names a file elsewhere.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = set(_locations(data, 0, len(data), "model", 0))
    except (OSError, ValueError, IndexError) as error:
        raise ModelInvalid(f"{path} cannot be loaded: it is not an ONNX graph.") from error
    for name in found:
        if name != name.strip() or name in ("", ".", "..") or set(name) & set("/\\:\0"):
            raise ModelInvalid(
                f"{path} wants to read {name!r}, which does not lie beside it: refused."
            )
    return sorted(found)


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    """Yield every external tensor's ``location`` in the message at data[start:end]."""
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if message == "entry":
        pair = {n: data[a:b] for n, a, b in _submessages(data, start, end)}
        if pair.get(1) == b"location":
            yield pair.get(2, b"").decode("utf-8")
        return
    inside = _FIELDS[message]
    for number, first, last in _submessages(data, start, end):
        if number in inside:
            yield from _locations(data, first, last, inside[number], depth + 1)


def _submessages(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of the fields that have a length, by protobuf's rules.

    Raises ValueError or IndexError where the bytes are none.
    """
    at = start
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 1:
            at += 8
        elif kind == 5:
            at += 4
        elif kind == 2:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("a field is longer than what holds it")
            yield tag >> 3, at, at + length
            at += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where the next thing begins."""
    value = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number without an end")
