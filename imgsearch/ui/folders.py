"""Choosing a folder to index, and watching the run."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from imgsearch.ui.jobs import JobState
from imgsearch.ui.shared import Shared
from imgsearch.ui.words import counted, human_seconds, plain, showable

# Where photos usually lie, below the home folder.
_USUAL_PLACES = ("Pictures", "Photos", "Bilder", "Images", "Desktop", "Downloads", "DCIM")
_MOST_SUBFOLDERS = 300
_REFRESH_SECONDS = 1.0


def show_folder_chooser(shared: Shared) -> None:
    """Offer the usual places, a field for a path, and a way through the folders."""
    home = Path(os.path.expanduser("~"))
    usual = [place for name in _USUAL_PLACES if os.path.isdir(place := home / name)]
    if usual:
        with st.container(horizontal=True):
            for place in usual:
                label = plain(str(place))
                if st.button(label, key=f"usual-{place.name}", icon=":material/folder:"):
                    _start(shared, str(place))
    with st.form("add-folder", border=False):
        field, button = st.columns([5, 1], vertical_alignment="bottom")
        path = field.text_input(
            "Another folder", key="folder_path", placeholder="/home/you/Pictures/2024"
        )
        if button.form_submit_button("Add", type="primary", width="stretch"):
            _start(shared, _unquoted(path.strip()))
    with st.expander("Look for a folder"):
        _browse(shared)


def show_job(shared: Shared, *, whole_page: bool = False) -> None:
    """Show how the run stands; with `whole_page` the page is run again when it ends."""
    state = shared.job.state
    if state.running:
        st.fragment(_watch, run_every=_REFRESH_SECONDS)(shared, whole_page)
    elif state.error:
        st.warning(plain(state.error))
    elif state.report is not None:
        _show_report(state)


def _watch(shared: Shared, whole_page: bool) -> None:
    state = shared.job.state
    if not state.running:
        # The page around this fragment shows counts, which have changed.
        st.rerun()
    folders = ", ".join(os.path.basename(folder) or folder for folder in state.folders)
    progress = state.progress
    if progress is None or not progress.total:
        st.progress(0.0, f"Looking for photos in {plain(folders)} …")
    else:
        left = progress.remaining_seconds
        remaining = f", about {human_seconds(left)} left" if left and progress.done > 20 else ""
        st.progress(
            min(1.0, progress.done / progress.total),
            f"{progress.done:,} of {counted(progress.total, 'photo')} of {plain(folders)}, "
            f"{progress.rate:.0f} a second{remaining}",
        )
    with st.container(horizontal=True):
        if whole_page and progress is not None and progress.done > 0:
            st.button("Search what is in already", on_click=st.rerun)
        st.button("Stop", on_click=shared.job.stop, help="What is in stays in.")


def _show_report(state: JobState) -> None:
    report = state.report
    assert report is not None
    counts = {
        "added": report.added,
        "changed": report.changed,
        "moved": report.moved,
        "removed": report.removed,
        "failed": report.failed,
        "unchanged": report.unchanged,
    }
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    folders = plain(", ".join(state.folders))
    if report.interrupted:
        st.info(f"{folders}: stopped; {told or 'nothing done'}. Scan it again to go on.")
    elif not report.seen_any and not report.kept_roots:
        st.warning(f"{folders}: there are no photos in it.")
    else:
        st.success(f"{folders}: done in {human_seconds(report.seconds)}; {told}.")
    if report.lost_catalog:
        st.warning(plain(report.lost_catalog))
    for folder in report.kept_roots:
        st.info(
            f"{plain(folder)} is offline (its disk is not plugged in, or it is empty). Its photos "
            "were kept."
        )
    for place in report.unreadable[:5]:
        st.warning(f"Cannot read {plain(place)}.")


def _start(shared: Shared, folder: str) -> None:
    """Begin to index, or say why not."""
    if not folder:
        st.warning("Type or choose a folder first.")
    # Unlike those of pathlib these raise nothing for unknown users, long names, closed folders.
    elif not os.path.isdir(os.path.expanduser(folder)):
        st.warning(f"{plain(folder)} is not a folder on this computer.")
    elif not shared.job.start([folder]):
        st.warning("Another folder is being indexed; wait for it, or stop it.")
    else:
        st.rerun()


def _unquoted(path: str) -> str:
    """Return a path without the quotes that file managers and terminals put around it."""
    quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "'\""
    return path[1:-1] if quoted else path


def _browse(shared: Shared) -> None:
    """Go through the folders of this computer one step at a time."""
    state = st.session_state
    here = Path(state.setdefault("browsing", os.path.expanduser("~")))
    st.text(showable(str(here)))
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(here)
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        )[:_MOST_SUBFOLDERS]
    except OSError as error:
        names = []
        st.warning(f"It cannot be looked into: {error.strerror}.")

    if len(names) == _MOST_SUBFOLDERS:
        st.caption(
            f"The first {_MOST_SUBFOLDERS} folders are listed; type the path of others above."
        )

    def go() -> None:
        if state.subfolder:
            state.browsing = str(here / state.subfolder)
            state.subfolder = None

    def up() -> None:
        state.browsing = str(here.parent)

    st.selectbox(
        "Go into", names, index=None, key="subfolder", on_change=go, placeholder="A folder in here",
        format_func=showable,
    )  # fmt: skip
    with st.container(horizontal=True):
        st.button("Up", icon=":material/arrow_upward:", on_click=up, disabled=here == here.parent)
        if st.button("Index this folder", type="primary", key="index-here"):
            _start(shared, str(here))
