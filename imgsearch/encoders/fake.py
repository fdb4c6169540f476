"""A tiny deterministic encoder, so that every path can be tested without a trained model.

Pictures are described by their mean colour; texts by the colour words in them. So a search for
"red" finds what is red, by arithmetic that can be followed with a pencil.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgsearch.encoders.base import ModelDescription, Preprocessing, Resize, unit_rows

_COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "magenta": (1.0, 0.0, 1.0),
    "cyan": (0.0, 1.0, 1.0),
    "white": (1.0, 1.0, 1.0),
}


class FakeEncoder:
    """Embeds into 4 dimensions: the mean red, green and blue (0 to 1), and a constant 0.1."""

    def __init__(self, name: str = "fake", revision: str = "1", size: int = 8) -> None:
        self._description = ModelDescription(
            name=name,
            source=name,
            revision=revision,
            dimension=4,
            preprocessing=Preprocessing(size=size, resize=Resize.SQUASH),
            context_length=16,
            licence="Apache-2.0",
            languages=("en",),
        )

    @property
    def description(self) -> ModelDescription:
        """The model's identity and input format."""
        return self._description

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed pixels [n, s, s, 3] by their mean colour: unit rows [n, 4]."""
        means = pixels.reshape(len(pixels), -1, 3).mean(axis=1) / 255.0
        return self._with_constant(means.astype(np.float32))

    @property
    def maps_pictures(self) -> bool:
        """Always true."""
        return True

    def encode_patches(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed the pixels [n, s, s, 3] of pictures one by one: each is a cell, [n, s, s, 4]."""
        singles = self.encode_images(pixels.reshape(-1, 1, 1, 3))
        return singles.reshape(*pixels.shape[:3], 4)

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts by the sum of the colours they name: unit rows [n, 4]."""
        sums = [
            np.sum([_COLOURS.get(word, (0.0,) * 3) for word in text.lower().split()], axis=0)
            for text in texts
        ]
        return self._with_constant(np.array(sums, dtype=np.float32).reshape(len(texts), 3))

    def _with_constant(self, colours: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        constant = np.full((len(colours), 1), 0.1, dtype=np.float32)
        return unit_rows(np.concatenate([colours, constant], axis=1))
