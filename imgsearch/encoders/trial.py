"""Trying a model in a process of its own, before a library stores anything that it says.

A graph may crash the process that runs it, never end, or ask for all memory. So the first time that
a model is to be used for a library, both towers are run once by a child with limits; it runs as
``python -m imgsearch.encoders.trial`` and is told what to load on its standard input. What is tried
is whether the model is usable at all, not whether it is good.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.encoders import Encoder, load_encoder
from imgsearch.encoders.base import LetsGoOfImages, ModelDescription, checked_rows
from imgsearch.encoders.child import child_environment, private_stdout
from imgsearch.encoders.model_files import reason_of
from imgsearch.errors import ImgsearchError, ModelInvalid

# Loading two gigabytes from a slow disk and one pass through a large model on an old processor take
# under two minutes.
TRIAL_SECONDS = 300.0
# Memory for ONNX graphs: what the process itself and the activations of two pictures take, and
# several times the files, since ONNX Runtime rearranges weights. Torch's are bounded by their
# header (`checkpoint`), and CUDA maps far more than it uses.
_BASE_BYTES, _TIMES_FILES = 3 << 30, 6
_TEXTS = ("a red apple", "a green tree in the snow")
# Towers that answer the same to everything cannot be searched with. The nearest that two sensible
# vectors come here is 0.99; rounding is a thousandth of this.
_LEAST_DIFFERENCE = 1e-5


def try_out(
    source: str, device: str | None, identity: tuple[str, str], seconds: float = TRIAL_SECONDS
) -> None:
    """Run both towers of the model that `load_encoder` makes of these. Raises ModelInvalid.

    `identity` (name, revision) is what it must be when the child loads it.
    """
    order = json.dumps({"source": source, "device": device, "identity": identity})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "imgsearch.encoders.trial"],
            input=order.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment({}),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelInvalid(
            f"The model {identity[0]!r} did not answer within {seconds:.0f} s when it was tried."
        ) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise ModelInvalid(
            f"The model {identity[0]!r} ended the process that tried it (status "
            f"{done.returncode}): it crashes, or needs too much memory."
        ) from None
    if answer["error"] is not None:
        raise ModelInvalid(answer["error"])


def main() -> None:
    """Do what standard input says; write what is wrong, or nothing, to standard output."""
    order: dict[str, Any] = json.load(sys.stdin.buffer)
    sink = private_stdout()
    message = None
    try:
        encoder = load_encoder(order["source"], order["device"])
        known = encoder.description
        if [known.name, known.revision] != order["identity"]:
            raise ModelInvalid(
                f"The files of the model {known.name!r} have changed meanwhile. Run the command "
                "again."
            )
        _limit_memory(encoder, order["source"])
        check(encoder)
    except ImgsearchError as error:
        message = str(error)
    except MemoryError:
        message = f"The model {order['identity'][0]!r} needs too much memory."
    except Exception as error:  # whatever a model makes a library raise is the model's fault here
        message = f"The model {order['identity'][0]!r} cannot be used: {reason_of(error)}"
    sink.write(json.dumps({"error": message}).encode())
    sink.close()


def check(encoder: Encoder) -> None:
    """Raise ModelInvalid unless both towers give unit vectors that depend on what they are given.

    Two pictures (noise, and a gradient) and two texts are tried.
    """
    known = encoder.description
    edge = known.preprocessing.size
    pixels = np.empty((2, edge, edge, 3), dtype=np.uint8)
    pixels[0] = np.random.default_rng(0).integers(0, 256, pixels[0].shape)
    pixels[1] = np.linspace(0, 255, edge, dtype=np.uint8)[:, None, None]
    _check_rows(encoder.encode_images(pixels), known, "pictures")
    if isinstance(encoder, LetsGoOfImages):
        encoder.let_go_of_images()
    _check_rows(encoder.encode_texts(_TEXTS), known, "texts")


def _check_rows(rows: npt.NDArray[np.float32], known: ModelDescription, kind: str) -> None:
    checked_rows(rows, 2, known)
    if float(np.abs(rows[0] - rows[1]).max()) < _LEAST_DIFFERENCE:
        raise ModelInvalid(f"The model {known.name!r} gives the same vector to all {kind}.")


def _limit_memory(encoder: Encoder, source: str) -> None:
    """Limit what this process may allocate, for models of ONNX graphs, where the system can."""
    if sys.platform == "win32" or "torch" in sys.modules:
        return
    import resource

    folder: Path = getattr(encoder, "folder", Path(source))
    files = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    limit = _BASE_BYTES + _TIMES_FILES * files
    # As in the decoding processes: RLIMIT_AS would count mapped libraries.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


if __name__ == "__main__":
    main()
