"""The search page: a box, filters, a grid of results."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import streamlit as st

from imgsearch import Facets, ImageUnreadable, ImgsearchError, SearchHit, SearchResults
from imgsearch.ui.asked import Asked, from_address, to_address
from imgsearch.ui.asking import Question, as_saved, question_of
from imgsearch.ui.components import download_link, gallery, receiver
from imgsearch.ui.detail import Actions, show_detail
from imgsearch.ui.export import as_csv, as_text
from imgsearch.ui.filters import adopt_filters, asked_filters, show_filters
from imgsearch.ui.marks import KINDS, clear_marks, marks, marks_told, set_marks, show_marks
from imgsearch.ui.saved import show_saved
from imgsearch.ui.shared import Shared, get_shared
from imgsearch.ui.theme import MAX_UPLOAD_MEGABYTES
from imgsearch.ui.welcome import explain_error, show_welcome
from imgsearch.ui.words import counted, plain, showable

# Tiles shown at first and added by "Show more": a screen and a half on a large display.
PAGE = 60
# A pasted picture comes as a data: address of a JPEG of at most 1,024 pixels.
_MAX_PASTE = 4 << 20
# What lies in the session state under its own name; the rest of `Asked` is widgets'.
_KEPT = ("q", "like", "saved", "good", "bad", "sort")
_ORDERS = {
    "match": "best match first", "date": "newest first", "name": "by name",
    "size": "largest files first",
}  # fmt: skip
_HELP = """
Say what a photo shows, in English. There is more that you can say:

