"""How many edited copies of photos `Library.near_duplicates` finds, and how many it makes up.

Photos of the shared data (Flickr8k dev and one for each class of ImageNet, half of each) are edited
in six ways: scaled, cropped to 90 % of width and height anywhere, saved as JPEG of quality 30, made
grey, turned by 90 degrees, written on. One half of the photos is for tuning, the other for the
report; each with its copies is a library, in which the other photos are the decoys.

Recall is over all pairs of files of one photo (original and edit, edit and edit), and over pairs of
an original and its edit; precision is over all pairs within the groups that were found. Edits
beyond the six are reported without a target. Last, all photos of the shared data as they are: the
pairs found there are listed, to be looked at.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from common import CannotMeasure, Result, at_least, excuses, new_parser, report, say
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from imgsearch import Library
from imgsearch.encoders.base import ModelDescription, Preprocessing, Resize
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.search.near_duplicates import DEFAULT_THRESHOLD, DuplicateGroup

SHARED = Path(__file__).parents[2] / "shared" / "data"
TARGET_PRECISION, TARGET_RECALL = 0.99, 0.95
TEXTS = ("Happy birthday!", "Summer 2021", "(c) A. Photographer", "SALE 50 % off")
# Photos of which the data holds a second, near-identical one, found by eye in the list at the end.
TWINS: frozenset[str] = frozenset()


def scaled(image: Image.Image, chance: random.Random) -> Image.Image:
    """Return it at 30 to 70 % of its size."""
    factor = chance.uniform(0.3, 0.7)
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.LANCZOS)


def cropped(image: Image.Image, chance: random.Random, share: float = 0.9) -> Image.Image:
    """Return a part of it, anywhere, of this share of its width and height."""
    width, height = round(image.width * share), round(image.height * share)
    left, top = chance.randint(0, image.width - width), chance.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def turned(image: Image.Image, chance: random.Random) -> Image.Image:
    """Return it turned by 90 degrees, either way."""
    ways = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)
    return image.transpose(chance.choice(ways))


def written_on(image: Image.Image, chance: random.Random) -> Image.Image:
    """Return it with a line of text a ninth as high as it, anywhere."""
    image = image.copy()
    font = ImageFont.load_default(size=max(10, image.height // 9))
    place = chance.uniform(0.02, 0.3) * image.width, chance.uniform(0.02, 0.85) * image.height
    colour = chance.choice(("white", "yellow", "black", "red"))
    ImageDraw.Draw(image).text(place, chance.choice(TEXTS), font=font, fill=colour)
    return image


def tilted(image: Image.Image, chance: random.Random) -> Image.Image:
    """Return it turned by 3 degrees, without the empty corners."""
    image = image.rotate(chance.choice((-3, 3)), Image.Resampling.BICUBIC)
    return image.crop([round(edge * at) for at in (0.06, 0.94) for edge in image.size])


def brighter(image: Image.Image, chance: random.Random) -> Image.Image:
    """Return it brighter by 25 %, and with a fifth more contrast."""
    return ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(1.25)).enhance(1.2)


class Uninterested(FakeEncoder):
    """An encoder that costs nothing, for which pictures are decoded as for a real one."""

    @property
    def description(self) -> ModelDescription:
        """The fake's, with the geometry of CLIP."""
        return replace(super().description, preprocessing=Preprocessing(256, Resize.CROP))


Edit = Callable[[Image.Image, random.Random], Image.Image]
EDITS: dict[str, Edit] = {
    "resize": scaled,
    "crop10": cropped,
    "jpeg30": lambda image, chance: image,
    "grey": lambda image, chance: image.convert("L"),
    "turn90": turned,
    "text": written_on,
}
FURTHER: dict[str, Edit] = {
    "mirror": lambda image, chance: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "tilt3": tilted,
    "bright": brighter,
    "crop20": lambda image, chance: cropped(image, chance, 0.8),
}


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument("--shared", type=Path, default=SHARED, metavar="DIR", help="[%(default)s]")
    parser.add_argument("--photos", type=int, default=1_000, help="[%(default)s]")
    parser.add_argument("--tune", action="store_true", help="show thresholds on the tuning half")
    options = parser.parse_args()
    with excuses():
        photos = chosen_photos(options.shared, options.photos, options.seed)
        half = len(photos) // 2
        results: list[Result] = []
        if options.tune:
            tuning = library_of(options, "tuning", photos[:half], EDITS)
            for step in range(60, 96, 3):
                groups = tuning.near_duplicates(threshold=step / 100)
                precision, recall, _ = judged(groups, half, list(EDITS))
                note = f"precision {precision:.4f}"
                results.append(Result(f"tuning: recall at {step / 100}", recall, "", note=note))
        reported = library_of(options, "report", photos[half:], EDITS)
        groups = reported.near_duplicates()
        results += told(groups, len(photos) - half)
        further = library_of(options, "further", photos[half:], FURTHER)
        for kind, share in kinds_found(
            further.near_duplicates(), len(photos) - half, list(FURTHER)
        ).items():
            results.append(Result(f"recall of {kind}", share, ""))
        results += decoys(options)
        report("near-duplicates", results, options.seed, as_json=options.json)


