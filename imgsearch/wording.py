"""Numbers as people read them, on the terminal and on the page."""

from __future__ import annotations


def human_bytes(count: int) -> str:
    """Return a size in bytes as people read it: 1.2 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
