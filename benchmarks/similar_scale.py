"""How long `Library.near_duplicates` takes on a large library: at first, after new photos, warm.

The library is a catalog of pictures that exist nowhere; their thumbnails are parts, half as wide
and high, of the photos in --source, so that they differ as photos do.
"""

from __future__ import annotations

import io
import random
import time
from pathlib import Path

from catalogs import synthetic_library
from common import CannotMeasure, Result, at_most, excuses, new_parser, report, say
from PIL import Image

from imgsearch import Library
from imgsearch.data.reader import CatalogReader
from imgsearch.data.signature_store import FILE_NAME
from imgsearch.data.thumbnail_store import ThumbnailStore

TARGET_WARM = 0.150
SHARED = Path(__file__).parents[2] / "shared" / "data"
_BATCH = 500


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument("--source", type=Path, default=SHARED, metavar="DIR", help="[%(default)s]")
    parser.add_argument("--pictures", type=int, default=50_000, help="[%(default)s]")
    options = parser.parse_args()
    with excuses():
        place = synthetic_library(options.work, options.pictures, options.seed)
        fill_thumbnails(place, options.source, options.seed)
        (place / FILE_NAME).unlink(missing_ok=True)
        results = []
        with Library.open(place) as library:
            started, worked = time.monotonic(), time.process_time()
            groups = library.near_duplicates(progress=lambda *_: None)
            note = f"{time.process_time() - worked:.0f} s of processor time, {len(groups)} groups"
            results.append(Result("first", time.monotonic() - started, "s", note=note))
        with Library.open(place) as library:
            results.append(timed("warm, opened anew", library))
            results.append(timed("warm, again", library))
        report("near-duplicates at scale", results, options.seed, as_json=options.json)


def timed(what: str, library: Library) -> Result:
    """Return how long the groups take that are known already."""
    started, worked = time.monotonic(), time.process_time()
    library.near_duplicates()
    note = f"{time.process_time() - worked:.3f} s of processor time"
    return at_most(what, time.monotonic() - started, "s", TARGET_WARM, note)


def fill_thumbnails(place: Path, source: Path, seed: int) -> None:
    """Give every picture of the library a thumbnail that is a part of a photo."""
    done = place / "thumbnails.done"
    if done.exists():
        return
    photos = sorted(source.rglob("*.jpg"))
    if not photos:
        raise CannotMeasure(f"{source} holds no photos")
    say("making thumbnails ...")
    with CatalogReader(place) as reader, ThumbnailStore(place) as store:
        hashes = [row[0] for row in reader.rows("SELECT content_hash FROM picture")]
        chance = random.Random(seed)
        for start in range(0, len(hashes), _BATCH):
            page = hashes[start : start + _BATCH]
            store.add({one: part_of(chance.choice(photos), chance) for one in page})
    done.touch()


def part_of(photo: Path, chance: random.Random) -> bytes:
    """Return a JPEG of a part of a photo, half as wide and high, anywhere."""
    with Image.open(photo) as image:
        image.draft("RGB", (512, 512))
        left = chance.randint(0, image.width // 2)
        top = chance.randint(0, image.height // 2)
        part = image.convert("RGB").crop(
            (left, top, left + image.width // 2, top + image.height // 2)
        )
    target = io.BytesIO()
    part.resize((256, 256)).save(target, "JPEG", quality=75)
    return target.getvalue()


if __name__ == "__main__":
    main()
