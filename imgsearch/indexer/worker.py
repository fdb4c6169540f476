"""A decoding process: reads files, decodes them, answers with pixels and facts.

Run as ``python -m imgsearch.indexer.worker`` by `decode_pool`. Whatever a hostile file does to a
native decoder (crash, endless loop, endless memory) ends here and costs that one file.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.encoders.base import Preprocessing, Resize
from imgsearch.encoders.child import private_stdout
from imgsearch.encoders.decode import TOO_MUCH_MEMORY, decode, read_metadata, register_formats
from imgsearch.encoders.files import check_size, open_regular, read_stable
from imgsearch.encoders.frames import FrameError, read_frame, write_frame
from imgsearch.encoders.preprocess import prepare
from imgsearch.encoders.shared_pixels import SharedPixels
from imgsearch.encoders.thumbnail import make_preview, make_thumbnail
from imgsearch.errors import ImageUnreadable
from imgsearch.indexer.facts import read_details, read_facts
from imgsearch.indexer.stages import Laps, RunningLaps, Stage
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
        shared = SharedPixels(int(config["shared"])) if "shared" in config else None
        _limit_memory(limits.memory_bytes)
        laps = RunningLaps() if config.get("timed") else Laps()
        ready: dict[str, Any] = {"ready": True}
        laps.tell(ready)
        write_frame(sink, ready)
        while True:
            request, content = read_frame(source)
            laps.lap(Stage.IDLE)
            _limit_time(limits.timeout_seconds)
            _end_after(limits.stall_seconds * _PATIENCE)
            header, body = _answer(request, content, preprocessing, limits, laps)
            if header["kind"] != "photo":
                laps.lap(Stage.FAILED)
            laps.tell(header)
            if shared is not None and "room" in request and header["kind"] == "photo":
                room = shared.read((request["room"] + 1, config["room_bytes"]))[request["room"]]
                header["in_room"], body = _furnish(room, body)
            _end_after(0)
            write_frame(sink, header, *body)
            laps.lap(Stage.ANSWER)
    except (FrameError, BrokenPipeError):
        return  # The indexer has finished or died.


def _end_after(seconds: float) -> None:
    """Let the system end this process after so long; 0 calls it off.

    An indexer that was killed ends nobody, and a native decoder that waits for ever lets no Python
    look after itself.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory(limit: int) -> None:
    """Let allocations fail that would bring this process above `limit` bytes; on Linux."""
    if sys.platform == "linux":
        import resource

        pages = [int(field) for field in Path("/proc/self/statm").read_text().split()]
        mapped, _, shared = (resource.getpagesize() * number for number in pages[:3])
        # Private memory, with room left for the pages of libraries, which are not counted.
        _set_limit(resource.RLIMIT_DATA, limit - shared)
        # What is shared or mapped from files is not counted there. Libraries are mapped by now.
        _set_limit(resource.RLIMIT_AS, mapped + limit)
        # The core of a crashed decoder would be as large as all this.
        _set_limit(resource.RLIMIT_CORE, 0)


def _limit_time(seconds: float) -> None:
    """Let the system end this process when its next file takes more processor time."""
    if os.name == "posix":
        import resource

        _set_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds))


def _set_limit(which: int, value: int) -> None:
    import resource

    _, hard = resource.getrlimit(which)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (allowed, hard))


def _answer(
    request: dict[str, Any],
    content: bytes,
    preprocessing: Preprocessing,
    limits: DecodeLimits,
    laps: Laps,
) -> tuple[dict[str, Any], Sequence[bytes | memoryview]]:
    """Return the header and the parts of the body for one request.

    It is for a file, or for the `content` that came with it.
    """
    header: dict[str, Any] = {"kind": "photo"}
    try:
        if "details_of" in request:
            return {"kind": "details", "facts": _details(request, limits)}, ()
        if "path" in request:
            content, facts = read_stable(request["path"], limits)
            header |= {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
            laps.lap(Stage.READ)
        if "preview" in request:
            edge = int(request["preview"])
            photo = decode(content, limits, reduce_for=Preprocessing(size=edge))
            digest = hashlib.sha256(content).hexdigest()
            return {"kind": "preview", "hash": digest}, (make_preview(photo, edge),)
        photo = decode(content, limits, reduce_for=preprocessing)
        laps.lap(Stage.DECODE)
        prepared = prepare(photo.rgb, preprocessing)
        laps.lap(Stage.RESIZE)
        thumbnail = make_thumbnail(photo, prepared.scaled)
        laps.lap(Stage.COMPRESS)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "gone"}, ()
    except OSError as error:
        return {"kind": "unreadable", "reason": f"cannot be read: {error.strerror or error}"}, ()
    except ImageUnreadable as error:
        return {"kind": "damaged", "reason": str(error)}, ()
    except MemoryError:
        return {"kind": "damaged", "reason": TOO_MUCH_MEMORY}, ()
    header["hash"] = hashlib.sha256(content).hexdigest()
    laps.lap(Stage.HASH)
    header |= {
        # What is not there need not be told.
        "facts": {
            name: value
            for name, value in asdict(read_facts(photo)).items()
            if value not in (None, ())
        },
    }
    laps.lap(Stage.FACTS)
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


def _details(request: dict[str, Any], limits: DecodeLimits) -> dict[str, Any]:
    with open_regular(request["path"]) as (file, facts):
        if [facts.st_size, facts.st_mtime_ns] != request["details_of"]:
            raise FileNotFoundError("another file has taken its place")
        check_size(facts, limits)
        return read_details(read_metadata(file, limits))


if __name__ == "__main__":
    main()
