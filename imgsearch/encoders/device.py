"""Where torch computes: a GPU where there is one, in half precision there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgsearch.errors import UsageError

if TYPE_CHECKING:
    import torch


def choose_device(wanted: str | None = None) -> torch.device:
    """Return the device named, or the best there is: CUDA, then Apple's MPS, then the CPU.

    Raises UsageError if the one named is not there.
    """
    import torch

    if wanted is not None:
        try:
            device = torch.device(wanted)
            # Whether it is there, and works, is known when something lies on it.
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
            raise UsageError(
                f"The device {wanted!r} is not there. Leave --device out for the best there is, "
                "or name cpu, cuda, cuda:1 or mps."
            ) from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def working_dtype(device: torch.device) -> torch.dtype:
    """Return the precision to compute in: float32, or on a CUDA device half of that.

    bfloat16 has the range of float32; the older cards, which lack it, get float16.
    """
    import torch

    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
