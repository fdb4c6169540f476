"""Which folders of a library are there, and which lie on a disk that is not plugged in.

For every root, and every file system mounted inside one, the catalog remembers the identity of the
file system that its files were last seen on (a row of the table `meta`). A folder that is missing
is offline. So is one that lies on another file system now and shows none of the files that are
known: an empty mount point, or another disk in its place. Files are only ever forgotten where their
folder is not offline.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgsearch.data.paths import from_stored, to_stored

if TYPE_CHECKING:
    from imgsearch.data.reader import CatalogReader

# The row of `meta` that holds the file systems of a root, by the root's id.
PLACES_KEY = "places:{}"
# So many files, from both ends of the alphabet, tell whether a folder is the one that is known.
_SAMPLE = 20
# FAT keeps times to two seconds, and in local time: the clock may have been put back or forward.
_TIME_TOLERANCE_NS = 2_000_000_000
_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What identifies a file system: the number of its device, and an id; 0 where it has none.

    Either may change when a disk is plugged in again, but hardly both.
    """

    device: int
    id: int

    @classmethod
    def of(cls, folder: str) -> FileSystem:
        """Return that of a folder. Raises OSError."""
        number = os.stat(folder).st_dev
        # Windows has no such call; there the device's number is that of the volume.
        found = os.statvfs(folder).f_fsid if hasattr(os, "statvfs") else 0
        return cls(number, found)

    def may_be(self, other: FileSystem) -> bool:
        """Tell whether both may be one and the same."""
        return self.device == other.device or (self.id == other.id and self.id != 0)


Places = Mapping[str, FileSystem]


def read_places(reader: CatalogReader, root_id: int) -> Places:
    """Return the file systems of a root by folder, relative to it; the root's own by ""."""
    stored = reader.meta(PLACES_KEY.format(root_id))
    try:
        return {
            str(prefix): FileSystem(int(device), int(id_))
            for prefix, (device, id_) in json.loads(stored or "{}").items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}  # A catalog is a file like any other: nothing is known then.


def places_as_json(places: Places) -> str:
    """Return what `read_places` reads."""
    return json.dumps({prefix: [one.device, one.id] for prefix, one in places.items()})


def offline_folders(reader: CatalogReader) -> tuple[str, ...]:
    """Return the absolute folders, roots and those inside roots, that are offline now."""
    if reader.is_uninitialised():
        return ()
    offline: list[str] = []
    for root_id, stored in reader.rows("SELECT id, path FROM root ORDER BY path"):
        root = from_stored(stored)
        places = read_places(reader, root_id)
        if _is_offline(reader, root_id, root, "", places.get("")):
            offline.append(root)
            continue
        offline += [
            os.path.join(root, prefix)
            for prefix, known in sorted(places.items())
            if prefix and _is_offline(reader, root_id, root, prefix, known)
        ]
    return tuple(offline)


def is_offline(path: str, offline: Iterable[str]) -> bool:
    """Tell whether the absolute `path` is one of the `offline` folders or lies below one."""
    return any(
        path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in offline
    )


def same_time(one_ns: int, other_ns: int) -> bool:
    """Tell whether two times of change may be the same, by way of a file system that rounds."""
    apart = abs(one_ns - other_ns)
    return apart <= _TIME_TOLERANCE_NS or abs(apart - _HOUR_NS) <= _TIME_TOLERANCE_NS


def is_as_known(path: str, size: int, mtime_ns: int) -> bool:
    """Tell whether an ordinary file of this size and (about) this time lies at `path`."""
    try:
        facts = os.lstat(path)
    except (OSError, ValueError):
        return False
    return (
        stat.S_ISREG(facts.st_mode)
        and facts.st_size == size
        and same_time(facts.st_mtime_ns, mtime_ns)
    )


def _is_offline(
    reader: CatalogReader, root_id: int, root: str, prefix: str, known: FileSystem | None
) -> bool:
    folder = os.path.join(root, prefix) if prefix else root
    try:
        empty, here = _is_empty(folder), FileSystem.of(folder)
    except PermissionError:
        return False  # It is there; that it cannot be looked into is another matter.
    except OSError:
        return not prefix or bool(_sample(reader, root_id, prefix))
    if not empty and (known is None or known.may_be(here)):
        return False
    sample = _sample(reader, root_id, prefix)
    if empty:
        # A folder inside a root may well have been emptied, unless it was a disk.
        return bool(sample) and (not prefix or not (known is not None and known.may_be(here)))
    return bool(sample) and not any(
        is_as_known(os.path.join(root, path), size, mtime_ns) for path, size, mtime_ns in sample
    )


def _is_empty(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def _sample(reader: CatalogReader, root_id: int, prefix: str) -> list[tuple[str, int, int]]:
    """Return path, size and time of some files of a root, those below `prefix`."""
    condition = "root_id = ?"
    values: list[int | str | bytes] = [root_id]
    if prefix:
        low, high = to_stored(prefix + os.sep), to_stored(prefix + chr(ord(os.sep) + 1))
        condition, values = f"{condition} AND path >= ? AND path < ?", [root_id, low, high]
    found: list[tuple[str, int, int]] = []
    for order in ("", "DESC"):
        found += [
            (from_stored(path), size, mtime_ns)
            for path, size, mtime_ns in reader.rows(
                f"SELECT path, size, mtime_ns FROM file WHERE {condition}"
                f" ORDER BY path {order} LIMIT {_SAMPLE}",
                *values,
            )
        ]
    return found
