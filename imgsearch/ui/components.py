"""The two parts of the page that Streamlit does not have: the grid of results, the receiver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    on_select: Callable[[], None],
) -> Any:
    """Show the hits; return `open` and `similar`: a picture id or None.

    `on_select` is called when the selection has changed; it finds the ids in the session state.

    `search` tells one search from another, `offline` holds the roots that are not there now.
    """
    return _gallery(
        key="gallery",
        data={
            "search": search,
            "items": [_item(hit, offline) for hit in hits],
            "selected": list(selected),
        },
        on_open_change=_nothing,
        on_similar_change=_nothing,
        on_select_change=on_select,
    )


def receiver() -> Any:
    """Listen for pasted and dropped pictures; return `picture` ({name, data}) and `refused`."""
    return _receiver(
        key="receiver", data={}, on_picture_change=_nothing, on_refused_change=_nothing
    )


def download_link(label: str, address: str) -> None:
    """Show a button that saves what is at an address of ours; neither may hold markup."""
    # Streamlit's link button opens a tab of its own, which closes again at once.
    st.html(f'<a class="imgsearch-button" href="{address}" download>{label}</a>', width="content")


def _item(hit: SearchHit, offline: Sequence[str]) -> dict[str, Any]:
    return {
        "id": hit.picture_id,
        "src": f"/imgsearch/thumbnail/{hit.content_hash}.jpg",
        "name": hit.name,
        "date": hit.date[:10],
        "strength": hit.strength,
        "w": hit.facts.width,
        "h": hit.facts.height,
        "offline": hit.path.startswith(tuple(offline)) if offline else False,
    }
