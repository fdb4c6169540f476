"""Fill rclip's database with random vectors: ``rclip_fill.py DATABASE PHOTOS COUNT SEED``.

Run by `rclip.py` in rclip's own environment, through its own database class.
"""

from __future__ import annotations

import sys

import numpy as np
from rclip.db import DB, NewImage
from rclip.model import Model


def main() -> None:
    """Add COUNT pictures below the folder PHOTOS, none of which needs to exist."""
    database, photos, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    random = np.random.default_rng(seed)
    db = DB(database)
    for number in range(count):
        vector = random.standard_normal(Model.VECTOR_SIZE, dtype=np.float32)
        vector /= np.linalg.norm(vector)
        db.upsert_image(
            NewImage(
                filepath=f"{photos}/{2000 + number // 5_000}/holidays/IMG_{number:07d}.jpg",
                modified_at=1.6e9 + number,
                size=50_000 + number,
                vector=vector.tobytes(),
                hash=f"{number:064x}",
            ),
            commit=False,
        )
    db.commit()
    db.close()


if __name__ == "__main__":
    main()
