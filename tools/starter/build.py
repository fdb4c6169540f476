"""From the raw weight packages and the data to the finished model folder, in one command.

    python tools/starter/build.py --data ../shared/data --out imgsearch/encoders/starter

Everything slow is cached in the --work folder, so an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from backbone import Weights
from card import write_card
from corpus import Corpus, gather, label_vectors
from export import dimension, export_image, export_text
from features import CONTEXT_LENGTH, THREADS, ImageFeatures, TextFeatures
from graphics_training import trained_graphics
from heads import TwoHeads
from known_texts import write_known_texts
from patches import write_patches
from photos import flickr_photos
from quantize import calibration
from sources import image_weights, text_files
from training import PUPIL, TEACHERS, Recipe, pulls, stored_heads, train
from tuning import SHARE, TuningRecipe, mixed, tuned
from words import write_words

SIZE = 256
CROPS = 3
# Of the keywords and phrases that captions are cut to.
SEED = 0
WORK = Path.home() / ".cache" / "imgsearch-starter-build"
HASHED = ("image.onnx", "text.onnx", "tokenizer.json")
DESCRIPTION = (
    "Small offline model for English searches in photos: EfficientNet-lite2 and MiniLM, joined by "
    "heads trained on captions and pseudo-labels."
)


def main() -> None:
    """Build the folder that --out names."""
    arguments = parse()
    out, work, data = arguments.out, arguments.work, arguments.data
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    weights = tower_weights(data, work)
    minilm, tokenizer = text_files(work)
    encode = TextFeatures(minilm, tokenizer, work)
    labels = label_vectors(data, encode)
    pixels = calibration(flickr_photos(data, "train"), SIZE)
    images = ImageFeatures(weights, SIZE, labels, pixels, work)
    corpus = gather(data, work, images, encode, CROPS, SEED)
    heads = trained(corpus, work, images.fingerprint + encode.fingerprint)
    of_photos, of_texts = pulls(corpus, heads)
    drawings = trained_graphics(data, work, tokenizer)
    image, text = heads.image.weights(), heads.text.weights()
    fixed = (weights, SIZE, labels, PUPIL.parts)
    export_image(out / "image.onnx", *fixed, image, of_photos, drawings.image, pixels)
    export_text(out / "text.onnx", minilm, CONTEXT_LENGTH, text, of_texts, drawings)
    write_patches(out)
    write_tokenizer(tokenizer, out / "tokenizer.json")
    write_description(out, dimension(image))
    write_words(out, data)
    write_known_texts(out)
    write_card(out, data)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of flickr8k and so on")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument(
        "--work",
        type=Path,
        default=WORK,
        help="where features are cached (about 400 MB)",
    )
    return parser.parse_args()


def tower_weights(data: Path, work: Path) -> Weights:
    """Those of the image tower, tuned to worn photos."""
    untuned = Weights(image_weights())
    return mixed(untuned, tuned(untuned, data, SIZE, work, TuningRecipe()), SHARE)


def trained(corpus: Corpus, work: Path, features: str) -> TwoHeads:
    """Heads on the features so named, and those that teach them, kept in `work`."""

    def kept(recipe: Recipe, teachers: Sequence[Path] = ()) -> Path:
        key = f"{recipe} {[path.name for path in teachers]} {CROPS} {features}"
        path = work / f"heads_{hashlib.sha256(key.encode()).hexdigest()[:12]}.pt"
        if not path.exists():
            torch.save(train(corpus, recipe, teachers).state_dict(), path)
        return path

    pupil = kept(PUPIL, [kept(teacher) for teacher in TEACHERS])
    return stored_heads(pupil, corpus.with_parts(PUPIL.parts), PUPIL)


def write_tokenizer(source: Path, target: Path) -> None:
    """MiniLM's tokenizer without its fixed truncation and padding, which the product sets."""
    tokenizer = json.loads(source.read_text(encoding="utf-8"))
    tokenizer["truncation"] = tokenizer["padding"] = None
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    target.write_text(text, encoding="utf-8")


def write_description(out: Path, dimension: int) -> None:
    """model.json; the revision changes with any byte that changes embeddings."""
    digest = hashlib.sha256()
    for name in HASHED:
        digest.update((out / name).read_bytes())
    description = {
        "format": 1,
        "name": "starter",
        "revision": digest.hexdigest()[:12],
        "dimension": dimension,
        "image": {"size": SIZE, "resize": "crop", "resample": "bicubic"},
        "text": {"context_length": CONTEXT_LENGTH, "languages": ["en"]},
        "license": "Apache-2.0",
        "description": DESCRIPTION,
    }
    (out / "model.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
