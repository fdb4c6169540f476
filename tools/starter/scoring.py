"""Scores of embeddings, for the training log (benchmarks/starter_quality.py scores the product)."""

from __future__ import annotations

import numpy as np

from graph import Array

RANKS = (1, 5, 10)


def retrieval(photos: Array, captions: Array) -> str:
    """R@1/5/10 from text to image: five captions, in a row, for each of the unit photo vectors."""
    similarity = captions @ photos.T
    own = np.arange(len(captions)) // (len(captions) // len(photos))
    rank = (similarity > similarity[np.arange(len(captions)), own][:, None]).sum(axis=1)
    return "/".join(f"{100 * (rank < k).mean():.1f}" for k in RANKS)


def zero_shot(photos: Array, names: Array, truth: Array) -> str:
    """Share of photos [n, d] whose nearest name [c, d] is the right one int64 [n]."""
    return f"{100 * ((photos @ names.T).argmax(axis=1) == truth).mean():.1f}"
