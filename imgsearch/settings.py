"""Limits and places, frozen once per process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from imgsearch.errors import UsageError

LIBRARY_VARIABLE = "IMGSEARCH_LIBRARY"
MODEL_VARIABLE = "IMGSEARCH_MODEL"
COMPILE_VARIABLE = "IMGSEARCH_COMPILE"


def default_library_path() -> Path:
    """Return the folder of the library: ``$IMGSEARCH_LIBRARY``, else the user-data folder."""
    configured = os.environ.get(LIBRARY_VARIABLE)
    if configured:
        return Path(os.path.expanduser(configured))
    # Imported here because a query with --library needs no look-up of the platform's folders.
    from platformdirs import user_data_path

    return user_data_path("imgsearch", appauthor=False)


def preferred_model() -> str | None:
    """Return the model of new libraries: ``$IMGSEARCH_MODEL``, else the one pulled last, if any."""
    configured = os.environ.get(MODEL_VARIABLE)
    if configured:
        return configured
    try:
        return _preference_file().read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def prefer_model(source: str) -> None:
    """Let new libraries use this model. Raises OSError where that cannot be written down."""
    place = _preference_file()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(source + "\n", encoding="utf-8")


def configuration_folder() -> Path:
    """Return the folder of what a user has decided once, outside any library."""
    from platformdirs import user_config_path

    return user_config_path("imgsearch", appauthor=False)


def compiling_wanted() -> bool:
    """Tell whether torch models are to be compiled: ``IMGSEARCH_COMPILE=1``."""
    return os.environ.get(COMPILE_VARIABLE, "") not in ("", "0")


def _preference_file() -> Path:
    return configuration_folder() / "model"


def available_cores() -> int:
    """Return how many cores this process may use (containers and taskset are respected)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class DecodeLimits:
    """What one picture may cost before it is given up and recorded as failed."""

    # A 200-megapixel phone photo must pass; a 30,000 x 30,000 bomb (900 MP) must not.
    max_pixels: int = 250_000_000
    # The bytes of a file and its pixels are in memory at once.
    max_file_bytes: int = 500_000_000
    # Pictures in one file, where its header tells. Five minutes of animation at 30 a second pass.
    max_frames: int = 10_000
    # A picture that comes from a browser passes through memory several times.
    max_upload_bytes: int = 32_000_000
    # Memory of one decoding process (bytes). Enforced by Linux.
    memory_bytes: int = 1 << 30
    # Processor time, so that a busy machine does not fail a file that takes long.
    timeout_seconds: float = 20.0
    # Time by the clock: for files that are waited for, on a network that does not answer.
    stall_seconds: float = 60.0


# What the environment can set: the variable, the limit, and what its number is multiplied by.
_LIMIT_VARIABLES: tuple[tuple[str, str, int | float], ...] = (
    ("IMGSEARCH_MAX_MEGAPIXELS", "max_pixels", 1_000_000),
    ("IMGSEARCH_MAX_FILE_MB", "max_file_bytes", 1_000_000),
    ("IMGSEARCH_MAX_FRAMES", "max_frames", 1),
    ("IMGSEARCH_DECODE_MEMORY_MB", "memory_bytes", 1_000_000),
    ("IMGSEARCH_DECODE_SECONDS", "timeout_seconds", 1.0),
    ("IMGSEARCH_STALL_SECONDS", "stall_seconds", 1.0),
)
# Python and the decoders themselves need about 150 MB before the first picture.
_LEAST_MEMORY = 250_000_000


def decode_limits() -> DecodeLimits:
    """Return the limits, with those that the environment sets (see `_LIMIT_VARIABLES`).

    Raises UsageError for what is no number that can be used.
    """
    chosen = {
        name: _limit(variable, os.environ[variable], unit)
        for variable, name, unit in _LIMIT_VARIABLES
        if os.environ.get(variable)
    }
    limits = DecodeLimits(**chosen)  # type: ignore[arg-type]
    if limits.memory_bytes < _LEAST_MEMORY:
        raise UsageError(
            f"IMGSEARCH_DECODE_MEMORY_MB must be at least {_LEAST_MEMORY // 1_000_000}."
        )
    return limits


def _limit(variable: str, text: str, unit: int | float) -> int | float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    # The system counts times in whole seconds, and its own limits are 64-bit numbers.
    if not 1 <= number <= 1_000_000_000:
        raise UsageError(f"{variable} is {text!r}; give a number of at least 1, or unset it.")
    return type(unit)(number * unit)


# A decoding process takes 0.27 s of processor time to start, as much as 100 photos of 0.2
# megapixels or 5 of 12: with fewer files to each, starting them would be most of the work.
_FILES_FOR_A_PROCESS = 4


@dataclass(frozen=True)
class IndexSettings:
    """How the batch pipeline divides its work."""

    limits: DecodeLimits = field(default_factory=decode_limits)
    decode_workers: int | None = None
    # Pictures that are embedded and committed together; None: as many as the encoder asks for.
    batch_size: int | None = None
    # But not more pixels than this (bytes), 1,062 pictures of 224 pixels. At 3 batches ahead, and
    # two being embedded on each device, a GPU has its fill at about 1 GB of main memory.
    batch_bytes: int = 160_000_000
    # A batch is closed early so that a commit happens at least this often, however slow the model.
    commit_seconds: float = 5.0
    # Decoded photos that may wait for the encoder, in multiples of a batch: bounds memory.
    batches_ahead: int = 3
    # Embeddings of pictures that no file shows any more are kept this long, so that a file moved
    # out of one root and into another, in two runs, is not embedded twice.
    orphan_days: float = 30.0

    def largest_batch(self, wanted: int, picture_bytes: int) -> int:
        """Return how many pictures a batch may have, where the encoder wants so many (at least 1).

        `picture_bytes` is the size of one picture's pixels.
        """
        if self.batch_size is not None:
            return self.batch_size
        return max(1, min(wanted, self.batch_bytes // picture_bytes))

    def worker_count(self, files: int) -> int:
        """Return the number of decoding processes for so many files (at least 1)."""
        enough = -(-files // _FILES_FOR_A_PROCESS)
        return self.decode_workers or max(1, min(available_cores(), enough))
