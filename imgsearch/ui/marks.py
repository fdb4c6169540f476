"""Results that a visitor marked as good or bad matches; they lie in the session state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from imgsearch.ui.asked import MAX_MARKED

KINDS = ("good", "bad")


def marks() -> dict[str, tuple[int, ...]]:
    """Return the ids of the pictures of each kind, oldest mark first."""
    return {kind: tuple(st.session_state[kind]) for kind in KINDS}


def mark_of(picture_id: int) -> str:
    """Return "good", "bad", or "" for a picture without a mark."""
    return next((kind for kind, ids in marks().items() if picture_id in ids), "")


def set_marks(kinds: Mapping[int, str]) -> None:
    """Mark pictures as "good" or "bad"; "" takes a mark away. Beyond the limit the oldest go."""
    state = st.session_state
    for picture_id, kind in kinds.items():
        for one in KINDS:
            state[one] = tuple(id_ for id_ in state[one] if id_ != picture_id)
        if kind:
            if len(state.good) + len(state.bad) == MAX_MARKED:
                longer = max(KINDS, key=lambda one: len(state[one]))
                state[longer] = state[longer][1:]
            state[kind] = (*state[kind], picture_id)


def clear_marks(*kinds: str) -> None:
    """Forget the marks of these kinds."""
    for kind in kinds:
        st.session_state[kind] = ()


def marks_told(message: Any) -> dict[int, str]:
    """Return the marks that the grid sent: by id, without what makes no sense."""
    told = message.items() if isinstance(message, Mapping) else ()
    return {
        int(id_): str(kind)
        for id_, kind in told
        if str(id_).isdecimal() and len(str(id_)) < 16 and kind in (*KINDS, "")
    }


def show_marks(publish: Callable[[], None]) -> None:
    """Show how many are marked; a click forgets those of a kind."""

    def forget(kind: str) -> None:
        clear_marks(kind)
        publish()

    held = {kind: len(ids) for kind, ids in marks().items() if ids}
    if held:
        with st.container(horizontal=True, vertical_alignment="center", key="marks"):
            st.text("Ordered by your marks:")
            for kind, count in held.items():
                st.button(
                    f"{count} {kind}", icon=":material/close:", key=f"forget-{kind}",
                    help=f"Forget the {kind} matches", on_click=forget, args=(kind,),
                )  # fmt: skip
