"""The pictures behind the page: thumbnails, large views, originals, and zips of them.

Everything is asked for by content hash, or by the name of a selection, and answered through the
catalog: a path never comes from a request.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import PurePath
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from imgsearch import (
    HeatMapUnavailable,
    ImageUnreadable,
    ImgsearchError,
    PhotoFile,
    PhotoNotFound,
    QueryInvalid,
)
from imgsearch.ui.assets import WORLD_MAP
from imgsearch.ui.shared import get_shared

# The content behind a hash never changes.
_FOR_EVER = "private, max-age=31536000, immutable"
# What a heat map shows changes with the library's model, which the address does not name.
_SHORT = "private, max-age=60"
# Characters; a model reads a few hundred at most.
MAX_WORDS = 2_000
_CHUNK = 1 << 18
# Formats that every browser shows by itself.
_BROWSER_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
}


def routes() -> list[BaseRoute]:
    """Return the routes; their handlers run in worker threads."""
    return [
        Route("/imgsearch/thumbnail/{name}.jpg", thumbnail),
        Route("/imgsearch/view/{name}", view),
        Route("/imgsearch/heat/{name}.png", heat),
        Route("/imgsearch/original/{name}", original),
        Route("/imgsearch/selection/{token}.zip", selection),
        Route("/imgsearch/world.svg", world_map),
    ]


def thumbnail(request: Request) -> Response:
    """Answer with a small JPEG."""
    name = request.path_params["name"]
    if request.headers.get("if-none-match") == f'"{name}"':
        return Response(status_code=304, headers=_headers(name))
    try:
        content = get_shared().library.thumbnail(name)
    except (PhotoNotFound, ImageUnreadable):
        return _not_found()
    return Response(content, media_type="image/jpeg", headers=_headers(name))


def view(request: Request) -> Response:
    """Answer with a picture to look at: the original where browsers can show it, else a JPEG."""
    name = request.path_params["name"]
    library = get_shared().library
    try:
        photo = library.open_photo(name)
        if photo.format in _BROWSER_TYPES:
            return _streamed(photo, _BROWSER_TYPES[photo.format], _headers(name))
        photo.stream.close()
        content = library.preview(name)
    except (PhotoNotFound, ImageUnreadable):
        return _not_found()
    return Response(content, media_type="image/jpeg", headers=_headers(name))


def heat(request: Request) -> Response:
    """Answer with a transparent layer that shows where in a picture the `words` are found."""
    words = request.query_params.get("words", "")
    if len(words) > MAX_WORDS:
        return _not_found()
    try:
        found = get_shared().library.heat_map(request.path_params["name"], words)
    except (QueryInvalid, PhotoNotFound, ImageUnreadable, HeatMapUnavailable):
        return _not_found()
    headers = _headers(request.path_params["name"]) | {"Cache-Control": _SHORT}
    del headers["ETag"]
    return Response(found.layer(), media_type="image/png", headers=headers)


def original(request: Request) -> Response:
    """Answer with the original file, to be saved under its own name."""
    try:
        photo = get_shared().library.open_photo(request.path_params["name"])
    except PhotoNotFound:
        return _not_found()
    headers = _headers(request.path_params["name"]) | {
        "Content-Disposition": _attachment(photo.name)
    }
    return _streamed(photo, "application/octet-stream", headers)


def selection(request: Request) -> Response:
    """Answer with the originals of a selection as one zip, made while it is sent."""
    shared = get_shared()
    chosen = shared.selection(request.path_params["token"])
    if chosen is None:
        return _not_found()
    headers = {"Content-Disposition": _attachment("photos.zip"), "Cache-Control": "no-store"}
    content = zip_chunks([hit.content_hash for hit in shared.library.pictures(chosen)])
    return _Stream(content, content.close, media_type="application/zip", headers=headers)


def world_map(request: Request) -> Response:
    """Answer with the map of the world."""
    return FileResponse(WORLD_MAP, media_type="image/svg+xml", headers=_headers("world-1"))


def zip_chunks(content_hashes: Sequence[str]) -> Generator[bytes, None, None]:
    """Yield a zip of these pictures' files, without holding it in memory; names are made unique.

    A file that cannot be read any more is left out.
    """
    sink = _Sink()
    library = get_shared().library
    used: set[str] = set()
    # Photos are compressed already.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for content_hash in content_hashes:
            try:
                photo = library.open_photo(content_hash)
            except ImgsearchError:
                continue
            with photo.stream, archive.open(_unused(photo.name, used), "w", force_zip64=True) as to:
                while chunk := photo.stream.read(_CHUNK):
                    to.write(chunk)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that can only be written to, and gives what was written piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _unused(name: str, used: set[str]) -> str:
    """Return `name`, with a number where the archive has it already (in any case of letters)."""
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    number, candidate = 1, name
    while candidate.lower() in used:
        number += 1
        candidate = f"{stem} ({number}){suffix}"
    used.add(candidate.lower())
    return candidate


class _Stream(StreamingResponse):
    """An answer made while it is sent, which lets go of its files when the visitor leaves, too."""

    def __init__(
        self,
        content: Iterator[bytes],
        close: Callable[[], None],
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


def _streamed(photo: PhotoFile, media_type: str, headers: dict[str, str]) -> Response:
    chunks = iter(lambda: photo.stream.read(_CHUNK), b"")
    headers = headers | {"Content-Length": str(photo.byte_size)}
    return _Stream(chunks, photo.stream.close, media_type, headers)


def _headers(tag: str) -> dict[str, str]:
    return {
        "Cache-Control": _FOR_EVER,
        "ETag": f'"{tag}"',
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Whatever a file pretends to be, it runs nothing when it is opened by itself.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }


def _attachment(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def _not_found() -> Response:
    return Response("There is no such photo.", 404, {"Cache-Control": "no-store"})
