"""The trained part: one small perceptron per tower, into a shared space."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export import CLIP, LAYER_NORM_EPSILON, HeadWeights
from graph import Array
from tensors import array

# A dimension that hardly varies is not blown up: deviations are at least this share of the largest.
SMALLEST_DEVIATION = 0.01
# CLIP (Radford et al. 2021) starts its temperature at 1/0.07 and never exceeds 100.
FIRST_TEMPERATURE = 1 / 0.07
LAST_TEMPERATURE = 100.0


class Standardiser(nn.Module):
    """(x - mean) * scale, limited to -CLIP..CLIP; mean and scale [f] are not trained."""

    mean: Tensor
    scale: Tensor

    def __init__(self, sample: Array, parts: list[tuple[int, float]]) -> None:
        """Measure `sample` [n, f], made of parts with a width and an emphasis each."""
        super().__init__()
        sample = sample.astype(np.float32)
        deviation = sample.std(axis=0)
        scale = np.empty_like(deviation)
        start = 0
        for width, emphasis in parts:
            part = slice(start, start + width)
            floor = SMALLEST_DEVIATION * deviation[part].max()
            scale[part] = emphasis / np.maximum(deviation[part], floor)
            start += width
        self.register_buffer("mean", torch.from_numpy(sample.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, x: Tensor) -> Tensor:
        """Float32 [n, f] to [n, f]."""
        return ((x - self.mean) * self.scale).clamp(-CLIP, CLIP)


class Head(nn.Module):
    """A linear layer plus a perceptron with one hidden layer, normalised to unit length."""

    def __init__(
        self, standardise: Standardiser, hidden: int, dimension: int, dropout: float, noise: float
    ) -> None:
        super().__init__()
        width = len(standardise.mean)
        self.standardise = standardise
        self.skip = nn.Linear(width, dimension)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, dimension)
        self.norm = nn.LayerNorm(dimension, eps=LAYER_NORM_EPSILON)
        self.dropout = dropout
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        """Raw features float32 [n, f] to unit embeddings [n, dimension]."""
        x = self.standardise(x)
        if self.training:
            x = x + self.noise * torch.randn_like(x)
        inner = functional.dropout(x, self.dropout, self.training)
        inner = functional.gelu(self.up(inner))
        inner = functional.dropout(inner, self.dropout, self.training)
        return functional.normalize(self.norm(self.down(inner) + self.skip(x)), dim=-1)

    def weights(self) -> HeadWeights:
        """Everything the exported graph needs."""

        def linear(layer: nn.Linear) -> tuple[Array, Array]:
            return array(layer.weight.T), array(layer.bias)

        return HeadWeights(
            mean=array(self.standardise.mean),
            scale=array(self.standardise.scale),
            skip=linear(self.skip),
            up=linear(self.up),
            down=linear(self.down),
            norm=(array(self.norm.weight), array(self.norm.bias)),
        )


class TwoHeads(nn.Module):
    """The image head, the text head and the learnt temperature."""

    def __init__(self, image: Head, text: Head) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.log_temperature = nn.Parameter(torch.tensor(math.log(FIRST_TEMPERATURE)))

    def scale(self) -> Tensor:
        """What cosines are multiplied with before the softmax."""
        return self.log_temperature.exp().clamp(max=LAST_TEMPERATURE)
