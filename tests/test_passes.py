"""Pass after pass over many pictures: every row at its place, whatever happens on the way."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from test_checkpoints import make_clip

from imgsearch import load_encoder
from imgsearch.encoders.compiling import CompiledTower
from imgsearch.encoders.pass_size import PassSize
from imgsearch.encoders.passes import Passes

EDGE, CPU = 4, torch.device("cpu")


def pictures(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, EDGE, EDGE, 3), dtype=np.uint8)


def colour_sums(pixels: torch.Tensor) -> torch.Tensor:
    """A tower that can be followed: the sums of red, green and blue."""
    return pixels.to(torch.float32).sum(dim=(1, 2))


def sums(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32).sum(axis=(1, 2))


def passes_of(size: PassSize, tower: Any = colour_sums, device: torch.device = CPU) -> Passes:
    return Passes(tower, device, (EDGE, 3), size)


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "imgsearch"]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 61])
def test_every_row_is_at_its_place(count: int) -> None:
    passes = passes_of(PassSize(8, 8))

    for seed in range(3):
        pixels = pictures(count, seed)
        assert (passes.rows(pixels) == sums(pixels)).all()


def test_calls_from_several_threads_do_not_meet() -> None:
    barrier = threading.Barrier(4, timeout=30)

    def tower(pixels: torch.Tensor) -> torch.Tensor:
        # All four are in the middle of a pass at the same time, their buffers filled.
        barrier.wait()
        return colour_sums(pixels)

    passes = passes_of(PassSize(8, 8), tower)
    batches = [pictures(40, seed) for seed in range(4)]

    with ThreadPoolExecutor(4) as threads:
        rows = list(threads.map(passes.rows, batches))

    assert all((found == sums(batch)).all() for found, batch in zip(rows, batches, strict=True))


def test_pixels_that_must_not_be_written_are_taken_as_they_are() -> None:
    pixels = np.frombuffer(pictures(9).tobytes(), dtype=np.uint8).reshape(9, EDGE, EDGE, 3)

    assert (passes_of(PassSize(8, 8)).rows(pixels) == sums(pixels)).all()


def test_what_does_not_fit_is_tried_in_halves() -> None:
    tried: list[int] = []

    def tower(pixels: torch.Tensor) -> torch.Tensor:
        tried.append(len(pixels))
        # The third pass finds less memory than the first two.
        if len(pixels) > (8 if len(tried) < 3 else 2):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return colour_sums(pixels)

    pixels = pictures(30)

    assert (passes_of(PassSize(8, 8), tower).rows(pixels) == sums(pixels)).all()
    assert tried[:5] == [8, 8, 8, 4, 2]
    assert set(tried[5:]) == {2}


def test_a_single_picture_that_does_not_fit_is_an_error() -> None:
    def tower(pixels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        passes_of(PassSize(8, 8), tower).rows(pictures(3))


def test_after_an_error_the_next_call_is_served() -> None:
    broken = [True]

    def tower(pixels: torch.Tensor) -> torch.Tensor:
        if broken[0] and len(pixels) == 3:
            raise ValueError("the second pass fails")
        return colour_sums(pixels)

    passes = passes_of(PassSize(8, 8), tower)
    with pytest.raises(ValueError, match="second"):
        passes.rows(pictures(11))
    broken[0] = False

    assert (passes.rows(pictures(11, 1)) == sums(pictures(11, 1))).all()


def test_a_compiled_tower_sees_one_shape_only() -> None:
    compiled_for: list[int] = []
    run_with: list[int] = []

    def backend(graph: Any, inputs: list[torch.Tensor]) -> Any:
        compiled_for.append(len(inputs[0]))

        def run(*arguments: torch.Tensor) -> Any:
            run_with.append(len(arguments[0]))
            return graph(*arguments)

        return run

    size = PassSize(8, 8)
    passes = passes_of(size, CompiledTower(colour_sums, size, backend=backend))

    for count in (8, 5, 4, 1, 8):
        assert (passes.rows(pictures(count, count)) == sums(pictures(count, count))).all()
    assert compiled_for == [8]
    # Half a pass and less runs as it is.
    assert run_with == [8, 8, 8]


def test_without_a_compiler_the_tower_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def no_compiler(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("Cannot find a working triton installation.\nMore about it")

    size = PassSize(8, 8)
    passes = passes_of(size, CompiledTower(colour_sums, size, backend=no_compiler))

    with caplog.at_level(logging.WARNING, logger="imgsearch"):
        for seed in range(3):
            assert (passes.rows(pictures(8, seed)) == sums(pictures(8, seed))).all()

    (note,) = notes(caplog)
    assert "could not be compiled" in note
    assert "\n" not in note


def test_running_out_of_memory_is_no_missing_compiler(caplog: pytest.LogCaptureFixture) -> None:
    def tower(pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return colour_sums(pixels)

    size = PassSize(8, 8)
    compiled = CompiledTower(colour_sums, size, backend="eager")
    compiled._compiled = tower

    assert (passes_of(size, compiled).rows(pictures(8)) == sums(pictures(8))).all()
    assert notes(caplog) == []


def test_a_compiled_model_gives_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_clip(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    plain = load_encoder(str(tmp_path), "cpu").encode_images(pixels)
    # The real one needs a C++ compiler and half a minute.
    real = torch.compile
    backends: list[str] = []

    def compiled(tower: Any, *, backend: str, **options: Any) -> Any:
        backends.append(backend)
        return real(tower, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setenv("IMGSEARCH_COMPILE", "1")

    rows = load_encoder(str(tmp_path), "cpu").encode_images(pixels)

    assert np.allclose(rows, plain, atol=1e-5)
    assert backends == ["inductor"]
    assert notes(caplog) == []


@pytest.mark.gpu
def test_copies_that_overlap_with_computing_change_nothing() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here: overlapping copies are not tested")

    def slow(pixels: torch.Tensor) -> torch.Tensor:
        # Long enough that the next pixels have arrived before these are used.
        torch.cuda._sleep(20_000_000)
        return colour_sums(pixels)

    passes = passes_of(PassSize(256, 256), slow, torch.device("cuda"))
    batches = [pictures(2_000, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        rows = list(threads.map(passes.rows, batches))

    assert all((found == sums(batch)).all() for found, batch in zip(rows, batches, strict=True))
