"""Standard error that shows control characters instead of passing them on to the terminal.

What is printed there comes from many hands: ours, those who parse the command line, and libraries
that log what a model or a server calls itself. Standard output is ours alone, and escapes what it
shows by itself, because the bytes of paths and JSON must be exact.
"""

from __future__ import annotations

import re
from typing import Any, TextIO

from imgsearch.data.paths import printable

# How tqdm moves between its bars: in writes that hold nothing else. It begins a bar with \r.
_MOVES = re.compile(r"(?:\n|\r|\x1b\[A)*")


class SafeStream:
    """A text stream in front of another; see the module. `behind` is the other one."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def write(self, text: str) -> int:
        """Write `text` with all but line ends and tabs that a terminal could obey spelt out."""
        if _MOVES.fullmatch(text) is None:
            start = "\r" if text.startswith("\r") and not text.startswith("\r\n") else ""
            rest = text[len(start) :].replace("\r\n", "\n")
            text = start + "".join(
                part if part in "\n\t" else printable(part) for part in re.split(r"([\n\t])", rest)
            )
        self.behind.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Be in all else what is behind."""
        return getattr(self.behind, name)


def unguarded(stream: Any) -> TextIO:
    """Return the stream to write to for those who draw on the terminal on purpose."""
    found: TextIO = getattr(stream, "behind", stream)
    return found
