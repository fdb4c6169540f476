"""An encoding process: one model on one device, embedding pictures for its parent.

Run as ``python -m imgsearch.encoders.fleet_worker`` by `encoder_process`. It ends when its standard
input is closed, that is also when its parent dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.child import private_stdout
from imgsearch.encoders.frames import FrameError, read_frame, write_frame
from imgsearch.encoders.indexing import pace_of
from imgsearch.encoders.shared_pixels import SharedPixels
from imgsearch.errors import ImgsearchError, ModelInvalid


def main() -> None:
    """Load a model, then answer requests from standard input until it is closed."""
    # Ctrl-C goes to the whole terminal group; the indexer decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = sys.stdin.buffer, private_stdout()
    try:
        config, _ = read_frame(source)
        try:
            encoder = _loaded(config)
        except ImgsearchError as error:
            write_frame(sink, {"id": 0, **_told(error)})
            return
        write_frame(sink, {"id": 0})
        _Service(encoder, config, source, sink).run()
    except (FrameError, BrokenPipeError):
        return  # The parent has finished or died.


def _loaded(config: dict[str, Any]) -> Encoder:
    """Return the encoder that the parent has, with its image tower in use."""
    encoder = load_encoder(config["model"], config["device"])
    known = encoder.description
    if [known.name, known.revision] != config["identity"]:
        raise ModelInvalid(
            f"The files of the model {known.name!r} have changed meanwhile. Run the command again."
        )
    edge = known.preprocessing.size
    encoder.encode_images(np.zeros((1, edge, edge, 3), dtype=np.uint8))
    return encoder


class _Service:
    """Several threads that each take a request, embed, and answer: see `Pace` for the reason."""

    def __init__(
        self, encoder: Encoder, config: dict[str, Any], source: BinaryIO, sink: BinaryIO
    ) -> None:
        self._encoder = encoder
        self._edge = encoder.description.preprocessing.size
        self._threads = int(config["threads"])
        self._blocks = [SharedPixels(int(number)) for number in config["blocks"]]
        self._max_body = int(config["max_body"])
        self._source, self._reading = source, threading.Lock()
        self._sink, self._writing = sink, threading.Lock()

    def run(self) -> None:
        """Serve until the parent closes the pipe; at an error that nobody expects, die."""
        with ThreadPoolExecutor(self._threads) as threads:
            loops = [threads.submit(self._serve) for _ in range(self._threads)]
            ended, _ = wait(loops, return_when=FIRST_EXCEPTION)
            for error in (loop.exception() for loop in ended):
                if error is not None:
                    # After an error of its driver a device answers no more in this process; and
                    # the other threads may be waiting for it.
                    self._answer({"died": f"{type(error).__name__}: {error}"[:500]})
                    os._exit(1)

    def _serve(self) -> None:
        while True:
            try:
                with self._reading:
                    request, body = read_frame(self._source, self._max_body)
            except FrameError:
                return
            header: dict[str, Any] = {"id": request["id"]}
            rows = b""
            try:
                vectors = self._encoder.encode_images(self._pixels(request, body))
                rows = vectors.astype("<f4").tobytes()
                header["pictures"] = pace_of(self._encoder).pictures
            except ImgsearchError as error:
                header |= _told(error)
            self._answer(header, rows)

    def _pixels(self, request: dict[str, Any], body: bytes) -> npt.NDArray[np.uint8]:
        shape = (int(request["count"]), self._edge, self._edge, 3)
        if "block" in request:
            return self._blocks[int(request["block"])].read(shape)
        return np.frombuffer(body, dtype=np.uint8).reshape(shape)

    def _answer(self, header: dict[str, Any], rows: bytes = b"") -> None:
        with self._writing:
            write_frame(self._sink, header, rows)


def _told(error: ImgsearchError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    main()
