"""How far reduced JPEG decoding moves the embeddings, for several choices of DRAFT_FACTOR.

Over the example photos enlarged to several sizes and, where ../shared/data/robustness is present,
the large JPEGs there. The cosine is to the embedding of a full decode of the same file: by the
tower before it rounds to eight bits (tests/unrounded.py), which tells of the decoding, and by the
tower as it is.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import CannotMeasure, Result, at_least, excuses, new_parser, report
from PIL import Image

from imgsearch import Encoder, load_encoder
from imgsearch.encoders import preprocess
from imgsearch.encoders.decode import decode
from imgsearch.settings import DecodeLimits

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from unrounded import unrounded_images

TARGET = 0.999
FACTORS = (1, 2, 3, 4)
_ROOT = Path(__file__).parents[1]
_ENLARGED = (4, 5, 6, 9)
_LARGE = 1000


def large_jpegs() -> list[bytes]:
    """Return the bytes of JPEGs whose shorter edge has at least a thousand pixels."""
    found = []
    for path in sorted((_ROOT.parent / "shared" / "data" / "robustness").glob("*.jp*g")):
        try:
            with Image.open(path) as image:
                image.load()
                if min(image.size) >= _LARGE:
                    found.append(path.read_bytes())
        except OSError:
            continue  # That folder is there for its damaged files.
    for path in sorted((_ROOT / "examples" / "photos").glob("*.jpg")):
        with Image.open(path) as image:
            for times in _ENLARGED:
                buffer = io.BytesIO()
                large = image.resize((times * image.width, times * image.height))
                large.save(buffer, "JPEG", quality=92)
                found.append(buffer.getvalue())
    if not found:
        raise CannotMeasure("there is no photo in examples/photos")
    return found


def decoded(encoder: Encoder, files: list[bytes], factor: int) -> npt.NDArray[np.uint8]:
    """Return the pixels [n, s, s, 3] under a DRAFT_FACTOR; 0 decodes in full."""
    preprocessing = encoder.description.preprocessing
    preprocess.DRAFT_FACTOR = factor or 1_000
    pixels = [
        preprocess.to_pixels(
            decode(data, DecodeLimits(), reduce_for=preprocessing).rgb, preprocessing
        )
        for data in files
    ]
    return np.stack(pixels)


def main() -> None:
    """Measure and report."""
    options = new_parser(__doc__).parse_args()
    with excuses():
        chosen = preprocess.DRAFT_FACTOR
        encoder = load_encoder("starter")
        files = large_jpegs()
        full = decoded(encoder, files, 0)
        towers = {
            "before rounding": lambda pixels: unrounded_images(encoder, pixels),
            "as it is": encoder.encode_images,
        }
        results = []
        for factor in FACTORS:
            reduced = decoded(encoder, files, factor)
            for name, embed in towers.items():
                lowest = float((embed(reduced) * embed(full)).sum(axis=1).min())
                what = f"lowest cosine of {len(files)} photos, factor {factor}, {name}"
                note = f"{lowest:.4f}"
                if factor == chosen:
                    results.append(at_least(f"{what} (in use)", lowest, "", TARGET, note))
                else:
                    results.append(Result(what, lowest, "", note=note))
        report("reduced decode", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
