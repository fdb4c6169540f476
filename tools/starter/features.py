"""Runs the fixed parts of both towers over photos and texts, and keeps the results on disk.

The very graphs that are shipped are used, quantized weights included, so that the heads are trained
on what they will see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto
from tokenizers import Tokenizer

from backbone import Weights
from graph import Array, Graph
from image_features import add_features, normalised_pixels
from minilm import OUTPUT, TextTower
from photos import view_pixels
from quantize import quantize

THREADS = 2
IMAGE_BATCH = 4
TEXT_BATCH = 16
CONTEXT_LENGTH = 64


def session(path: Path) -> ort.InferenceSession:
    """A session whose calls use one core each, as in the product."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class TextFeatures:
    """What the text head reads of any text."""

    def __init__(self, weights: Path, tokenizer: Path, work: Path) -> None:
        graph = Graph("text-features")
        read = TextTower(graph, weights, CONTEXT_LENGTH).build("input_ids", "attention_mask")
        graph.node("Identity", read, out="features")
        path = work / "text_features.onnx"
        tokens = (TensorProto.INT64, ["n", "t"])
        graph.save(
            path,
            {"input_ids": tokens, "attention_mask": tokens},
            {"features": (TensorProto.FLOAT, ["n", OUTPUT])},
        )
        self.fingerprint = fingerprint(path)
        self._session = session(path)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(CONTEXT_LENGTH)

    def __call__(self, texts: Sequence[str]) -> Array:
        """Float32 [len(texts), OUTPUT]."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        # Texts of like length go together, so that little is computed for padding.
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        batches = [order[i : i + TEXT_BATCH] for i in range(0, len(order), TEXT_BATCH)]
        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(lambda batch: self._run([ids[i] for i in batch]), batches))
        rows = np.concatenate(results)
        unsorted = np.empty_like(rows)
        unsorted[order] = rows
        return unsorted

    def _run(self, ids: list[list[int]]) -> Array:
        length = max(map(len, ids))
        tokens = np.array([row + [0] * (length - len(row)) for row in ids], dtype=np.int64)
        mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in ids], dtype=np.int64)
        return self._session.run(None, {"input_ids": tokens, "attention_mask": mask})[0]


class ImageFeatures:
    """The numbers that the image head reads, and the classifier's logits for pseudo-labels."""

    def __init__(
        self, weights: Weights, size: int, label_vectors: Array, pixels: Array, work: Path
    ) -> None:
        """Ranges of the maps come from the photos `pixels` uint8 [n, size, size, 3]."""
        graph = Graph("image-features")
        x = normalised_pixels(graph)
        parts, logits = add_features(graph, x, weights, size, label_vectors)
        graph.node("Concat", *parts.values(), axis=1, out="features")
        graph.node("Identity", logits, out="logits")
        exact = work / "image_features_float.onnx"
        graph.save(
            exact,
            {"pixels": (TensorProto.UINT8, ["n", size, size, 3])},
            {
                "features": (TensorProto.FLOAT, ["n", "f"]),
                "logits": (TensorProto.FLOAT, ["n", "classes"]),
            },
        )
        path = work / f"image_features_{fingerprint(exact, pixels)}.onnx"
        if not path.exists():
            unfinished = path.with_suffix(".partial")
            quantize(exact, unfinished, graph.in_eight_bits, pixels)
            unfinished.rename(path)
        self.names = tuple(parts)
        self.fingerprint = fingerprint(path)
        self._size = size
        self._session = session(path)

    def __call__(self, photos: Sequence[Path], view: int) -> dict[str, Array]:
        """Float16 `features` [n, f] and `logits` [n, 1000] of one view of every photo."""

        def run(start: int) -> list[Array]:
            numbers = range(start, min(start + IMAGE_BATCH, len(photos)))
            pixels = [view_pixels(photos[i], self._size, view, i) for i in numbers]
            return self._session.run(["features", "logits"], {"pixels": np.stack(pixels)})

        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(run, range(0, len(photos), IMAGE_BATCH)))
        columns = zip(*results, strict=True)
        joined = (np.concatenate(column).astype(np.float16) for column in columns)
        return dict(zip(("features", "logits"), joined, strict=True))


def fingerprint(path: Path, *arrays: Array) -> str:
    """Identifies a file's content and the arrays; part of the names of caches made with them."""
    digest = hashlib.sha256(path.read_bytes())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def cached(path: Path, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """The arrays stored in `path`, made and stored first if they are not there yet."""
    if not path.exists():
        unfinished = path.with_suffix(".partial.npz")
        np.savez(unfinished, **make())
        unfinished.rename(path)
    with np.load(path) as stored:
        return dict(stored)
