"""Photos per second, stage by stage and end to end, with a ViT-B/32 on the best device there is.

read: the files into memory. decode, prepare: in one process, as each decoding process does them.
copy: uint8 pixels to the device. encode: the model on pixels that lie in main memory, copy
included, two calls at once, which is the ceiling. store: batches into the catalog. index: all of
it, `Library.index`. agreement: the lowest cosine between vectors in the device's precision and in
float32 on the CPU; where the device is a CPU, bfloat16 on it stands in for a GPU.

With several devices (--device cuda:0,cuda:1, and by default all NVIDIA GPUs) "encode" is what the
first does alone, "encode, all devices" what they do together; "cpu,cpu" tries the machinery only.

The model has CLIP's dimensions and random weights, made on the spot. The targets are for one
H100-class GPU with 16 cores; elsewhere the figures are shown without them.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import Result, add_photo_source, at_least, excuses, new_parser, report, say
from device_decoding import decoding_on_the_device
from exported_model import make_vit_b_32
from photo_maker import make_photos, photo_paths

from imgsearch import DecodeLimits, IndexSettings, Library, load_encoder
from imgsearch.data.catalog import Catalog
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
from imgsearch.encoders.decode import Photo, decode
from imgsearch.encoders.device import device_names
from imgsearch.encoders.indexing import pace_of
from imgsearch.encoders.preprocess import prepare
from imgsearch.settings import available_cores

TARGET_ENCODER, TARGET_INDEX = 20_000.0, 5_000.0
TARGET_AGREEMENT = 0.999
_LARGE_GPU_BYTES = 70e9


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many of `count` things a second `work` does."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument("--photos", type=int, default=1_000, help="[%(default)s]")
    parser.add_argument(
        "--agreement", type=int, default=64, help="photos compared with float32 [%(default)s]"
    )
    parser.add_argument("--batch", type=int, default=256, help="pictures a batch [%(default)s]")
    parser.add_argument(
        "--device", help="cpu, cuda, mps, several with commas [the best there is, all GPUs]"
    )
    options = parser.parse_args()
    with excuses():
        folder = make_photos(options.work, options.photos, options.seed, options.source)
        place = options.work / f"gpu-pipeline-seed{options.seed}"
        shutil.rmtree(place, ignore_errors=True)
        checkpoint = make_vit_b_32(place, options.seed)
        encoder: Any = load_encoder(str(checkpoint), options.device)
        names = device_names(options.device)
        one: Any = encoder if len(names) < 2 else load_encoder(str(checkpoint), names[0])
        pixels, results = _stages(one, folder, options.batch)
        if len(names) > 1:
            say(f"encode, on {len(names)} devices ...")
            results.append(_encode_on_all(encoder, pixels, options.batch, len(names)))
        say("agreement ...")
        results.append(_agreement(one, checkpoint, pixels[: options.agreement]))
        say("indexing ...")
        settings = IndexSettings(batch_size=options.batch)
        with (
            tempfile.TemporaryDirectory() as library,
            Library.open(Path(library) / "library", model=encoder) as opened,
        ):
            run = opened.index(folder, settings=settings)
        ceiling = next(one.value for one in reversed(results) if one.what.startswith("encode"))
        whole = run.embedded / run.seconds
        results += [
            _judged(one, "index, end to end", whole, TARGET_INDEX),
            Result("index / encode", whole / ceiling, ""),
            Result("cores", available_cores(), ""),
        ]
        report(
            f"pipeline on {', '.join(names) or one._device}",
            results,
            options.seed,
            as_json=options.json,
        )


def _stages(encoder: Any, folder: Path, batch: int) -> tuple[npt.NDArray[np.uint8], list[Result]]:
    """Measure every stage by itself; return the pixels of all photos and the figures."""
    paths = photo_paths(folder)
    geometry = encoder.description.preprocessing
    limits = DecodeLimits()
    contents: list[bytes] = []
    photos: list[Photo] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    stages = {
        "read": lambda: contents.extend(Path(path).read_bytes() for path in paths),
        "decode, one process": lambda: photos.extend(
            decode(content, limits, reduce_for=geometry) for content in contents
        ),
        "prepare, one process": lambda: pixels.extend(
            prepare(photo.rgb, geometry).pixels for photo in photos
        ),
    }
    results = []
    for name, work in stages.items():
        say(f"{name} ...")
        results.append(Result(name, rate(len(paths), work), "photos/s"))
    ready = np.stack(pixels)
    encoder.encode_images(ready[:batch])
    results += decoding_on_the_device(encoder, contents, ready, batch)
    say("copy, encode, store ...")
    results.append(Result("copy", rate(len(ready), lambda: _copied(encoder, ready)), "photos/s"))
    ceiling = rate(len(ready), lambda: _encoded(encoder, ready, batch))
    results.append(_judged(encoder, "encode", ceiling, TARGET_ENCODER))
    vectors = np.zeros((len(ready), encoder.description.dimension), dtype="<f2")
    results.append(Result("store", rate(len(ready), lambda: _stored(vectors, batch)), "photos/s"))
    return ready, results


def _encoded(
    encoder: Any, pixels: npt.NDArray[np.uint8], batch: int
) -> list[npt.NDArray[np.float32]]:
    """Embed in batches, as many at once as the pipeline has under way."""
    with ThreadPoolExecutor(pace_of(encoder).calls) as threads:
        parts = [pixels[start : start + batch] for start in range(0, len(pixels), batch)]
        return list(threads.map(encoder.encode_images, parts))


def _encode_on_all(fleet: Any, pixels: npt.NDArray[np.uint8], batch: int, devices: int) -> Result:
    """Measure all devices together, each after its process has loaded the model."""
    many = np.concatenate([pixels] * devices)
    with fleet:
        _encoded(fleet, many, batch)
        value = rate(len(many), lambda: _encoded(fleet, many, batch))
    return Result("encode, all devices", value, "photos/s", note=f"{devices} processes")


def _agreement(encoder: Any, checkpoint: Path, pixels: npt.NDArray[np.uint8]) -> Result:
    """Compare the device's precision with float32 on a CPU."""
    import torch

    exact: Any = load_encoder(str(checkpoint), "cpu")
    reduced, note = encoder, str(encoder._dtype).removeprefix("torch.")
    if encoder._dtype == torch.float32:
        reduced = load_encoder(str(checkpoint), "cpu")
        reduced._dtype = torch.bfloat16
        note = "bfloat16 on the CPU, as a stand-in"
    cosines = (exact.encode_images(pixels) * reduced.encode_images(pixels)).sum(axis=1)
    what = f"agreement over {len(pixels)} photos"
    return at_least(what, float(cosines.min()), "", TARGET_AGREEMENT, note)


