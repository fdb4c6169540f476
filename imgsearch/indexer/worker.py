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
from PIL import Image

from imgsearch.encoders.base import Preprocessing, Resize
from imgsearch.encoders.child import private_stdout
from imgsearch.encoders.decode import decode, read_metadata, register_formats
from imgsearch.encoders.files import open_regular, read_stable
from imgsearch.encoders.frames import FrameError, read_frame, write_frame
from imgsearch.encoders.preprocess import prepare
from imgsearch.encoders.thumbnail import make_preview, make_thumbnail
from imgsearch.errors import ImageUnreadable
from imgsearch.indexer.facts import read_details, read_facts
from imgsearch.settings import DecodeLimits

# The indexer ends a process after its time limit; the process itself after so many times as much.
_PATIENCE = 1.5


def main() -> None:
    """Answer requests from standard input until it is closed."""
    # Ctrl-C goes to the whole terminal group, and systemd's SIGTERM to all of a service. The
    # indexer decides when its workers end; no file may be blamed for the death of one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
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
        _limit_memory(limits.memory_bytes)
        write_frame(sink, {"ready": True})
        while True:
            request, content = read_frame(source)
            _end_after(limits.timeout_seconds * _PATIENCE)
            header, body = _answer(request, content, preprocessing, limits)
            _end_after(0)
            write_frame(sink, header, *body)
    except (FrameError, BrokenPipeError):
        return  # The indexer has finished or died.


def _end_after(seconds: float) -> None:
    """Let the system end this process after so long; 0 calls it off.

    An indexer that was killed ends nobody, and a native decoder in an endless loop lets no Python
    look after itself: without this it would work on for ever.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


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
        "facts": asdict(read_facts(photo)),
    }
    return header, (np.ascontiguousarray(prepared.pixels).reshape(-1).data, thumbnail)


def _details(request: dict[str, Any]) -> dict[str, Any]:
    with open_regular(request["path"]) as (file, facts):
        if [facts.st_size, facts.st_mtime_ns] != request["details_of"]:
            raise FileNotFoundError("another file has taken its place")
        return read_details(read_metadata(file))


if __name__ == "__main__":
    main()
