"""What thumbnails cost: processor time of making and storing them, as a share of indexing.

Of the same photos, in one process: reading, decoding and preparing; the thumbnail; storing it, 32
at a time; and the encoder. The share is of their sum, which is what indexing spends on a photo.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import Result, add_photo_source, at_most, excuses, new_parser, report
from photo_maker import make_photos, photo_paths

from imgsearch import DecodeLimits, load_encoder
from imgsearch.data.thumbnail_store import ThumbnailStore
from imgsearch.encoders.base import Pace
from imgsearch.encoders.decode import Photo, decode
from imgsearch.encoders.preprocess import Prepared, prepare
from imgsearch.encoders.thumbnail import make_thumbnail

TARGET_SHARE = 0.05


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=500, help="[%(default)s]")
    options = parser.parse_args()
    with excuses():
        paths = photo_paths(make_photos(options.work, options.photos, options.seed, options.source))
        encoder = load_encoder("starter")
        geometry, limits = encoder.description.preprocessing, DecodeLimits()
        seconds = {"decode and prepare": 0.0, "thumbnail": 0.0, "store it": 0.0, "encode": 0.0}

        def spent(stage: str, work: Callable[[], Any]) -> Any:
            started = time.process_time()
            result = work()
            seconds[stage] += time.process_time() - started
            return result

        def prepared(path: str) -> tuple[Photo, Prepared]:
            photo = decode(Path(path).read_bytes(), limits, reduce_for=geometry)
            return photo, prepare(photo.rgb, geometry)

        encoder.encode_images(np.zeros((1, geometry.size, geometry.size, 3), dtype=np.uint8))
        with tempfile.TemporaryDirectory() as place, ThumbnailStore(Path(place)) as store:
            step = Pace().pictures
            for start in range(0, len(paths), step):
                made, pixels = {}, []
                for number, path in enumerate(paths[start : start + step], start=start):
                    photo, ready = spent("decode and prepare", lambda path=path: prepared(path))
                    made[number.to_bytes(32, "big")] = spent(
                        "thumbnail", lambda p=photo, r=ready: make_thumbnail(p, r.scaled)
                    )
                    pixels.append(ready.pixels)
                spent("store it", lambda made=made: store.add(made))
                spent("encode", lambda pixels=pixels: encoder.encode_images(np.stack(pixels)))
        results = [
            Result(stage, 1e3 * spent_in / len(paths), "ms a photo")
            for stage, spent_in in seconds.items()
        ]
        share = (seconds["thumbnail"] + seconds["store it"]) / sum(seconds.values())
        results.append(at_most("thumbnails' share of indexing", share, "", TARGET_SHARE))
        report("thumbnails", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
