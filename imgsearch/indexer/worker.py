"""A decoding process: reads files, decodes them, answers with pixels and facts.

Run as ``python -m imgsearch.indexer.worker`` by `decode_pool`. Whatever a hostile file does to a
native decoder (crash, endless loop, endless memory) ends here and costs that one file.
"""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.encoders.base import Preprocessing, Resize
from imgsearch.encoders.child import private_stdout
from imgsearch.encoders.decode import decode, read_metadata, register_formats
from imgsearch.encoders.files import open_regular, read_stable
from imgsearch.encoders.frames import FrameError, read_frame, write_frame
from imgsearch.encoders.preprocess import prepare
from imgsearch.encoders.shared_pixels import SharedPixels
from imgsearch.encoders.thumbnail import make_preview, make_thumbnail
from imgsearch.errors import ImageUnreadable
from imgsearch.indexer.facts import read_details, read_facts
from imgsearch.settings import DecodeLimits


def main() -> None:
    """Answer requests from standard input until it is closed."""
    # Ctrl-C goes to the whole terminal group; the indexer decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = sys.stdin.buffer, private_stdout()
    try:
        config, _ = read_frame(source)
        limits = DecodeLimits(**config["limits"])
        preprocessing = Preprocessing(
            size=config["size"], resize=Resize(config["resize"]), resample=config["resample"]
        )
        # What does not work on any picture must end the run, not be blamed on every file.
        register_formats()
        prepare(Image.new("RGB", (8, 8)), preprocessing)
        shared = SharedPixels(int(config["shared"])) if "shared" in config else None
        _limit_memory(limits.memory_bytes)
        write_frame(sink, {"ready": True})
        while True:
            request, content = read_frame(source)
            header, body = _answer(request, content, preprocessing, limits)
            if shared is not None and "room" in request and header["kind"] == "photo":
                room = shared.read((request["room"] + 1, config["room_bytes"]))[request["room"]]
                header["in_room"], body = _furnish(room, body)
            write_frame(sink, header, *body)
    except (FrameError, BrokenPipeError):
        return  # The indexer has finished or died.


def _limit_memory(limit: int) -> None:
    if sys.platform == "linux":
        import resource

        # RLIMIT_DATA counts what a decoder allocates; RLIMIT_AS would also count mapped libraries.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


def _answer(
    request: dict[str, Any], content: bytes, preprocessing: Preprocessing, limits: DecodeLimits
) -> tuple[dict[str, Any], Sequence[bytes | memoryview]]:
    """Return the header and the parts of the body for one request.

    It is for a file, or for the `content` that came with it.
    """
    header: dict[str, Any] = {"kind": "photo"}
    try:
        if "details_of" in request:
            return {"kind": "details", "facts": _details(request)}, ()
        if "path" in request:
            content, facts = read_stable(request["path"], limits)
            header |= {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
        if "preview" in request:
            edge = int(request["preview"])
            photo = decode(content, limits, reduce_for=Preprocessing(size=edge))
            digest = hashlib.sha256(content).hexdigest()
            return {"kind": "preview", "hash": digest}, (make_preview(photo, edge),)
        photo = decode(content, limits, reduce_for=preprocessing)
        prepared = prepare(photo.rgb, preprocessing)
        thumbnail = make_thumbnail(photo, prepared.scaled)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "gone"}, ()
    except OSError as error:
        return {"kind": "unreadable", "reason": f"cannot be read: {error.strerror or error}"}, ()
    except ImageUnreadable as error:
        return {"kind": "damaged", "reason": str(error)}, ()
    except MemoryError:
        return {"kind": "damaged", "reason": "decoding needs more memory than is allowed"}, ()
    header |= {
        "hash": hashlib.sha256(content).hexdigest(),
        # What is not there need not be told.
        "facts": {
            name: value
            for name, value in asdict(read_facts(photo)).items()
            if value not in (None, ())
        },
    }
    return header, (np.ascontiguousarray(prepared.pixels).reshape(-1).data, thumbnail)


def _furnish(
    room: npt.NDArray[np.uint8], parts: Sequence[bytes | memoryview]
) -> tuple[int, Sequence[bytes | memoryview]]:
    """Put the first parts of an answer into a room, one behind the other.

    Return how many bytes that are, and the parts that found no room any more.
    """
    end = 0
    for number, part in enumerate(parts):
        start, stop = end, end + len(part)
        if stop > len(room):
            return end, parts[number:]
        room[start:stop] = np.frombuffer(part, dtype=np.uint8)
        end = stop
    return end, ()


def _details(request: dict[str, Any]) -> dict[str, Any]:
    with open_regular(request["path"]) as (file, facts):
        if [facts.st_size, facts.st_mtime_ns] != request["details_of"]:
            raise FileNotFoundError("another file has taken its place")
        return read_details(read_metadata(file))


if __name__ == "__main__":
    main()
