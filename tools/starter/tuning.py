"""Teaches the image tower to see in a worn photo what it sees in the photo itself.

EfficientNet was trained on clean photos in colour, and makes something else of grey, small or
squeezed ones. So a copy of it is trained to find in a worn view the features that the network finds
in the same view before it is worn (distillation, Hinton et al. 2015), and in clean views what it
has always found. No captions, labels or heads take part.

The photos of the training are few, and what is unlike them is easily forgotten. So hardly a
view is seen twice, some are sharpened or mixed of two photos, and the network itself is asked about
each (Beyer et al. 2022 call this function matching).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from backbone import Weights
from graph import Array
from photos import centre_crop, flickr_photos, other_photos, random_crop
from tensors import array
from tower import Folded, Tower
from wear import badly_worn

# Standardised features further out than this count as if they were there.
FARTHEST = 8.0
WARM_UP = 0.05
DECAY_OF_AVERAGE = 0.998
# Of views that are not cropped.
WHOLE = 0.3
# What one of two mixed photos counts; radius and percent of sharpening.
MIX = (0.2, 0.8)
RADIUS = (0.5, 1.5)
PERCENT = (30, 150)
# How far the weights go from the old to the new ones.
SHARE = 0.5
# Deviations of features are measured on this many batches.
MEASURED = 24
LOADERS = 2
REPORTED = 100


@dataclass(frozen=True)
class TuningRecipe:
    """What a run can vary; the defaults are what ships."""

    steps: int = 1000
    batch: int = 32
    rate: float = 1.5e-4
    # Of photos with captions: the others are fewer, but show more kinds of things.
    captioned: float = 0.4
    # Of views that are mixed, sharpened, and not worn.
    mixed: float = 0.25
    sharpened: float = 0.25
    clean: float = 0.35
    # What the classifier's opinion counts beside the features.
    opinion: float = 0.2
    seed: int = 0


class Lessons:
    """Views, and the same views worn (or not)."""

    def __init__(
        self, captioned: Sequence[Path], others: Sequence[Path], size: int, recipe: TuningRecipe
    ) -> None:
        self._sets, self._size, self._recipe = (captioned, others), size, recipe

    def batches(self, count: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """Pixels uint8 [batch, size, size, 3] of views, and of these worn; made ahead."""
        seeds = np.random.SeedSequence(seed).spawn(count)
        with ThreadPoolExecutor(LOADERS) as pool:
            waiting = []
            for one in seeds:
                waiting.append(pool.map(self._pair, one.spawn(self._recipe.batch)))
                if len(waiting) > LOADERS:
                    yield _stacked(waiting.pop(0))
            for job in waiting:
                yield _stacked(job)

    def _pair(self, seed: np.random.SeedSequence) -> tuple[Image.Image, Image.Image]:
        rng, recipe = np.random.default_rng(seed), self._recipe
        view = self._view(rng)
        if rng.random() < recipe.mixed:
            view = Image.blend(view, self._view(rng), rng.uniform(*MIX))
        if rng.random() < recipe.sharpened:
            amount = (rng.uniform(*RADIUS), int(rng.integers(*PERCENT)), 0)
            view = view.filter(ImageFilter.UnsharpMask(*amount))
        return view, view if rng.random() < recipe.clean else badly_worn(view, rng)

    def _view(self, rng: np.random.Generator) -> Image.Image:
        photos = self._sets[0 if rng.random() < self._recipe.captioned else 1]
        with Image.open(photos[rng.integers(len(photos))]) as opened:
            image = opened.convert("RGB")
        if rng.random() < WHOLE:
            return centre_crop(image, self._size)
        return random_crop(image, self._size, rng)


def _stacked(pairs: Iterator[tuple[Image.Image, Image.Image]]) -> tuple[Array, Array]:
    views, worn = zip(*pairs, strict=True)
    return np.stack(views), np.stack(worn)


def features(tower: Tower, pixels: Array) -> dict[str, Tensor]:
    """What `tower` finds in pixels uint8 [n, s, s, 3]."""
    scaled = (torch.from_numpy(pixels).float() - 127) / 128
    x = scaled.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    # Quicker than float32 where the processor has bfloat16.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return tower(x)


class Distance:
    """How far what is found is from what should be, in standard deviations of every number."""

    def __init__(self, found: dict[str, Tensor], opinion: float) -> None:
        """Measure the deviations of what was found, float32 [n, f] by their names."""
        self._opinion = opinion
        self._scale = {
            name: (part.mean(dim=0), 1 / part.std(dim=0).clamp(min=1e-3))
            for name, part in found.items()
        }

    def __call__(self, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean squared errors of features, and the divergence of opinions."""
        names = [name for name in self._scale if name != "logits"]
        error = self._standard(found, names) - self._standard(wanted, names)
        # At half the logits, as ConSE reads them.
        opinions, truth = (0.5 * one["logits"] for one in (found, wanted))
        told = functional.kl_div(
            opinions.log_softmax(1), truth.log_softmax(1), reduction="batchmean", log_target=True
        )
        return {"features": error.square().mean(), "opinion": self._opinion * told}

    def _standard(self, parts: dict[str, Tensor], names: Sequence[str]) -> Tensor:
        rows = [(parts[name] - self._scale[name][0]) * self._scale[name][1] for name in names]
        return torch.cat(rows, dim=1).clamp(-FARTHEST, FARTHEST)