def told(groups: Sequence[DuplicateGroup], photos: int) -> list[Result]:
    """Return the figures of the half for the report."""
    precision, recall, pairs = judged(groups, photos, list(EDITS))
    kinds = kinds_found(groups, photos, list(EDITS))
    at = f"threshold {DEFAULT_THRESHOLD}"
    return [
        at_least("precision of pairs", precision, "", TARGET_PRECISION, f"{pairs} pairs, {at}"),
        at_least("recall of all pairs", recall, "", TARGET_RECALL),
        at_least(
            "recall of original and edit", sum(kinds.values()) / len(kinds), "", TARGET_RECALL
        ),
        *(Result(f"recall of {kind}", share, "") for kind, share in kinds.items()),
    ]


def judged(
    groups: Sequence[DuplicateGroup], photos: int, kinds: Sequence[str]
) -> tuple[float, float, int]:
    """Return precision and recall over all pairs within groups, and how many pairs there are."""
    right = wrong = 0
    for group in groups:
        names = [photo_of(path) for path in (group.best.path, *group.surplus_paths)]
        total = len(names) * (len(names) - 1) // 2
        same = sum(count * (count - 1) // 2 for count in Counter(names).values())
        right, wrong = right + same, wrong + total - same
    versions = 1 + len(kinds)
    possible = photos * versions * (versions - 1) // 2
    return right / max(1, right + wrong), right / possible, right + wrong


def kinds_found(
    groups: Sequence[DuplicateGroup], photos: int, kinds: Sequence[str]
) -> dict[str, float]:
    """Return, for each kind of edit, the share of originals that are grouped with theirs."""
    found: Counter[str] = Counter()
    for group in groups:
        paths = [group.best.path, *group.surplus_paths]
        versions: dict[str, set[str]] = {}
        for path in paths:
            versions.setdefault(photo_of(path), set()).add(Path(path).stem)
        for held in versions.values():
            if "original" in held:
                found.update(held)
    return {kind: found[kind] / photos for kind in kinds}


def photo_of(path: str) -> str:
    """Return the photo that a file of a made library is a version of."""
    return Path(path).parent.name


def chosen_photos(shared: Path, count: int, seed: int) -> list[Path]:
    """Return photos, half of each source, in random order. Raises CannotMeasure."""
    chance = random.Random(seed)
    chosen = []
    for source in ("flickr8k/dev", "imagenet-1000/images"):
        names = sorted(path for path in (shared / source).glob("*.jpg") if path.stem not in TWINS)
        if len(names) < count // 2:
            raise CannotMeasure(f"{shared / source} holds fewer than {count // 2} photos")
        chosen += chance.sample(names, count // 2)
    chance.shuffle(chosen)
    return chosen


def library_of(
    options: argparse.Namespace, name: str, photos: Sequence[Path], edits: dict[str, Edit]
) -> Library:
    """Return a library of the photos and their edits; made once, but compared anew every time."""
    place = options.work / f"near-duplicates-{name}-{options.photos}-{options.seed}"
    folder, done = place / "photos", place / "done"
    if not done.exists():
        say(f"making {len(photos)} photos with {len(edits)} edits each ...")
        shutil.rmtree(place, ignore_errors=True)
        for number, photo in enumerate(photos):
            write_versions(photo, folder / f"{number:04d}", edits, options.seed)
        with Library.open(place / "library", model=Uninterested()) as library:
            library.index(folder)
        done.touch()
    return compared_anew(place / "library", name)


def compared_anew(place: Path, name: str) -> Library:
    """Return the library at a place after its pictures were compared from the beginning."""
    (place / "similar.sqlite").unlink(missing_ok=True)
    library = Library.open(place, model=Uninterested())
    started, worked = time.monotonic(), time.process_time()
    library.near_duplicates()
    say(
        f"{name}: compared in {time.monotonic() - started:.1f} s, "
        f"{time.process_time() - worked:.1f} s of processor time"
    )
    return library


def write_versions(photo: Path, folder: Path, edits: dict[str, Edit], seed: int) -> None:
    """Write the photo as it is, and each edit of it as JPEG of quality 90 (or 30)."""
    folder.mkdir(parents=True)
    shutil.copyfile(photo, folder / "original.jpg")
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    for kind, edit in edits.items():
        target = io.BytesIO()
        made = edit(image, random.Random(f"{seed} {photo.name} {kind}"))
        made.save(target, "JPEG", quality=30 if kind == "jpeg30" else 90)
        (folder / f"{kind}.jpg").write_bytes(target.getvalue())


def decoys(options: argparse.Namespace) -> list[Result]:
    """Return what is found among all photos of the shared data as they are."""
    place = options.work / "near-duplicates-shared"
    with Library.open(place, model=Uninterested()) as library:
        say("indexing all photos of the shared data ...")
        sources = [options.shared / name for name in ("flickr8k", "imagenet-1000", "clothing")]
        indexed = library.index([path for path in sources if path.is_dir()])
        count = indexed.added + indexed.unchanged
    groups = compared_anew(place, "shared data").near_duplicates()
    for group in groups:
        for one, other in combinations(group.hits, 2):
            alike = min(group.alike[group.hits.index(one)], group.alike[group.hits.index(other)])
            say(f"  {alike:.2f}  {os.path.basename(one.path)}  {os.path.basename(other.path)}")
    pairs = sum(len(group.hits) * (len(group.hits) - 1) // 2 for group in groups)
    return [
        Result(
            "pairs among all shared photos", pairs, "", note=f"of {count:,} photos; look at them"
        )
    ]


if __name__ == "__main__":
    main()
