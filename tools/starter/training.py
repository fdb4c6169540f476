"""Contrastive training of the heads on cached features.

First the TEACHERS learn from the data, then those that ship, by PUPIL, from the data and from them
(see `ensemble`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from corpus import CAPTIONS, CLASSES, TEXT_WIDTH, Corpus
from ensemble import disagreement, with_opinions
from graph import Array
from heads import Head, Standardiser, TwoHeads
from hubs import PHOTO, TEXT, Pull
from image_features import WIDTHS
from minilm import WIDTH
from scoring import retrieval, zero_shot

# Parts of the image features whose standardised values are multiplied: they carry more per number.
EMPHASIS = {"conse": 3.0, "colours": 2.0}
# A pseudo-label is drawn from this many most likely classes.
TOP_CLASSES = 10
WARM_UP = 0.15
# Texts at large (see `hubs`): so many captions of each photo, and so many prompts of each label.
CAPTIONS_AT_LARGE = 2
PROMPTS_AT_LARGE = 4


@dataclass(frozen=True)
class Recipe:
    """What a training run can vary."""

    parts: tuple[str, ...] = tuple(WIDTHS)
    hidden: int = 1472
    text_hidden: int = 1024
    # Two more come from `hubs`, 64 from the towers for drawings.
    dimension: int = 446
    dropout: float = 0.5
    text_dropout: float = 0.3
    noise: float = 0.3
    text_noise: float = 0.0
    # What a text's single words count beside what the tower makes of the whole.
    words: float = 0.5
    rate: float = 2e-3
    decay: float = 0.2
    # How many photos with captions and with pseudo-labels are in a batch.
    captioned: int = 500
    pseudo: int = 500
    # The power of the classifier's probabilities with which pseudo-labels are drawn.
    sharper: float = 1.0
    # What teachers count in the loss, if there are some.
    told: float = 0.7
    group_share: float = 0.15
    keyword_share: float = 0.1
    phrase_share: float = 0.1
    epochs: int = 50
    average_from: float = 0.5
    average_decay: float = 0.99
    seed: int = 0


TEACHERS = tuple(Recipe(sharper=power) for power in (1.2, 1.4, 1.7))
# From another start than any of its teachers.
PUPIL = Recipe(sharper=1.4, seed=1)


class Sampler:
    """Draws batches of pairs: captioned photos, then photos with pseudo-labels."""

    def __init__(self, corpus: Corpus, recipe: Recipe) -> None:
        self._corpus = corpus
        self._recipe = recipe
        self._rng = np.random.default_rng(recipe.seed)
        self._beliefs = [sharper(belief, recipe.sharper) for belief in corpus.beliefs]
        # Photos that the classifier is sure about are drawn more often.
        confidence = self._beliefs[0].max(axis=1)
        self._chances = confidence / confidence.sum()
        # The labels that cover a class: its own name, its kinds and its places.
        self._covering = [np.flatnonzero(column) for column in corpus.members.T]

    def epoch(self) -> list[Array]:
        """The captioned photos, shuffled and cut into batches."""
        order = self._rng.permutation(self._corpus.captioned)
        size = self._recipe.captioned
        return [order[i * size : (i + 1) * size] for i in range(len(order) // size)]

    def images(self, captioned: Array) -> tuple[Tensor, Array]:
        """Features [batch, f] of a random view of each photo, and pseudo-classes int64 [pseudo]."""
        chosen = self._rng.choice(len(self._chances), self._recipe.pseudo, p=self._chances)
        photos = np.concatenate([captioned, chosen])
        views = self._rng.integers(len(self._corpus.views), size=len(photos))
        rows = [self._corpus.views[v][p] for v, p in zip(views, photos, strict=True)]
        labelled = zip(views[len(captioned) :], chosen, strict=True)
        classes = [self._draw_class(self._beliefs[v][p]) for v, p in labelled]
        return torch.from_numpy(np.stack(rows).astype(np.float32)), np.array(classes)

    def _draw_class(self, belief: Array) -> int:
        best = np.argpartition(-belief, TOP_CLASSES)[:TOP_CLASSES]
        weights = belief[best].astype(np.float64)
        return int(self._rng.choice(best, p=weights / weights.sum()))

    def labels(self, classes: Array) -> tuple[Tensor, Array]:
        """Texts [n, t] for the drawn classes [n], and which classes each covers [n, 1000]."""
        labels = classes.copy()
        for i in np.flatnonzero(self._rng.random(len(classes)) < self._recipe.group_share):
            labels[i] = self._rng.choice(self._covering[classes[i]])
        templates = self._rng.integers(self._corpus.labels.shape[1], size=len(labels))
        texts = self._corpus.labels[labels, templates]
        return torch.from_numpy(texts), self._corpus.members[labels]

    def captions(self, photos: Array) -> Tensor:
        """One text [n, t] for each photo: a caption, its keywords or one of its phrases."""
        which = self._rng.integers(CAPTIONS, size=len(photos))
        kind = self._rng.random(len(photos))[:, None]
        recipe, corpus = self._recipe, self._corpus
        texts = corpus.captions[photos, which]
        texts = np.where(kind < recipe.keyword_share, corpus.keywords[photos, which], texts)
        texts = np.where(kind > 1 - recipe.phrase_share, corpus.phrases[photos, which], texts)
        return torch.from_numpy(texts)


def sharper(beliefs: Array, power: float) -> Array:
    """Probabilities [n, classes] that prefer the likelier ones more, float32."""
    powers = beliefs.astype(np.float32) ** power
    return powers / powers.sum(axis=1, keepdims=True)


def positives(covered: Array, classes: Array, captioned: int) -> Tensor:
    """Bool [batch, batch]: does text (column) describe image (row)?

    A caption describes its own photo, a label every photo whose drawn class it covers.
    """
    matrix = np.eye(captioned + len(classes), dtype=bool)
    matrix[captioned:, captioned:] = covered[:, classes].T
    return torch.from_numpy(matrix)


def contrast(similarity: Tensor, positive: Tensor) -> Tensor:
    """Symmetric InfoNCE (Radford et al. 2021) with several positives of equal weight."""
    share = positive.float()
    to_text = share / share.sum(dim=1, keepdim=True) * similarity.log_softmax(dim=1)
    to_image = share / share.sum(dim=0, keepdim=True) * similarity.log_softmax(dim=0)
    return -(to_text.sum(dim=1).mean() + to_image.sum(dim=0).mean()) / 2


def new_heads(corpus: Corpus, recipe: Recipe) -> TwoHeads:
    """Untrained heads, with standardisers measured on the original photos and the captions."""
    parts = [(WIDTHS[name], EMPHASIS.get(name, 1.0)) for name in recipe.parts]
    images = Standardiser(corpus.views[0], parts)
    texts = Standardiser(
        corpus.captions.reshape(-1, TEXT_WIDTH), [(WIDTH, 1.0), (WIDTH, recipe.words)]
    )
    return TwoHeads(
        Head(images, recipe.hidden, recipe.dimension, recipe.dropout, recipe.noise),
        Head(texts, recipe.text_hidden, recipe.dimension, recipe.text_dropout, recipe.text_noise),
    )


def stored_heads(path: Path, corpus: Corpus, recipe: Recipe) -> TwoHeads:
    """Heads that were trained before."""
    heads = new_heads(corpus, recipe)
    heads.load_state_dict(torch.load(path, weights_only=True))
    return heads.eval()


def train(corpus: Corpus, recipe: Recipe, teachers: Sequence[Path] = ()) -> TwoHeads:
    """Train heads and return their weights averaged over the last part of the training.

    `teachers` are files of heads trained before on the same corpus.
    """
    torch.manual_seed(recipe.seed)
    corpus = corpus.with_parts(recipe.parts)
    trained = [stored_heads(path, corpus, recipe) for path in teachers]
    heads = new_heads(corpus, recipe)
    sampler = Sampler(with_opinions(corpus, trained) if trained else corpus, recipe)
    steps = recipe.epochs * len(sampler.epoch())
    optimizer = torch.optim.AdamW(
        heads.parameters(), lr=recipe.rate, weight_decay=recipe.decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=steps, pct_start=WARM_UP
    )
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average_decay)
    average = torch.optim.swa_utils.AveragedModel(heads, multi_avg_fn=decay)
    started, step = time.monotonic(), 0
    for epoch in range(1, recipe.epochs + 1):
        for captioned in sampler.epoch():
            loss = batch_loss(heads, sampler, captioned, recipe.told if trained else 0.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step >= recipe.average_from * steps:
                average.update_parameters(heads)
        if epoch % 10 == 0:
            seconds = time.monotonic() - started
            report = monitor(heads, corpus)
            print(f"epoch {epoch} loss {loss.item():.3f} {seconds:.0f} s: {report}", flush=True)
    result = average.module
    print(f"averaged: {monitor(result, corpus)}", flush=True)
    return result.eval()


def batch_loss(heads: TwoHeads, sampler: Sampler, captioned: Array, told: float) -> Tensor:
    """The loss of one batch, of which `told` is how far teachers find otherwise."""
    photos, classes = sampler.images(captioned)
    labels, covered = sampler.labels(classes)
    texts = torch.cat([sampler.captions(captioned), labels])
    width = len(heads.image.standardise.mean)
    images, embedded = heads.image(photos[:, :width]), heads.text(texts[:, :TEXT_WIDTH])
    similarity = heads.scale() * images @ embedded.T
    loss = contrast(similarity, positives(covered, classes, len(captioned)))
    if not told:
        return loss
    wanted = photos[:, width:] @ texts[:, TEXT_WIDTH:].T
    return (1 - told) * loss + told * disagreement(similarity, wanted)


@torch.no_grad()
def pulls(corpus: Corpus, heads: TwoHeads) -> tuple[Pull, Pull]:
    """The pull of photos and that of texts, as the trained heads see those of the training."""
    photos = heads.image(torch.from_numpy(corpus.views[0].astype(np.float32))).numpy()
    at_large = (corpus.captions[:, :CAPTIONS_AT_LARGE], corpus.labels[:, :PROMPTS_AT_LARGE])
    inputs = np.concatenate([part.reshape(-1, TEXT_WIDTH) for part in at_large])
    texts = heads.text(torch.from_numpy(inputs)).numpy()
    return Pull.measured(photos, texts, PHOTO), Pull.measured(texts, photos, TEXT)


@torch.no_grad()
def monitor(heads: TwoHeads, corpus: Corpus) -> str:
    """Scores on Flickr8k dev and on imagenet-1000 from cached features, for the log only."""
    heads.eval()
    photos = heads.image(torch.from_numpy(corpus.dev_photos.astype(np.float32)))
    captions = heads.text(torch.from_numpy(corpus.dev_captions))
    first = corpus.captioned
    labelled = torch.from_numpy(corpus.views[0][first : first + CLASSES].astype(np.float32))
    names = heads.text(torch.from_numpy(corpus.labels[:CLASSES, 0]))
    found = retrieval(photos.numpy(), captions.numpy())
    top = zero_shot(heads.image(labelled).numpy(), names.numpy(), np.arange(CLASSES))
    heads.train()
    return f"{found} imagenet {top}"
