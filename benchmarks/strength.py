"""What a match strength is worth: how well things are met that are there, and that are not.

    python benchmarks/strength.py [--data ../shared/data] [--model starter] [--json]

Two libraries of 1,000 photos: Flickr8k dev, which is asked captions, and imagenet-1000, which is
asked class names. For what is not there, each library is asked what belongs to the other one, and
the best match counts. Strengths are medians, on the scale of the library in question; z, in
deviations of unrelated pairs, is what the scale (imgsearch/search/strength.py) is made of.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
from common import Result, add_model_and_data, excuses, new_parser, report
from labelled import collection
from starter_quality import embed_texts, rows

from imgsearch.encoders import load_encoder
from imgsearch.search.strength import NULL_PROMPTS, StrengthScale

Vectors = npt.NDArray[np.float32]

PHOTOS = 1_000


def main() -> int:
    """Print the figures and return the exit status."""
    parser = new_parser(__doc__)
    add_model_and_data(parser)
    arguments = parser.parse_args()
    with excuses():
        encoder = load_encoder(arguments.model)
        photos = collection(encoder, arguments.data, arguments.work)
        named, captioned = photos.vectors[:PHOTOS], photos.vectors[-PHOTOS:]
        pairs = rows(arguments.data / "flickr8k" / "dev.tsv")
        owners = {path: i for i, path in enumerate(dict.fromkeys(path for path, _ in pairs))}
        captions = embed_texts(encoder, [caption for _, caption in pairs])
        classes = photos.families["classes"]
        names = embed_texts(encoder, [query.words for query in classes])
        unrelated = encoder.encode_texts(NULL_PROMPTS)
        of_names, of_captions = (StrengthScale.measured(unrelated, p) for p in (named, captioned))
        own = captions @ captioned.T
        mine = own[np.arange(len(own)), [owners[path] for path, _ in pairs]]
        theirs = [
            float((named[query.relevant[:PHOTOS]] @ text).max())
            for query, text in zip(classes, names, strict=True)
            if query.relevant[:PHOTOS].any()
        ]
        results = [
            *told("captions, their own photo", mine, of_captions),
            *told("names, the best of what they name", np.array(theirs), of_names),
            *told("captions among photos of names", (captions @ named.T).max(axis=1), of_names),
            *told("names among photos of captions", (names @ captioned.T).max(axis=1), of_captions),
            *told("unrelated sentences", (unrelated @ captioned.T).max(axis=1), of_captions),
        ]
        report("match strength", results, arguments.seed, as_json=arguments.json)
    return 0


def told(what: str, cosines: Vectors, scale: StrengthScale) -> list[Result]:
    """Return the median z and strength of cosines [n]."""
    cosine = float(np.median(cosines))
    z = (cosine - scale.mean) / scale.deviation
    return [
        Result(f"{what}: z", z, "deviations"),
        Result(f"{what}: strength", scale.strength(cosine), "of 100"),
    ]


if __name__ == "__main__":
    sys.exit(main())
