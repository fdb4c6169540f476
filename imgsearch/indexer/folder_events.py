"""What the system says has changed below some folders, by way of the package watchfiles.

watchfiles loses some of what it is told, and this module makes up for it by saying so (`lost`):
a name that is not UTF-8 ends its watch, and an overflow of the kernel's queue is not passed on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

# Events are gathered until there was none for this long (ms), in which case the system is asked
# again whether to stop, too: about four wake-ups a second while nothing happens.
_STEP_MS = 250
# But no longer than this (ms), however many keep coming.
_GATHER_MS = 1_000
# The kernel queues 16,384 events (fs.inotify.max_queued_events). So many in a second are so near
# to it that some may have been dropped: only a look through the folders can tell.
_MANY = 2_000

_LIMIT = "file watch limit"


class CannotWatch(Exception):
    """The system cannot tell about these folders; `str(error)` says why, and what to do."""


class FolderMissing(Exception):
    """One of the folders has just gone away."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Absolute paths at which something happened, those that were deleted, and doubts.

    `lost`: other things have happened, too, or may have.
    """

    paths: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    lost: bool = False


@dataclass
class _Stop:
    """What watchfiles asks whether to stop."""

    asked: Callable[[], bool]

    def is_set(self) -> bool:
        return self.asked()


@dataclass
class FolderEvents:
    """A watch on folders and all below them that can be moved to others."""

    should_stop: Callable[[], bool]
    _notify: RustNotify | None = None
    _folders: list[str] = field(default_factory=list)
    _carried: set[tuple[int, str]] = field(default_factory=set)
    _lost: bool = False

    def watch(self, folders: list[str]) -> None:
        """Watch these folders from now on, and no others. What was noted before is kept.

        Raises CannotWatch, and FolderMissing if one is not there. Those that were watched before
        still are then.
        """
        fresh = _started(folders) if folders else None
        before, self._notify, self._folders = self._notify, fresh, list(folders)
        if before is not None:
            self._gather(before, 1, 1, 1)
            before.close()

    def wait(self, seconds: float) -> Batch:
        """Return what has happened, as soon as that is something, or nothing after `seconds`."""
        if self._notify is not None and not self._carried and not self._lost:
            self._gather(self._notify, _GATHER_MS, _STEP_MS, max(1, int(seconds * 1000)))
        elif not self._carried and not self._lost:
            self._sleep(seconds)
        changes, self._carried = self._carried, set()
        lost, self._lost = self._lost or len(changes) >= _MANY, False
        return Batch(
            frozenset(path for _, path in changes),
            frozenset(path for kind, path in changes if kind == _deleted()),
            lost,
        )

    def close(self) -> None:
        """End the watch."""
        if self._notify is not None:
            self._notify.close()
        self._notify = None

    def _gather(self, notify: RustNotify, gather: int, step: int, timeout: int) -> None:
        from watchfiles._rust_notify import WatchfilesRustInternalError

        try:
            found = notify.watch(gather, step, timeout, _Stop(self.should_stop))
        except WatchfilesRustInternalError:
            # From now on this watch would raise the same error at every call.
            self._lost = True
            if notify is self._notify:
                self._notify = None
                notify.close()
                self.watch(self._folders)
            return
        if found == "signal":
            raise KeyboardInterrupt
        if not isinstance(found, str):
            self._carried |= found

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.should_stop() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_MS / 1000))


def _started(folders: list[str]) -> RustNotify:
    from watchfiles._rust_notify import WatchfilesRustInternalError

    try:
        try:
            return _new(folders)
        except PermissionError:
            # A folder inside that is not ours to read. Without complaints about such a one there
            # are none about the limit either: another watch, of one folder, shows whether it is
            # reached.
            found = _new(folders, complain=False)
            _new(folders[:1], recursive=False).close()
            return found
    except FileNotFoundError as error:
        raise FolderMissing from error
    except UnicodeEncodeError as error:
        raise CannotWatch("its name is not UTF-8") from error
    except (OSError, WatchfilesRustInternalError) as error:
        raise CannotWatch(_explained(str(error))) from error


def _new(folders: list[str], *, recursive: bool = True, complain: bool = True) -> RustNotify:
    # Imported here, because only watching needs it.
    from watchfiles._rust_notify import RustNotify

    return RustNotify(
        folders,
        debug=False,
        force_polling=False,
        poll_delay_ms=300,
        recursive=recursive,
        ignore_permission_denied=not complain,
    )


def _explained(reason: str) -> str:
    """Return a reason of the system's as one that says what to do."""
    if _LIMIT in reason or "No space left" in reason:
        return (
            "the limit of watched folders is reached (raise it with: "
            "sudo sysctl fs.inotify.max_user_watches=1048576)"
        )
    if "os error 24" in reason:
        return (
            "the limit of watching programs is reached (raise it with: "
            "sudo sysctl fs.inotify.max_user_instances=1024)"
        )
    return reason


def _deleted() -> int:
    from watchfiles import Change

    return int(Change.deleted)