| you type | and find |
|---|---|
| a red car in the snow | photos of just that |
| "red car" + snow | both, each compared by itself |
| snow:0.5 + mountains | mountains, and snow counts half |
| beach -people | beaches without people |
| beach -"red umbrella":0.5 | the last part matters half |
"""


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
    _adopt_address(shared, facets)
    _show_box(shared)
    try:
        show_saved(shared, _asked(), _asks_for_something(), _run)
        show_filters(facets, _publish, listing=not _asks_for_something())
        asked = _asked()
        question = question_of(shared.library, asked, st.session_state.picture, date.today())
        results = shared.library.answer(replace(question.query, limit=st.session_state.shown))
    except ImgsearchError as error:
        explain_error(error, shared)
        return
    _show_results(shared, facets, asked, question, results)


def _adopt_address(shared: Shared, facets: Facets) -> None:
    """Where the address has changed (a link, the back button), let the widgets follow it."""
    state = st.session_state
    address = {name: st.query_params.get_all(name) for name in st.query_params}
    if address != state.get("address") or "q" not in state:
        asked = from_address(address)
        if asked.saved and "sort" not in address:
            asked = _as_it_was_saved(shared, asked, address)
        state.address = address
        _adopt(asked)
    # A folder or camera in the address may be gone from the library since.
    for key, known in (
        ("f_folder", facets.folders),
        ("f_camera", facets.cameras),
        ("f_type", facets.formats),
        ("f_lens", facets.lenses),
    ):
        state[key] = [value for value in state[key] if value in known]


def _as_it_was_saved(shared: Shared, asked: Asked, said: Collection[str]) -> Asked:
    """Return what is asked, with what its saved search has where the address says nothing."""
    saved = shared.library.saved_searches().get(asked.saved)
    if saved is None:
        return asked
    kept = as_saved(asked.saved, saved)
    names = {"good", "bad", "sort", "strength", "weaker", "frames"}.difference(said)
    return replace(asked, **{name: getattr(kept, name) for name in names})


def _adopt(asked: Asked) -> None:
    """Let all that is asked for be this. Only before the widgets are shown."""
    state = st.session_state
    for name in _KEPT:
        state[name] = getattr(asked, name)
    state.picture = None
    adopt_filters(asked)
    _start_over()


def _run(asked: Asked) -> None:
    _adopt(asked)
    _publish()


def _start_over() -> None:
    st.session_state.shown = PAGE
    st.session_state.selected = []


def _asked() -> Asked:
    others = {name: st.session_state[name] for name in _KEPT}
    return asked_filters(**others | {"q": st.session_state.q.strip()})


def _asks_for_something() -> bool:
    """Whether there is more to the search than filters."""
    state = st.session_state
    pictures = state.like is not None or state.picture is not None or bool(state.good)
    return bool(state.q.strip() or state.saved or pictures)


def _publish() -> None:
    """Put what is asked for into the address, and begin at the first result."""
    _start_over()
    _put_in_address()


def _put_in_address() -> None:
    """Put what is asked for into the address: a new entry for the back button."""
    address = to_address(_asked())
    st.session_state.address = address
    st.query_params.from_dict(address)


def _typed() -> None:
    _another_search()
    _publish()


def _another_search() -> None:
    """Other words and pictures make another search: neither a saved one, nor one with marks."""
    st.session_state.saved = ""
    clear_marks(*KINDS)


def _look_like(picture_id: int | None) -> None:
    _another_search()
    st.session_state.like = picture_id
    st.session_state.picture = None
    _publish()


def _show_box(shared: Shared) -> None:
    box, beside = st.columns([5, 1.7], vertical_alignment="center")
    box.text_input(
        "Search your photos",
        key="q",
        type="search",
        placeholder="Describe a photo: a dog on the beach, minimalist home office …",
        label_visibility="collapsed",
        on_change=_typed,
    )
    generation = st.session_state.setdefault("uploads", 0)
    row = beside.container(horizontal=True, gap="xsmall")
    with row.popover("By picture", icon=":material/image_search:", key=f"by-{generation}"):
        st.write("Find photos that look like a picture. You can also paste one, or drop it.")
        st.caption(f"Up to {MAX_UPLOAD_MEGABYTES} MB; it is not kept.")
        upload = st.file_uploader(
            "A picture",
            key=f"upload-{generation}",
            max_upload_size=MAX_UPLOAD_MEGABYTES,
            label_visibility="collapsed",
        )
    with row.popover(":material/help:", help="How to search"):
        st.markdown(_HELP)
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
        _another_search()
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


def _show_results(
    shared: Shared, facets: Facets, asked: Asked, question: Question, results: SearchResults
) -> None:
    state = st.session_state
    if results.note:
        st.info(plain(results.note))
    _show_understood(asked, question)
    show_marks(_publish)
    st.caption(_headline(question, results))
    kind = state.picture.content_hash if state.picture is not None else None
    chosen = gallery(
        [to_address(asked), kind],
        results.hits,
        facets.absent_folders,
        state.selected,
        marks(),
        _selected,
        _marked,
    )
    if len(results) < results.total:
        st.button("Show more", key="more", width="stretch", on_click=_show_more)
    elif results.matching is not None and asked.sort == "match":
        st.button("Show weaker matches", key="weaker", width="stretch", on_click=_show_weaker)
    if state.selected:
        _show_selection(shared, [hit for hit in results if hit.picture_id in state.selected])
    if chosen.similar is not None:
        _look_like(int(chosen.similar))
        st.rerun()
    if chosen.open is not None:
        at = [place for place, hit in enumerate(results) if hit.picture_id == chosen.open]
        if at:
            state.detail_at, state.detail_frame = at[0], 0
            more = len(results) < results.total
            actions = Actions(_look_like, _mark)
            show_detail(shared, results.hits, more, actions, question.query.words)


def _show_understood(asked: Asked, question: Question) -> None:
    """Say what stands behind the name of a saved search, and which days were understood."""
    if asked.saved:
        with st.container(horizontal=True, vertical_alignment="center", key="running"):
            st.text(showable(f"Saved search {asked.saved}: {question.query.described}"))
            st.button("Leave it", icon=":material/close:", on_click=_run, args=(Asked(),))
    if question.understood is not None:
        period = question.understood
        st.text(f"Only photos from {period.since} to {period.until}")


def _headline(question: Question, results: SearchResults) -> str:
    query = question.query
    if not results.total:
        if query.filters.any or query.min_strength:
            return "No photo passes these filters. Loosen them in the sidebar."
        return "No photo matches."
    if results.matching == 0:
        return "Nothing matches well; the closest are:"
    shown = counted(results.total, "photo")
    if results.matching is not None and results.matching > results.total:
        shown = f"{counted(results.total, 'result')} for {counted(results.matching, 'photo')}"
    told = f"{shown}, {_ORDERS[query.sort]}"
    if query.is_empty:
        return told
    return f"{told}. The number on a photo is its match strength, 0 to 100."


def _show_more() -> None:
    st.session_state.shown += PAGE


def _show_weaker() -> None:
    # As many as are shown and one page more.
    st.session_state.f_weaker = True
    _show_more()
    _put_in_address()


def _marked() -> None:
    """Take the marks that the grid sends; what is shown stays as long as it is."""
    set_marks(marks_told(st.session_state.gallery["mark"]))
    _put_in_address()


def _mark(kinds: Mapping[int, str]) -> None:
    set_marks(kinds)
    _put_in_address()


def _mark_selected(kind: str) -> None:
    _mark(dict.fromkeys(st.session_state.selected, kind))
    _clear_selection()


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
        for kind, icon in (("good", "thumb_up"), ("bad", "thumb_down")):
            st.button(
                f"{kind.capitalize()} matches", icon=f":material/{icon}:",
                on_click=_mark_selected, args=(kind,),
            )  # fmt: skip
        st.button("Clear", on_click=_clear_selection)
