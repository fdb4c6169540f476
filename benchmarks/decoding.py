"""What it costs to make an encoder's pixels of a JPEG: imgsearch, plain Pillow and other decoders.

Photos of 0.2, 3 and 12 megapixels are made of the pictures of --source: enlarged to that size, with
grain like that of a camera (it grows with the root of the brightness, and neighbours have it in
common) until they have as many bytes as photos of that size, and saved as JPEG (quality 90, 4:2:0).
Where ../shared/data/robustness is present, real photos of at least 4 megapixels are measured, too.
Plain Pillow opens, decodes in full, converts and scales (bicubic, shorter edge, centre square);
imgsearch decodes at a fraction where that is fine enough, and scales by SIMD. Taken is processor
time, one process, from bytes in memory to pixels in memory; the contenders take turns.

The cosine is that of the starter's embeddings of both ways, the lowest of all photos.

With --others, simplejpeg, PyTurboJPEG and OpenCV are measured as well, as far as they are
installed; each decodes at the same fraction as imgsearch, and imgsearch's scaling follows.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from common import (
    CannotMeasure,
    Result,
    add_photo_source,
    at_least,
    excuses,
    new_parser,
    report,
    say,
)
from PIL import Image

from imgsearch import load_encoder
from imgsearch.encoders import Preprocessing
from imgsearch.encoders.decode import decode
from imgsearch.encoders.preprocess import draft_size, prepare
from imgsearch.settings import DecodeLimits

TARGET_OF_PILLOW, TARGET_COSINE = 2.5, 0.999
SIZES = {"0.2 MP": (500, 375), "3 MP": (2048, 1536), "12 MP": (4032, 3024)}
QUALITY = 90
# Photos of phones have 0.25 to 0.45 bytes a pixel at 12 megapixels; small ones have more.
_BYTES_A_PIXEL = 0.3
_NOISE = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0)
_LARGE_PIXELS = 4_000_000

Pixels = npt.NDArray[np.uint8]
Way = Callable[[bytes], Pixels]


def make_jpegs(source: Path, size: tuple[int, int], count: int, seed: int) -> list[bytes]:
    """Return the bytes of photos of that (width, height)."""
    pictures = sorted(source.rglob("*.jpg"))[:count]
    if not pictures:
        raise CannotMeasure(f"no JPEGs in {source}; give a folder of photos with --source")
    return [_jpeg(path, size, seed) for path in pictures]


def _jpeg(path: Path, size: tuple[int, int], seed: int) -> bytes:
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(picture, dtype=np.float32)
    grain = _grain(size, seed)[..., None] * np.sqrt(pixels / 128)
    data = b""
    for strength in _NOISE:
        noisy = np.clip(pixels + strength * grain, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=QUALITY)
        data = buffer.getvalue()
        if len(data) >= _BYTES_A_PIXEL * size[0] * size[1]:
            break
    return data


def _grain(size: tuple[int, int], seed: int) -> npt.NDArray[np.float32]:
    """Return noise float32 [height, width] of deviation 1, alike over two pixels or so."""
    random = np.random.default_rng(seed)
    half = random.standard_normal((size[1] // 2, size[0] // 2), dtype=np.float32)
    grain = np.asarray(Image.fromarray(half).resize(size, Image.Resampling.BICUBIC))
    return grain / grain.std()


def real_jpegs() -> list[bytes]:
    """Return the bytes of the large photos that the shared data has, none where it is absent."""
    found = []
    folder = Path(__file__).parents[2] / "shared" / "data" / "robustness"
    for path in sorted(folder.glob("*.jp*g")):
        try:
            with Image.open(path) as image:
                image.load()
                if image.width * image.height >= _LARGE_PIXELS:
                    found.append(path.read_bytes())
        except OSError:
            continue  # That folder is there for its damaged files.
    return found


def plain_pillow(preprocessing: Preprocessing) -> Way:
    """Return the way without any short cut."""
    edge = preprocessing.size

    def make(data: bytes) -> Pixels:
        with Image.open(io.BytesIO(data)) as opened:
            rgb = opened.convert("RGB")
        scale = edge / min(rgb.size)
        width, height = (max(edge, int(scale * length)) for length in rgb.size)
        scaled = rgb.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - edge) // 2, (height - edge) // 2
        return np.asarray(scaled.crop((left, top, left + edge, top + edge)))

    return make


def imgsearch_way(preprocessing: Preprocessing) -> Way:
    """Return what a decoding process does of it."""
    limits = DecodeLimits()
    return lambda data: (
        prepare(
            decode(data, limits, reduce_for=preprocessing).rgb,
            preprocessing,
        ).pixels
    )


def other_ways(preprocessing: Preprocessing) -> dict[str, Way]:
    """Return other decoders, with the scaling of imgsearch, as far as they are installed."""

    def scaled(pixels: Pixels) -> Pixels:
        return prepare(Image.fromarray(pixels), preprocessing).pixels

    def fraction(data: bytes) -> int:
        """Return the largest of 1, 2, 4, 8 by which imgsearch would divide the size."""
        with Image.open(io.BytesIO(data)) as opened:
            whole = opened.size
            opened.draft(None, draft_size(preprocessing))
            return round(whole[0] / opened.size[0])

    ways: dict[str, Way] = {}
    if find_spec("simplejpeg"):
        simplejpeg = import_module("simplejpeg")
        edge = draft_size(preprocessing)[0]
        ways["simplejpeg"] = lambda data: scaled(
            simplejpeg.decode_jpeg(data, "RGB", min_height=edge, min_width=edge)
        )
    if find_spec("turbojpeg"):
        turbojpeg = import_module("turbojpeg")
        try:
            decoder = turbojpeg.TurboJPEG()
        except RuntimeError as error:
            say(f"PyTurboJPEG does not work here: {error}")
        else:
            ways["PyTurboJPEG"] = lambda data: scaled(
                decoder.decode(
                    data,
                    pixel_format=turbojpeg.TJPF_RGB,
                    scaling_factor=(1, fraction(data)),
                )
            )
    if find_spec("cv2"):
        cv2 = import_module("cv2")
        cv2.setNumThreads(1)
        flags = {
            1: cv2.IMREAD_COLOR,
            2: cv2.IMREAD_REDUCED_COLOR_2,
            4: cv2.IMREAD_REDUCED_COLOR_4,
            8: cv2.IMREAD_REDUCED_COLOR_8,
        }

        def by_opencv(data: bytes) -> Pixels:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags[fraction(data)])
            return scaled(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))

        ways["OpenCV"] = by_opencv
    return ways


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=12, help="of each size [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--others", action="store_true", help="measure other decoders, too")
    options = parser.parse_args()
    with excuses():
        encoder = load_encoder("starter")
        preprocessing = encoder.description.preprocessing
        ways = {"plain Pillow": plain_pillow(preprocessing)}
        ways["imgsearch"] = imgsearch_way(preprocessing)
        if options.others:
            ways |= other_ways(preprocessing)
        results = []
        sets = {
            name: make_jpegs(options.source, size, options.photos, options.seed)
            for name, size in SIZES.items()
        }
        if found := real_jpegs():
            sets["real, 4 to 9 MP"] = found
        for name, jpegs in sets.items():
            say(f"{len(jpegs)} photos: {name} ...")
            spent = {way: _milliseconds(make, jpegs) for way, make in ways.items()}
            for _ in range(options.rounds):
                for way, make in ways.items():
                    spent[way] += _milliseconds(make, jpegs)
            vectors = {
                way: encoder.encode_images(np.stack([make(data) for data in jpegs]))
                for way, make in ways.items()
            }
            kilobytes = sum(map(len, jpegs)) / len(jpegs) / 1000
            results += _results(name, spent, vectors, f"{kilobytes:.0f} kB each")
        report("decoding", results, options.seed, as_json=options.json)


def _milliseconds(make: Way, jpegs: list[bytes]) -> list[float]:
    """Return the processor time that a way takes for a photo, on average over all of them."""
    began = time.process_time()
    for data in jpegs:
        make(data)
    return [1e3 * (time.process_time() - began) / len(jpegs)]


def _results(
    name: str,
    spent: dict[str, list[float]],
    vectors: dict[str, npt.NDArray[np.float32]],
    note: str,
) -> list[Result]:
    results = []
    plain, reference = median(spent["plain Pillow"][1:]), vectors["plain Pillow"]
    for way, taken in spent.items():
        # The first round was the warm-up.
        timed = sorted(taken[1:])
        spread = f"{timed[0]:.2f} to {timed[-1]:.2f}; {note}"
        results.append(Result(f"{name}, {way}", median(timed), "ms/photo", note=spread))
    for way, taken in spent.items():
        if way == "plain Pillow":
            continue
        ratio = plain / median(taken[1:])
        what = f"{name}, {way}: times as fast as plain Pillow"
        lowest = float((vectors[way] * reference).sum(axis=1).min())
        cosine = f"{name}, {way}: lowest cosine to plain Pillow"
        if way == "imgsearch":
            results.append(
                at_least(what, ratio, "x", TARGET_OF_PILLOW)
                if name == "12 MP"
                else Result(what, ratio, "x")
            )
            results.append(at_least(cosine, lowest, "", TARGET_COSINE, f"{lowest:.5f}"))
        else:
            results.append(Result(what, ratio, "x"))
            results.append(Result(cosine, lowest, "", note=f"{lowest:.5f}"))
    return results


if __name__ == "__main__":
    main()
