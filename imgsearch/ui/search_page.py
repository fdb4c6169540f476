"""The search page: a box, filters, a grid of results."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any

import streamlit as st

from imgsearch import Facets, ImageUnreadable, ImgsearchError, SearchHit, SearchResults
from imgsearch.ui.asked import Asked, from_address, to_address
from imgsearch.ui.components import download_link, gallery, receiver
from imgsearch.ui.detail import show_detail
from imgsearch.ui.export import as_csv, as_text
from imgsearch.ui.filters import adopt_filters, asked_filters, show_filters
from imgsearch.ui.shared import Shared, get_shared
from imgsearch.ui.theme import MAX_UPLOAD_MEGABYTES
from imgsearch.ui.welcome import explain_error, show_welcome
from imgsearch.ui.words import counted, plain

# Tiles shown at first and added by "Show more": a screen and a half on a large display.
PAGE = 60
# A pasted picture comes as a data: address of a JPEG of at most 1,024 pixels.
_MAX_PASTE = 4 << 20


def show_search() -> None:
    """Run the page once."""
    shared = get_shared()
    try:
        facets = shared.library.facets()
    except ImgsearchError as error:
        explain_error(error, shared)
        return
    if not facets.pictures:
        show_welcome(shared)
        return
    _adopt_address(facets)
    _show_box(shared)
    show_filters(facets, _publish)
    asked = _asked()
    try:
        results = _search(shared, asked)
    except ImgsearchError as error:
        explain_error(error, shared)
        return
    _show_results(shared, facets, asked, results)


def _adopt_address(facets: Facets) -> None:
    """Where the address has changed (a link, the back button), let the widgets follow it."""
    state = st.session_state
    address = {name: st.query_params.get_all(name) for name in st.query_params}
    if address != state.get("address") or "q" not in state:
        asked = from_address(address)
        state.address = address
        state.q = asked.q
        state.like = asked.like
        state.picture = None
        adopt_filters(asked)
        _start_over()
    # A folder or camera in the address may be gone from the library since.
    for key, known in (
        ("f_folder", facets.folders),
        ("f_camera", facets.cameras),
        ("f_type", facets.formats),
        ("f_lens", facets.lenses),
    ):
        state[key] = [value for value in state[key] if value in known]


def _start_over() -> None:
    st.session_state.shown = PAGE
    st.session_state.selected = []


def _asked() -> Asked:
    return asked_filters(q=st.session_state.q.strip(), like=st.session_state.like)


def _publish() -> None:
    """Put what is asked for into the address: a new entry for the back button."""
    address = to_address(_asked())
    st.session_state.address = address
    _start_over()
    st.query_params.from_dict(address)


def _look_like(picture_id: int | None) -> None:
    st.session_state.like = picture_id
    st.session_state.picture = None
    _publish()


def _show_box(shared: Shared) -> None:
    box, by_picture = st.columns([5, 1], vertical_alignment="center")
    box.text_input(
        "Search your photos",
        key="q",
        type="search",
        placeholder="Describe a photo: a dog on the beach, minimalist home office …",
        label_visibility="collapsed",
        on_change=_publish,
    )
    generation = st.session_state.setdefault("uploads", 0)
    with by_picture.popover(
        "By picture", icon=":material/image_search:", width="stretch", key=f"by-{generation}"
    ):
        st.write("Find photos that look like a picture. You can also paste one, or drop it.")
        st.caption(f"Up to {MAX_UPLOAD_MEGABYTES} MB; it is not kept.")
        upload = st.file_uploader(
            "A picture",
            key=f"upload-{generation}",
            max_upload_size=MAX_UPLOAD_MEGABYTES,
            label_visibility="collapsed",
        )
    if upload is not None:
        # With the next keys the widgets are new ones: closed, and the file is forgotten.
        st.session_state.uploads = generation + 1
        _take_picture(shared, upload.getvalue())
    received = receiver()
    if received.picture is not None:
        _take_picture(shared, _pasted(received.picture))
    if received.refused is not None:
        st.warning(f"This picture cannot be used. {plain(str(received.refused)[:200])}")
    if "refusal" in st.session_state:
        st.warning(st.session_state.pop("refusal"))
    _show_reference(shared)


def _pasted(message: Any) -> bytes:
    """Return the bytes of a picture that the receiver sent, or nothing if it is none."""
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, str) or len(data) > _MAX_PASTE:
        return b""
    try:
        return base64.b64decode(data.partition(",")[2], validate=True)
    except binascii.Error:
        return b""


def _take_picture(shared: Shared, content: bytes) -> None:
    """Search by a picture from outside; of it only vector and thumbnail are kept."""
    state = st.session_state
    try:
        state.picture = shared.library.look_at(content)
    except ImageUnreadable as error:
        state.refusal = f"This picture cannot be used: {plain(str(error))}."
    else:
        state.like = None
        _publish()
    st.rerun()


def _show_reference(shared: Shared) -> None:
    """Show the picture that results shall look like, and a way to be rid of it."""
    state = st.session_state
    if state.like is None and state.picture is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="reference"):
        if state.picture is not None:
            shown = base64.b64encode(state.picture.thumbnail).decode()
            source, name = f"data:image/jpeg;base64,{shown}", "the picture that you gave"
        else:
            hits = shared.library.pictures([state.like])
            if not hits:
                _look_like(None)
                st.rerun()
            source, name = f"/imgsearch/thumbnail/{hits[0].content_hash}.jpg", hits[0].name
        st.html(
            f'<img src="{source}" alt="" style="height:64px;border-radius:6px">', width="content"
        )
        words = "and matches the words" if state.q.strip() else "; add words to refine"
        st.text(f"Looks like {name} {words}".replace(" ;", ";"))
        st.button("Remove the picture", icon=":material/close:", on_click=_look_like, args=(None,))


def _search(shared: Shared, asked: Asked) -> SearchResults:
    state = st.session_state
    reference = state.picture if state.picture is not None else asked.like
    words = _words(asked)
    return shared.library.search(
        words or None,
        like=reference,
        limit=state.shown,
        filters=asked.filters,
        sort="date" if not words and reference is None else asked.sort,
        min_strength=asked.strength,
    )


def _words(asked: Asked) -> str:
    """Return the words searched for, without what is none, such as a lone control character."""
    return "".join(c for c in asked.q if c.isprintable()).strip()


def _show_results(shared: Shared, facets: Facets, asked: Asked, results: SearchResults) -> None:
    state = st.session_state
    if results.note:
        st.info(plain(results.note))
    st.caption(_headline(asked, results))
    kind = state.picture.content_hash if state.picture is not None else None
    chosen = gallery(
        [to_address(asked), kind], results.hits, facets.absent_folders, state.selected, _selected
    )
    if len(results) < results.total:
        st.button("Show more", key="more", width="stretch", on_click=_show_more)
    if state.selected:
        _show_selection(shared, [hit for hit in results if hit.picture_id in state.selected])
    if chosen.similar is not None:
        _look_like(int(chosen.similar))
        st.rerun()
    if chosen.open is not None:
        at = [place for place, hit in enumerate(results) if hit.picture_id == chosen.open]
        if at:
            state.detail_at = at[0]
            more = len(results) < results.total
            show_detail(shared, results.hits, more, _look_like, _words(asked))


def _headline(asked: Asked, results: SearchResults) -> str:
    if not results.total:
        if asked.filters.any or asked.strength:
            return "No photo passes these filters. Loosen them in the sidebar."
        return "No photo matches."
    shown = counted(results.total, "photo")
    if st.session_state.picture is None and not asked.q and asked.like is None:
        return f"{shown}, newest first"
    order = "newest first" if asked.sort == "date" else "best match first"
    return f"{shown}, {order}. The number on a photo is its match strength, 0 to 100."


def _show_more() -> None:
    st.session_state.shown += PAGE


def _selected() -> None:
    chosen = st.session_state.gallery["select"]
    st.session_state.selected = [int(one) for one in chosen or ()]


def _clear_selection() -> None:
    st.session_state.selected = []


def _show_selection(shared: Shared, hits: list[SearchHit]) -> None:
    with st.container(key="selection", horizontal=True, vertical_alignment="center"):
        st.text(f"{len(hits)} selected")
        st.download_button("Paths", as_text(hits), "photos.txt", "text/plain", on_click="ignore")
        st.download_button("CSV", as_csv(hits), "photos.csv", "text/csv", on_click="ignore")
        there = [hit for hit in hits if os.path.isfile(hit.path)]
        if there:
            token = shared.keep_selection([hit.picture_id for hit in there])
            download_link("Files (zip)", f"/imgsearch/selection/{token}.zip")
        if len(there) < len(hits):
            st.text(f"{len(hits) - len(there)} of the files are not there now")
        st.button("Clear", on_click=_clear_selection)
