"""File names as they are stored: text where they are text, raw bytes where they are not.

On Linux a file name is any bytes. Python shows the ones that are not UTF-8 with lone surrogates,
which SQLite refuses as text; those names are stored as a BLOB of the original bytes.
"""

from __future__ import annotations

import os

# Not printable to Python, yet in many names: the spaces of other widths (macOS puts one into
# the name of every screenshot), and the joiners of emoji and of Persian words.
_HARMLESS = frozenset(
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
    "\u3000\u200c\u200d"
)


def to_stored(path: str) -> str | bytes:
    """Return `path` as SQLite can hold it."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def from_stored(value: str | bytes) -> str:
    """Undo `to_stored`: return the name that the `os` functions accept."""
    return os.fsdecode(value) if isinstance(value, bytes) else value


def printable(text: str) -> str:
    """Return `text` with all that a terminal could obey, or nobody can show, spelt as an escape."""
    return "".join(
        c
        if c.isprintable() or c in _HARMLESS
        else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )
