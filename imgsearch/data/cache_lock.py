"""Who writes a model's cache: one process at a time; others do without writing.

Two that wrote at once would delete each other's files as left-overs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cache_turn(
    folder: Path, model_id: int, *, role: str = "", patience: float = 0
) -> Iterator[bool]:
    """Yield whether this process may write the cache of the model in `folder`, made if missing.

    A `role` has turns of its own. Another one is waited for `patience` seconds. The system ends the
    turn of a process that dies. Raises OSError.
    """
    # Only who writes needs it; a query mostly does not.
    from filelock import FileLock, Timeout

    folder.mkdir(exist_ok=True)
    ending = f".{role}.lock" if role else ".lock"
    lock = FileLock(folder / f"model-{model_id}{ending}", timeout=patience)
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
