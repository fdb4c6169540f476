"""The two small towers for drawn and plain pictures, trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# What the image tower sees: the photo tower's pixels, means of squares of 2 x 2.
SIDE = 128
DIMENSION = 64
# Channels of the maps of 64, 32, 16 and 8 cells a side, and how many convolutions make each.
CHANNELS = (16, 32, 64, 96)
CONVOLUTIONS = (1, 2, 3, 2)
NARROW = 48
# Parts of the picture that are looked at one by one, all in the same way: the left and right half,
# the upper and lower half, and everything. Two groups of shapes are told apart so.
REGIONS = 5
REGION_HIDDEN = 96
REGION_WIDTH = 48
# The last map is also read as a grid of so many cells a side.
GRID = 4
GRID_WIDTH = 96
HIDDEN = 160
TEXT_WIDTH = 64
TEXT_LENGTH = 64


def convolution(inner: int, outer: int, stride: int) -> nn.Sequential:
    """3 x 3, normalised, without negative values."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()
    )


def regions(side: int) -> Tensor:
    """Which cells of a map belong to which region, to begin with: [side * side, REGIONS]."""
    half = torch.zeros(side, side)
    half[:, : side // 2] = 1
    masks = torch.stack([half, half.flip(1), half.T, half.T.flip(0), torch.full_like(half, 0.5)])
    return masks.flatten(1).T / side


@dataclass(frozen=True)
class Seen:
    """What the picture tower reads out of n pictures on its way.

    `fine` is the last map but one [n, c, h, w], `parts` tells about the regions
    [n, REGIONS, REGION_WIDTH], `all` about the whole [n, HIDDEN].
    """

    fine: Tensor
    parts: Tensor
    all: Tensor

    def in_float(self) -> Seen:
        """The same in float32."""
        return Seen(self.fine.float(), self.parts.float(), self.all.float())


class PictureTower(nn.Module):
    """From pixels to a unit vector and a gate."""

    def __init__(self) -> None:
        super().__init__()
        stages, inner = [], 3
        for outer, count in zip(CHANNELS, CONVOLUTIONS, strict=True):
            first = convolution(inner, outer, 2)
            stages.append(
                nn.Sequential(first, *(convolution(outer, outer, 1) for _ in range(count - 1)))
            )
            inner = outer
        self.fine = nn.Sequential(*stages[:-1])
        self.coarse = stages[-1]
        near = CHANNELS[-2]
        self.near = nn.Conv2d(near, near, 1)
        self.narrow = nn.Conv2d(inner, NARROW, 1)
        side = SIDE // 2 ** len(CHANNELS)
        self.near_regions = nn.Parameter(regions(2 * side))
        self.narrow_regions = nn.Parameter(regions(side))
        self.part = nn.Linear(near + NARROW, REGION_HIDDEN)
        self.part_out = nn.Linear(REGION_HIDDEN, REGION_WIDTH)
        self.grid = nn.Linear(NARROW * GRID**2, GRID_WIDTH)
        self.hidden = nn.Linear(REGIONS * REGION_WIDTH + GRID_WIDTH, HIDDEN)
        self.out = nn.Linear(HIDDEN, DIMENSION)
        self.gate = nn.Linear(HIDDEN, 1)

    def read(self, pixels: Tensor) -> Seen:
        """Of float32 [n, 3, SIDE, SIDE], about -1..1."""
        fine = self.fine(pixels)
        near = functional.relu(self.near(fine)).flatten(2) @ self.near_regions
        narrow = functional.relu(self.narrow(self.coarse(fine)))
        pooled = torch.cat([near, narrow.flatten(2) @ self.narrow_regions], dim=1).transpose(1, 2)
        parts = functional.relu(self.part_out(functional.relu(self.part(pooled))))
        cells = functional.avg_pool2d(narrow, narrow.shape[-1] // GRID).flatten(1)
        grid = functional.relu(self.grid(cells))
        joined = torch.cat([parts.flatten(1), grid], dim=1)
        return Seen(fine, parts, functional.relu(self.hidden(joined)))

    def judged(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Unit vectors [n, DIMENSION] and gates, not limited yet [n]."""
        return functional.normalize(self.out(seen.all), dim=-1), self.gate(seen.all)[:, 0]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The same of pixels [n, 3, SIDE, SIDE]."""
        return self.judged(self.read(pixels))


class WordTower(nn.Module):
    """From token numbers to a unit vector and a gate.

    Every token learns from a recurrent network in both directions what stands before and behind it,
    such as "left of", says its part, and the parts are averaged.
    """

    def __init__(self, words: int) -> None:
        """`words` is the size of the vocabulary, whose last number stands for any other word."""
        super().__init__()
        self.words = nn.Embedding(words, TEXT_WIDTH)
        self.around = nn.GRU(TEXT_WIDTH, TEXT_WIDTH, batch_first=True, bidirectional=True)
        self.first = nn.Linear(3 * TEXT_WIDTH, 2 * TEXT_WIDTH)
        self.second = nn.Linear(2 * TEXT_WIDTH, 2 * TEXT_WIDTH)
        self.out = nn.Linear(2 * TEXT_WIDTH, DIMENSION)
        self.gate = nn.Linear(2 * TEXT_WIDTH, 1)

    def read(self, numbers: Tensor, mask: Tensor) -> Tensor:
        """What int64 numbers and a bool mask [n, t] say, [n, 2 * TEXT_WIDTH]."""
        words, lengths = self.words(numbers), mask.sum(dim=1)
        packed = nn.utils.rnn.pack_padded_sequence(
            words, lengths, batch_first=True, enforce_sorted=False
        )
        around, _ = nn.utils.rnn.pad_packed_sequence(self.around(packed)[0], batch_first=True)
        x = functional.gelu(self.first(torch.cat([words, around], dim=2)))
        x = functional.gelu(self.second(x)) * mask[:, :, None]
        return x.sum(dim=1) / lengths[:, None]

    def forward(self, numbers: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Int64 numbers and bool mask [n, t] to [n, DIMENSION] and gates, not limited yet [n]."""
        mean = self.read(numbers, mask)
        return functional.normalize(self.out(mean), dim=-1), self.gate(mean)[:, 0]


@dataclass(frozen=True)
class Graphics:
    """Both towers, and the tokens that the text tower knows, by their numbers in it."""

    image: PictureTower
    text: WordTower
    tokens: list[int]
