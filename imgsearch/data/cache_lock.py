"""Who writes a model's cache: one process at a time; others do without writing.

Two that wrote at once would delete each other's files as left-overs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cache_turn(folder: Path, model_id: int) -> Iterator[bool]:
    """Yield whether this process may write the cache of the model in `folder`, made if missing.

    Nobody is waited for. The system ends the turn of a process that dies. Raises OSError.
    """
    # Only who writes needs it; a query mostly does not.
    from filelock import FileLock, Timeout

    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"model-{model_id}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except NotImplementedError as error:
        raise OSError(str(error)) from error
    try:
        yield True
    finally:
        lock.release()
