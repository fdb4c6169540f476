"""Ctrl-C in commands that do their work in batches."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from imgsearch import terminal


class Interruption:
    """Ctrl-C as a request: the first asks to stop after the batch in hand, the second stops."""

    def __init__(
        self, note: str = "Finishing the batch in hand. Ctrl-C again stops at once."
    ) -> None:
        """`note` is printed when the request comes."""
        self._asked = False
        self._note = note

    def is_set(self) -> bool:
        """Tell whether it was asked to stop."""
        return self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        terminal.print_note(self._note)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handle Ctrl-C, and a polite kill, inside this block."""
        before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
