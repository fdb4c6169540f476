"""Whether two small grey pictures show the same photograph: lay one over the other, and compare.

One picture is moved, stretched and turned a little until it fits the other as well as it can
(Lucas and Kanade's method in its inverse compositional form, Baker and Matthews 2004). Then their
details are compared with equal local contrast: two photos of one scene agree in their outlines, but
only copies agree in their details.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.signature import EDGE, WINDOWS

Floats = npt.NDArray[np.float32]

# Alignment works on half the size: faster, and its small steps reach twice as far.
_COARSE = EDGE // 2
_ITERATIONS = 5
# Of the mean diagonal of the normal equations: keeps them solvable in pictures with few edges.
_DAMPING = 1e-3
# Grey levels (standard deviation) that both pictures are brought to before they are compared.
_CONTRAST = 50.0
# Structure weaker than this many of those grey levels is compression noise. Of 3, 6 and 12, and
# neighbourhoods of 5 and 9 pixels, these parted copies from other photos best.
_NOISE = 3.0
_RADIUS = 2
# What alignment and sampling leave undefined along the edges.
_MARGIN = 3
# Pairs that agree less at half the size are not looked at in full size.
_PROMISING = 0.35


def alikeness(templates: Floats, images: Floats, windows: npt.NDArray[np.intp]) -> Floats:
    """Return how alike the pictures of each pair are, 0 to 1: float32 [n].

    `templates` and `images` are grey pictures, float32 [n, EDGE, EDGE]; the whole of a template is
    looked for near the window of its image with the number in `windows`, int [n]. What comes back
    is the correlation of their details; 0 where they clearly differ.
    """
    small = templates.reshape(-1, _COARSE, 2, _COARSE, 2).mean((2, 4))
    warps, seen = _aligned(small, images, _START[windows])
    rough = _agreement(small, seen)
    result = np.zeros(len(templates), dtype=np.float32)
    promising = np.flatnonzero(rough >= _PROMISING)
    if len(promising):
        fine = _sampled(images[promising], warps[promising], EDGE)
        result[promising] = np.clip(_agreement(templates[promising], fine), 0.0, 1.0)
    return result


def _aligned(templates: Floats, images: Floats, warps: Floats) -> tuple[Floats, Floats]:
    """Fit the images to the templates; return the warps [n, 2, 3] and the images seen so.

    A warp takes (1, x, y) of the template, -0.5 to 0.5 from edge to edge, to x and y in the image.
    """
    count, edge = len(templates), templates.shape[1]
    target = _unit(templates.reshape(count, -1))
    steepest = _steepest_descent(target, edge)
    hessian = steepest @ steepest.transpose(0, 2, 1)
    damping = _DAMPING * np.trace(hessian, axis1=1, axis2=2) / 6 + 1e-6
    inverse = np.linalg.inv(hessian + damping[:, None, None] * np.eye(6, dtype=np.float32))
    for _ in range(_ITERATIONS):
        seen = _unit(_sampled(images, warps, edge).reshape(count, -1))
        step = (inverse @ (steepest @ (seen - target)[:, :, None])).reshape(count, 2, 3)
        warps = _composed(warps, step.astype(np.float32))
    return warps, _sampled(images, warps, edge)


def _steepest_descent(target: Floats, edge: int) -> Floats:
    """Return how each pixel of the templates changes with the six numbers of a warp: [n, 6, p]."""
    grid = _grid(edge)
    square = target.reshape(-1, edge, edge)
    down, across = (
        np.asarray(np.gradient(square, 1 / edge, axis=axis), dtype=np.float32) for axis in (1, 2)
    )
    parts = [one.reshape(len(target), 1, -1) * grid for one in (across, down)]
    steepest = np.concatenate(parts, axis=1).astype(np.float32)
    # Brightness and contrast are free: only what is orthogonal to both tells of a movement.
    steepest -= steepest.mean(-1, keepdims=True)
    steepest -= (steepest @ target[:, :, None]) * target[:, None]
    return steepest


def _composed(warps: Floats, step: Floats) -> Floats:
    """Return each warp after the inverse of its step."""
    square = np.zeros((2, len(warps), 3, 3), dtype=np.float32)
    square[:, :, 0, 0] = 1.0
    square[0, :, 1:] = warps
    square[1, :, 1:] = step + np.array([[0, 1, 0], [0, 0, 1]], dtype=np.float32)
    # A step that folds the picture up has no inverse; the pair is none, and stays where it is.
    broken = np.abs(np.linalg.det(square[1])) < 0.1
    square[1, broken] = np.eye(3, dtype=np.float32)
    moved: Floats = (square[0] @ np.linalg.inv(square[1]))[:, 1:]
    return moved


def _sampled(images: Floats, warps: Floats, edge: int) -> Floats:
    """Return what the warps see of the images, bilinearly: float32 [n, edge, edge]."""
    count, size = len(images), images.shape[1]
    places = np.clip((warps @ _grid(edge) + 0.5) * size - 0.5, 0.0, size - 1.001)
    corner = places.astype(np.int32)
    part = (places - corner).astype(np.float32)
    first = np.arange(count, dtype=np.int32)[:, None] * (size * size)
    first = first + corner[:, 1] * size + corner[:, 0]
    pixels = images.reshape(-1)
    above = pixels[first] * (1 - part[:, 0]) + pixels[first + 1] * part[:, 0]
    below = pixels[first + size] * (1 - part[:, 0]) + pixels[first + size + 1] * part[:, 0]
    seen: Floats = above * (1 - part[:, 1]) + below * part[:, 1]
    return seen.reshape(count, edge, edge)


def _agreement(one: Floats, other: Floats) -> Floats:
    """Return the correlation of the details of two pictures: float32 [n]."""
    inner = slice(_MARGIN, -_MARGIN)
    rows = [_details(part)[:, inner, inner].reshape(len(one), -1) for part in (one, other)]
    result: Floats = (_unit(rows[0]) * _unit(rows[1])).sum(-1)
    return result


def _details(pictures: Floats) -> Floats:
    """Return the pictures without their rough shape, and with equal contrast everywhere."""
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    spread = np.maximum(centred.std((1, 2), keepdims=True), _NOISE)
    smooth = _box(centred * (_CONTRAST / spread), 1)
    fine = smooth - _box(smooth, _RADIUS)
    result: Floats = fine / np.sqrt(_box(fine * fine, _RADIUS) + _NOISE**2)
    return result


def _box(pictures: Floats, radius: int) -> Floats:
    """Return means over squares of `radius` pixels to each side; edges are repeated."""
    width = 2 * radius + 1
    padded = np.pad(pictures, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    rows = padded[:, : pictures.shape[1]].copy()
    for at in range(1, width):
        rows += padded[:, at : at + pictures.shape[1]]
    total = rows[:, :, : pictures.shape[2]].copy()
    for at in range(1, width):
        total += rows[:, :, at : at + pictures.shape[2]]
    return total / np.float32(width * width)


def _unit(rows: Floats) -> Floats:
    rows = rows - rows.mean(-1, keepdims=True)
    result: Floats = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)
    return result


def _grid(edge: int) -> Floats:
    """Return (1, x, y) of every pixel, -0.5 to 0.5 from edge to edge: float32 [3, edge * edge]."""
    return _GRIDS[edge]


def _make_grid(edge: int) -> Floats:
    centres = (np.arange(edge) + 0.5) / edge - 0.5
    x, y = np.meshgrid(centres, centres)
    return np.stack([np.ones(edge * edge), x.ravel(), y.ravel()]).astype(np.float32)


_GRIDS = {edge: _make_grid(edge) for edge in (_COARSE, EDGE)}
# The warp that sees just the window, for each of WINDOWS.
_START = np.array(
    [
        [[left + size / 2 - 0.5, size, 0], [top + size / 2 - 0.5, 0, size]]
        for left, top, size in WINDOWS
    ],
    dtype=np.float32,
)
