"""Batches of pictures and words with which the towers for drawings are trained."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from features import cached
from graph import Array
from graphics_doodles import THINGS, draw_doodle
from graphics_doodles import words as doodle_words
from graphics_plain import (
    CHANGES,
    PAGES,
    any_colour,
    colour_words,
    draw_colour,
    draw_gradient,
    draw_page,
    gradient_words,
    page_words,
)
from graphics_scenes import Mark, Scene, draw_scene, random_scene
from graphics_towers import SIDE
from label_groups import KINDS, PLACES
from photos import flickr_photos, labelled_photos, view_pixels
from texts import TEMPLATES, phrase, read_captions

# Pictures are drawn so many times larger than the tower sees them.
FINER = 3
# How far the gates are to open: for drawings alone, for drawings made of photos, for photos.
OPEN, HALF, SHUT = 1.0, 0.6, 0.0
# Pictures in a batch, by kind. Scenes come in families that differ in a word.
FAMILIES, FAMILY = 8, 6
GRADIENT_FAMILIES, GRADIENT_FAMILY = 3, 3
PLAIN_COLOURS, DOODLES, LINES = 9, 16, 8
CHANGED, UNCHANGED = 5, 20
# Captions of photos in a batch, which go with none of its pictures.
CAPTIONS = 64
# Photos that are kept in memory, as they are and changed in each way.
PHOTOS_KEPT, CHANGED_KEPT = 4000, 1200
VIEWS = 4


@dataclass(frozen=True)
class Example:
    """A picture uint8 [SIDE, SIDE, 3] and words for it.

    Pictures and words with the same `meaning` belong together. A photo has none: only its gate is
    trained. `scene` and `marks` tell what is drawn where, if that is known.
    """

    pixels: Array
    words: str
    meaning: object
    gate: float
    scene: Scene | None = None
    marks: Sequence[Mark] = field(default=())


@dataclass(frozen=True)
class Photos:
    """Photos of the training sets: uint8 [n, SIDE, SIDE, 3] for each way to change them, or none.

    `captions` are texts that want photos.
    """

    pixels: dict[str, Array]
    captions: list[str]


def gather_photos(data: Path, work: Path) -> Photos:
    """Read photos, and change some into sketches and drawings; kept in `work`."""
    paths = [
        *flickr_photos(data, "train"),
        *labelled_photos(data, "imagenet-1000"),
        *labelled_photos(data, "clothing"),
    ]
    pixels = cached(
        work / f"graphics_photos_{PHOTOS_KEPT}_{CHANGED_KEPT}.npz", lambda: _views(paths)
    )
    rng = random.Random(0)
    captions = [
        one for some in read_captions(data / "flickr8k" / "train.tsv").values() for one in some
    ]
    captions += [phrase(caption, rng) for caption in captions[::3]]
    names = [row.split("\t")[3] for row in _lines(data / "imagenet-1000" / "labels.tsv")]
    labels = [*names, *KINDS, *PLACES]
    captions += [template.format(label) for label in labels for template in TEMPLATES]
    return Photos(pixels, captions)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _views(paths: Sequence[Path]) -> dict[str, Array]:
    rng = random.Random(0)

    def some(count: int, change: Callable[[Image.Image], Image.Image]) -> Array:
        chosen = [rng.randrange(len(paths)) for _ in range(count)]
        views = (view_pixels(paths[i], 2 * SIDE, rng.randrange(VIEWS), i) for i in chosen)
        return np.stack([np.asarray(change(Image.fromarray(view)).reduce(2)) for view in views])

    found = {"": some(PHOTOS_KEPT, lambda view: view)}
    for name, (change, _) in CHANGES.items():
        found[name] = some(CHANGED_KEPT, lambda view, change=change: change(view, rng))
    return found


def batch(photos: Photos, rng: random.Random) -> list[Example]:
    """One batch of all kinds."""
    examples = [example for _ in range(FAMILIES) for example in _scenes(rng)]
    examples += [example for _ in range(GRADIENT_FAMILIES) for example in _gradients(rng)]
    examples += [_colour(rng) for _ in range(PLAIN_COLOURS)]
    examples += [_doodle(rng) for _ in range(DOODLES)]
    examples += [_page(rng) for _ in range(LINES)]
    for name, (_, templates) in CHANGES.items():
        for _ in range(CHANGED):
            words = rng.choice(templates).format(_tidy(rng.choice(photos.captions)))
            examples.append(Example(_any(photos.pixels[name], rng), words, name, HALF))
    examples += [
        Example(_any(photos.pixels[""], rng), rng.choice(photos.captions), None, SHUT)
        for _ in range(UNCHANGED)
    ]
    return examples


def _any(pixels: Array, rng: random.Random) -> Array:
    return np.asarray(pixels[rng.randrange(len(pixels))])


def _tidy(caption: str) -> str:
    return caption.rstrip(" .").lower() if len(caption) > 1 else caption


def _shrunk(image: Image.Image) -> Array:
    return np.asarray(image.reduce(image.width // SIDE))


def _scenes(rng: random.Random) -> list[Example]:
    """A scene and others that differ from it in a word."""
    scene = random_scene(rng)
    family = [scene, *(scene.changed(rng) for _ in range(FAMILY - 1))]
    examples = []
    for one in family:
        image, marks = draw_scene(one, FINER * SIDE, rng)
        examples.append(Example(_shrunk(image), one.words(rng), one, OPEN, one, marks))
    return examples


def _gradients(rng: random.Random) -> list[Example]:
    """Gradients that share a colour."""
    first = any_colour(rng)
    examples = []
    for _ in range(GRADIENT_FAMILY):
        second = any_colour(rng, first)
        pixels = np.asarray(draw_gradient(first, second, SIDE, rng))
        meaning = frozenset((first, second))
        examples.append(Example(pixels, gradient_words(first, second, rng), meaning, OPEN))
    return examples


def _colour(rng: random.Random) -> Example:
    colour = any_colour(rng)
    pixels = np.asarray(draw_colour(colour, SIDE, rng))
    return Example(pixels, colour_words(colour, rng), ("colour", colour), OPEN)


def _doodle(rng: random.Random) -> Example:
    thing = rng.choice(list(THINGS))
    pixels = _shrunk(draw_doodle(thing, FINER * SIDE, rng))
    return Example(pixels, doodle_words(thing, rng), ("doodle", thing), OPEN)


def _page(rng: random.Random) -> Example:
    page = rng.choice(list(PAGES))
    pixels = _shrunk(draw_page(page, FINER * SIDE, rng))
    return Example(pixels, page_words(page, rng), ("page", page), OPEN)
