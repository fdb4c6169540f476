"""What near-duplicates are found by: a small grey picture, and a descriptor of its rough shape.

Everything is in coordinates of the whole picture squeezed into a square, so that the proportions of
a copy do not matter. Pictures may be transformed in eight ways (`turned`): the rotations by 90
degrees and their mirror images.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

# Pixels along an edge of the grey picture: enough to see whether a detail is the same.
EDGE = 64
TURNS = 8
# The parts of a picture that a copy may have been cropped to, each as (left, top, size): all of it,
# its corners, its middle. Whatever lies between two of them is found by either, and then aligned.
WINDOWS = (
    (0.0, 0.0, 1.0),
    (0.0, 0.0, 0.92),
    (0.08, 0.0, 0.92),
    (0.0, 0.08, 0.92),
    (0.08, 0.08, 0.92),
    (0.05, 0.05, 0.9),
)
# Cosine basis functions (u, v) with u + v below this: with 35 of them 99 % of the cropped copies
# score higher than all but 1 in 10,000 of other photos; with 20 or 63 as many
# (benchmarks/near_duplicates.py).
_FREQUENCIES = 8
_ORDERS = [
    (u, v) for u in range(_FREQUENCIES) for v in range(_FREQUENCIES) if 0 < u + v < _FREQUENCIES
]
DIMENSION = len(_ORDERS)
# A picture whose rough shape differs from a plain area by less than this many grey levels (root
# mean square) has none: noise would decide what it resembles.
_FLAT = 1.5
# A thumbnail has at most 768 x 768 pixels; a cache may hold anything.
_MOST_PIXELS = 4_000_000

Grey = npt.NDArray[np.uint8]


def grey_of(jpeg: bytes) -> Grey:
    """Return the picture in a JPEG, in grey and squeezed: uint8 [EDGE, EDGE].

    Raises OSError or ValueError where there is none.
    """
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError("larger than a thumbnail")
        # The decoder then reduces it by itself, and skips the colours.
        image.draft("L", (2 * EDGE, 2 * EDGE))
        grey = image.convert("L").resize((EDGE, EDGE), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.uint8)


def descriptors(greys: Grey) -> npt.NDArray[np.float32]:
    """Return the rough shape of each window of the pictures: float32 [n, windows, DIMENSION].

    `greys` is uint8 [n, EDGE, EDGE]. A descriptor is a unit vector of cosine coefficients, so that
    brightness and contrast do not matter, or zero where a window shows a plain area.
    """
    flat = greys.reshape(len(greys), -1).astype(np.float32)
    rough = (flat @ _PROJECTION).reshape(len(greys), len(WINDOWS), DIMENSION)
    plain = np.linalg.norm(rough, axis=-1) < _FLAT
    # Natural pictures hold less of the higher frequencies; this is half way to equal shares.
    rough *= _WEIGHTS
    rough /= np.maximum(np.linalg.norm(rough, axis=-1, keepdims=True), 1e-6)
    rough[plain] = 0.0
    return rough


def turned_descriptors(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the descriptors of the pictures turned in all ways: [n, d] becomes [TURNS, n, d]."""
    return rows[:, _TURNED_ORDER].transpose(1, 0, 2) * _TURNED_SIGN[:, None]


def turned(pictures: npt.NDArray[np.float32], turn: int) -> npt.NDArray[np.float32]:
    """Return the pictures [n, h, w] turned: bit 2 swaps rows and columns, then 1 and 0 mirror."""
    if turn & 4:
        pictures = pictures.transpose(0, 2, 1)
    if turn & 2:
        pictures = pictures[:, ::-1]
    if turn & 1:
        pictures = pictures[:, :, ::-1]
    return np.ascontiguousarray(pictures)


def _basis(low: float, high: float) -> npt.NDArray[np.float64]:
    """Return cosines over [low, high] of an edge, for each of its pixels: [_FREQUENCIES, EDGE]."""
    edges = np.arange(EDGE + 1) / EDGE
    share = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None)
    place = ((edges[1:] + edges[:-1]) / 2 - low) / (high - low)
    cosines = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), place))
    cosines[1:] *= np.sqrt(2.0)
    result: npt.NDArray[np.float64] = cosines * share / (high - low)
    return result


def _projection() -> npt.NDArray[np.float32]:
    """Return what a grey picture is multiplied by: [EDGE * EDGE, windows * DIMENSION]."""
    columns = []
    for left, top, size in WINDOWS:
        down, across = _basis(top, top + size), _basis(left, left + size)
        columns += [np.outer(down[u], across[v]).ravel() for u, v in _ORDERS]
    return np.stack(columns, axis=1).astype(np.float32)


def _turning() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return each coefficient's place in a turned picture, and its sign: [TURNS, DIMENSION]."""
    place = {order: at for at, order in enumerate(_ORDERS)}
    order = [[place[(v, u) if turn & 4 else (u, v)] for u, v in _ORDERS] for turn in range(TURNS)]
    sign = [
        [(-1.0) ** ((u if turn & 2 else 0) + (v if turn & 1 else 0)) for u, v in _ORDERS]
        for turn in range(TURNS)
    ]
    return np.array(order, dtype=np.intp), np.array(sign, dtype=np.float32)


_PROJECTION = _projection()
_WEIGHTS = np.array([(u * u + v * v) ** 0.25 for u, v in _ORDERS], dtype=np.float32)
_TURNED_ORDER, _TURNED_SIGN = _turning()
