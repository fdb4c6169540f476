"""The files behind pictures, opened only inside their root and while they are the same."""

from __future__ import annotations

import hashlib
import os
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


def open_original(picture: StoredPicture, root: str) -> PhotoFile:
    """Open the first file that shows the picture. `root` is the root that holds it.

    Raises PhotoNotFound if it is not there, lies behind a link that leaves its root, is no ordinary
    file, or holds something else now.
    """
    path = picture.paths[0]
    if not is_inside(path, root):
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


def is_inside(path: str, root: str) -> bool:
    """Tell whether `path`, links followed, lies inside `root`."""
    real_root = os.path.realpath(root)
    return os.path.realpath(path).startswith(real_root.rstrip(os.sep) + os.sep)
