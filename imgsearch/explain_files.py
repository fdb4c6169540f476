"""Results as pictures in a folder, each with a map of where the words were found."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from imgsearch.errors import (
    ImageUnreadable,
    OutputFailed,
    OutputInvalid,
    PhotoNotFound,
    QueryInvalid,
)
from imgsearch.library import Library
from imgsearch.search.results import SearchHit

# The longer edge of what is written, in pixels.
_EDGE = 1_024
# File systems allow 255 bytes; a character takes up to four.
_LONGEST_NAME = 50
# A JPEG comment by which pictures of earlier runs are known: only those are written over. It stands
# at the beginning, behind a colour profile of 4 kB at most.
_MARK = b"heat map by imgsearch"
_MARK_WITHIN = 16_384


def write_explanations(
    library: Library, results: Iterable[SearchHit], words: str, folder: str | os.PathLike[str]
) -> list[Path]:
    """Write ``001-NAME.jpg`` and so on into `folder`, in the order of the results.

    The folder is made if it is not there. Files that an earlier call wrote are replaced; any other
    file keeps its content, and the new one gets another number in its name. A picture whose file
    cannot be read any more is left out. Returns the paths written. Raises OutputInvalid,
    OutputFailed, HeatMapUnavailable, QueryInvalid or a LibraryError.
    """
    if not words.strip():
        raise QueryInvalid("Only words can be shown in pictures: say what to look for.")
    place = Path(os.path.expanduser(folder))
    written = []
    try:
        place.mkdir(parents=True, exist_ok=True)
        for rank, hit in enumerate(results, start=1):
            try:
                picture = library.heat_map(hit.content_hash, words).overlay(
                    library.preview(hit.content_hash, _EDGE)
                )
            except (PhotoNotFound, ImageUnreadable):
                continue
            path = _free(place, f"{rank:03d}-{_safe(hit.name)}")
            _write(path, _marked(picture))
            written.append(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise OutputFailed(
                f"Cannot write into {place}: {error.strerror}. {len(written)} pictures are "
                "written. Free some space or name another folder, then run it again."
            ) from error
        raise OutputInvalid(
            f"Cannot write into {place}: {error.strerror or error}. Name another folder."
        ) from error
    return written


def _safe(name: str) -> str:
    """Return a file's name without its suffix, of letters, digits, spaces and ``-_.`` only."""
    stem = os.path.splitext(name)[0][:_LONGEST_NAME]
    kept = "".join(c if c.isalnum() or c in "-_. " else "_" for c in stem)
    return kept.strip(" .") or "photo"


def _free(folder: Path, stem: str) -> Path:
    """Return a path that is not taken, or taken by a picture of an earlier run."""
    number = 1
    path = folder / f"{stem}.jpg"
    while os.path.lexists(path) and not _is_ours(path):
        number += 1
        path = folder / f"{stem}-{number}.jpg"
    return path


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK in file.read(_MARK_WITHIN)


def _marked(jpeg: bytes) -> bytes:
    """Put a comment behind the first two bytes of a JPEG, the mark that it begins with."""
    comment = b"\xff\xfe" + (len(_MARK) + 2).to_bytes(2, "big") + _MARK
    return jpeg[:2] + comment + jpeg[2:]


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, never through a link that lies in its place."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("xb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
