"""The library under examination, and what the checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from imgsearch.data.catalog import Catalog
from imgsearch.data.reader import CatalogReader
from imgsearch.doctor.findings import Finding
from imgsearch.encoders.base import ModelDescription

# Of a long list of photos this many are named; how many there are is always said.
_MOST_ITEMS = 50


@dataclass(slots=True)
class Patient:
    """A library folder, what may be done to it, and whether its catalog can be read.

    With `repair` the caller holds the writer's lock. `quick` leaves out what takes long in a large
    library. `known` is a model that is at hand although no name leads to it.
    """

    library: Path
    repair: bool
    quick: bool = False
    known: ModelDescription | None = None
    readable: bool = True
    # The head of the catalog's -shm file, read before anybody opened the catalog.
    shared_memory: bytes = b""

    def reader(self) -> CatalogReader:
        """Open the catalog for reading. Raises a LibraryError."""
        return CatalogReader(self.library)

    def catalog(self) -> Catalog:
        """Open the catalog for mending. Raises a LibraryError."""
        return Catalog(self.library)


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a library. `run` returns one line of what it saw, and its findings.

    Those that need the catalog are left out where it cannot be read.
    """

    name: str
    title: str
    run: Callable[[Patient], tuple[str, list[Finding]]]
    needs_catalog: bool = True


def some(items: Iterable[str]) -> tuple[str, ...]:
    """Return the first of many, and how many more there are."""
    every = list(items)
    if len(every) <= _MOST_ITEMS:
        return tuple(every)
    return (*every[:_MOST_ITEMS], f"... and {len(every) - _MOST_ITEMS} more")


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return "1 photo" or "3 photos"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def index_again(reader: CatalogReader) -> str:
    """Return the command that reads all folders of a library again."""
    import shlex

    roots = " ".join(shlex.quote(root) for root in reader.roots())
    return f"imgsearch index {roots or 'FOLDER'}"
