"""What "A, not B" does: does B leave the first results, and does A stay?

    python benchmarks/negatives.py [--data ../shared/data] [--model starter] [--json]

For pairs of names A, B a library is made of 12 photos of A, 12 collages of A and B (the middle of
one photo beside the middle of another), all photos of B and those of everything else; the other
photos of A are left out, so that plain "A" finds collages among its first ten. A collage shows A
and shows B. "B's share" is the part of the first ten that shows B, with the query "A" and with
"A, not B"; "A's precision" is the part that shows A, collages included, so that a collage that
gives way to another thing than A counts as a loss. Pairs for whose A the model finds fewer than six
of ten are left out: there is nothing to keep.

The form of the cost was chosen on the half called "tuned on"; figures of the other half were seen
when its constants were settled, so "held out" is a check and no proof.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Result, add_model_and_data, at_least, excuses, new_parser, report, say
from labelled import Collection, Labelled, collection
from PIL import Image
from starter_quality import embed_texts

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.search.combine import combined_scores, first_stage
from imgsearch.search.strength import NULL_PROMPTS, StrengthScale

Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

PAIRS = 120
PLAIN = COLLAGES = 12
SHOWN = 10
POOL = 2_000
_FEWEST_UNWANTED = 5
_KNOWN = 0.6
# Names of kinds that contain each other make no sense as "A, not B".
_OVERLAPPING = (
    {"food", "fruit", "vegetable"},
    {"insect", "beetle", "butterfly"},
    {"boat", "ship"},
    {"musical instrument", "guitar", "piano"},
    {"shirt", "t-shirt", "longsleeve", "outwear", "dress"},
)
_SIDE = 256


@dataclass(frozen=True, eq=False)
class Scene:
    """The library of a pair: unit rows [n, d], and who shows A and B: bool [n] each."""

    words: tuple[str, str]
    vectors: Vectors
    shows: tuple[Mask, Mask]


def main() -> int:
    """Print the figures and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    arguments = parser.parse_args()
    with excuses():
        encoder = load_encoder(arguments.model)
        photos = collection(encoder, arguments.data, arguments.work)
        scenes = make_scenes(encoder, photos, arguments.work, arguments.seed)
        results = measure(encoder, photos, scenes)
        report("queries with unwanted parts", results, arguments.seed, as_json=arguments.json)
    return 0


def make_scenes(encoder: Encoder, photos: Collection, cache: Path, seed: int) -> list[Scene]:
    """Make the libraries of all pairs; the vectors of collages are kept in `cache`."""
    random = np.random.default_rng(seed)
    # Flickr8k's photos show many things at once and are judged for few.
    judged = len(photos.vectors) - 1_000
    queries = {
        query.words: query
        for family in ("clothing", "groups")
        for query in photos.families[family]
        if query.relevant[:judged].sum() >= _FEWEST_UNWANTED
    }
    pairs = [
        (a, b)
        for a in queries
        for b in queries
        if a != b
        and queries[a].relevant[:judged].sum() >= PLAIN
        and not any({a, b} <= kinds for kinds in _OVERLAPPING)
    ]
    chosen = [pairs[i] for i in random.permutation(len(pairs))[:PAIRS]]
    drawn = []
    for a, b in chosen:
        of_a = random.permutation(only(queries[a], queries[b], judged))
        of_b = random.permutation(only(queries[b], queries[a], judged))
        plain, left = of_a[:PLAIN], np.resize(np.roll(of_a, -PLAIN), COLLAGES)
        drawn.append((plain, left, np.resize(of_b, COLLAGES)))
    facts = encoder.description
    file = cache / f"collages-{facts.name}-{facts.revision}-{seed}-{PAIRS}.npy"
    if not file.is_file():
        say("making collages")
        np.save(
            file,
            [
                encoder.encode_images(
                    np.stack([collage(encoder, photos, i, j) for i, j in zip(a, b, strict=True)])
                )
                for _, a, b in drawn
            ],
        )
    made = np.load(file, allow_pickle=False)
    return [
        scene(photos, (queries[a], queries[b]), plain, collages, judged)
        for (a, b), (plain, _, _), collages in zip(chosen, drawn, made, strict=True)
    ]


def only(wanted: Labelled, other: Labelled, judged: int) -> npt.NDArray[np.int64]:
    """Return the photos that show one thing and surely not the other."""
    return np.flatnonzero((wanted.relevant & other.judged & ~other.relevant)[:judged])


