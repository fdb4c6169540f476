"""The sidebar: filters that work together with the words, order, and a minimum strength."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import streamlit as st

from imgsearch import Facets
from imgsearch.ui.asked import ORIENTATIONS, PLACES, RATINGS, SIZES, SORTS, Asked, near_of

# The widgets' keys and the fields of `Asked` that they stand for.
FILTER_KEYS = {
    "f_folder": "folder",
    "f_since": "since",
    "f_until": "until",
    "f_camera": "camera",
    "f_orientation": "orientation",
    "f_size": "size",
    "f_type": "type",
    "f_lens": "lens",
    "f_keyword": "keyword",
    "f_rating": "rating",
    "f_place": "place",
    "f_near": "near",
    "f_name": "name",
    "f_strength": "strength",
    "f_weaker": "weaker",
    "f_frames": "frames",
    "f_dates": "dates",
}
_ORDER = {"match": "Best match", "date": "Newest", "name": "Name", "size": "Largest"}
_PLACE = {"with": "With a place", "without": "Without a place"}
_FIRST_DAY, _LAST_DAY = date(1826, 1, 1), date(2200, 12, 31)


def adopt_filters(asked: Asked) -> None:
    """Set the widgets to what an address asks for. Only before they are shown."""
    for key, name in FILTER_KEYS.items():
        value = getattr(asked, name)
        st.session_state[key] = list(value) if isinstance(value, tuple) else value


def asked_filters(**others: Any) -> Asked:
    """Return what the widgets say, with the values of the other fields."""
    values = {name: st.session_state[key] for key, name in FILTER_KEYS.items()}
    chosen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Asked(**others, **chosen)


def show_filters(facets: Facets, publish: Callable[[], None], listing: bool) -> None:
    """Show the sidebar; `publish` is called when something is changed there.

    `listing`: nothing is searched for, so that no photo matches better than another.
    """
    with st.sidebar:
        _show_order(publish, listing)
        _show_cut_off(publish)
        if facets.folders:
            st.multiselect(
                "Folder", list(facets.folders), key="f_folder", on_change=publish,
                format_func=lambda path: facets.folders[path], placeholder="Any",
            )  # fmt: skip
        since, until = st.columns(2)
        for column, label, key in ((since, "From", "f_since"), (until, "Until", "f_until")):
            column.date_input(
                label, value=None, key=key, min_value=_FIRST_DAY, max_value=_LAST_DAY,
                on_change=publish,
            )  # fmt: skip
        st.multiselect(
            "Camera", list(facets.cameras), key="f_camera", on_change=publish, placeholder="Any",
            disabled=not facets.cameras,
        )  # fmt: skip
        st.pills(
            "Orientation", ORIENTATIONS, selection_mode="multi", key="f_orientation",
            format_func=str.capitalize, on_change=publish,
        )  # fmt: skip
        st.selectbox(
            "Size", list(SIZES), index=None, key="f_size", on_change=publish, placeholder="Any"
        )
        st.multiselect(
            "File type", list(facets.formats), key="f_type", on_change=publish, placeholder="Any"
        )
        _show_labels(facets, publish)
        _show_places(publish)
        st.text_input(
            "File name", key="f_name", on_change=publish, max_chars=255, placeholder="IMG_*.jpg"
        )


def _show_order(publish: Callable[[], None], listing: bool) -> None:
    """Show the orders. The choice lies in `sort` of the session state: there are two widgets."""
    state = st.session_state
    sorts = [sort for sort in SORTS if not (listing and sort == "match")]
    key = "f_listing" if listing else "f_sort"
    state[key] = state.sort if state.sort in sorts else "date"

    def chosen() -> None:
        # A segmented control can be without a choice; and a list is by date unless said otherwise.
        sort = state[key] or "match"
        state.sort = "match" if listing and sort == "date" else sort
        publish()

    st.segmented_control(
        "Sort by", sorts, key=key, format_func=_ORDER.__getitem__, on_change=chosen
    )


def _show_cut_off(publish: Callable[[], None]) -> None:
    state = st.session_state
    st.slider("Minimum match strength", 0, 100, step=5, key="f_strength", on_change=publish)
    st.toggle(
        "Show weaker matches", key="f_weaker", on_change=publish,
        disabled=bool(state.f_strength) or state.sort != "match",
        help="Go on where the results stop matching well, as far as there are photos.",
    )  # fmt: skip
    st.toggle(
        "Show each frame", key="f_frames", on_change=publish,
        help="Do not gather the frames of one moment, and versions of one photo.",
    )  # fmt: skip
    st.toggle(
        "Dates in words", key="f_dates", on_change=publish,
        help="Understand dates in what you type: “beach last summer”, “snow in 2021”.",
    )  # fmt: skip


def _show_labels(facets: Facets, publish: Callable[[], None]) -> None:
    """Show the filters for lenses, and for what people have noted in their photos."""
    st.multiselect(
        "Lens", list(facets.lenses), key="f_lens", on_change=publish, placeholder="Any",
        disabled=not facets.lenses,
    )  # fmt: skip
    # An address may ask for a keyword that is too rare for the list, or gone.
    keywords = list(dict.fromkeys([*facets.keywords, *st.session_state.f_keyword]))
    st.multiselect(
        "Keyword", keywords, key="f_keyword", on_change=publish, placeholder="Any",
        disabled=not keywords,
    )  # fmt: skip
    st.selectbox(
        "Rating", RATINGS, index=None, key="f_rating", on_change=publish, placeholder="Any",
        format_func=_stars,
    )  # fmt: skip


def _show_places(publish: Callable[[], None]) -> None:
    st.selectbox(
        "Place", list(PLACES), index=None, key="f_place", on_change=publish, placeholder="Any",
        format_func=_PLACE.__getitem__,
    )  # fmt: skip
    st.text_input(
        "Near", key="f_near", on_change=publish, max_chars=255, placeholder="48.86, 2.35, 5",
        help="Latitude, longitude, and the distance in kilometres (10 if it is left out).",
    )  # fmt: skip
    near = st.session_state.f_near
    if near and near_of(near) is None:
        st.caption("This is no place: latitude, longitude, kilometres.")


def _stars(rating: int) -> str:
    return "\N{BLACK STAR}" * rating + ("" if rating == 5 else " or more")
