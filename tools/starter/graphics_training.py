"""Trains the towers for drawings: contrast between pictures and words, and hints about scenes."""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from graphics_colours import BASIC
from graphics_examples import CAPTIONS, OPEN, SHUT, Example, Photos, batch, gather_photos
from graphics_gates import as_input, fit_gates, gate_loss
from graphics_scenes import MOST, Group, Scene, random_scene
from graphics_shapes import SHAPES
from graphics_towers import (
    CHANNELS,
    DIMENSION,
    HIDDEN,
    REGION_WIDTH,
    TEXT_LENGTH,
    Graphics,
    PictureTower,
    Seen,
    WordTower,
)
from graphics_vocabulary import Vocabulary
from training import contrast

FIRST_TEMPERATURE, LAST_TEMPERATURE = 14.0, 60.0
# Texts that are looked through for the vocabulary.
SAMPLED_BATCHES = 60
RARE = 3
COLOURS_BY_NUMBER = {name: i for i, name in enumerate(BASIC)}
SHAPES_BY_NUMBER = {name: i for i, name in enumerate(SHAPES)}
# What the hints tell about a group: number, colour, shape.
GROUP_FACTS = (MOST, len(BASIC), len(SHAPES))
# In which regions of the picture tower the groups lie, and the arrangement's number.
WHERE: dict[str | None, tuple[tuple[int, ...], int]] = {
    "across": ((0, 1), 0),
    "down": ((2, 3), 1),
    None: ((4,), 2),
}
# And about a whole scene, in the towers' own vectors: arrangement, then facts of both groups.
SCENE_FACTS = (len(WHERE), *GROUP_FACTS * 2)
# Unit vectors are so small that a linear layer could not speak up without this.
LOUDER = 10.0
# Scenes of which only the words are read, besides those of the batch.
ONLY_WORDS = 64
UNKNOWN = -100


@dataclass(frozen=True)
class GraphicsRecipe:
    """What a training run can vary; the defaults are what ships."""

    steps: int = 3000
    rate: float = 3e-3
    decay: float = 0.05
    warm_up: float = 0.1
    scene_hint: float = 0.3
    fact_hint: float = 0.15
    map_hint: float = 0.5
    gate: float = 4.0
    seed: int = 0


