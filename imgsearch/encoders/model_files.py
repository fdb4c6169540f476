"""Files of a model that came from anywhere: looked at before anything large is made of them."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imgsearch.errors import ModelInvalid

# Configurations have a few kilobytes; the largest tokenizer.json of the known models (Gemma's, of
# SigLIP 2) 34 MB, of 256,000 tokens.
_MAX_JSON_BYTES, _MAX_TOKENIZER_BYTES = 4 << 20, 100 << 20
# What the safetensors library itself takes at most.
_MAX_HEADER_BYTES = 100_000_000
_BYTES_OF = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
# In a config.json. The widest and deepest dual encoders stay below a quarter of these.
_MAX_NUMBER, _MAX_LAYERS = 4_000_000, 512
_REASON_LENGTH = 300
_BINARY = getattr(os, "O_BINARY", 0)


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file of a model holds. Raises ModelInvalid.

    It is refused if it is no ordinary file or too large, names something twice (others might read
    the other one), is nested too deep, or holds numbers that are none.
    """
    data = read_bytes(path, _MAX_JSON_BYTES)
    try:
        facts = json.loads(data, object_pairs_hook=_without_repetition, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ModelInvalid(f"{path} cannot be read: {reason_of(error)}") from error
    if not isinstance(facts, dict):
        raise ModelInvalid(f"{path} does not hold an object.")
    return facts


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Return the content of an ordinary file of at most so many bytes. Raises ModelInvalid."""
    try:
        # Not waited for, should it have become a FIFO.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelInvalid(f"{path} is no ordinary file.")
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise ModelInvalid(f"The model's {path.name} cannot be read: {path}.") from error
    if len(data) > most_bytes:
        raise ModelInvalid(f"{path} is larger than {most_bytes >> 20} MB: no model has such a one.")
    return data


def check_tokenizer(path: Path) -> None:
    """Raise ModelInvalid for a tokenizer.json that is no file or larger than any."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelInvalid(f"The model's {path.name} cannot be read: {path}.") from error
    if not path.is_file() or size > _MAX_TOKENIZER_BYTES:
        raise ModelInvalid(f"{path} is larger than {_MAX_TOKENIZER_BYTES >> 20} MB: refused.")


def check_inside(folder: Path, names: Iterable[str]) -> None:
    """Raise ModelInvalid if a file of a model folder is a link to somewhere else.

    The hub's cache keeps the files of a snapshot in ``blobs``, beside ``snapshots``.
    """
    home = folder.resolve()
    snapshots = [place for place in home.parents if place.name == "snapshots"]
    allowed = [home, *(place.parent / "blobs" for place in snapshots)]
    for name in names:
        real = (home / name).resolve()
        if not any(real.is_relative_to(place) for place in allowed):
            raise ModelInvalid(f"{folder / name} leads out of the model's folder: refused.")


def check_config(config: dict[str, Any], name: str) -> None:
    """Raise ModelInvalid for a config.json with programs, or with sizes that no model has."""
    if "auto_map" in config:
        raise ModelInvalid(
            f"{name!r} wants to run programs of its own (auto_map); only models of the kinds that "
            "transformers has by itself are used."
        )
    waiting: list[tuple[str, object]] = list(config.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, int) and not isinstance(value, bool):
            most = _MAX_LAYERS if "layers" in key else _MAX_NUMBER
            # Ids of tokens may be -1.
            if not -1 <= value <= most:
                raise ModelInvalid(f"The config.json of {name!r} says {key} {value}: refused.")


def check_safetensors(path: Path) -> int:
    """Read the header of a safetensors file; return how many numbers its tensors hold.

    Raises ModelInvalid unless it is one (a pickle is not, whatever its name), and every tensor has
    a known type and just the bytes that its shape asks for, one behind the other to the end.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
                raise ModelInvalid(f"{path} is not a safetensors file: refused.")
            header = json.loads(
                file.read(length), object_pairs_hook=_without_repetition, parse_constant=_no_number
            )
        return _numbers_in(header, size - 8 - length)
    except OSError as error:
        raise ModelInvalid(f"The model's {path.name} cannot be read: {path}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelInvalid(f"{path} is not a safetensors file: {reason_of(error)}") from error


def _numbers_in(header: dict[str, Any], data_bytes: int) -> int:
    header.pop("__metadata__", None)
    tensors = sorted(
        ((one["data_offsets"], one, name) for name, one in header.items()),
        key=lambda tensor: (*map(int, tensor[0]), tensor[2]),
    )
    count = end = 0
    for (first, last), one, name in tensors:
        shape = one["shape"]
        if not all(type(n) is int and n >= 0 for n in (first, last, *shape)):
            raise ValueError(f"the shape of {name!r} is none")
        numbers = math.prod(shape)
        if first != end or last - first != numbers * _BYTES_OF[one["dtype"]]:
            raise ValueError(f"{name!r} does not have the bytes that its shape asks for")
        count, end = count + numbers, last
    if end != data_bytes:
        raise ValueError("its tensors are not as long as the file")
    return count


def reason_of(error: BaseException) -> str:
    """Return what an error of a library says, as one line of a length that people read.

    It may quote the model's file, which may hold anything.
    """
    said = "".join(c if c.isprintable() else " " for c in str(error))
    line = " ".join(said.split()) or type(error).__name__
    return line if len(line) <= _REASON_LENGTH else f"{line[:_REASON_LENGTH]} ..."


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("something is named twice")
    return found


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
