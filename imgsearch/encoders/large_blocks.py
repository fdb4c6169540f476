"""Memory that is given back to the system when a model has been loaded."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 1 << 20
# What glibc comes to by itself once such a block was freed: its largest threshold, and twice that.
_USUAL, _USUAL_TRIM = 32 << 20, 64 << 20


@contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Let blocks of a megabyte or more be mappings of their own in here, if malloc is glibc's.

    ONNX Runtime copies each weight into the order that it computes in and frees the first copy.
    Within the heap such blocks leave holes, by luck: a ViT-B/32's image tower took 390 or 590 MB.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        yield
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, _USUAL)
        libc.mallopt(_M_TRIM_THRESHOLD, _USUAL_TRIM)
