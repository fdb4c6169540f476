"""One photo, large, with its facts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from imgsearch import SearchHit
from imgsearch.ui.components import download_link, strip
from imgsearch.ui.marks import mark_of
from imgsearch.ui.shared import Shared
from imgsearch.wording import human_bytes

# The map shows about 60 degrees from left to right.
_MAP_ZOOM = 6
# Frames of a moment that the strip shows.
_FRAMES = 100


@dataclass(frozen=True, slots=True)
class Actions:
    """What the dialog can ask the page for: results like a picture, and marks by picture id."""

    look_like: Callable[[int], None]
    mark: Callable[[Mapping[int, str]], None]


@st.dialog("Photo", width="large")
def show_detail(
    shared: Shared,
    hits: Sequence[SearchHit],
    more: bool,
    actions: Actions,
    words: str = "",
) -> None:
    """Open the dialog on the hit at `detail_at` in the session state; one can go on to others.

    Of the frames that a hit stands for, `detail_frame` is shown. `more`: there are results that the
    page does not show yet. `words` are what was searched for.
    """
    at = min(st.session_state.detail_at, len(hits) - 1)
    frames = (hits[at], *hits[at].others)
    hit = frames[min(st.session_state.detail_frame, len(frames) - 1)]
    present = os.path.isfile(hit.path)
    picture = st.container()
    where = _shows_where(shared, present, words)
    with picture:
        _show_photo(hit, present, words if where else "")
    if not present:
        st.warning(
            "The file is not there now. If its disk is unplugged, plug it in; if it was deleted or "
            "moved, scan its folder again on the Library page."
        )
    _show_steps(hits)
    if len(frames) > 1:
        _show_frames(frames)
    if more and at == len(hits) - 1:
        st.caption("This is the last photo on the page; “Show more” below the grid adds others.")
    st.code(hit.shown_path, language=None, wrap_lines=True)
    facts, place = st.columns([3, 2])
    with facts:
        rows = [*described(hit), *(("The same in", path) for path in hit.shown_duplicates)]
        st.html(
            '<dl class="imgsearch-facts">'
            + "".join(f"<dt>{label}</dt><dd>{escape(value)}</dd>" for label, value in rows)
            + "</dl>"
        )
    with place:
        _show_place(hit)
    with st.container(horizontal=True):
        if present:
            download_link("Download the original", f"/imgsearch/original/{hit.content_hash}")
        if shared.local and present and st.button("Open its folder", icon=":material/folder_open:"):
            problem = open_folder(Path(hit.path))
            if problem:
                st.warning(problem)
        if st.button("More like this", icon=":material/image_search:"):
            actions.look_like(hit.picture_id)
            st.rerun()
        _show_verdicts(hit, actions)


def described(hit: SearchHit) -> list[tuple[str, str]]:
    """Return what is known of a photo as labels and values."""
    facts = hit.facts
    known = [
        ("Name", hit.name),
        ("Match strength", None if hit.strength is None else f"{hit.strength} of 100"),
        ("Of each part", "; ".join(f"{one.part}: {one.strength}" for one in hit.parts)),
        ("Taken" if facts.taken_at else "Changed", hit.date.replace("T", " ")),
        ("Size", f"{facts.width} x {facts.height}, {human_bytes(hit.byte_size)}, {facts.format}"),
        ("Camera", facts.camera),
        ("Lens", facts.lens),
        ("Rating", None if facts.rating is None else _rating(facts.rating)),
        ("Keywords", ", ".join(facts.keywords)),
        (
            "Place",
            None if facts.latitude is None else f"{facts.latitude:.5f}, {facts.longitude:.5f}",
        ),
    ]
    return [(label, value) for label, value in known if value]


def _rating(rating: int) -> str | None:
    """Return stars; photos that nobody has rated often say 0."""
    return "rejected" if rating < 0 else "\N{BLACK STAR}" * rating or None


def open_folder(path: Path) -> str | None:
    """Show a file in the file manager of this machine; return what went wrong, or None."""
    if sys.platform == "darwin":
        command = ["open", "-R", str(path)]
    elif sys.platform == "win32":
        command = ["explorer", f"/select,{path}"]
    else:
        command = ["xdg-open", str(path.parent)]
    try:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return f"There is no {command[0]} on this machine to open folders with."
    return None


def _shows_where(shared: Shared, present: bool, words: str) -> bool:
    """Offer to show where the words were found, if that can be done; return whether to."""
    if not (present and words and shared.library.has_heat_maps()):
        return False
    # A key of our own keeps the switch where it is when another photo is shown.
    kept = st.session_state.get("shows_where", False)
    st.session_state.shows_where = st.toggle(
        "Show where", value=kept, key="where", help="Colour the parts that match the words."
    )
    return bool(st.session_state.shows_where)


def _show_photo(hit: SearchHit, present: bool, words: str) -> None:
    """Show the photo; with `words`, coloured where they were found."""
    source = "view/" + hit.content_hash if present else f"thumbnail/{hit.content_hash}.jpg"
    photo = f'<img class="imgsearch-photo" src="/imgsearch/{source}" alt="{escape(hit.name)}">'
    if words:
        address = f"/imgsearch/heat/{hit.content_hash}.png?words={quote(words, safe='')}"
        photo += f'<img class="imgsearch-heat" src="{address}" alt="Where the words were found">'
    st.html(f'<div class="imgsearch-layers">{photo}</div>')


def _show_steps(hits: Sequence[SearchHit]) -> None:
    """Show the way to the results before and after this one."""
    state = st.session_state
    with st.container(horizontal=True, horizontal_alignment="center"):
        for label, icon, step in (
            ("Previous", ":material/chevron_left:", -1),
            ("Next", ":material/chevron_right:", 1),
        ):
            target = state.detail_at + step
            if st.button(label, icon=icon, disabled=not 0 <= target < len(hits)):
                state.detail_at, state.detail_frame = target, 0
                st.rerun(scope="fragment")


def _show_frames(frames: Sequence[SearchHit]) -> None:
    """Show the frames of the moment, to pick from."""
    picked = strip(frames[:_FRAMES], st.session_state.detail_frame)
    unseen = len(frames) - _FRAMES
    st.caption(
        f"{len(frames)} photos of the same"
        + (f"; {unseen} are not in the strip" if unseen > 0 else "")
    )
    if picked is not None and picked != st.session_state.detail_frame:
        st.session_state.detail_frame = picked
        st.rerun(scope="fragment")


def _show_verdicts(hit: SearchHit, actions: Actions) -> None:
    """Offer to mark the photo as a good or bad match, or to take the mark away."""
    now = mark_of(hit.picture_id)
    for kind, label, icon in (
        ("good", "Good match", "thumb_up"),
        ("bad", "Bad match", "thumb_down"),
    ):
        if st.button(
            label, icon=f":material/{icon}:", type="primary" if now == kind else "secondary",
            help="Take the mark away" if now == kind else None,
        ):  # fmt: skip
            actions.mark({hit.picture_id: "" if now == kind else kind})
            st.rerun()


def _show_place(hit: SearchHit) -> None:
    """Show a small map of our own: asking a map service for tiles would tell it the place."""
    latitude, longitude = hit.facts.latitude, hit.facts.longitude
    if latitude is None or longitude is None:
        return
    # The background is placed so that the point lies in the middle, or the map ends at its edge.
    x, y = (180 + longitude) / 360, (90 - latitude) / 180
    left, top = _shift(x), _shift(y)
    st.html(
        f'<div class="imgsearch-map" role="img" aria-label="Map: {latitude:.2f}, {longitude:.2f}" '
        f'style="position:relative;aspect-ratio:2;overflow:hidden">'
        f'<img src="/imgsearch/world.svg" alt="" style="position:absolute;max-width:none;'
        f'width:{_MAP_ZOOM * 100}%;left:{left * 100:.2f}%;top:{top * 100:.2f}%">'
        f'<span style="position:absolute;left:{(x * _MAP_ZOOM + left) * 100:.2f}%;'
        f"top:{(y * _MAP_ZOOM + top) * 100:.2f}%;width:14px;height:14px;margin:-7px;"
        f'border-radius:50%;background:#c62828;border:2px solid #fff"></span></div>'
    )
    st.html(
        f'<a href="https://www.openstreetmap.org/?mlat={latitude:.6f}&mlon={longitude:.6f}'
        f'#map=14/{latitude:.6f}/{longitude:.6f}" target="_blank" rel="noopener noreferrer">'
        "Show on OpenStreetMap</a>"
    )


def _shift(position: float) -> float:
    """Return how far the zoomed map is moved, in widths of its window, for a point at 0 to 1."""
    return max(min(0.5 - position * _MAP_ZOOM, 0.0), 1.0 - _MAP_ZOOM)
