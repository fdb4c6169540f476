"""Decoding and scaling JPEGs on the device, by torchvision: on NVIDIA GPUs that is nvJPEG.

imgsearch decodes in processes on the CPU: there a decoder that dies costs one file, and thumbnails
come for free. Whether a GPU would be so much faster that it is worth giving that up is what this
stage of `gpu_pipeline.py` is to tell; where torchvision is not installed it is left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from common import Result, say

if TYPE_CHECKING:
    import torch


def decoding_on_the_device(
    encoder: object, contents: Sequence[bytes], pixels: npt.NDArray[np.uint8], batch: int
) -> list[Result]:
    """Return the rate of decoding, scaling and cropping `contents`, and how near its vectors come.

    `pixels` uint8 [n, s, s, 3] are what the processes on the CPU made of the same photos.
    """
    if find_spec("torchvision") is None:
        say("torchvision is not installed: decoding on the device is not measured")
        return []
    device, edge = encoder._device, pixels.shape[1]  # type: ignore[attr-defined]
    _decoded(contents[:batch], device, edge)
    started = time.perf_counter()
    made = [
        _decoded(contents[at : at + batch], device, edge) for at in range(0, len(contents), batch)
    ]
    # Copying back waits until all is done.
    ready = np.concatenate([part.cpu().numpy() for part in made])
    rate = len(contents) / (time.perf_counter() - started)
    few = slice(0, min(64, len(ready)))
    rows = [encoder.encode_images(np.ascontiguousarray(one[few])) for one in (ready, pixels)]  # type: ignore[attr-defined]
    agreement = float((rows[0] * rows[1]).sum(axis=1).min())
    return [
        Result("decode and prepare, on the device", rate, "photos/s", note="torchvision"),
        Result("agreement of that with the CPU's decoding", agreement, ""),
    ]


def _decoded(contents: Sequence[bytes], device: torch.device, edge: int) -> torch.Tensor:
    """Decode JPEGs and bring each to a square as CLIP does: uint8 [n, s, s, 3] on the device."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional

    buffers = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in contents]
    images = decode_jpeg(buffers, mode=ImageReadMode.RGB, device=device)
    squares = []
    for image in images:
        scaled = functional.resize(
            image, [edge], interpolation=functional.InterpolationMode.BICUBIC, antialias=True
        )
        squares.append(functional.center_crop(scaled, [edge, edge]))
    return torch.stack(squares).permute(0, 2, 3, 1).contiguous()
