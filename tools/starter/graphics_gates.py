"""Fits the gates of the towers for drawings, once these are trained, to many more photos.

A gate that opens for a photo costs it similarity to every query, and there are far more photos than
drawings in the world: so the last layer of either gate is fitted anew, on what the towers read in
all the photos and captions at hand.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from graph import Array
from graphics_examples import HALF, OPEN, SHUT, Photos, batch
from graphics_towers import PictureTower, WordTower
from graphics_vocabulary import Vocabulary

# Gates of photos are pushed this far below nothing, so that none of them opens by chance.
MARGIN = 0.15
# Where a drawing is made of a photo, the photo part knows best what it shows: the gate is fitted to
# less than what it was trained to.
LESS = 0.3
# An open gate of a photo is worse than a shut one of a drawing.
WEIGHTS = {SHUT: 3.0, LESS: 1.0, OPEN: 1.0}
DRAWN_BATCHES = 24
CAPTIONS = 12000
AT_ONCE = 100
STEPS = 200
DECAY = 1e-4
# At night a photo has this much of its light, and less of the warm colours.
DARK = (0.1, 0.6)
TINT = (0.7, 1.3)


def gate_loss(gates: Tensor, wanted: Tensor) -> Tensor:
    """Open gates may be opener than wanted, shut ones below nothing; both [n]."""
    return gate_errors(gates, wanted).square().mean()


def gate_errors(gates: Tensor, wanted: Tensor) -> Tensor:
    """How far off gates [n] are."""
    error = gates - wanted
    error = torch.where(wanted == OPEN, error.clamp(max=0), error)
    return torch.where(wanted == SHUT, (gates + MARGIN).clamp(min=0), error)


def as_input(pixels: Array) -> Tensor:
    """Uint8 [n, s, s, 3] to what the tower reads, float32 [n, 3, s, s]."""
    scaled = (torch.from_numpy(pixels).float() - 127) / 128
    return scaled.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def fit_gates(
    image: PictureTower,
    text: WordTower,
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
    photos: Photos,
    seed: int,
) -> None:
    """Set the layers `gate` of both towers."""
    rng = random.Random(seed)
    examples = [one for _ in range(DRAWN_BATCHES) for one in batch(photos, rng)]
    pixels = np.stack([one.pixels for one in examples])
    gates = [LESS if one.gate == HALF else one.gate for one in examples]
    plain = photos.pixels[""]
    more = np.concatenate([plain, darkened(plain, rng), grey(plain)])
    asked = [(one.words, gate) for one, gate in zip(examples, gates, strict=True)]
    asked += [(words, SHUT) for words in rng.sample(photos.captions, CAPTIONS)]
    pixels, gates = np.concatenate([pixels, more]), gates + [SHUT] * len(more)
    with torch.no_grad():
        starts = range(0, len(pixels), AT_ONCE)
        seen = torch.cat([image.read(as_input(pixels[i : i + AT_ONCE])).all for i in starts])
        starts = range(0, len(asked), AT_ONCE)
        parts = [[words for words, _ in asked[i : i + AT_ONCE]] for i in starts]
        read = torch.cat([text.read(*vocabulary.encode(tokenizer, part)) for part in parts])
    _fit(image.gate, seen, torch.tensor(gates))
    _fit(text.gate, read, torch.tensor([gate for _, gate in asked]))


def darkened(pixels: Array, rng: random.Random) -> Array:
    """Photos [n, s, s, 3] as if at night."""
    light = [[rng.uniform(*DARK) * rng.uniform(*TINT) for _ in range(3)] for _ in pixels]
    dark = pixels * np.array(light, dtype=np.float32)[:, None, None, :]
    return np.minimum(dark, 255).astype(np.uint8)


def grey(pixels: Array) -> Array:
    """Photos [n, s, s, 3] without their colours."""
    return np.repeat(pixels.mean(axis=3, keepdims=True).astype(np.uint8), 3, axis=3)


def _fit(layer: nn.Linear, inputs: Tensor, wanted: Tensor) -> None:
    """The least squares of what `gate_errors` leaves, from where `layer` stands."""
    weights = torch.empty_like(wanted)
    for gate, weight in WEIGHTS.items():
        weights[wanted == gate] = weight
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        errors = gate_errors(functional.linear(inputs, layer.weight, layer.bias)[:, 0], wanted)
        total = (weights * errors**2).mean() + DECAY * layer.weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
