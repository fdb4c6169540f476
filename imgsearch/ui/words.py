"""Texts for the page: file names as text, never as markup; sizes and times for people."""

from __future__ import annotations

import re

# How the beginnings of addresses look that Streamlit's Markdown makes links of.
_ADDRESS = re.compile(r"(?:https?|mailto|xmpp)(?=:)|www(?=\.)|[-.\w+](?=@)", re.IGNORECASE)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:$<>&^=])")


def plain(text: str) -> str:
    """Return `text` for a place that reads Markdown, so that it is shown as it is.

    Addresses would become links even where every sign of them is escaped: an invisible character
    (U+2060) breaks them.
    """
    return _MARKDOWN.sub(r"\\\1", _ADDRESS.sub("\\g<0>\u2060", showable(text)))


def showable(text: str) -> str:
    """Return `text` with what no page can hold, bytes of names that are not UTF-8, spelt."""
    return text.encode("utf-8", "backslashreplace").decode()


def human_seconds(seconds: float) -> str:
    """Return a duration as people say it: "40 seconds", "3 minutes", "2.5 hours"."""
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    if seconds < 5_400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3_600:.1f} hours"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 photo", "12,000 photos"."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
