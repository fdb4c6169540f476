"""The page of near-duplicates: groups of copies, the best marked. Nothing is deleted here."""

from __future__ import annotations

import os
from html import escape

import streamlit as st

from imgsearch import DuplicateGroup, ImgsearchError, SearchHit
from imgsearch.ui.export import groups_as_csv, surplus_as_text
from imgsearch.ui.jobs import SimilarState
from imgsearch.ui.shared import Shared, get_shared
from imgsearch.ui.welcome import explain_error, show_welcome
from imgsearch.ui.words import counted, plain, showable
from imgsearch.wording import human_bytes

# Groups shown at first and added by "Show more".
PAGE = 30
# A library that was compared before answers at once; then no progress needs to flicker up.
_PATIENCE_SECONDS = 1.0
_REFRESH_SECONDS = 0.5
# `search.near_duplicates` says where the default comes from.
_LEAST, _DEFAULT = 0.6, 0.8


def show_similar() -> None:
    """Run the page once."""
    shared = get_shared()
    try:
        pictures = shared.library.facets().pictures
    except ImgsearchError as error:
        explain_error(error, shared)
        return
    if not pictures:
        show_welcome(shared)
        return
    st.header("Similar")
    st.caption(
        "Copies of one photo: the same file twice, scaled, saved again, turned, cropped a little, "
        "grey, written on. The one to keep is marked. Nothing is deleted here."
    )
    threshold = st.slider(
        "How alike at least", _LEAST, 1.0, _DEFAULT, 0.01, key="alike", on_change=_start_over
    )
    state = _state(shared, threshold)
    if state.running:
        st.fragment(_watch, run_every=_REFRESH_SECONDS)(shared)
    elif state.error is not None:
        st.warning(plain(state.error))
    elif state.groups is not None:
        _show_groups(shared, state)


def _start_over() -> None:
    st.session_state.groups_shown = PAGE


def _state(shared: Shared, threshold: float) -> SimilarState:
    """Return how the comparison stands, after starting it where nobody has stopped it."""
    state = shared.similar.state
    if state.stopped and state.threshold == threshold:
        return state
    shared.similar.start(threshold)
    return shared.similar.wait(_PATIENCE_SECONDS)


def _watch(shared: Shared) -> None:
    state = shared.similar.state
    if not state.running:
        # The page around this fragment shows what was found.
        st.rerun()
    if state.total:
        share = min(1.0, state.done / state.total)
        st.progress(share, f"{state.done:,} of {counted(state.total, 'new photo')} compared")
    else:
        st.progress(0.0, "Looking for new photos …")
    st.button("Stop", on_click=shared.similar.stop, help="What was compared is kept.")


def _show_groups(shared: Shared, state: SimilarState) -> None:
    groups = state.groups or ()
    if state.stopped:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info("Stopped: these are the copies among the photos compared so far.")
            if st.button("Go on"):
                shared.similar.start(state.threshold)
                st.rerun()
    if not groups:
        st.text("There are no copies that are as alike.")
        return
    files = sum(group.file_count for group in groups)
    wasted = human_bytes(sum(group.wasted_bytes for group in groups))
    st.text(
        f"{counted(len(groups), 'group')} with {counted(files, 'file')}; all but the best take "
        f"{wasted}"
    )
    with st.container(horizontal=True):
        st.download_button(
            "Paths of all but the best", surplus_as_text(groups), "surplus.txt", "text/plain",
            on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "CSV of all", groups_as_csv(groups), "similar.csv", "text/csv", on_click="ignore"
        )
    shown = st.session_state.setdefault("groups_shown", PAGE)
    for group in groups[:shown]:
        _show_group(group)
    if shown < len(groups):
        st.button("Show more", key="more-groups", width="stretch", on_click=_show_more)


def _show_more() -> None:
    st.session_state.groups_shown += PAGE


def _show_group(group: DuplicateGroup) -> None:
    with st.container(border=True):
        st.caption(
            f"{counted(group.file_count, 'file')}, {human_bytes(group.wasted_bytes)} besides the "
            "best"
        )
        tiles = [
            _tile(hit, alike, best=hit is group.best)
            for hit, alike in zip(group.hits, group.alike, strict=True)
        ]
        st.html(f'<ul class="imgsearch-group">{"".join(tiles)}</ul>')
        with st.expander("Paths"):
            st.text("Keep")
            st.code(group.best.shown_path, language=None, wrap_lines=True)
            st.text("The others")
            others = "\n".join(showable(path) for path in group.surplus_paths)
            st.code(others, language=None, wrap_lines=True)


def _tile(hit: SearchHit, alike: float, *, best: bool) -> str:
    """Return the HTML of one picture; its thumbnail leads to the large view."""
    facts = hit.facts
    mark = "Best: keep" if best else "Same content" if alike == 1 else f"Alike {alike:.2f}"
    name = escape(hit.name)
    copies = counted(len(hit.duplicates), "more file") if hit.duplicates else ""
    lines = [
        f"{facts.width} x {facts.height}, {human_bytes(hit.byte_size)}, {escape(facts.format)}",
        f"{copies} with the same content" if copies else "",
        hit.date[:10],
    ]
    details = "".join(f"<span>{line}</span>" for line in lines if line)
    # The view of a file that is not there would be an empty page.
    large = f"view/{hit.content_hash}" if os.path.isfile(hit.path) else ""
    target = large or f"thumbnail/{hit.content_hash}.jpg"
    return (
        f'<li class="{"best" if best else ""}"><a href="/imgsearch/{target}" target="_blank" '
        f'rel="noopener"><img src="/imgsearch/thumbnail/{hit.content_hash}.jpg" alt="{name}" '
        f'loading="lazy"></a><strong>{mark}</strong><span>{name}</span>{details}</li>'
    )
