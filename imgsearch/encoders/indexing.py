"""What whoever has very many pictures to embed asks of an encoder, besides embedding them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from imgsearch.encoders.base import Encoder, Pace

# Processes for several devices take about ten seconds to start, in which one GPU alone embeds tens
# of thousands of pictures with a ViT-B/32, and thousands with a ViT-L.
MANY_PICTURES = 2_000


def pace_of(encoder: Encoder) -> Pace:
    """Return what keeps the encoder busy now."""
    pace: Pace = getattr(encoder, "pace", None) or Pace()
    return pace


def at_work(encoder: Encoder, pictures: int) -> AbstractContextManager[Any]:
    """Return a block within which the encoder is ready for so many pictures.

    If they are many, several devices are taken into use at its start and let go at its end;
    queries, which embed a sentence or a single picture, do without.
    """
    if pictures >= MANY_PICTURES and isinstance(encoder, AbstractContextManager):
        return encoder
    return nullcontext()
