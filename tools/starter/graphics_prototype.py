"""The part of the model that knows drawings, trained and measured; issue 8, not built in yet.

    python tools/starter/graphics_prototype.py --data ../shared/data --work ~/.cache/drawings

Trains the towers of graphics_towers.py on what the other graphics_*.py draw (about 20 minutes of
one core), puts their numbers beside those of the shipped model, and reports what starter_breadth.py
reports of scenes and plain pictures. What is missing is written down in the model card.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from graphics_towers import DIMENSION, SIDE
from graphics_training import TEXT_LENGTH, Graphics, Vocabulary, trained_graphics
from imgsearch.encoders import Encoder, load_encoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from starter_breadth import Dev, plain, scenes

# How much of the length of a vector the drawing part has at most, where its gate is wide open.
MOST = 0.6
_SCENES = 120


class WithDrawings:
    """The shipped model with DIMENSION more numbers in each vector."""

    def __init__(self, starter: Encoder, graphics: Graphics, tokens: Path) -> None:
        self._starter = starter
        self._graphics = graphics
        self._vocabulary = Vocabulary(graphics.tokens)
        self._tokenizer = Tokenizer.from_file(str(tokens))
        self._tokenizer.enable_truncation(TEXT_LENGTH)
        self._tokenizer.no_padding()
        known = starter.description
        self.description = replace(known, dimension=known.dimension + DIMENSION)

    @torch.no_grad()
    def encode_images(self, pixels: np.ndarray) -> np.ndarray:
        """Unit rows [n, d] of uint8 pixels [n, s, s, 3]."""
        small = (torch.from_numpy(pixels.astype(np.float32)) - 127) / 128
        small = functional.avg_pool2d(small.permute(0, 3, 1, 2), pixels.shape[1] // SIDE)
        drawn, gate = self._graphics.image(small)
        return joined(self._starter.encode_images(pixels), drawn.numpy(), gate.numpy())

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows [n, d]."""
        drawn, gate = self._graphics.text(*self._vocabulary.encode(self._tokenizer, texts))
        return joined(self._starter.encode_texts(texts), drawn.numpy(), gate.numpy())


def joined(rows: np.ndarray, drawn: np.ndarray, gate: np.ndarray) -> np.ndarray:
    """Unit rows [n, d + k] of unit rows [n, d] and [n, k], by gates [n]."""
    share = MOST * np.clip(gate, 0, 1)[:, None]
    return np.concatenate([np.sqrt(1 - share) * rows, np.sqrt(share) * drawn], axis=1)


def main() -> None:
    """Train, unless it was done before, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of flickr8k and so on")
    parser.add_argument("--work", type=Path, required=True, help="where towers are kept")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    starter = load_encoder("starter")
    tokens = Path(starter.folder) / "tokenizer.json"
    graphics = trained_graphics(arguments.data, arguments.work, tokens)
    encoder = WithDrawings(starter, graphics, tokens)
    dev = Dev(encoder, arguments.data / "flickr8k")
    for result in (*scenes(encoder, _SCENES, 0), *plain(encoder, dev.first_captions(), 0)):
        print(f"{result.what}: {result.value:.1f} {result.unit}  {result.note}")


if __name__ == "__main__":
    main()
