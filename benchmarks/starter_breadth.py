"""How broad a model is: drawn scenes, plain pictures, loosely typed queries, worn photos.

    python benchmarks/starter_breadth.py [--model starter] [--data ../shared/data] [--only scenes]

Scenes: 500 descriptions such as "two red circles left of one blue square"; each asks for its
drawing among 20 others whose descriptions differ from it in one word. R@1.

Plain pictures: more than 300, of single colours, gradients, grey and dark photos, sketches,
drawings, and nothing but text; each with a query, among all of them. R@5: is a picture with that
query among the first five?

Queries and photos: the loss in R@10 on Flickr8k dev, text to image, against the captions and photos
as they are. Synonyms, plurals and word order only count captions that they change. The photos go
through the product's decoder. Kinds of queries are made by query_variants.py, pictures by drawn.py.
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import (
    CannotMeasure,
    Result,
    add_model_and_data,
    at_least,
    at_most,
    excuses,
    new_parser,
    report,
    say,
)
from drawn import draw_scene, plain_pictures, random_scene
from PIL import Image
from query_variants import keywords, other_number, other_order, other_words, typo
from starter_quality import batches, embed_texts, rows

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.decode import decode
from imgsearch.encoders.preprocess import to_pixels
from imgsearch.settings import DecodeLimits

Vectors = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

DISTRACTORS = 20
IMAGE_BATCH = 32
PARTS = ("scenes", "plain", "queries", "photos")


def main() -> int:
    """Print the figures and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    parser.add_argument("--scenes", type=int, default=500, help="how many to draw [%(default)s]")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part alone")
    arguments = parser.parse_args()
    asked = arguments.only or PARTS
    with excuses():
        encoder = load_encoder(arguments.model)
        results: list[Result] = []
        if "scenes" in asked:
            results += scenes(encoder, arguments.scenes, arguments.seed)
        if set(asked) - {"scenes"}:
            dev = Dev(encoder, arguments.data / "flickr8k")
        if "plain" in asked:
            results += plain(encoder, dev.first_captions(), arguments.seed)
        if "queries" in asked:
            results += queries(dev, arguments.seed)
        if "photos" in asked:
            results += photos(dev)
        report("breadth", results, arguments.seed, as_json=arguments.json)
    return 0


def embed_pictures(encoder: Encoder, pictures: Iterable[Picture]) -> Vectors:
    """Unit rows [n, d] of pictures uint8 [h, w, 3]."""
    preprocessing = encoder.description.preprocessing
    ready = [to_pixels(Image.fromarray(one), preprocessing) for one in pictures]
    return np.concatenate(
        [encoder.encode_images(np.stack(batch)) for batch in batches(ready, IMAGE_BATCH)]
    )


def scenes(encoder: Encoder, count: int, seed: int) -> list[Result]:
    """Tell how often a description finds its drawing among the twenty nearest descriptions'."""
    rng = random.Random(seed)
    asked = [random_scene(rng) for _ in range(count)]
    texts = embed_texts(encoder, [scene.words() for scene in asked])
    hits = []
    misled: dict[str, int] = {}
    for number, scene in enumerate(asked):
        others = rng.sample(scene.others(), DISTRACTORS)
        drawings = (draw_scene(one, rng) for one in (scene, *others))
        similarity = embed_pictures(encoder, drawings) @ texts[number]
        best = int(similarity.argmax())
        hits.append(best == 0)
        if best:
            word = difference(scene, others[best - 1])
            misled[word] = misled.get(word, 0) + 1
        if number % 100 == 99:
            say(f"{number + 1} scenes")
    note = "misled by " + ", ".join(f"{word} {count}" for word, count in sorted(misled.items()))
    share = 100 * float(np.mean(hits))
    return [at_least(f"{count} drawn scenes, R@1 of {DISTRACTORS + 1}", share, "%", 70, note)]


def difference(scene: object, other: object) -> str:
    """Return the name of the word in which two descriptions differ."""
    mine, theirs = vars(scene), vars(other)
    return next(name for name in mine if mine[name] != theirs[name])


