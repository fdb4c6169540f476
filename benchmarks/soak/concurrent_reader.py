"""A process that reads a library all the time while others write it, and counts what is wrong.

    python concurrent_reader.py LIBRARY SECONDS SEED

Prints one JSON object. The library is one of the arithmetic encoder (`encoders/fake.py`), because
what is attacked are catalog and caches.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from imgsearch import Library
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import ImageUnreadable, ImgsearchError, LibraryEmpty, PhotoNotFound

COLOURS = ("red", "green", "blue", "yellow white", "cyan", "magenta -red")
EVERYTHING = {"limit": 100_000, "cut_off": False, "group": False}


def seen(library: Path) -> tuple[str, set[str]]:
    """Return generation and paths of the catalog, read by a connection that is not ours."""
    uri = (library / "catalog.sqlite").as_uri() + "?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=60)) as database:
        database.execute("BEGIN")
        found = database.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        paths = database.execute(
            "SELECT root.path || '/' || file.path FROM file JOIN root ON root.id = root_id"
        )
        return found[0], {row[0] for row in paths}


class Reader:
    """One reader: what it did, and what was wrong."""

    def __init__(self, library: Path, seed: int) -> None:
        self.path = library
        self.chance = random.Random(seed)
        self.library = Library.open(library, model=FakeEncoder())
        self.ever: set[str] = set()
        self.counts = {"reads": 0, "exact": 0}
        self.wrong: list[str] = []

    def step(self) -> None:
        """Read once, in one of the ways that commands and the page read."""
        self.counts["reads"] += 1
        if self.chance.random() < 0.05:
            # As a command does: everything opened anew.
            self.library.close()
            self.library = Library.open(self.path, model=FakeEncoder())
        what = self.chance.choice([self.everything, self.everything, self.listed, self.page])
        before = seen(self.path)
        try:
            found = what()
            after = seen(self.path)
        except LibraryEmpty:
            after = seen(self.path)
            if before[0] == after[0] and before[1]:
                self.wrong.append(f"{what.__name__}: called empty with {len(before[1])} files")
            return
        except (ImgsearchError, OSError, sqlite3.Error, KeyError, ValueError, IndexError) as error:
            self.wrong.append(f"{what.__name__}: {type(error).__name__}: {error}")
            return
        self.ever |= before[1] | after[1]
        if found is None:
            return
        if before[0] == after[0]:
            self.counts["exact"] += 1
            if found != before[1]:
                self.wrong.append(
                    f"{what.__name__}: {len(found - before[1])} too many, "
                    f"{len(before[1] - found)} missing of {len(before[1])}"
                )

    def everything(self) -> set[str]:
        """Ask for all pictures in the order of a match."""
        text = self.chance.choice(COLOURS)
        return paths(self.library.search(text, **EVERYTHING))

    def listed(self) -> set[str]:
        """List all pictures without a query."""
        return paths(self.library.search(sort="name", **EVERYTHING))

    def page(self) -> None:
        """Do what the page does for a visitor: a search, its pictures, filters, numbers."""
        hits = self.library.search(self.chance.choice(COLOURS), limit=10)
        for hit in list(hits)[:3]:
            try:
                self.library.thumbnail(hit.content_hash)
                self.library.open_photo(hit.content_hash).stream.close()
            except (PhotoNotFound, ImageUnreadable):
                # Removed or changed meanwhile: the next page will show it.
                if hit.path in seen(self.path)[1] and content(hit.path) == hit.content_hash:
                    raise
        self.library.facets()
        self.library.saved_searches()
        self.library.status()
        self.library.failures()
        self.library.pictures([hit.picture_id for hit in hits])
        if self.chance.random() < 0.1:
            self.library.near_duplicates()


def paths(hits: object) -> set[str]:
    """Return the files of all hits."""
    return {path for hit in hits for path in (hit.path, *hit.duplicates)}  # type: ignore[attr-defined]


def content(path: str) -> str:
    """Return the hash of a file as it is now, or "" where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def size() -> tuple[int, int]:
    """Return resident memory (bytes) and the number of open files of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))


def main() -> None:
    """Read until the time is over, and print what was seen."""
    library, seconds, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    reader = Reader(library, seed)
    begun = time.monotonic()
    early: tuple[int, int] | None = None
    while (passed := time.monotonic() - begun) < seconds:
        reader.step()
        if early is None and passed > seconds / 3:
            early = size()
    late = size()
    early = early or late
    reader.library.close()
    told = {"wrong": reader.wrong, **reader.counts, "early": early, "late": late}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
