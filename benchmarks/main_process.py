"""What a photo costs the indexing process itself: processor time beside decoding and the encoder.

`Library.index` runs as always, decoding processes included, under an encoder that returns constant
unit rows at no cost, with the input size and dimension of a ViT-B/32. What is counted is the
processor time of this one process (all its threads; not its children), split at the first and at
the last report of progress: scan (listing and comparing), pipeline (decode outcomes in, batches
out), finish (book-keeping and FAISS cache). Then the two stores alone, by wall time.

With --instant the decoding processes decode only their first photo, so that two cores bring as many
a second as sixteen would: what is waited for, and how often, is then as it is at full speed.

The target is for a machine that should index 5,000 photos a second: at more than 0.2 ms a photo
this process would be what holds it up.
"""

from __future__ import annotations

import gc
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Result, add_photo_source, at_least, at_most, excuses, new_parser, report, say
from photo_maker import make_photos

from imgsearch import IndexSettings, Library, Progress
from imgsearch.data.catalog import Catalog
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
from imgsearch.data.thumbnail_store import ThumbnailStore
from imgsearch.encoders.base import ModelDescription, Preprocessing

TARGET_MILLISECONDS, TARGET_STORE = 0.2, 5_000.0
_SIZE, _DIMENSION = 224, 512
# About what the thumbnail of a photo of 500 x 375 pixels has.
_THUMBNAIL_BYTES = 8_000


class ConstantEncoder:
    """Gives every picture the same unit row, at the cost of a slice."""

    def __init__(self, batch: int) -> None:
        self.description = ModelDescription(
            name="constant",
            source="constant",
            revision="1",
            dimension=_DIMENSION,
            preprocessing=Preprocessing(size=_SIZE),
            context_length=1,
            licence="Apache-2.0",
        )
        self._rows = np.full((batch, _DIMENSION), _DIMENSION**-0.5, dtype=np.float32)

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return unit rows [n, 512] for pixels [n, 224, 224, 3]."""
        return self._rows[: len(pixels)]

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return unit rows [n, 512] for n texts."""
        return self._rows[: len(texts)]


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=4_000, help="[%(default)s]")
    parser.add_argument("--batch", type=int, default=256, help="pictures a batch [%(default)s]")
    parser.add_argument("--workers", type=int, help="decoding processes [the number of cores]")
    parser.add_argument("--instant", action="store_true", help="do not really decode")
    options = parser.parse_args()
    if options.instant:
        # Only for the children that are to come.
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent / "instant")
    with excuses():
        few = make_photos(options.work, 32, options.seed, options.source)
        folder = make_photos(options.work, options.photos, options.seed, options.source)
        settings = IndexSettings(batch_size=options.batch, decode_workers=options.workers)
        # What is loaded once, whatever the number of photos, is loaded before the measurement.
        _indexed(few, settings)
        say(f"indexing {folder} ...")
        results = _indexed(folder, settings)
        say("the stores alone ...")
        results += [
            at_least("store alone", _store_rate(options.batch), "photos/s", TARGET_STORE),
            at_least("thumbnails alone", _thumbnail_rate(options.batch), "photos/s", TARGET_STORE),
        ]
        report("the indexing process", results, options.seed, as_json=options.json)


def _indexed(folder: Path, settings: IndexSettings) -> list[Result]:
    """Index `folder` into a new library and tell what that cost this process."""
    reports: list[tuple[float, float]] = []

    def on_progress(_: Progress) -> None:
        # The first one and, in place of the one before, the latest.
        reports[1:] = [_processor_time()]

    encoder = ConstantEncoder(settings.batch_size)
    with (
        tempfile.TemporaryDirectory() as place,
        Library.open(Path(place) / "library", model=encoder) as library,
    ):
        gc.collect()
        start = _processor_time()
        run = library.index(folder, settings=settings, progress=on_progress)
        end = _processor_time()
    first, last = reports[0], reports[-1]
    count = run.embedded

    def spent(since: tuple[float, float], until: tuple[float, float]) -> tuple[float, str]:
        user, system = (1e3 * (b - a) / count for a, b in zip(since, until, strict=True))
        return user + system, f"user {user:.3f}, system {system:.3f}"

    phases = {"scan": (start, first), "pipeline": (first, last), "finish": (last, end)}
    results = []
    for name, (since, until) in phases.items():
        value, note = spent(since, until)
        results.append(Result(f"  {name}", value, "ms/photo", note=note))
    whole, note = spent(start, end)
    return [
        at_most("processor time", whole, "ms/photo", TARGET_MILLISECONDS, note),
        *results,
        Result("indexed, decoding included", run.photos_per_second, "photos/s"),
    ]


def _processor_time() -> tuple[float, float]:
    """Return the seconds that this process has used so far: its own, and the system's for it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime


def _rate(count: int, step: int, work: Callable[[range], None]) -> float:
    """Return how many of `count` things a second `work` does, `step` at a time."""
    started = time.perf_counter()
    for start in range(0, count, step):
        work(range(start, min(start + step, count)))
    return count / (time.perf_counter() - started)


def _store_rate(batch: int, count: int = 20_000) -> float:
    facts = PictureFacts(width=500, height=375, format="JPEG")
    vector = bytes(2 * _DIMENSION)
    with tempfile.TemporaryDirectory() as place, Catalog(Path(place)) as catalog:
        model = catalog.register_model("constant", "1", "constant", _DIMENSION)
        root = catalog.add_root("/photos")
        store = PhotoStore(catalog, model)
        random = np.random.default_rng(0)
        photos = [
            NewPhoto(FileStat(root, f"2024/IMG_{n}.jpg", n, n), random.bytes(32), facts, vector)
            for n in range(count)
        ]
        return _rate(
            count, batch, lambda part: store.store(photos[part.start : part.stop]) and None
        )


def _thumbnail_rate(batch: int, count: int = 20_000) -> float:
    random = np.random.default_rng(0)
    hashes = [random.bytes(32) for _ in range(count)]
    jpeg = random.bytes(_THUMBNAIL_BYTES)
    with tempfile.TemporaryDirectory() as place, ThumbnailStore(Path(place)) as store:
        return _rate(count, batch, lambda part: store.add({hashes[n]: jpeg for n in part}))


if __name__ == "__main__":
    main()
