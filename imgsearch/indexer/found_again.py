"""A root whose disk is back under another path: known by its files, and never guessed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from imgsearch.data.paths import from_stored, to_stored
from imgsearch.data.presence import is_as_known
from imgsearch.data.reader import CatalogReader
from imgsearch.indexer.content import hash_file

# So many files of a root are looked for, spread over all of them, and so many of those are read.
_LOOKED_FOR = 500
_READ = 8
# What has to be there of them. Whoever has sorted a disk since gets a new root and embeds nothing
# all the same; a wrong guess would give one folder the photos of another.
_SHARE_NEEDED = 0.8
# Knuth's multiplicative hashing: in this order, any beginning is an even sample.
_SPREAD = "(f.id * 2654435761) % 4294967296"


def found_again(reader: CatalogReader, folder: str, offline: Sequence[str]) -> list[str]:
    """Return those of the `offline` roots whose files lie below the absolute `folder` now.

    Of a sample, at least four in five must lie there with the same relative path, size and time,
    and of these some are read, whose content must be the same for all.
    """
    return [
        root for root in reader.roots() if root in offline and share_there(reader, root, folder)
    ]


def share_there(
    reader: CatalogReader, root: str, folder: str, needed: float = _SHARE_NEEDED
) -> bool:
    """Tell whether at least the share `needed` of a root's files, and one, lie below `folder`."""
    sample = [
        (os.path.join(folder, from_stored(path)), size, mtime_ns, content_hash)
        for path, size, mtime_ns, content_hash in reader.rows(
            "SELECT f.path, f.size, f.mtime_ns, p.content_hash FROM file f"
            " JOIN root r ON r.id = f.root_id JOIN picture p ON p.id = f.picture_id"
            f" WHERE r.path = ? ORDER BY {_SPREAD} LIMIT {_LOOKED_FOR}",
            to_stored(root),
        )
    ]
    there = [
        (path, content_hash)
        for path, size, mtime_ns, content_hash in sample
        if is_as_known(path, size, mtime_ns)
    ]
    if not there or len(there) < needed * len(sample):
        return False
    return all(_holds(path, content_hash) for path, content_hash in there[:_READ])


def _holds(path: str, content_hash: bytes) -> bool:
    found = hash_file(path)
    return found is not None and found[0] == content_hash
