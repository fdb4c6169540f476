"""The script that Streamlit runs for every visitor and every event."""

from __future__ import annotations

import streamlit as st

from imgsearch.ui.library_page import show_library
from imgsearch.ui.search_page import show_search
from imgsearch.ui.similar_page import show_similar
from imgsearch.ui.theme import PAGE_STYLE

st.set_page_config(page_title="imgsearch", page_icon="🔎", layout="wide")
st.html(PAGE_STYLE)
st.navigation(
    [
        st.Page(show_search, title="Search", icon=":material/search:", default=True),
        st.Page(show_similar, title="Similar", icon=":material/content_copy:", url_path="similar"),
        st.Page(show_library, title="Library", icon=":material/photo_library:", url_path="library"),
    ],
    position="top",
).run()
