"""Where torch computes: on GPUs where there are some, in half precision there."""

from __future__ import annotations

from importlib.util import find_spec
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
            raise _not_there(wanted) from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_names(wanted: str | None) -> tuple[str, ...]:
    """Return the devices that a user means: those between commas, or where None all of CUDA's.

    None at all, where None is given and there are less than two, means that one is to be chosen.
    """
    if wanted is not None:
        return tuple(name.strip() for name in wanted.split(",") if name.strip())
    if find_spec("torch") is None:
        return ()
    import torch

    count = torch.cuda.device_count()
    return tuple(f"cuda:{number}" for number in range(count)) if count > 1 else ()


def check_device(name: str) -> None:
    """Raise UsageError for a device that is not there, without taking it into use.

    (Every process that uses a CUDA device takes some hundred megabytes of its memory.)
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _not_there(name) from error
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise _not_there(name)
    elif device.type not in ("cpu", "mps"):
        raise _not_there(name)


def _not_there(name: str) -> UsageError:
    return UsageError(
        f"The device {name!r} is not there. Leave --device out for the best there is, "
        "or name cpu, cuda, cuda:1 or mps; several with commas: cuda:0,cuda:1."
    )


def working_dtype(device: torch.device) -> torch.dtype:
    """Return the precision to compute in: float32, or on a CUDA device half of that.

    bfloat16 has the range of float32; the older cards, which lack it, get float16.
    """
    import torch

    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
