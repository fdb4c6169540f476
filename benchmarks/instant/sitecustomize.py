"""Decoding processes that decode only their first photo, and answer with its pixels ever after.

`main_process.py --instant` puts this folder on their path. They still read and hash every file, so
that all photos are different ones; two cores then bring as many a second as many cores would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from imgsearch.encoders import decode, preprocess, thumbnail


def _once(work: Callable[..., Any], key: Callable[..., object]) -> Callable[..., Any]:
    """Do the work once for each value of `key`."""
    results: dict[object, Any] = {}

    @wraps(work)
    def remembered(*arguments: Any, **options: Any) -> Any:
        value = key(*arguments)
        if value not in results:
            results[value] = work(*arguments, **options)
        return results[value]

    return remembered


# The first picture that a process prepares is one of 8 x 8, to see that it can.
preprocess.prepare = _once(preprocess.prepare, key=lambda image, _: image.size)
decode.decode = _once(decode.decode, key=lambda *_: None)
thumbnail.make_thumbnail = _once(thumbnail.make_thumbnail, key=lambda *_: None)
