"""The vectors of the texts that every library needs, put into a model folder; runs alone, too."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from imgsearch.encoders.onnx_folder import OnnxFolderEncoder, known_texts_name
from imgsearch.search.background import FIXED_TEXTS


def write_known_texts(folder: Path) -> Path:
    """Write the vectors of `FIXED_TEXTS`, float16 [n, d], in the place of older ones."""
    for old in folder.glob("texts-*.npy"):
        old.unlink()
    rows = OnnxFolderEncoder(folder).encode_texts(FIXED_TEXTS)
    path = folder / known_texts_name(FIXED_TEXTS)
    np.save(path, rows.astype("<f2"), allow_pickle=False)
    return path


if __name__ == "__main__":
    print(write_known_texts(Path(sys.argv[1])))
