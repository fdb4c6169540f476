"""All features that the heads are trained on, gathered from the caches."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from features import ImageFeatures, TextFeatures, cached
from graph import Array
from image_features import WIDTHS
from label_groups import KINDS, PLACES
from minilm import OUTPUT, WIDTH
from photos import ORIGINAL, WORN, flickr_photos, training_photos
from texts import PROMPT, TEMPLATES, keywords, phrase, read_captions, read_table

CAPTIONS = 5
CLASSES = 1000
TEXT_WIDTH = OUTPUT


@dataclass(frozen=True)
class Corpus:
    """Photos come in the order Flickr8k train, imagenet-1000, clothing; texts are float32.

    `views` hold float16 features [photos, f] per view and `beliefs` the classifier's probabilities
    float16 [photos, 1000] for each. `captions`, `keywords` and `phrases` are [6000, 5, t].
    `labels` [l, templates, t] are the texts of 1000 classes, then of the groups of classes;
    `members` bool [l, 1000] says which classes a label covers.
    """

    views: list[Array]
    beliefs: list[Array]
    captions: Array
    keywords: Array
    phrases: Array
    labels: Array
    members: Array
    dev_photos: Array
    dev_captions: Array

    def with_parts(self, parts: Sequence[str]) -> Corpus:
        """The same corpus with only those parts of the image features."""
        ends = dict(zip(WIDTHS, accumulate(WIDTHS.values()), strict=True))
        spans = [np.arange(ends[part] - WIDTHS[part], ends[part]) for part in parts]
        columns = np.concatenate(spans)
        return replace(
            self,
            views=[view[:, columns] for view in self.views],
            dev_photos=self.dev_photos[:, columns],
        )

    @property
    def captioned(self) -> int:
        """How many photos (the first ones) have captions."""
        return len(self.captions)


def class_names(data: Path) -> list[str]:
    """The 1,000 readable names, in the classifier's order."""
    return [row[3] for row in read_table(data / "imagenet-1000" / "labels.tsv")]


def label_vectors(data: Path, encode: TextFeatures) -> Array:
    """Unit float32 [1000, 384]: the classifier's labels as ConSE reads them."""
    vectors = encode([PROMPT.format(name) for name in class_names(data)])[:, :WIDTH]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def label_members() -> Array:
    """Bool [labels, 1000]: the classes themselves, then the kinds, then the places."""
    groups = [*KINDS.values(), *PLACES.values()]
    covered = np.zeros((len(groups), CLASSES), dtype=bool)
    for row, indices in zip(covered, groups, strict=True):
        row[indices] = True
    return np.concatenate([np.eye(CLASSES, dtype=bool), covered])


def text_lists(data: Path, seed: int) -> dict[str, list[str]]:
    """Every text of the training, and the captions of dev."""
    rng = random.Random(seed)
    train = flat(read_captions(data / "flickr8k" / "train.tsv").values())
    labels = [*class_names(data), *KINDS, *PLACES]
    return {
        "captions": train,
        "keywords": [keywords(text, rng) for text in train],
        "phrases": [phrase(text, rng) for text in train],
        "labels": [template.format(label) for label in labels for template in TEMPLATES],
        "dev_captions": flat(read_captions(data / "flickr8k" / "dev.tsv").values()),
    }


def text_features(data: Path, work: Path, encode: TextFeatures, seed: int) -> dict[str, Array]:
    """Float32 [n, t] for each of the text lists, from the cache if they were seen before."""
    lists = text_lists(data, seed)
    digest = hashlib.sha256(json.dumps(lists).encode()).hexdigest()[:12]
    return cached(
        work / f"texts_{encode.fingerprint}_{digest}.npz",
        lambda: {name: encode(texts) for name, texts in lists.items()},
    )


def flat(captions: Iterable[list[str]]) -> list[str]:
    """All captions in one list, after checking that every photo has five."""
    groups = list(captions)
    if any(len(group) != CAPTIONS for group in groups):
        raise ValueError(f"expected {CAPTIONS} captions for every photo")
    return [caption for group in groups for caption in group]


def gather(
    data: Path, work: Path, images: ImageFeatures, encode: TextFeatures, crops: int, seed: int
) -> Corpus:
    """Compute, or read from `work`, the features of photos and texts.

    Of each training photo `crops` crops are taken besides (see `photos`).
    """
    photos = training_photos(data)
    texts = text_features(data, work, encode, seed)
    captions, terms, phrases = (
        texts[name].reshape(-1, CAPTIONS, TEXT_WIDTH)
        for name in ("captions", "keywords", "phrases")
    )
    dev = cached(
        work / f"images_{images.fingerprint}_dev.npz",
        lambda: images(flickr_photos(data, "dev"), ORIGINAL),
    )
    views, beliefs = [], []
    for view in range(1 + crops):
        print(f"image features, view {view}", flush=True)
        found = cached(
            work / f"images_{images.fingerprint}_{view}.npz", lambda v=view: images(photos, v)
        )
        views.append(found["features"])
        # A worn copy shows what the photo shows, whatever the classifier makes of it.
        believed = softmax(found["logits"].astype(np.float32)).astype(np.float16)
        beliefs.append(beliefs[0] if view >= WORN else believed)
    return Corpus(
        views=views,
        beliefs=beliefs,
        captions=captions,
        keywords=terms,
        phrases=phrases,
        labels=texts["labels"].reshape(-1, len(TEMPLATES), TEXT_WIDTH),
        members=label_members(),
        dev_photos=dev["features"],
        dev_captions=texts["dev_captions"],
    )


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
