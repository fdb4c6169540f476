"""How many pictures the indexer gives an encoder at once: what it asks for, within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakePhoto

from imgsearch import IndexSettings, Library
from imgsearch.encoders.base import Pace
from imgsearch.encoders.fake import FakeEncoder


class PacedEncoder(FakeEncoder):
    """Asks for batches of a size, and notes what it gets."""

    def __init__(self, pictures: int) -> None:
        super().__init__()
        self.pace = Pace(pictures=pictures)
        self.got: list[int] = []

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.got.append(len(pixels))
        return super().encode_images(pixels)


@pytest.mark.parametrize(
    ("pictures", "settings"),
    [
        (2, IndexSettings(decode_workers=1)),
        # Of 8 x 8 pixels, two pictures.
        (64, IndexSettings(decode_workers=1, batch_bytes=2 * 8 * 8 * 3)),
        (64, IndexSettings(decode_workers=1, batch_size=2)),
    ],
)
def test_batches_are_as_large_as_asked_for_and_allowed(
    tmp_path: Path, folder: Path, make_photo: MakePhoto, pictures: int, settings: IndexSettings
) -> None:
    for number in range(9):
        make_photo(f"{number}.png", mark=number)
    encoder = PacedEncoder(pictures)

    with Library.open(tmp_path / "library", model=encoder) as library:
        assert library.index(folder, settings=settings).embedded == 9

    assert max(encoder.got) <= 2


def test_the_bounds_of_a_batch() -> None:
    picture = 224 * 224 * 3

    assert IndexSettings().largest_batch(32, picture) == 32
    assert IndexSettings().largest_batch(256, picture) == 256
    # 160 MB of pixels.
    assert IndexSettings().largest_batch(2_048, picture) == 1_062
    assert IndexSettings(batch_size=7).largest_batch(256, picture) == 7
    assert IndexSettings(batch_bytes=10).largest_batch(256, picture) == 1
