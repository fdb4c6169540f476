"""What the page says when there is nothing to search yet, or nothing that can be searched."""

from __future__ import annotations

import streamlit as st

from imgsearch import CatalogLost, ImgsearchError, LibraryNotFound
from imgsearch.ui.folders import show_folder_chooser, show_job
from imgsearch.ui.shared import Shared
from imgsearch.ui.words import plain


def show_welcome(shared: Shared) -> None:
    """Explain the first start in three lines, and offer to index a folder."""
    st.title("Find your photos by describing them")
    st.write("Choose a folder. imgsearch looks at every photo in it, once.")
    st.write("Then type what a photo shows, like “a dog on the beach”, and see the ones that do.")
    st.write("Your photos are only read, and nothing leaves this computer.")
    if shared.job.state.running:
        show_job(shared, whole_page=True)
        return
    if _has_photos(shared):
        # The run ended after this page had looked.
        st.rerun()
    show_job(shared)
    if shared.local:
        show_folder_chooser(shared)
    else:
        st.info("This library is empty. Folders can be added on the computer that it lies on.")


def _has_photos(shared: Shared) -> bool:
    try:
        return bool(shared.library.facets().pictures)
    except ImgsearchError:
        return False


def explain_error(error: ImgsearchError, shared: Shared) -> None:
    """Say kindly what is wrong with the library, or with what was asked for."""
    if isinstance(error, LibraryNotFound):
        if isinstance(error, CatalogLost):
            st.warning(plain(str(error)), icon=":material/sentiment_dissatisfied:")
        show_welcome(shared)
        return
    st.warning(plain(str(error)), icon=":material/sentiment_dissatisfied:")