class Hints(nn.Module):
    """Read from the image tower, only while it is trained, what a scene shows and where."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = nn.ModuleList(nn.Linear(REGION_WIDTH, count) for count in GROUP_FACTS)
        self.axis = nn.Linear(HIDDEN, len(WHERE))
        # One set of layers for pictures and for words: so the same fact looks alike in both.
        self.whole = nn.ModuleList(nn.Linear(DIMENSION, count) for count in SCENE_FACTS)
        self.cells = nn.Conv2d(CHANNELS[-2], 1 + len(SHAPES) + len(BASIC), 1)

    def scene_loss(self, seen: Seen, scenes: Sequence[Scene | None]) -> Tensor:
        """What is in the regions of the pictures that show a scene, and how it is arranged."""
        places = [(i, one) for i, one in enumerate(scenes) if one is not None]
        axes = torch.tensor([WHERE[one.axis][1] for _, one in places])
        loss = functional.cross_entropy(self.axis(seen.all[[i for i, _ in places]]), axes)
        groups = [
            (i, region, group)
            for i, one in places
            for region, group in zip(WHERE[one.axis][0], (one.first, one.second), strict=False)
            if group is not None
        ]
        parts = seen.parts[[i for i, _, _ in groups], [region for _, region, _ in groups]]
        facts = torch.tensor([facts_of(group) for _, _, group in groups])
        for number, layer in enumerate(self.facts):
            loss = loss + functional.cross_entropy(layer(parts), facts[:, number])
        return loss

    def fact_loss(self, vectors: Tensor, scenes: Sequence[Scene]) -> Tensor:
        """What the unit vectors [n, DIMENSION] of pictures, or of words, tell of their scenes."""
        facts = torch.tensor([scene_facts(scene) for scene in scenes])
        losses = [
            functional.cross_entropy(layer(LOUDER * vectors), facts[:, i], ignore_index=UNKNOWN)
            for i, layer in enumerate(self.whole)
        ]
        return torch.stack(losses).sum()

    def map_loss(self, maps: Tensor, shapes: Tensor, colours: Tensor) -> Tensor:
        """`maps` [n, c, h, w]; the other two int64 [n, h, w], UNKNOWN where no shape is."""
        there, shape, colour = self.cells(maps).split((1, len(SHAPES), len(BASIC)), dim=1)
        truth = (shapes != UNKNOWN).float()
        weight = torch.tensor(4.0)
        return (
            functional.binary_cross_entropy_with_logits(there[:, 0], truth, pos_weight=weight) * 10
            + functional.cross_entropy(shape, shapes, ignore_index=UNKNOWN)
            + functional.cross_entropy(colour, colours, ignore_index=UNKNOWN)
        )


def facts_of(group: Group) -> tuple[int, int, int]:
    """The numbers of its number, colour and shape."""
    return group.number - 1, COLOURS_BY_NUMBER[group.colour], SHAPES_BY_NUMBER[group.shape]


def scene_facts(scene: Scene) -> list[int]:
    """The numbers of what a scene shows, as in SCENE_FACTS."""
    groups = (scene.first, scene.second)
    facts = ((UNKNOWN,) * len(GROUP_FACTS) if one is None else facts_of(one) for one in groups)
    return [WHERE[scene.axis][1], *(fact for some in facts for fact in some)]


def maps_of(examples: Sequence[Example], side: int) -> tuple[Tensor, Tensor]:
    """The shape and the colour in each cell, int64 [n, side, side]."""
    shapes = torch.full((len(examples), side, side), UNKNOWN)
    colours = shapes.clone()
    for number, example in enumerate(examples):
        for x, y, group in example.marks:
            row, column = int(y * side), int(x * side)
            shapes[number, row, column] = SHAPES_BY_NUMBER[group.shape]
            colours[number, row, column] = COLOURS_BY_NUMBER[group.colour]
    return shapes, colours


def vocabulary(photos: Photos, tokenizer: Tokenizer, rng: random.Random) -> Vocabulary:
    """The tokens of the words for drawings, without those that only captions of photos use."""
    counts: dict[int, int] = {}
    for _ in range(SAMPLED_BATCHES):
        for example in batch(photos, rng):
            if example.gate != OPEN:
                continue
            for token in set(tokenizer.encode(example.words).ids):
                counts[token] = counts.get(token, 0) + 1
    words = {token for token, count in counts.items() if count >= RARE}
    for name in "pencil sketch drawing painting cartoon illustration of photo".split():
        words |= set(tokenizer.encode(name).ids)
    return Vocabulary(sorted(words))


class Lesson:
    """The towers in training, and what is asked of them for a batch."""

    def __init__(self, photos: Photos, tokenizer: Tokenizer, recipe: GraphicsRecipe) -> None:
        torch.manual_seed(recipe.seed)
        self._rng = random.Random(recipe.seed)
        self._photos, self._tokenizer, self._recipe = photos, tokenizer, recipe
        self.vocabulary = vocabulary(photos, tokenizer, self._rng)
        self.image = PictureTower().to(memory_format=torch.channels_last)
        self.text = WordTower(len(self.vocabulary))
        self._hints = Hints()
        self._log_temperature = nn.Parameter(torch.tensor(math.log(FIRST_TEMPERATURE)))

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained."""
        towers = (self.image, self.text, self._hints)
        return [*(one for tower in towers for one in tower.parameters()), self._log_temperature]

    def losses(self) -> dict[str, Tensor]:
        """Of a fresh batch, weighted."""
        examples = batch(self._photos, self._rng)
        # Half the time of float32, and no worse.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = self.image.read(as_input(np.stack([one.pixels for one in examples]))).in_float()
        pictures, opened = self.image.judged(seen)
        captions = self._rng.sample(self._photos.captions, CAPTIONS)
        extra = [random_scene(self._rng) for _ in range(ONLY_WORDS)]
        asked = [one.words for one in examples] + captions
        asked += [scene.words(self._rng) for scene in extra]
        words, wanted = self.text(*self.vocabulary.encode(self._tokenizer, asked))
        gates = torch.tensor([one.gate for one in examples])
        text_gates = torch.cat(
            [gates, torch.full((CAPTIONS,), SHUT), torch.full((ONLY_WORDS,), OPEN)]
        )
        shown = {i: one.scene for i, one in enumerate(examples) if one.scene is not None}
        spoken = torch.cat([words[list(shown)], words[-ONLY_WORDS:]])
        facts = self._hints.fact_loss(pictures[list(shown)], [*shown.values()])
        facts = facts + self._hints.fact_loss(spoken, [*shown.values(), *extra])
        told = self._hints.scene_loss(seen, [one.scene for one in examples])
        cells = self._hints.map_loss(seen.fine, *maps_of(examples, seen.fine.shape[-1]))
        recipe = self._recipe
        return {
            "contrast": self._contrast(examples, pictures, words),
            "gates": recipe.gate * (gate_loss(opened, gates) + gate_loss(wanted, text_gates)),
            "scenes": recipe.scene_hint * told,
            "facts": recipe.fact_hint * facts,
            "cells": recipe.map_hint * cells,
        }

    def _contrast(self, examples: Sequence[Example], pictures: Tensor, words: Tensor) -> Tensor:
        """Pictures and words that mean the same against all others; photos do not take part."""
        drawn = [i for i, one in enumerate(examples) if one.meaning is not None]
        meanings = [examples[i].meaning for i in drawn]
        same = torch.tensor([[one == other for other in meanings] for one in meanings])
        scale = self._log_temperature.exp().clamp(max=LAST_TEMPERATURE)
        return contrast(scale * pictures[drawn] @ words[drawn].T, same)


