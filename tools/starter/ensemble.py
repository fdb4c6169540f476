"""What trained heads make of the training's photos and texts, for new heads to learn from.

Several heads together place photos and texts better than one, but only one fits into the model. So
it is trained to agree with them, too (distillation, Hinton et al. 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from corpus import TEXT_WIDTH, Corpus
from graph import Array
from heads import Head, TwoHeads

AT_ONCE = 2000


@torch.no_grad()
def with_opinions(corpus: Corpus, teachers: Sequence[TwoHeads]) -> Corpus:
    """The corpus with longer rows: after what was there comes what the heads make of it.

    The product of these numbers of a photo and of a text is the mean over the heads of their
    cosine, times the temperature that a head has learnt. Of every view they are those of the photo
    itself: what is made of a worn copy is not what should be learnt.
    """
    of_photos = [(head.image, _weight(head, len(teachers))) for head in teachers]
    of_texts = [(head.text, _weight(head, len(teachers))) for head in teachers]
    photos = _opinions(of_photos, corpus.views[0])

    def longer(texts: Array) -> Array:
        told = _opinions(of_texts, texts.reshape(-1, TEXT_WIDTH)).astype(np.float32)
        return np.concatenate([texts, told.reshape(*texts.shape[:-1], -1)], axis=-1)

    return replace(
        corpus,
        views=[np.concatenate([view, photos], axis=1) for view in corpus.views],
        captions=longer(corpus.captions),
        keywords=longer(corpus.keywords),
        phrases=longer(corpus.phrases),
        labels=longer(corpus.labels),
    )


def _weight(head: TwoHeads, teachers: int) -> Tensor:
    return head.scale().sqrt() / teachers**0.5


def _opinions(heads: Sequence[tuple[Head, Tensor]], rows: Array) -> Array:
    """Float16 [n, heads * dimension]."""
    starts = range(0, len(rows), AT_ONCE)
    parts = [torch.from_numpy(rows[i : i + AT_ONCE].astype(np.float32)) for i in starts]
    made = [torch.cat([head(part) for part in parts]) * weight for head, weight in heads]
    return torch.cat(made, dim=1).numpy().astype(np.float16)


def disagreement(similarity: Tensor, wanted: Tensor) -> Tensor:
    """How far similarities [n, n] choose otherwise than those wanted, of texts and of photos."""
    sides = ((similarity, wanted), (similarity.T, wanted.T))
    told = [
        functional.kl_div(
            one.log_softmax(1), other.log_softmax(1), reduction="batchmean", log_target=True
        )
        for one, other in sides
    ]
    return (told[0] + told[1]) / 2