def collage(encoder: Encoder, photos: Collection, left: int, right: int) -> npt.NDArray[np.uint8]:
    """Return a square of the middles of two photos, as the encoder takes it."""
    square = Image.new("RGB", (_SIDE, _SIDE))
    for number, offset in ((left, 0), (right, _SIDE // 2)):
        with Image.open(photos.paths[number]) as image:
            photo = image.convert("RGB")
        edge = min(photo.size)
        middle = photo.resize(
            (_SIDE // 2, _SIDE),
            box=(
                photo.width / 2 - edge / 4,
                photo.height / 2 - edge / 2,
                photo.width / 2 + edge / 4,
                photo.height / 2 + edge / 2,
            ),
        )
        square.paste(middle, (offset, 0))
    return to_pixels(square, encoder.description.preprocessing)


def scene(
    photos: Collection,
    queries: tuple[Labelled, Labelled],
    plain: npt.NDArray[np.int64],
    collages: Vectors,
    judged: int,
) -> Scene:
    """Put the library of a pair together, without photos of which A or B is not known."""
    a, b = queries
    kept = (a.judged & b.judged & ~a.relevant)[:judged]
    kept[plain] = True
    added = np.ones(len(collages), dtype=bool)
    return Scene(
        (a.words, b.words),
        np.concatenate([photos.vectors[:judged][kept], collages]),
        (
            np.concatenate([a.relevant[:judged][kept], added]),
            np.concatenate([b.relevant[:judged][kept], added]),
        ),
    )


def measure(encoder: Encoder, photos: Collection, scenes: list[Scene]) -> list[Result]:
    """Search every library by "A" and by "A, not B"."""
    scale = StrengthScale.measured(encoder.encode_texts(NULL_PROMPTS), photos.vectors)
    words = sorted({word for one in scenes for word in one.words})
    texts = dict(zip(words, embed_texts(encoder, words), strict=True))
    results = []
    for which, half in (("held out", scenes[1::2]), ("tuned on", scenes[::2])):
        asked = [(one, np.stack([texts[word] for word in one.words])) for one in half]
        known = [(o, p) for o, p in asked if firsts(o, p, 0, scale)[1] >= _KNOWN]
        figures = [[firsts(o, p, weight, scale) for weight in (0.0, -1.0)] for o, p in known]
        kept = [undisturbed(o, p, scale) for o, p in known]
        results += told(which, np.mean(figures, axis=0), 100 * float(np.mean(kept)), len(known))
    results.append(
        Result("scoring 2,000 candidates by 3 parts", 1_000 * scoring_seconds(scale), "ms")
    )
    return results


def told(which: str, figures: npt.NDArray[np.float64], kept: float, pairs: int) -> list[Result]:
    """Make results of mean shares [before and after, (B, A, neither)]."""
    (b_before, a_before, none_before), (b_after, a_after, none_after) = figures.tolist()
    return [
        at_least(
            f"{which}: B's share of the first ten fell by",
            100 * (1 - b_after / b_before),
            "%",
            80,
            f"from {b_before:.3f} to {b_after:.3f}, {pairs} pairs",
        ),
        at_least(
            f"{which}: A's precision, after / before",
            a_after / a_before,
            "",
            0.9,
            f"from {a_before:.3f} to {a_after:.3f}",
        ),
        Result(f"{which}: first ten showing neither, before", none_before, ""),
        Result(f"{which}: first ten showing neither, after", none_after, ""),
        Result(f"{which}: pairs of A's plain photos that keep their order", kept, "%"),
    ]


def firsts(
    one: Scene, parts: Vectors, weight: float, scale: StrengthScale
) -> tuple[float, float, float]:
    """Return which part of the first ten shows B, shows A, shows neither."""
    order = ranked(one, parts, weight, scale)[:SHOWN]
    a, b = (shown[order] for shown in one.shows)
    return float(b.mean()), float(a.mean()), float((~a & ~b).mean())


def ranked(
    one: Scene, parts: Vectors, weight: float, scale: StrengthScale
) -> npt.NDArray[np.int64]:
    """Return the numbers of the candidates, best first."""
    weights = np.array([1.0, weight], dtype=np.float32)
    pool = np.argsort(-(one.vectors @ first_stage(parts, weights)), kind="stable")[:POOL]
    scores = combined_scores(one.vectors[pool] @ parts.T, weights, [scale, scale])
    return np.asarray(pool[np.argsort(-scores, kind="stable")])


def undisturbed(one: Scene, parts: Vectors, scale: StrengthScale) -> float:
    """Return which part of all pairs among A's plain photos keep their order."""
    before, after = (ranked(one, parts, weight, scale) for weight in (0.0, -1.0))
    plain = np.flatnonzero(one.shows[0] & ~one.shows[1])
    place = np.empty((2, len(one.vectors)))
    for row, order in enumerate((before, after)):
        place[row] = len(order)
        place[row, order] = np.arange(len(order))
    first, second = place[:, plain]
    upper = np.triu_indices(len(plain), 1)
    same = np.sign(np.subtract.outer(first, first)) == np.sign(np.subtract.outer(second, second))
    return float(same[upper].mean())


def scoring_seconds(scale: StrengthScale) -> float:
    """Return what combining costs a query: the pool is of the same size in any library."""
    cosines = np.random.default_rng(0).normal(0, 0.1, (POOL, 3)).astype(np.float32)
    weights = np.array([1, 0.5, -1], dtype=np.float32)
    started = time.process_time()
    for _ in range(100):
        np.argsort(-combined_scores(cosines, weights, [scale] * 3))
    return (time.process_time() - started) / 100


if __name__ == "__main__":
    sys.exit(main())
