"""Parts of roots, as paths and as ranges of the catalog's rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imgsearch.data.paths import to_stored


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a root: `prefix` (a folder or file) and all below it; "" is the whole root."""

    root_id: int
    prefix: str = ""

    def covers(self, root_id: int, path: str) -> bool:
        """Tell whether the file lies inside this scope."""
        inside = not self.prefix or path == self.prefix or path.startswith(self.prefix + os.sep)
        return root_id == self.root_id and inside

    def ranges(self) -> Iterator[tuple[int, str | bytes, str | bytes]]:
        """Yield (root id, first stored path, path behind the last) of what `covers` accepts.

        Only for a scope with a prefix. SQLite orders all texts before all bytes, so that names
        that are not UTF-8 below a folder whose name is have a range of their own.
        """
        exact, raw = to_stored(self.prefix), os.fsencode(self.prefix)
        after = exact + "\0" if isinstance(exact, str) else exact + b"\0"
        yield self.root_id, exact, after
        below, behind = os.sep, chr(ord(os.sep) + 1)
        if isinstance(exact, str):
            yield self.root_id, exact + below, exact + behind
        yield self.root_id, raw + below.encode(), raw + behind.encode()


def without_covered(scopes: Sequence[Scope]) -> list[Scope]:
    """Return the scopes that lie in no other of them, each once."""
    found: list[Scope] = []
    for one in sorted(set(scopes), key=lambda scope: len(scope.prefix)):
        if not any(outer.covers(one.root_id, one.prefix) for outer in found):
            found.append(one)
    return found
