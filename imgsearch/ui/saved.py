"""Saved searches: running, saving and forgetting one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

import streamlit as st

from imgsearch import ImgsearchError
from imgsearch.search.query import Query
from imgsearch.ui.asked import Asked
from imgsearch.ui.asking import as_saved, question_of
from imgsearch.ui.shared import Shared
from imgsearch.ui.words import plain, showable


def show_saved(shared: Shared, asked: Asked, anything: bool, run: Callable[[Asked], None]) -> None:
    """Show the saved searches in the sidebar; `run` is called with what one of them asks for.

    `anything`: there is something to save. Raises a LibraryError.
    """
    state = st.session_state
    saved = shared.library.saved_searches()
    state.f_saved = asked.saved if asked.saved in saved else None

    def chosen() -> None:
        # A second click on the search that runs leaves it.
        name = state.f_saved
        run(Asked() if name is None else as_saved(name, saved[name]))

    with st.sidebar:
        if saved:
            st.pills(
                "Saved searches", list(saved), key="f_saved", format_func=plain, on_change=chosen
            )
        if not shared.local:
            return
        with st.container(horizontal=True, gap="xsmall"):
            if asked.saved in saved and st.button("Forget", icon=":material/close:"):
                confirm_forgetting(shared, asked.saved, run)
            if st.button("Save this search", icon=":material/bookmark_add:", disabled=not anything):
                ask_for_name(shared, asked, saved)


@st.dialog("Save this search")
def ask_for_name(shared: Shared, asked: Asked, saved: Mapping[str, Query]) -> None:
    """Open the dialog that saves what is asked for; `saved` are the searches that there are."""
    with st.form("save-search", border=False):
        name = st.text_input("Name", max_chars=100, key="save_name").strip()
        if not st.form_submit_button("Save", type="primary"):
            return
    state = st.session_state
    if name in saved and state.get("replacing") != name:
        state.replacing = name
        st.warning("There is a search of that name. Save once more to replace it.")
        return
    try:
        question = question_of(shared.library, asked, state.picture, date.today())
        shared.library.save_search(name, question.query)
    except ImgsearchError as error:
        st.warning(plain(str(error)))
        return
    state.pop("replacing", None)
    st.rerun()


@st.dialog("Forget this search?")
def confirm_forgetting(shared: Shared, name: str, run: Callable[[Asked], None]) -> None:
    """Open the dialog that forgets a search; then `run` is called with nothing asked for."""
    st.text(showable(name))
    st.write("The photos stay as they are.")
    if st.button("Forget", type="primary", key="confirm-forgetting"):
        try:
            shared.library.forget_search(name)
        except ImgsearchError as error:
            st.warning(plain(str(error)))
            return
        run(Asked())
        st.rerun()