def train_graphics(photos: Photos, tokenizer: Tokenizer, recipe: GraphicsRecipe) -> Graphics:
    """Train both towers from scratch."""
    lesson = Lesson(photos, tokenizer, recipe)
    optimizer = torch.optim.AdamW(lesson.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps, pct_start=recipe.warm_up
    )
    started = time.process_time()
    for step in range(1, recipe.steps + 1):
        losses = lesson.losses()
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            told = ", ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            seconds = time.process_time() - started
            print(f"drawings, step {step}, {seconds:.0f} s: {told}", flush=True)
    image, text, vocabulary = lesson.image.eval(), lesson.text.eval(), lesson.vocabulary
    fit_gates(image, text, vocabulary, tokenizer, photos, recipe.seed)
    return Graphics(image, text, vocabulary.tokens)


def trained_graphics(data: Path, work: Path, tokens: Path) -> Graphics:
    """Towers by the recipe, read from `work` if they are there."""
    tokenizer = Tokenizer.from_file(str(tokens))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TEXT_LENGTH)
    recipe = GraphicsRecipe()
    path = work / f"graphics_{source_digest(recipe)}.pt"
    if not path.exists():
        made = train_graphics(gather_photos(data, work), tokenizer, recipe)
        state = {"image": made.image.state_dict(), "text": made.text.state_dict()}
        torch.save({**state, "tokens": made.tokens}, path)
    state = torch.load(path, weights_only=True)
    image, text = PictureTower(), WordTower(len(Vocabulary(state["tokens"])))
    image.load_state_dict(state["image"])
    text.load_state_dict(state["text"])
    return Graphics(image.eval(), text.eval(), state["tokens"])


def source_digest(recipe: GraphicsRecipe) -> str:
    """Changes with the recipe and with the code that draws and trains."""
    digest = hashlib.sha256(str(recipe).encode())
    for path in sorted(Path(__file__).parent.glob("graphics_*.py")):
        if path.name != "graphics_export.py":
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
