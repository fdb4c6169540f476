"""Whether eight-bit arithmetic would pay for the starter's image tower: speed and retrieval.

The shipped tower stores most weights in eight bits and computes in float32. Here its convolutions
(and matrix products) are quantized by ONNX Runtime in several ways, calibrated on photos of
Flickr8k train, and each is compared with the tower as it is: processor time per picture (one
thread, four pictures a run, as in indexing; the variants take turns) and R@10 of Flickr8k dev,
text to image. It would pay at 1.3 times the speed with R@10 within half a point.

Needs onnx (extra ``export``) and the shared data (--data).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from common import CannotMeasure, Result, at_least, excuses, new_parser, report, say
from PIL import Image
from starter_quality import embed_texts, recall, rows

from imgsearch.encoders import load_encoder
from imgsearch.encoders.onnx_folder import OnnxFolderEncoder
from imgsearch.encoders.onnx_import import import_onnxruntime
from imgsearch.encoders.preprocess import to_pixels

TARGET_SPEED, TARGET_LOSS = 1.3, 0.5
_PER_RUN = 4
_TIMED_PICTURES = 32

Pixels = npt.NDArray[np.uint8]


class Photos:
    """Feeds calibration pictures to ONNX Runtime, a few at a time."""

    def __init__(self, pixels: Pixels) -> None:
        self._parts = iter(np.array_split(pixels, -(-len(pixels) // _PER_RUN)))

    def get_next(self) -> dict[str, Pixels] | None:
        """Return the next input, None at the end."""
        part = next(self._parts, None)
        return None if part is None else {"pixels": part}


def variants(flat: Path, work: Path, pixels: Pixels) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each quantized graph, made of the float graph `flat`."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    def static(name: str, weights: QuantType, **more: Any) -> tuple[str, Path]:
        path = work / f"{name.replace(' ', '-')}.onnx"
        say(f"quantizing: {name} ...")
        quantize_static(
            str(flat),
            str(path),
            Photos(pixels),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=weights,
            **more,
        )
        return name, path

    convolutions = ["Conv", "Clip", "Add"]
    minmax = CalibrationMethod.MinMax
    keep = _sensitive(flat)
    yield static(
        "static u8s8", QuantType.QInt8, op_types_to_quantize=convolutions,
        calibrate_method=minmax, nodes_to_exclude=keep,
    )  # fmt: skip
    # Without VNNI, products of two pairs of u8 and s8 may overflow 16 bits; seven bits cannot.
    yield static(
        "static u8s8 seven bits", QuantType.QInt8, op_types_to_quantize=convolutions,
        calibrate_method=minmax, nodes_to_exclude=keep, reduce_range=True,
    )  # fmt: skip
    yield static(
        "static u8u8", QuantType.QUInt8, op_types_to_quantize=convolutions,
        calibrate_method=minmax, nodes_to_exclude=keep,
    )  # fmt: skip
    yield static(
        "static u8s8 1x1 only", QuantType.QInt8, op_types_to_quantize=["Conv"],
        calibrate_method=minmax, nodes_to_exclude=[*keep, *_wide(flat)],
    )  # fmt: skip
    say("quantizing: dynamic ...")
    path = work / "dynamic.onnx"
    quantize_dynamic(
        str(flat), str(path), per_channel=True, weight_type=QuantType.QUInt8,
        # What ONNX Runtime's own operators give, it cannot tell otherwise.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )  # fmt: skip
    yield "dynamic", path


def _convolutions(graph: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names of a graph's convolutions with the shapes of their weights."""
    import onnx

    loaded = onnx.load(str(graph)).graph
    shapes = {one.name: tuple(one.dims) for one in loaded.initializer}
    return [
        (node.name, shapes[node.input[1]])
        for node in loaded.node
        if node.op_type == "Conv" and node.input[1] in shapes
    ]


def _sensitive(graph: Path) -> list[str]:
    """Return the convolutions on raw pixels: the first one, and the histogram of colours."""
    return [name for name, shape in _convolutions(graph) if shape[1] == 3]


def _wide(graph: Path) -> list[str]:
    """Return the convolutions over more than one pixel, which are depthwise."""
    return [name for name, shape in _convolutions(graph) if shape[2:] != (1, 1)]


def flattened(tower: Path, target: Path) -> Path:
    """Write the tower with its weights as float constants, every node with a name; return it."""
    import onnx

    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(tower), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(target))
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    onnx.save(model, str(target))
    return target


