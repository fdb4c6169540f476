"""Several devices at once: real processes that are really killed. A "device" here is a CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import EXAMPLES, WHOLE
from test_checkpoints import make_clip

from imgsearch import Library, UsageError, load_encoder
from imgsearch.encoders.fleet import FleetEncoder
from imgsearch.encoders.indexing import pace_of
from imgsearch.errors import ModelError, ModelInvalid

# Loaded by every encoding process at its start. A picture whose first value is 13 kills the process
# that embeds it, until `deaths` processes have died; one of 17 is an error that is told; one of 19
# is an error that nobody expects.
SABOTAGE = """
import os, signal, sys
if "imgsearch.encoders.fleet_worker" in sys.orig_argv:
    from pathlib import Path
    from imgsearch.encoders.onnx_folder import OnnxFolderEncoder
    from imgsearch.errors import ModelInvalid
    place = Path(os.environ["SABOTAGE"])
    place.joinpath(f"{os.getpid()}.started").touch()
    encode = OnnxFolderEncoder.encode_images
    def attacked(self, pixels):
        place.joinpath(f"{os.getpid()}.used").touch()
        marks = set(pixels[:, 0, 0, 0].tolist()) if len(pixels) else set()
        if 13 in marks and len(list(place.glob("*.died"))) < int(os.environ["DEATHS"]):
            place.joinpath(f"{os.getpid()}.died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if 17 in marks:
            raise ModelInvalid("this model is broken")
        if 19 in marks:
            raise ZeroDivisionError("the driver is broken")
        return encode(self, pixels)
    OnnxFolderEncoder.encode_images = attacked
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which sabotaged encoding processes leave their marks, by process id."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SABOTAGE)
    repository = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(repository)]))
    monkeypatch.setenv("SABOTAGE", str(site))
    monkeypatch.setenv("DEATHS", "1")
    return site


@pytest.fixture
def fleet(place: Path) -> Iterator[FleetEncoder]:
    """The built-in model, which starts quickly, in two processes."""
    with FleetEncoder(load_encoder("starter"), ["cpu", "cpu"]) as entered:
        yield entered