class Dev:
    """Flickr8k dev: five captions for each photo."""

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        if not (folder / "dev.tsv").is_file():
            raise CannotMeasure(f"{folder / 'dev.tsv'} is not there; name the folder with --data")
        self.encoder = encoder
        pairs = rows(folder / "dev.tsv")
        self.captions = [caption for _, caption in pairs]
        self.paths = [folder / path for path in dict.fromkeys(path for path, _ in pairs)]
        number = {path: i for i, path in enumerate(self.paths)}
        self.owner = np.array([number[folder / path] for path, _ in pairs])
        self.texts = embed_texts(encoder, self.captions)
        self.vectors = self.photos(lambda data: data)

    def photos(self, change: Callable[[bytes], bytes]) -> Vectors:
        """The photos' vectors, once their files have been changed."""
        preprocessing = self.encoder.description.preprocessing
        files = (change(path.read_bytes()) for path in self.paths)
        decoded = (decode(data, DecodeLimits(), reduce_for=preprocessing).rgb for data in files)
        return embed_pictures(self.encoder, (np.asarray(image) for image in decoded))

    def first_captions(self) -> list[tuple[Path, str]]:
        """Every photo with its first caption."""
        first: dict[int, str] = {}
        for owner, caption in zip(self.owner.tolist(), self.captions, strict=True):
            first.setdefault(owner, caption)
        return [(self.paths[owner], caption) for owner, caption in first.items()]

    def recall(self, texts: Vectors, photos: Vectors, chosen: npt.NDArray[np.bool_]) -> float:
        """R@10 in percent of the chosen captions' photos."""
        similarity = texts @ photos.T
        own = similarity[np.arange(len(texts)), self.owner[chosen]]
        rank = (similarity > own[:, None]).sum(axis=1)
        return 100 * float((rank < 10).mean())


def plain(encoder: Encoder, captioned: Sequence[tuple[Path, str]], seed: int) -> list[Result]:
    """Tell how often a plain picture's query finds one of its kind among the first five."""
    pictures = plain_pictures(captioned, seed)
    vectors = embed_pictures(encoder, (picture.pixels for picture in pictures))
    asked = [picture.query for picture in pictures]
    order = np.argsort(-(embed_texts(encoder, asked) @ vectors.T), axis=1, kind="stable")[:, :5]
    found = np.array(
        [any(asked[i] == query for i in row) for query, row in zip(asked, order, strict=True)]
    )
    kinds = np.array([picture.kind for picture in pictures])
    total = at_least(f"{len(asked)} plain pictures, R@5", 100 * float(found.mean()), "%", 70)
    return [
        total,
        *(
            Result(f"... {kind}", 100 * float(found[kinds == kind].mean()), "%")
            for kind in dict.fromkeys(kinds.tolist())
        ),
    ]


def queries(dev: Dev, seed: int) -> list[Result]:
    """What is lost when captions are typed in another way."""
    slip = partial(typo, rng=random.Random(seed))
    ways: dict[str, Callable[[str], str]] = {
        "keywords (at most five)": keywords,
        "keywords, all of them": partial(keywords, at_most=None),
        "a typo": slip,
        "singular for plural and back": other_number,
        "another order of words": other_order,
        "synonyms": other_words,
    }
    results = []
    for name, way in ways.items():
        typed = [way(caption) for caption in dev.captions]
        pairs = zip(typed, dev.captions, strict=True)
        chosen = np.array([new.lower() != old.lower() for new, old in pairs])
        asked = [text for text, changed in zip(typed, chosen, strict=True) if changed]
        before = dev.recall(dev.texts[chosen], dev.vectors, chosen)
        after = dev.recall(embed_texts(dev.encoder, asked), dev.vectors, chosen)
        note = f"R@10 {before:.1f} -> {after:.1f}, {len(asked)} queries"
        results.append(at_most(f"{name}, loss", before - after, "points", 5, note))
    return results


def photos(dev: Dev) -> list[Result]:
    """What is lost when photos are turned, grey, squeezed or small."""
    everything = np.ones(len(dev.captions), dtype=bool)
    before = dev.recall(dev.texts, dev.vectors, everything)
    ways: dict[str, Callable[[bytes], bytes]] = {
        "turned, upright by EXIF": turned,
        "grey": partial(saved, change=lambda image: image.convert("L"), quality=95),
        "JPEG of quality 20": partial(saved, change=lambda image: image, quality=20),
        "100 pixels": partial(saved, change=lambda image: image.resize((100, 100)), quality=95),
    }
    results = []
    for name, way in ways.items():
        after = dev.recall(dev.texts, dev.photos(way), everything)
        note = f"R@10 {before:.1f} -> {after:.1f}"
        results.append(at_most(f"photos {name}, loss", before - after, "points", 4, note))
    return results


def saved(
    data: bytes, change: Callable[[Image.Image], Image.Image], quality: int, **options: object
) -> bytes:
    """A JPEG file of the changed picture."""
    file = io.BytesIO()
    change(Image.open(io.BytesIO(data))).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def turned(data: bytes) -> bytes:
    """The picture lying on its side, with a tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(data, lambda image: image.transpose(Image.Transpose.ROTATE_90), 95, exif=exif)


if __name__ == "__main__":
    sys.exit(main())
