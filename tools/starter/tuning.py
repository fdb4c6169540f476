"""Teaches the image tower to see in a worn photo what it sees in the photo itself.

EfficientNet was trained on clean photos in colour, and makes something else of grey, small or
squeezed ones. So a copy of it is trained to find in a worn view the features that the network finds
in the same view before it is worn (distillation, Hinton et al. 2015), and in clean views what it
has always found. No captions, labels or heads take part.

What ships is not tuned yet: `tuning_report` measures what it gives, the model card what it costs.
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
from PIL import Image
from torch import Tensor
from torch.nn import functional

from backbone import Weights
from features import cached
from graph import Array
from photos import view_pixels
from tensors import array
from tower import Folded, Tower
from wear import badly_worn

# Views of each photo, whose features are taken before: the whole, and random crops.
VIEWS = 3
AT_ONCE = 32
# Standardised features further out than this count as if they were there.
FARTHEST = 8.0
WARM_UP = 0.05
DECAY_OF_AVERAGE = 0.998
LOADERS = 2
REPORTED = 100


@dataclass(frozen=True)
class TuningRecipe:
    """What a run can vary; the defaults are what was measured last (see the model card)."""

    steps: int = 2200
    batch: int = AT_ONCE
    rate: float = 2e-4
    # Of views that are not worn.
    clean: float = 0.2
    # What the classifier's opinion counts beside the features.
    opinion: float = 0.2
    seed: int = 0


class Lessons:
    """Views, worn or not, and what the untuned network finds in them before."""

    def __init__(self, weights: Weights, photos: Sequence[Path], size: int, work: Path) -> None:
        self._photos, self._size = photos, size
        key = hashlib.sha256(f"{VIEWS} {size} {len(photos)} {weights.digest}".encode()).hexdigest()
        path = work / f"tower_targets_{key[:12]}.npz"
        self.targets = cached(path, lambda: self._found(Tower(weights).eval()))

    def _found(self, tower: Tower) -> dict[str, Array]:
        """Float16 [VIEWS, photos, f] of all views."""
        jobs = [(view, number) for view in range(VIEWS) for number in range(len(self._photos))]
        found: dict[str, list[Array]] = {}
        with torch.no_grad(), ThreadPoolExecutor(LOADERS) as pool:
            for start in range(0, len(jobs), AT_ONCE):
                pixels = pool.map(lambda job: self._pixels(*job), jobs[start : start + AT_ONCE])
                for name, part in features(tower, np.stack(list(pixels))).items():
                    found.setdefault(name, []).append(part.numpy().astype(np.float16))
        shape = (VIEWS, len(self._photos), -1)
        return {name: np.concatenate(part).reshape(shape) for name, part in found.items()}

    def _pixels(self, view: int, number: int) -> Array:
        return view_pixels(self._photos[number], self._size, view, number)

    def batches(self, recipe: TuningRecipe) -> Iterator[tuple[Array, dict[str, Tensor]]]:
        """Pixels uint8 [batch, size, size, 3] and targets [batch, f] for each step, made ahead."""
        rng = np.random.default_rng(recipe.seed)
        draws = (
            (
                rng.integers(VIEWS, size=recipe.batch),
                rng.integers(len(self._photos), size=recipe.batch),
                rng.integers(2**32, size=recipe.batch),
                rng.random(recipe.batch) < recipe.clean,
            )
            for _ in range(recipe.steps)
        )
        with ThreadPoolExecutor(LOADERS) as pool:
            waiting = []
            for drawn in draws:
                views, numbers, *_ = drawn
                waiting.append((views, numbers, pool.map(self._view, *drawn)))
                if len(waiting) > LOADERS:
                    yield self._lesson(*waiting.pop(0))
            for job in waiting:
                yield self._lesson(*job)

    def _view(self, view: int, number: int, seed: int, clean: bool) -> Array:
        pixels = self._pixels(int(view), int(number))
        if clean:
            return pixels
        return np.asarray(badly_worn(Image.fromarray(pixels), np.random.default_rng(seed)))

    def _lesson(
        self, views: Array, numbers: Array, pixels: Iterator[Array]
    ) -> tuple[Array, dict[str, Tensor]]:
        targets = {
            name: torch.from_numpy(part[views, numbers].astype(np.float32))
            for name, part in self.targets.items()
        }
        return np.stack(list(pixels)), targets


def features(tower: Tower, pixels: Array) -> dict[str, Tensor]:
    """What `tower` finds in pixels uint8 [n, s, s, 3]."""
    scaled = (torch.from_numpy(pixels).float() - 127) / 128
    x = scaled.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    # Quicker than float32 where the processor has bfloat16.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return tower(x)


class Distance:
    """How far what is found is from what should be, in standard deviations of every number."""

    def __init__(self, targets: dict[str, Array], opinion: float) -> None:
        self._opinion = opinion
        self._scale = {}
        for name, part in targets.items():
            rows = part[0].astype(np.float32)
            mean, deviation = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3)
            self._scale[name] = (torch.from_numpy(mean), torch.from_numpy(1 / deviation))

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


def tune(
    weights: Weights, photos: Sequence[Path], size: int, work: Path, recipe: TuningRecipe
) -> Tower:
    """A tower whose weights are averaged over the last steps of the training."""
    torch.manual_seed(recipe.seed)
    lessons = Lessons(weights, photos, size, work)
    distance = Distance(lessons.targets, recipe.opinion)
    tower = Tower(weights)
    optimizer = torch.optim.AdamW(
        [one for one in tower.parameters() if one.requires_grad], lr=recipe.rate, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps, pct_start=WARM_UP
    )
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(DECAY_OF_AVERAGE)
    average = torch.optim.swa_utils.AveragedModel(tower, multi_avg_fn=decay)
    started, sums = time.monotonic(), dict.fromkeys(("features", "opinion"), 0.0)
    for step, (pixels, wanted) in enumerate(lessons.batches(recipe), start=1):
        losses = distance(features(tower, pixels), wanted)
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


def tuned(
    weights: Weights, photos: Sequence[Path], size: int, work: Path, recipe: TuningRecipe
) -> Folded:
    """What the recipe makes of every convolution, read from `work` if it is there."""
    key = hashlib.sha256(f"{recipe} {size} {len(photos)} {weights.digest}".encode()).hexdigest()
    path = work / f"tower_{key[:12]}.pt"
    if not path.exists():
        torch.save(tune(weights, photos, size, work, recipe).folded(), path)
    return torch.load(path, weights_only=True)


def mixed(weights: Weights, found: Folded, share: float) -> Weights:
    """Weights that share of the way from the old to the new ones (Wortsman et al. 2022)."""
    between = {}
    for conv, norm in weights.convolutions():
        pairs = zip(weights.folded(conv, norm), found[conv], strict=True)
        kernel, bias = (old + share * (array(new) - old) for old, new in pairs)
        between[conv] = (kernel, bias)
    return weights.with_tuned(between)