def open_tower(path: Path) -> Callable[[Pixels], npt.NDArray[np.float32]]:
    """Return a function that embeds pixels [n, s, s, 3] with one thread."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embed(pixels: Pixels) -> npt.NDArray[np.float32]:
        parts = np.array_split(pixels, -(-len(pixels) // _PER_RUN))
        return np.concatenate([session.run(["embedding"], {"pixels": one})[0] for one in parts])

    return embed


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--calibration", type=int, default=100, help="photos [%(default)s]")
    parser.add_argument("--rounds", type=int, default=7, help="[%(default)s]")
    options = parser.parse_args()
    # The quantizer advises at length.
    logging.disable(logging.WARNING)
    with excuses():
        flickr = options.data / "flickr8k"
        if not (flickr / "dev.tsv").is_file():
            raise CannotMeasure(f"{flickr} is not there: say where with --data")
        if "onnx" not in sys.modules:
            try:
                import onnx  # noqa: F401
            except ImportError as error:
                raise CannotMeasure("onnx is absent: pip install -e '.[export]'") from error
        encoder = load_encoder("starter")
        assert isinstance(encoder, OnnxFolderEncoder)
        work = options.work / "int8"
        work.mkdir(parents=True, exist_ok=True)
        train = [flickr / name for name in _distinct(flickr / "train.tsv")]
        chosen = np.random.default_rng(options.seed).choice(
            len(train), options.calibration, replace=False
        )
        calibration = _pixels(encoder, [train[number] for number in chosen])
        tower = encoder.folder / "image.onnx"
        flat = flattened(tower, work / "flat.onnx")
        towers = {"as it is": open_tower(tower)}
        for name, path in variants(flat, work, calibration):
            towers[name] = open_tower(path)
        spent = _turns(towers, calibration[:_TIMED_PICTURES], options.rounds)
        scores = _scores(encoder, towers, flickr)
        report("int8 tower", _results(spent, scores), options.seed, as_json=options.json)


def _distinct(table: Path) -> list[str]:
    return list(dict.fromkeys(row[0] for row in rows(table)))


def _pixels(encoder: OnnxFolderEncoder, paths: list[Path]) -> Pixels:
    made = []
    for path in paths:
        with Image.open(path) as photo:
            made.append(to_pixels(photo.convert("RGB"), encoder.description.preprocessing))
    return np.stack(made)


def _turns(
    towers: dict[str, Callable[[Pixels], npt.NDArray[np.float32]]], pixels: Pixels, rounds: int
) -> dict[str, list[float]]:
    """Return the milliseconds of processor time per picture, of each round but a first one."""
    spent: dict[str, list[float]] = {name: [] for name in towers}
    for turn in range(rounds + 1):
        for name, embed in towers.items():
            began = time.process_time()
            embed(pixels)
            if turn:
                spent[name].append(1e3 * (time.process_time() - began) / len(pixels))
    return spent


def _scores(
    encoder: OnnxFolderEncoder,
    towers: dict[str, Callable[[Pixels], npt.NDArray[np.float32]]],
    flickr: Path,
) -> dict[str, tuple[float, float]]:
    """Return R@10 of Flickr8k dev and the mean cosine to the tower as it is, of each."""
    pairs = rows(flickr / "dev.tsv")
    paths = _distinct(flickr / "dev.tsv")
    number = {path: place for place, path in enumerate(paths)}
    owner = np.array([number[path] for path, _ in pairs])
    say("embedding the captions and photos of Flickr8k dev ...")
    captions = embed_texts(encoder, [caption for _, caption in pairs])
    pixels = _pixels(encoder, [flickr / path for path in paths])
    found: dict[str, tuple[float, float]] = {}
    reference = None
    for name, embed in towers.items():
        photos = embed(pixels)
        photos /= np.linalg.norm(photos, axis=1, keepdims=True)
        reference = photos if reference is None else reference
        similarity = captions @ photos.T
        own = similarity[np.arange(len(owner)), owner]
        rank = (similarity > own[:, None]).sum(axis=1)
        found[name] = recall(rank)["R@10"], float((photos * reference).sum(axis=1).mean())
    return found


def _results(spent: dict[str, list[float]], scores: dict[str, tuple[float, float]]) -> list[Result]:
    results = []
    plain, reference = spent["as it is"], scores["as it is"][0]
    for name, taken in spent.items():
        note = f"{min(taken):.1f} to {max(taken):.1f}"
        results.append(Result(f"{name}: processor time", median(taken), "ms", note=note))
        recalled, cosine = scores[name]
        if name == "as it is":
            results.append(Result(f"{name}: R@10", recalled, "percent", note=f"{recalled:.2f}"))
            continue
        ratio = median(before / after for before, after in zip(plain, taken, strict=True))
        loss = f"{recalled - reference:+.2f}; mean cosine {cosine:.4f}"
        results += [
            at_least(f"{name}: times as fast", ratio, "x", TARGET_SPEED),
            at_least(f"{name}: R@10", recalled, "percent", reference - TARGET_LOSS, loss),
        ]
    return results


if __name__ == "__main__":
    main()
