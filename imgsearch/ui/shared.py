"""What all visitors and tabs share: one library with its encoder and index, one indexing run."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from imgsearch import Encoder, Library
from imgsearch.ui.jobs import IndexJob, SimilarJob

# Selections that can be downloaded as a zip; older ones are forgotten.
_SELECTIONS_KEPT = 64


class Shared:
    """The state of the process behind the page. Safe to use from several threads."""

    def __init__(
        self,
        library: Path,
        model: str | Encoder | None = None,
        device: str | None = None,
        *,
        local: bool,
    ) -> None:
        """`local`: the browser runs on this machine, so that it may choose folders to index."""
        self.local = local
        self.library = Library.open(library, model=model, device=device)
        self.job = IndexJob(lambda: Library.open(library, model=model, device=device))
        self.similar = SimilarJob(self.library)
        self._selections: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def keep_selection(self, picture_ids: Sequence[int]) -> str:
        """Remember a selection of pictures; return the name under which it can be downloaded."""
        chosen = tuple(picture_ids)
        with self._lock:
            for token, kept in self._selections.items():
                if kept == chosen:
                    return token
            token = secrets.token_urlsafe(16)
            self._selections[token] = chosen
            while len(self._selections) > _SELECTIONS_KEPT:
                self._selections.popitem(last=False)
        return token

    def selection(self, token: str) -> tuple[int, ...] | None:
        """Return a remembered selection, or None."""
        with self._lock:
            return self._selections.get(token)


_shared: Shared | None = None


def configure(shared: Shared) -> None:
    """Make `shared` what the pages of this process show."""
    global _shared
    _shared = shared


def get_shared() -> Shared:
    """Return what `configure` was given."""
    assert _shared is not None, "the page is started by imgsearch.ui.server.serve"
    return _shared
