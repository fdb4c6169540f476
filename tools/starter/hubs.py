"""Takes the pull of hubs out of similarities, by two more numbers in every vector.

Some photos are near to very many texts, and come first for queries that they do not fit: hubs
(Radovanovic et al. 2010). So a photo's similarities are lowered by its pull: a share of how near it
is to texts at large; a text's likewise, by how near it is to photos at large. Unlike in CSLS
(Conneau et al. 2018) and the inverted softmax (Smith et al. 2017), from which this comes, what is
"at large" are texts and photos of the training: nothing has to be known of a library.

From unit rows u of photos and t of texts, the vectors are

    (u, -pull(u) / LEVER, LEVER)  and  (t, LEVER, -pull(t) / LEVER),

so that their product is u.t - pull(u) - pull(t). Then they are brought to unit length again, which
takes nearly the same factor from all, since pulls are small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph import Array

# How many numbers a vector gains.
ADDED = 2
# Of these, where photos and texts have their pull.
PHOTO, TEXT = 0, 1
# With more of it, the nearest texts count more, and the others less.
SHARPNESS = 20.0
SHARE = 0.4
LEVER = 0.3
# Stand for all texts, or all photos.
CENTRES = 512
ROUNDS = 12


@dataclass(frozen=True)
class Pull:
    """What makes the two numbers from unit rows [n, d].

    `centres` [d, k] are multiplied with SHARPNESS, `offsets` [k] are logarithms of their shares.
    The logarithm of the sum of exp(rows @ centres + offsets), times `factor` [2], plus `level` [2],
    is what is added.
    """

    centres: Array
    offsets: Array
    factor: Array
    level: Array

    @classmethod
    def measured(cls, rows: Array, others: Array, place: int) -> Pull:
        """The pull of unit `rows` [n, d] in the midst of unit `others` [m, d]: 0 in the mean."""
        centres, shares = clusters(others)
        sharp, offsets = SHARPNESS * centres.T, np.log(shares)
        factor, level = np.zeros(ADDED), np.full(ADDED, LEVER)
        factor[place] = -SHARE / (SHARPNESS * LEVER)
        level[place] = -factor[place] * log_sum(rows, sharp, offsets).mean()
        return cls(*(part.astype(np.float32) for part in (sharp, offsets, factor, level)))

    def added_to(self, rows: Array) -> Array:
        """Unit rows [n, d + 2] from unit rows [n, d]; the exported graphs compute the same."""
        nearness = log_sum(rows, self.centres, self.offsets)
        longer = np.concatenate([rows, nearness * self.factor + self.level], axis=1)
        return longer / np.linalg.norm(longer, axis=1, keepdims=True)


def log_sum(rows: Array, centres: Array, offsets: Array) -> Array:
    """The logarithm of the sum of exp(rows @ centres + offsets), [n, 1]."""
    return np.log(np.exp(rows @ centres + offsets).sum(axis=1, keepdims=True))


def clusters(rows: Array) -> tuple[Array, Array]:
    """Unit centres [CENTRES, d] of unit rows by k-means, and the share of rows near to each."""
    chosen = np.random.default_rng(0).choice(len(rows), CENTRES, replace=False)
    centres = rows[chosen]
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, (rows @ centres.T).argmax(axis=1), rows)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # A centre that no row is nearest to stays where it is.
        centres = np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), centres)
    counts = np.bincount((rows @ centres.T).argmax(axis=1), minlength=CENTRES)
    # A centre without rows counts as much as one with a single one: the logarithm stays finite.
    return centres, np.maximum(counts, 1) / len(rows)
