"""all-MiniLM-L6-v2 (a six-layer BERT of width 384; Wang et al. 2020) as a small ONNX graph.

Matrices are stored in eight bits and the word table in four, in blocks with a scale each. The
kernels quantize activations in blocks along the row too, so that a text's embedding does not depend
on the other texts of its batch (ONNX Runtime's dynamic quantization uses one scale for the batch).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto
from safetensors.numpy import load_file

from graph import MICROSOFT, Graph

LAYERS = 6
WIDTH = 384
ATTENTION_HEADS = 12
LAYER_NORM_EPSILON = 1e-12
# Tokens up to this one are marks ([PAD], [UNK], [CLS], [SEP] and unused ones) and no words.
LAST_MARK = 102
# What `build` tells about a text: the tower's output, and its words without what it made of them.
OUTPUT = 2 * WIDTH


class TextTower:
    """Writes MiniLM's nodes into a graph, from token ids to what the head reads."""

    def __init__(self, graph: Graph, weights: Path, context_length: int) -> None:
        self.graph = graph
        self._state = load_file(weights)
        self._context_length = context_length

    def build(self, ids: str, mask: str) -> str:
        """From int64 `ids` and `mask` [n, t] to [n, OUTPUT].

        That is the mean hidden state of real tokens, as MiniLM's authors pool it, then the mean row
        of the words in the table: six layers have smoothed over much of what single words say.
        """
        g = self.graph
        mask32 = g.node("Cast", mask, to=TensorProto.INT32)
        words = g.gather4(self._state["embeddings.word_embeddings.weight"], ids)
        x = self._embed(words, ids)
        for index in range(LAYERS):
            x = self._layer(x, mask32, f"encoder.layer.{index}")
        real = g.node("Cast", mask, to=TensorProto.FLOAT)
        named = g.node("Greater", ids, g.const(np.array(LAST_MARK, dtype=np.int64)))
        named = g.node("Cast", named, to=TensorProto.FLOAT)
        return g.node("Concat", self._mean(x, real), self._mean(words, named), axis=1)

    def _embed(self, words: str, ids: str) -> str:
        g = self.graph
        places = self._state["embeddings.position_embeddings.weight"][: self._context_length]
        # Every token is of type 0, so that row is added to the positions once and for all.
        places = places + self._state["embeddings.token_type_embeddings.weight"][0]
        length = g.node("Slice", g.node("Shape", ids), g.const([1]), g.const([2]))
        used = g.node("Slice", g.const(places, "places"), g.const([0]), length, g.const([0]))
        return self._norm(g.node("Add", words, used), "embeddings")

    def _layer(self, x: str, mask32: str, prefix: str) -> str:
        g = self.graph
        parts = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self._state[f"{part}.weight"] for part in parts])
        bias = np.concatenate([self._state[f"{part}.bias"] for part in parts])
        packed = g.linear8(x, weight.T, bias)
        query, key, value = (
            g.node("Slice", packed, g.const([i * WIDTH]), g.const([(i + 1) * WIDTH]), g.const([2]))
            for i in range(3)
        )
        y = g.node(
            "MultiHeadAttention",
            *(query, key, value, "", mask32),
            domain=MICROSOFT,
            num_heads=ATTENTION_HEADS,
        )
        y = self._dense(y, f"{prefix}.attention.output.dense")
        x = self._norm(g.node("Add", x, y), f"{prefix}.attention.output")
        y = self._dense(x, f"{prefix}.intermediate.dense")
        y = self._dense(g.node("Gelu", y, domain=MICROSOFT), f"{prefix}.output.dense")
        return self._norm(g.node("Add", x, y), f"{prefix}.output")

    def _dense(self, x: str, prefix: str) -> str:
        return self.graph.linear8(
            x, self._state[f"{prefix}.weight"].T, self._state[f"{prefix}.bias"]
        )

    def _norm(self, x: str, prefix: str) -> str:
        weight = self.graph.const(self._state[f"{prefix}.LayerNorm.weight"], "norm")
        bias = self.graph.const(self._state[f"{prefix}.LayerNorm.bias"], "norm")
        return self.graph.node(
            "LayerNormalization", x, weight, bias, axis=-1, epsilon=LAYER_NORM_EPSILON
        )

    def _mean(self, x: str, chosen: str) -> str:
        g = self.graph
        weight = g.node("Unsqueeze", chosen, g.const([2]))
        total = g.node("ReduceSum", g.node("Mul", x, weight), g.const([1]), keepdims=0)
        count = g.node("ReduceSum", weight, g.const([1]), keepdims=0)
        # A text may have no word at all.
        return g.node("Div", total, g.node("Max", count, g.const(1.0)))
