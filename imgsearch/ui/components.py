"""What Streamlit does not have: the grid of results, the strip of frames, the receiver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from imgsearch import SearchHit
from imgsearch.ui.assets import read_asset

_gallery = st.components.v2.component(
    "imgsearch_gallery",
    html='<ul class="gallery" aria-label="Results"></ul>',
    css=read_asset("gallery.css"),
    js=read_asset("gallery.js"),
)
_strip = st.components.v2.component(
    "imgsearch_strip",
    html='<div class="strip" role="group" aria-label="Frames of this moment"></div>',
    css=read_asset("strip.css"),
    js=read_asset("strip.js"),
)
_receiver = st.components.v2.component(
    "imgsearch_receiver", js=read_asset("receiver.js"), isolate_styles=False
)


def _nothing() -> None:
    """Streamlit reports an event only where somebody listens."""


def gallery(
    search: object,
    hits: Sequence[SearchHit],
    offline: Sequence[str],
    selected: Sequence[int],
    marks: Mapping[str, Sequence[int]],
    on_select: Callable[[], None],
    on_mark: Callable[[], None],
) -> Any:
    """Show the hits; return `open` and `similar`: a picture id or None.

    `marks` holds the ids marked "good" and "bad". `on_select` is called when the selection has
    changed, and `on_mark` when marks have; they find ids, and marks by id, in the session state.

    `search` tells one search from another, `offline` holds the roots that are not there now.
    """
    return _gallery(
        key="gallery",
        data={
            "search": search,
            "items": [_item(hit, offline) for hit in hits],
            "selected": list(selected),
            "marks": {kind: list(ids) for kind, ids in marks.items()},
        },
        on_open_change=_nothing,
        on_similar_change=_nothing,
        on_select_change=on_select,
        on_mark_change=on_mark,
    )


def strip(frames: Sequence[SearchHit], at: int) -> int | None:
    """Show the frames of one moment, of which `at` is looked at; return the one chosen, or None."""
    shown = [{"src": _thumbnail(frame), "name": frame.name} for frame in frames]
    picked = _strip(key="strip", data={"frames": shown, "at": at}, on_pick_change=_nothing).pick
    return int(picked) if picked is not None and 0 <= int(picked) < len(frames) else None


def receiver() -> Any:
    """Listen for pasted and dropped pictures; return `picture` ({name, data}) and `refused`."""
    return _receiver(
        key="receiver", data={}, on_picture_change=_nothing, on_refused_change=_nothing
    )


def download_link(label: str, address: str) -> None:
    """Show a button that saves what is at an address of ours; neither may hold markup."""
    # Streamlit's link button opens a tab of its own, which closes again at once.
    st.html(f'<a class="imgsearch-button" href="{address}" download>{label}</a>', width="content")


def _thumbnail(hit: SearchHit) -> str:
    return f"/imgsearch/thumbnail/{hit.content_hash}.jpg"


def _item(hit: SearchHit, offline: Sequence[str]) -> dict[str, Any]:
    return {
        "id": hit.picture_id,
        "src": _thumbnail(hit),
        "name": hit.name,
        "date": hit.date[:10],
        "strength": hit.strength,
        "others": len(hit.others),
        "w": hit.facts.width,
        "h": hit.facts.height,
        "offline": hit.path.startswith(tuple(offline)) if offline else False,
    }
