"""Photos per second of indexing, end to end, against the encoder alone and against rclip.

In turns, several times over: the encoder on ready pixels of the same photos; `Library.index` in
this process into a new library, from before the model is loaded until the search index is written;
`imgsearch index` as a process, its start included; and, with --peer, `rclip` into a new database
(see peers/rclip.py). The time that rclip spends on the query it ends with is not counted.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from common import (
    Bystanders,
    CannotMeasure,
    Result,
    add_photo_source,
    at_least,
    excuses,
    imgsearch_command,
    measured,
    new_parser,
    report,
    say,
)
from peers.rclip import Rclip
from photo_maker import make_photos, photo_paths
from PIL import Image

from imgsearch import Encoder, Library, load_encoder
from imgsearch.encoders.base import Pace
from imgsearch.encoders.preprocess import to_pixels

TARGET_OF_ENCODER = 0.85
TARGET_OF_PEER = 3.0


def encoder_seconds(encoder: Encoder, pixels: npt.NDArray[np.uint8]) -> float:
    """Return how long the encoder takes for `pixels` [n, s, s, 3] in the pipeline's batches."""
    size = Pace().pictures
    started = time.perf_counter()
    for start in range(0, len(pixels), size):
        encoder.encode_images(pixels[start : start + size])
    return time.perf_counter() - started


def library_seconds(photos: Path, count: int) -> float:
    """Return how long the Python interface takes to make a library of `photos`."""
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        with Library.open(Path(place) / "library") as library:
            run = library.index(photos)
        seconds = time.perf_counter() - started
    if run.embedded != count:
        raise CannotMeasure(f"only {run.embedded} of {count} photos were embedded")
    return seconds


def command_seconds(photos: Path) -> float:
    """Return how long the command line takes to make a library of `photos`."""
    with tempfile.TemporaryDirectory() as place:
        library = str(Path(place) / "library")
        return measured([*imgsearch_command(), "index", str(photos), "--library", library]).seconds


def peer_seconds(peer: Rclip, photos: Path) -> float:
    """Return how long rclip takes to index `photos`, less a query like the one it ends with."""
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        whole = peer.index(photos, data).seconds
        return whole - peer.query("a photo", photos, data).seconds


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=4_000, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="[%(default)s]")
    parser.add_argument("--peer", action="store_true", help="measure rclip as well")
    options = parser.parse_args()
    with excuses():
        folder = make_photos(options.work, options.photos, options.seed, options.source)
        peer = Rclip(options.work) if options.peer else None
        encoder = load_encoder("starter")
        pixels = _ready_pixels(encoder, folder)
        encoder.encode_images(pixels[:64])
        seconds: dict[str, list[float]] = {"encoder": [], "library": [], "command": [], "peer": []}
        for turn in range(options.rounds):
            bystanders = Bystanders()
            seconds["encoder"].append(encoder_seconds(encoder, pixels))
            seconds["library"].append(library_seconds(folder, options.photos))
            seconds["command"].append(command_seconds(folder))
            if peer is not None:
                seconds["peer"].append(peer_seconds(peer, folder))
            last = ", ".join(
                f"{name} {taken[-1]:.1f} s" for name, taken in seconds.items() if taken
            )
            others = f"(others used {100 * bystanders.share():.0f} % of the cores)"
            say(f"round {turn + 1} of {options.rounds}: {last} {others}")
        report("indexing", _results(seconds, options.photos), options.seed, as_json=options.json)


def _ready_pixels(encoder: Encoder, folder: Path) -> npt.NDArray[np.uint8]:
    """Return the pixels [n, s, s, 3] that the pipeline would make of the photos."""
    preprocessing = encoder.description.preprocessing
    rows = []
    for path in photo_paths(folder):
        with Image.open(path) as photo:
            rows.append(to_pixels(photo.convert("RGB"), preprocessing))
    return np.stack(rows)


def _results(seconds: dict[str, list[float]], count: int) -> list[Result]:
    """Turn the times of the rounds into rates and their ratios (medians over the rounds)."""
    rates = {name: [count / one for one in taken] for name, taken in seconds.items()}

    def rate(name: str, what: str) -> Result:
        low, high = min(rates[name]), max(rates[name])
        return Result(what, median(rates[name]), "photos/s", note=f"{low:.1f} to {high:.1f}")

    def ratio(what: str, above: str, below: str, target: float) -> Result:
        pairs = zip(rates[above], rates[below], strict=True)
        return at_least(what, median(one / other for one, other in pairs), "", target)

    results = [
        rate("encoder", "encoder alone"),
        rate("library", "Library.index"),
        rate("command", "imgsearch index, whole process"),
        ratio("Library.index / encoder", "library", "encoder", TARGET_OF_ENCODER),
        ratio("imgsearch index / encoder", "command", "encoder", TARGET_OF_ENCODER),
    ]
    if rates["peer"]:
        results += [
            rate("peer", "rclip, less its query"),
            ratio("imgsearch index / rclip", "command", "peer", TARGET_OF_PEER),
        ]
    return results


if __name__ == "__main__":
    main()
