"""File names that match shell patterns such as ``IMG_*.jpg``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from fnmatch import translate

from imgsearch.errors import QueryInvalid

_MAX_PATTERN = 255


class NamePatterns:
    """Patterns, of which a file must match one, in upper or lower case.

    ``*`` stands for any characters, ``?`` for one, ``[abc]`` for one of these. A pattern without a
    slash is compared with the name alone; one with a slash with the end of the path, from the
    beginning of any folder on, or from the very beginning if it starts with a slash; there ``*``
    reaches over folders too.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises QueryInvalid for a pattern that is empty or longer than any file name."""
        for pattern in patterns:
            check_pattern(pattern)
        self._names = _any_of([one for one in patterns if "/" not in one])
        self._paths = _any_of([one for one in patterns if "/" in one])

    @property
    def need_folders(self) -> bool:
        """Whether a name alone does not tell if it matches."""
        return self._paths is not None

    def match(self, path: str) -> bool:
        """Tell whether a path matches; absolute, or any end of it if no folders are needed."""
        if os.sep != "/":
            path = path.replace(os.sep, "/")
        if self._names is not None and self._names.match(path, path.rfind("/") + 1):
            return True
        return self._paths is not None and self._paths.match(path) is not None


def check_pattern(pattern: str) -> None:
    """Raise QueryInvalid for a pattern that no file name could match, or that is no pattern."""
    if not pattern or len(pattern) > _MAX_PATTERN:
        raise QueryInvalid(
            "A file-name pattern is empty or too long. Give one such as 'IMG_*.jpg'."
        )


def _any_of(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    terms = []
    for pattern in patterns:
        anywhere = "/" in pattern and not pattern.startswith("/")
        terms.append(("(?s:.*/)?" if anywhere else "") + translate(pattern))
    return re.compile("|".join(terms), re.IGNORECASE)