def _copied(encoder: Any, pixels: npt.NDArray[np.uint8]) -> None:
    import torch

    moved = torch.from_numpy(pixels).to(encoder._device)
    # Reading one value waits until all of them are there.
    moved[-1, -1, -1, -1].item()


def _stored(vectors: npt.NDArray[np.float16], batch: int) -> None:
    facts = PictureFacts(width=500, height=375, format="JPEG")
    with tempfile.TemporaryDirectory() as place, Catalog(Path(place)) as catalog:
        model = catalog.register_model("benchmark", "1", "benchmark", vectors.shape[1])
        root = catalog.add_root("/photos")
        store = PhotoStore(catalog, model)
        for start in range(0, len(vectors), batch):
            store.store(
                [
                    NewPhoto(
                        FileStat(root, f"{n}.jpg", n, n), n.to_bytes(32, "big"), facts,
                        vectors[n].tobytes(),
                    )
                    for n in range(start, min(start + batch, len(vectors)))
                ]
            )  # fmt: skip


def _judged(encoder: Any, what: str, value: float, target: float) -> Result:
    """Return a figure, with its target where the machine is what the target is for."""
    import torch

    large = (
        encoder._device.type == "cuda"
        and torch.cuda.get_device_properties(encoder._device).total_memory > _LARGE_GPU_BYTES
    )
    return at_least(what, value, "photos/s", target) if large else Result(what, value, "photos/s")


if __name__ == "__main__":
    main()
