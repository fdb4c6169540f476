"""A small fixed set with which CI checks that the built-in model scores what its card says.

    python benchmarks/starter_sample.py [--model starter] [--json]

Nothing but what lies in the repository, or is drawn on the spot: the example photos by two queries
each, drawn scenes and plain pictures. The numbers say little about a model (starter_breadth.py does
that); they say whether it is the one that the card describes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
from drawn import draw_scene, gradients, line_drawings, random_scene, screens, single_colours
from starter_breadth import embed_pictures
from starter_quality import embed_photos, embed_texts

from imgsearch.encoders import Encoder, load_encoder

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
QUERIES = {
    "astronaut": ("an astronaut in an orange suit", "portrait of a smiling woman"),
    "black_sneakers": ("black shoes", "a pair of sneakers on the floor"),
    "blue_dress": ("a blue dress", "a dress on a hanger"),
    "bricks": ("a brick wall", "bricks"),
    "cat": ("a cat", "the face of a kitten"),
    "coffee": ("a cup of coffee", "an espresso on a saucer"),
    "galaxies": ("galaxies in space", "stars and galaxies"),
    "grass": ("green grass", "a lawn"),
    "photographer": ("a man with a camera", "a black and white photo of a photographer"),
    "pink_cap": ("a pink cap", "a baseball cap"),
    "retina": ("the retina of an eye", "a medical image of an eye"),
    "rocket_launch": ("a rocket launch", "a rocket taking off with smoke"),
}
SCENES, DISTRACTORS = 4, 20
PLAIN = 64
SEED = 0


def sample_scores(encoder: Encoder) -> dict[str, float]:
    """Each measure in percent."""
    rng = random.Random(SEED)
    return {
        "example photos by two queries each, R@1": photos(encoder),
        f"{SCENES} drawn scenes, wrong drawings behind the right one": scenes(encoder, rng),
        "drawn plain pictures, R@5": plain(encoder, rng),
    }


def photos(encoder: Encoder) -> float:
    """How often a query finds its example photo first."""
    vectors = embed_photos(encoder, [PHOTOS / f"{name}.jpg" for name in QUERIES])
    texts = embed_texts(encoder, [query for pair in QUERIES.values() for query in pair])
    return percent((texts @ vectors.T).argmax(axis=1) == np.arange(len(texts)) // 2)


def scenes(encoder: Encoder, rng: random.Random) -> float:
    """How many of the other drawings are less like a description than its own (by chance 50)."""
    behind = []
    for _ in range(SCENES):
        scene = random_scene(rng)
        shown = (scene, *rng.sample(scene.others(), DISTRACTORS))
        vectors = embed_pictures(encoder, (draw_scene(one, rng) for one in shown))
        similarity = vectors @ embed_texts(encoder, [scene.words()])[0]
        behind.append(similarity[1:] < similarity[0])
    return percent(behind)


def plain(encoder: Encoder, rng: random.Random) -> float:
    """How often a query finds a picture that was made for it among the first five."""
    pictures = [*single_colours(rng), *gradients(rng), *screens(rng), *line_drawings(rng)]
    pictures = rng.sample(pictures, PLAIN)
    vectors = embed_pictures(encoder, (picture.pixels for picture in pictures))
    asked = np.array([picture.query for picture in pictures])
    best = np.argsort(-(embed_texts(encoder, asked.tolist()) @ vectors.T), axis=1, kind="stable")
    return percent((asked[best[:, :5]] == asked[:, None]).any(axis=1))


def percent(hits: object) -> float:
    """The share that is true, to one digit."""
    return round(100 * float(np.mean(hits)), 1)


def main() -> int:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="what load_encoder takes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    scores = sample_scores(load_encoder(arguments.model))
    if arguments.json:
        print(json.dumps(scores))
    else:
        print("\n".join(f"{value:6.1f} %  {name}" for name, value in scores.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
