"""From PyTorch to NumPy."""

from __future__ import annotations

from torch import Tensor

from graph import Array


def array(tensor: Tensor) -> Array:
    """A contiguous float32 copy."""
    return tensor.detach().cpu().numpy().astype("float32", order="C")
