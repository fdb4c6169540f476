"""When which part of a root was scanned to its end last: since then, every change has left a trace.

Size and time of change do not tell of a file that another program has written anew in place and
given its old time (a tag editor that keeps times), or that was written again within one tick of the
clock after it was read. The time of its last change of status (ctime) does, because nobody sets it.
"""

from __future__ import annotations

import os
import re
import time

from imgsearch.data.catalog import Catalog
from imgsearch.data.scopes import Scope

# A file's times are those of the last tick of the kernel's clock: 10 ms at most on Linux.
_TICK_NS = 20_000_000
# The clock of a machine with two systems is hours off until it is set.
_CLOCK_TOLERANCE_NS = 86_400 * 1_000_000_000
_MARK = re.compile(r"-?[0-9]{1,19}")


def file_clock_ns() -> int:
    """Return a time (ns) before any that a file can get from now on, and after all before.

    For that it waits for the next tick of the clock; otherwise what was written a moment ago would
    look as if it had been written since.
    """
    now = time.time_ns()
    time.sleep(_TICK_NS / 1e9)
    return now


def last_scan(catalog: Catalog, scope: Scope) -> int | None:
    """Return when a scan of all of `scope`, that came to its end, began (ns), or None.

    0, so that every file is looked into, where what the catalog says of it cannot be true.
    """
    parts = scope.prefix.split(os.sep) if scope.prefix else []
    outer = [os.sep.join(parts[:depth]) for depth in range(len(parts) + 1)]
    with catalog.statements() as connection:
        found = [
            connection.execute("SELECT value FROM meta WHERE key = ?", (_key(scope, one),))
            for one in outer
        ]
        marks = [str(row[0]) for rows in found for row in rows]
    return max((_believed(mark) for mark in marks), default=None)


def _believed(mark: str) -> int:
    """Return the time (ns) that was stored, or 0 for one that a damaged row tells."""
    latest = time.time_ns() + _CLOCK_TOLERANCE_NS
    return int(mark) if _MARK.fullmatch(mark) and int(mark) <= latest else 0


def note_scan(catalog: Catalog, scope: Scope, began_ns: int) -> None:
    """Remember a scan that came to its end, instead of all earlier ones of parts of `scope`."""
    with catalog.statements() as connection:
        inner = _key(scope, scope.prefix) + (os.sep.encode().hex() if scope.prefix else "")
        connection.execute(
            "DELETE FROM meta WHERE substr(key, 1, ?) = ?",
            (len(inner), inner),
        )
        connection.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            (_key(scope, scope.prefix), str(began_ns)),
        )


def _key(scope: Scope, prefix: str) -> str:
    return f"scanned:{scope.root_id}:{os.fsencode(prefix).hex()}"
