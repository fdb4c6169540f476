"""One writer a library: a lock file that the operating system releases when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from imgsearch.data.connection import translated_errors
from imgsearch.errors import LibraryBusy


@contextmanager
def writer_lock(library: Path) -> Iterator[None]:
    """Hold the library for writing. Raises LibraryBusy at once if another process does."""
    lock = FileLock(library / "writer.lock", timeout=0)
    with translated_errors(library):
        try:
            lock.acquire()
        except Timeout as error:
            raise LibraryBusy(
                f"Another imgsearch is indexing the library {library} at this moment. Wait until "
                "it is done; searching works meanwhile."
            ) from error
    try:
        yield
    finally:
        lock.release()
