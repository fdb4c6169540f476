"""What a library can be filtered by: its folders, cameras, lenses, formats and labels."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from imgsearch.data.paths import from_stored, printable
from imgsearch.data.reader import CatalogReader

# The folders with the most pictures; nobody looks through a longer list.
_MAX_FOLDERS = 500
# The most frequent keywords; the others can still be asked for by name.
_MAX_KEYWORDS = 500


@dataclass(frozen=True, slots=True)
class Facets:
    """The values that filters can take, each with something to show.

    `folders` maps absolute paths to short labels; `cameras`, `lenses`, `formats`, `keywords` and
    `ratings` (-1 to 5) map to counts; `placed` is how many pictures have a coordinate;
    `roots` are the folders that were indexed; `absent_folders` are those of them, or inside them,
    that are not there now (a disk that is unplugged).
    """

    pictures: int = 0
    folders: dict[str, str] = field(default_factory=dict)
    cameras: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    lenses: dict[str, int] = field(default_factory=dict)
    keywords: dict[str, int] = field(default_factory=dict)
    ratings: dict[int, int] = field(default_factory=dict)
    placed: int = 0
    roots: tuple[str, ...] = ()
    absent_folders: tuple[str, ...] = ()

    def with_absent_folders(self, absent: tuple[str, ...]) -> Facets:
        """Return the same with other folders that are not there."""
        return replace(self, absent_folders=absent)


def read_facets(reader: CatalogReader) -> Facets:
    """Read them. Raises a LibraryError if the catalog cannot be read."""
    if reader.is_empty():
        return Facets()
    [(pictures, placed)] = reader.rows(
        "SELECT count(*), count(latitude + longitude) FROM picture WHERE +orphaned_at IS NULL"
    )
    roots = {id_: from_stored(path) for id_, path in reader.rows("SELECT id, path FROM root")}
    return Facets(
        pictures=pictures,
        folders=_folders(reader, roots),
        cameras=_counts(reader, "camera"),
        formats=_counts(reader, "format"),
        lenses=_counts(reader, "lens"),
        keywords=_keywords(reader),
        ratings=_counts(reader, "rating"),
        placed=placed,
        roots=tuple(roots.values()),
    )


def _keywords(reader: CatalogReader) -> dict[str, int]:
    """Count the pictures of each keyword, spelt in one of the ways in which it occurs."""
    rows = reader.rows(
        "SELECT min(k.word), count(*) FROM keyword k JOIN picture p ON p.id = k.picture_id"
        " WHERE p.orphaned_at IS NULL GROUP BY k.folded ORDER BY count(*) DESC, k.folded LIMIT ?",
        _MAX_KEYWORDS,
    )
    return dict(rows)


def _counts(reader: CatalogReader, column: str) -> dict[Any, int]:
    # Unary plus: nearly all rows have NULL there, so that its index is only a detour.
    rows = reader.rows(
        f"SELECT {column}, count(*) FROM picture WHERE +orphaned_at IS NULL"
        f" AND {column} IS NOT NULL GROUP BY {column} ORDER BY count(*) DESC, {column}"
    )
    return dict(rows)


def _folders(reader: CatalogReader, roots: dict[int, str]) -> dict[str, str]:
    """Return the roots and the folders below them, by path, with labels."""
    counts: Counter[tuple[int, str]] = Counter()
    for root_id in roots:
        for stored, count in _files_by_folder(reader, root_id).items():
            folder = os.path.normpath(stored) if stored else ""
            # A catalog is a file like any other.
            if not os.path.isabs(folder) and folder.split(os.sep)[0] != os.pardir:
                counts[root_id, folder] += count
    for (root_id, folder), count in list(counts.items()):
        while folder:
            folder = os.path.dirname(folder)
            counts[root_id, folder] += count
    names = Counter(os.path.basename(path) for path in roots.values())
    labels: dict[str, str] = {}
    for (root_id, folder), _ in counts.most_common(_MAX_FOLDERS):
        root = roots[root_id]
        name = os.path.basename(root)
        shown = name if name and names[name] == 1 else root
        path = os.path.join(root, folder) if folder else root
        labels[path] = printable(os.path.join(shown, folder) if folder else shown)
    return dict(sorted(labels.items()))


def _files_by_folder(reader: CatalogReader, root_id: int) -> Counter[str]:
    """Count the files of each folder of a root, by its relative path; "" is the root itself."""
    counts: Counter[str] = Counter()
    for page in reader.pages("SELECT path FROM file WHERE root_id = ?", root_id):
        paths = [path if type(path) is str else from_stored(path) for (path,) in page]
        counts.update([path.rpartition(os.sep)[0] for path in paths])
    return counts