def tune(weights: Weights, lessons: Lessons, recipe: TuningRecipe) -> Tower:
    """A tower whose weights are averaged over the last steps of the training."""
    torch.manual_seed(recipe.seed)
    teacher, tower = Tower(weights).eval(), Tower(weights)
    distance = Distance(measured(teacher, lessons, recipe.seed), recipe.opinion)
    optimizer = torch.optim.AdamW(
        [one for one in tower.parameters() if one.requires_grad], lr=recipe.rate, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps, pct_start=WARM_UP
    )
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(DECAY_OF_AVERAGE)
    average = torch.optim.swa_utils.AveragedModel(tower, multi_avg_fn=decay)
    started, sums = time.monotonic(), dict.fromkeys(("features", "opinion"), 0.0)
    batches = lessons.batches(recipe.steps, recipe.seed)
    for step, (views, worn) in enumerate(batches, start=1):
        with torch.no_grad():
            wanted = features(teacher, views)
        losses = distance(features(tower, worn), wanted)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(tower)
        sums = {name: sums[name] + loss.item() / REPORTED for name, loss in losses.items()}
        if step % REPORTED == 0:
            told = ", ".join(f"{name} {total:.4f}" for name, total in sums.items())
            print(f"tower, step {step}, {time.monotonic() - started:.0f} s: {told}", flush=True)
            sums = dict.fromkeys(sums, 0.0)
    return average.module.eval()


@torch.no_grad()
def measured(teacher: Tower, lessons: Lessons, seed: int) -> dict[str, Tensor]:
    """What the untuned network finds in a few batches of views, float32 [n, f] by their names."""
    batches = [features(teacher, views) for views, _ in lessons.batches(MEASURED, seed + 1)]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def tuned(weights: Weights, data: Path, size: int, work: Path, recipe: TuningRecipe) -> Folded:
    """What the recipe makes of every convolution, read from `work` if it is there."""
    photos = flickr_photos(data, "train"), other_photos(data)
    counts = f"{size} {len(photos[0])} {len(photos[1])}"
    key = hashlib.sha256(f"{recipe} {counts} {weights.digest}".encode()).hexdigest()
    path = work / f"tower_{key[:12]}.pt"
    if not path.exists():
        torch.save(tune(weights, Lessons(*photos, size, recipe), recipe).folded(), path)
    return torch.load(path, weights_only=True)


def mixed(weights: Weights, found: Folded, share: float) -> Weights:
    """Weights that share of the way from the old to the new ones (Wortsman et al. 2022)."""
    between = {}
    for conv, norm in weights.convolutions():
        pairs = zip(weights.folded(conv, norm), found[conv], strict=True)
        kernel, bias = (old + share * (array(new) - old) for old, new in pairs)
        between[conv] = (kernel, bias)
    return weights.with_tuned(between)
