"""The files behind pictures, opened only inside their root and while they are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader

from imgsearch.data.paths import printable
from imgsearch.data.reader import StoredPicture
from imgsearch.encoders.files import open_descriptor
from imgsearch.errors import PhotoNotFound


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """An opened original. `stream` is the reader's to close; `format` is as Pillow names it."""

    path: str
    name: str
    format: str
    byte_size: int
    stream: BufferedReader


def open_original(picture: StoredPicture, roots: Sequence[str]) -> PhotoFile:
    """Open a file that shows the picture; of several, the first that can be.

    Raises PhotoNotFound if none is there, or lies inside one of the `roots` when links are
    followed, or is an ordinary file, or still holds the picture.
    """
    reason = PhotoNotFound("There is no such photo.")
    for path in picture.paths:
        try:
            return _open(path, picture, roots)
        except PhotoNotFound as error:
            reason = error
    raise reason


def _open(path: str, picture: StoredPicture, roots: Sequence[str]) -> PhotoFile:
    if "\0" in path or not _is_inside(path, roots):
        raise PhotoNotFound("The photo's folder leads out of the folder that was indexed.")
    try:
        descriptor, facts = open_descriptor(path)
    except OSError as error:
        raise PhotoNotFound(f"The photo cannot be read: {error.strerror or error}.") from error
    stream = os.fdopen(descriptor, "rb")
    try:
        touched = facts.st_size != picture.byte_size or facts.st_mtime_ns / 1e9 != picture.modified
        if touched:
            if hashlib.file_digest(stream, "sha256").digest() != picture.content_hash:
                raise PhotoNotFound("The photo has changed since it was indexed.")
            stream.seek(0)
    except BaseException:
        stream.close()
        raise
    name = printable(os.path.basename(path))
    return PhotoFile(path, name, picture.facts.format, facts.st_size, stream)


def _is_inside(path: str, roots: Sequence[str]) -> bool:
    """Tell whether `path`, links followed, lies inside the root that it is said to be in."""
    holding = [root for root in roots if path.startswith(root.rstrip(os.sep) + os.sep)]
    if not holding:
        return False
    real_root = os.path.realpath(max(holding, key=len))
    return os.path.realpath(path).startswith(real_root.rstrip(os.sep) + os.sep)
