"""The library page: folders, indexing, files that failed, the model."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from imgsearch import ImgsearchError, LibraryNotFound, LibraryStatus
from imgsearch.ui.folders import show_folder_chooser, show_job
from imgsearch.ui.shared import Shared, get_shared
from imgsearch.ui.words import counted, plain, showable
from imgsearch.wording import human_bytes

_FAILURES_SHOWN = 200


def show_library() -> None:
    """Run the page once."""
    shared = get_shared()
    st.header("Library")
    show_job(shared)
    try:
        status = shared.library.status()
    except LibraryNotFound:
        status = None
    except ImgsearchError as error:
        st.warning(plain(str(error)))
        return
    if status is not None:
        _show_folders(shared, status)
    if shared.local:
        st.subheader("Add a folder")
        show_folder_chooser(shared)
    else:
        st.info("Folders are added, scanned and removed on the computer that the library lies on.")
    if status is not None:
        _show_failures(shared, status)
        _show_model(status)


def _show_folders(shared: Shared, status: LibraryStatus) -> None:
    st.text(f"{counted(status.pictures, 'photo')} in {counted(status.files, 'file')}")
    for number, root in enumerate(status.roots):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            with st.container():
                st.text(showable(root.path))
                scanned = (
                    datetime.fromtimestamp(root.scanned_at).strftime("%Y-%m-%d %H:%M")
                    if root.scanned_at
                    else "not to the end yet"
                )
                failed = f", {counted(root.failed, 'file')} failed" if root.failed else ""
                st.caption(f"{counted(root.files, 'photo')}{failed}; scanned {scanned}")
                if not root.present:
                    st.caption("Not there now. If it lies on a disk, plug it in.")
            if not shared.local:
                continue
            busy = shared.job.state.running
            if st.button(
                "Scan again", key=f"scan-{number}", disabled=busy or not root.present,
                icon=":material/refresh:",
            ):  # fmt: skip
                shared.job.start([root.path])
                st.rerun()
            if st.button("Remove", key=f"remove-{number}", disabled=busy, icon=":material/delete:"):
                _confirm_removal(shared, root.path, root.files)


@st.dialog("Remove this folder from the library?")
def _confirm_removal(shared: Shared, path: str, files: int) -> None:
    st.text(showable(path))
    st.write(
        f"Its {counted(files, 'photo')} will not be found any more. The files stay as they are."
    )
    if st.button("Remove", type="primary", key="confirm-removal"):
        try:
            shared.library.remove(path)
        except ImgsearchError as error:
            st.warning(plain(str(error)))
            return
        st.rerun()


def _show_failures(shared: Shared, status: LibraryStatus) -> None:
    if not status.failed:
        return
    with st.expander(f"{counted(status.failed, 'file')} could not be read"):
        failures = shared.library.failures()
        for failure in failures[:_FAILURES_SHOWN]:
            st.text(f"{failure.shown_path}: {failure.reason}")
        if len(failures) > _FAILURES_SHOWN:
            st.caption(f"and {len(failures) - _FAILURES_SHOWN:,} more")
        if shared.local and st.button(
            "Try them again", key="retry", disabled=shared.job.state.running
        ):
            shared.job.start(
                [root.path for root in status.roots if root.present], retry_failed=True
            )
            st.rerun()


def _show_model(status: LibraryStatus) -> None:
    st.subheader("Model and disk")
    for model in status.models:
        use = "in use" if model.active else "not in use"
        st.text(
            f"{model.name} ({model.revision}), {use}: {counted(model.embeddings, 'vector')} of "
            f"dimension {model.dimension}"
        )
    st.text(
        f"{showable(str(status.library))}: catalog {human_bytes(status.catalog_bytes)}, "
        f"search index {human_bytes(status.cache_bytes)}, thumbnails "
        f"{human_bytes(status.thumbnail_bytes)}"
    )