def batch(count: int, seed: int = 0, mark: int = 1) -> npt.NDArray[np.uint8]:
    edge = load_encoder("starter").description.preprocessing.size
    pixels = np.random.default_rng(seed).integers(0, 255, (count, edge, edge, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = 1
    pixels[-1, 0, 0, 0] = mark
    return pixels


def numbers(place: Path, mark: str) -> set[int]:
    return {int(path.stem) for path in place.glob(f"*.{mark}")}


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A child that has ended and was not waited for is none any more.
    return b") Z " not in Path(f"/proc/{process_id}/stat").read_bytes()


def test_batches_of_several_threads_come_back_as_they_would_from_one(
    fleet: FleetEncoder, place: Path
) -> None:
    alone = load_encoder("starter")
    # Of all sizes: the memory that is shared grows in between.
    batches = [batch(1 + seed % 5, seed) for seed in range(12)]

    with ThreadPoolExecutor(pace_of(fleet).calls) as threads:
        rows = list(threads.map(fleet.encode_images, batches))

    for found, pixels in zip(rows, batches, strict=True):
        assert np.allclose(found, alone.encode_images(pixels), atol=1e-5)
    assert pace_of(fleet).calls == 4
    assert len(numbers(place, "used")) == 2


def test_where_memory_cannot_be_shared_pixels_go_through_the_pipe(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch.encoders.encoder_process.can_share", lambda: False)
    pixels = batch(3)

    with FleetEncoder(load_encoder("starter"), ["cpu", "cpu"]) as fleet:
        rows = fleet.encode_images(pixels)

    assert np.allclose(rows, load_encoder("starter").encode_images(pixels), atol=1e-5)


def test_a_query_starts_no_process(place: Path) -> None:
    fleet = FleetEncoder(load_encoder("starter"), ["cpu", "cpu"])

    assert fleet.encode_texts(["a cat"]).shape == fleet.encode_images(batch(1)).shape
    assert pace_of(fleet) == pace_of(load_encoder("starter"))
    assert numbers(place, "started") == set()


def test_no_pictures_are_no_rows(fleet: FleetEncoder) -> None:
    assert fleet.encode_images(batch(1)[:0]).shape == (0, fleet.description.dimension)


def test_a_process_that_dies_loses_no_batch(fleet: FleetEncoder, place: Path) -> None:
    alone = load_encoder("starter")
    batches = [batch(2, seed, mark=13 if seed == 3 else 1) for seed in range(8)]

    with ThreadPoolExecutor(4) as threads:
        rows = list(threads.map(fleet.encode_images, batches))

    for found, pixels in zip(rows, batches, strict=True):
        assert np.allclose(found, alone.encode_images(pixels), atol=1e-5)
    assert len(numbers(place, "died")) == 1
    # The other process may have been quick enough to do the rest alone.
    assert len(numbers(place, "started")) in (2, 3)


def test_a_batch_on_which_every_process_dies_is_a_clear_error(
    fleet: FleetEncoder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEATHS", "100")
    deadly = batch(2, mark=13)
    with FleetEncoder(load_encoder("starter"), ["cpu", "cpu"]) as other:
        with pytest.raises(ModelError, match=r"cpu: SIGKILL; cpu: SIGKILL.*--device cpu"):
            other.encode_images(deadly)

        assert len(other.encode_images(batch(2))) == 2


def test_an_error_over_there_is_the_same_error_here(fleet: FleetEncoder, place: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"^this model is broken$"):
        fleet.encode_images(batch(2, mark=17))

    assert len(fleet.encode_images(batch(2))) == 2
    assert len(numbers(place, "started")) == 2


def test_an_error_that_nobody_expects_is_told_in_the_end(fleet: FleetEncoder) -> None:
    with pytest.raises(ModelError, match="ZeroDivisionError: the driver is broken"):
        fleet.encode_images(batch(2, mark=19))


def test_processes_end_with_the_block(place: Path) -> None:
    fleet = FleetEncoder(load_encoder("starter"), ["cpu", "cpu"])
    with fleet:
        with fleet:
            fleet.encode_images(batch(1))
        # The inner block has not ended them.
        fleet.encode_images(batch(1))
        started = numbers(place, "started")
    assert started
    assert not any(is_running(number) for number in started)

    with fleet:
        assert len(fleet.encode_images(batch(2))) == 2


def test_processes_end_when_their_parent_dies(place: Path) -> None:
    script = (
        "import os, signal, numpy as np\n"
        "from imgsearch import load_encoder\n"
        "from imgsearch.encoders.fleet import FleetEncoder\n"
        "first = load_encoder('starter')\n"
        "edge = first.description.preprocessing.size\n"
        "fleet = FleetEncoder(first, ['cpu', 'cpu']).__enter__()\n"
        "for _ in range(2): fleet.encode_images(np.ones((1, edge, edge, 3), dtype=np.uint8))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", script], timeout=120, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    started = numbers(place, "started")
    assert len(started) == 2

    deadline = time.monotonic() + 60
    while any(is_running(number) for number in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(number) for number in started)


def test_a_process_that_cannot_load_the_model_says_why(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    make_clip(model)
    encoder = load_encoder(str(model), "cpu,cpu")
    assert isinstance(encoder, FleetEncoder)
    (model / "preprocessor_config.json").write_text("[]")

    with encoder, pytest.raises(ModelInvalid, match="preprocessor_config"):
        encoder.encode_images(np.zeros((1, 32, 32, 3), dtype=np.uint8))


def test_files_that_changed_meanwhile_are_noticed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    make_clip(model)
    encoder: Any = load_encoder(str(model), "cpu,cpu")
    make_clip(model)

    with encoder, pytest.raises(ModelInvalid, match="have changed"):
        encoder.encode_images(np.zeros((1, 32, 32, 3), dtype=np.uint8))


def test_a_checkpoint_on_two_devices_indexes_like_on_one(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "model")
    model = str(tmp_path / "model")
    # The example photos are few; so many would be embedded by one.
    monkeypatch.setattr("imgsearch.encoders.indexing.MANY_PICTURES", 2)
    with Library.open(tmp_path / "one", model=model, device="cpu") as library:
        library.index(EXAMPLES)
        expected = library.search("a cat", limit=12, **WHOLE)
    assert numbers(place, "started") == set()

    with Library.open(tmp_path / "two", model=model, device="cpu,cpu") as library:
        report = library.index(EXAMPLES)
        found = library.search("a cat", limit=12, **WHOLE)
        again = library.index(EXAMPLES)

    assert report.embedded == 12
    assert [hit.path for hit in found] == [hit.path for hit in expected]
    assert (again.unchanged, again.embedded) == (12, 0)
    # None for the second run, which had nothing to embed.
    assert len(numbers(place, "started")) == 2


def test_few_pictures_are_left_to_one_device(place: Path, tmp_path: Path) -> None:
    fleet = FleetEncoder(load_encoder("starter"), ["cpu", "cpu"])

    with Library.open(tmp_path / "library", model=fleet) as library:
        assert library.index(EXAMPLES).embedded == 12

    assert numbers(place, "started") == set()


@pytest.mark.parametrize("device", ["cpu,cuda:99", "cpu,nonsense", "cpu,meta", ","])
def test_a_device_among_several_that_is_not_there_is_wrong_usage(
    tmp_path: Path, device: str
) -> None:
    make_clip(tmp_path)

    with pytest.raises(UsageError, match="not there"):
        load_encoder(str(tmp_path), device)


def test_all_nvidia_gpus_are_used_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from imgsearch.encoders.fleet import on_devices

    loaded: list[str | None] = []

    def load(device: str | None) -> Any:
        loaded.append(device)
        return load_encoder("starter")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    both = on_devices(load, None)
    one = on_devices(load, "cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    only = on_devices(load, None)

    assert loaded == ["cuda:0", "cuda:1", None]
    assert isinstance(both, FleetEncoder)
    assert not isinstance(one, FleetEncoder)
    assert not isinstance(only, FleetEncoder)


@pytest.mark.gpu
def test_two_gpus_give_the_vectors_of_one(tmp_path: Path) -> None:
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("no two NVIDIA GPUs here: several GPUs at once are not tested")
    make_clip(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3_000, 32, 32, 3), dtype=np.uint8)
    alone = load_encoder(str(tmp_path), "cuda:0").encode_images(pixels)
    encoder: Any = load_encoder(str(tmp_path))

    with encoder, ThreadPoolExecutor(pace_of(encoder).calls) as threads:
        rows = np.concatenate(list(threads.map(encoder.encode_images, np.split(pixels, 10))))

    assert isinstance(encoder, FleetEncoder)
    assert (rows * alone).sum(axis=1).min() >= 0.999
