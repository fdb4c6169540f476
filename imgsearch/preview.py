"""Pictures in the terminal: kitty's protocol, iTerm2's, and sixel.

Who can show pictures is asked of the terminal itself, since variables of the environment are
inherited by terminals that are started from another, and are lost over ssh. The questions are those
that every terminal understands or ignores: its name and version (XTVERSION), the size of a cell in
pixels, and its attributes (DA1), which all answer and which names sixel. Escape codes go to
terminals only.
"""

from __future__ import annotations

import base64
import io
import os
import re
import select
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TextIO

from imgsearch.errors import ImageUnreadable

if TYPE_CHECKING:
    from PIL import Image

# For the answers of a terminal; the wait ends with the answer, so only mute ones take it.
_TIMEOUT_SECONDS = 1.0
# XTVERSION, the size of a cell in pixels, and last the attributes, which end the answer.
_QUESTIONS = b"\x1b[>0q\x1b[16t\x1b[c"
_NAME = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_CELL = re.compile(rb"\x1b\[6;(\d{1,4});(\d{1,4})t")
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
_SIXEL_ATTRIBUTE = b"4"
# Width and height in pixels where a terminal does not tell: those of the VT340.
_USUAL_CELL = (10, 20)
# kitty's limit for the payload of one escape code.
_KITTY_CHUNK = 4096
# What a sixel terminal has at least, of those in use.
_SIXEL_COLOURS = 256
# These show no pictures, and some of them show escape codes as text.
_PLAIN_TERMINALS = ("dumb", "linux", "unknown", "")


class Protocol(Enum):
    """A way to send a picture."""

    KITTY = "kitty"
    ITERM2 = "iTerm2"
    SIXEL = "sixel"


# The beginning of the name that a terminal tells, in lower case. What else can show pictures says
# so by its attributes.
_BY_NAME = {
    "kitty": Protocol.KITTY,
    "ghostty": Protocol.KITTY,
    "iterm2": Protocol.ITERM2,
    "wezterm": Protocol.ITERM2,
    "mintty": Protocol.ITERM2,
}


@dataclass(frozen=True, slots=True)
class Preview:
    """A terminal that shows pictures; `cell` is the size of a character in pixels (w, h)."""

    stream: TextIO
    protocol: Protocol
    cell: tuple[int, int] = _USUAL_CELL

    @classmethod
    def detect(cls, stream: TextIO, environment: Mapping[str, str] | None = None) -> Preview | None:
        """Return how to show pictures on `stream`, or None; `why_not` then says why.

        A terminal is asked and given a second to answer. What somebody types in this time may be
        taken for a part of the answer. Nothing is written to what is no terminal.
        """
        known = os.environ if environment is None else environment
        if _hindrance(stream, known):
            return None
        answer = _ask(stream)
        protocol = _protocol(answer, known)
        return None if protocol is None else cls(stream, protocol, _cell(answer))

    def show(self, jpeg: bytes, columns: int) -> None:
        """Show a JPEG in a square as wide as `columns` characters, and go to the next line.

        Raises ImageUnreadable where it cannot be decoded.
        """
        with _decoded(jpeg) as picture:
            columns = self._columns(picture.size, columns)
            if self.protocol is Protocol.KITTY:
                codes = _kitty(picture, columns)
            elif self.protocol is Protocol.ITERM2:
                codes = _iterm2(jpeg, columns)
            else:
                codes = _sixel(picture, columns * self.cell[0])
        self.stream.write(f"{codes}\n")
        self.stream.flush()

    def _columns(self, size: tuple[int, int], columns: int) -> int:
        """Return how many columns the picture takes so that it is no higher than a square."""
        width, height = size
        return max(1, round(columns * min(1.0, width / height)))


def why_not(stream: TextIO, environment: Mapping[str, str] | None = None) -> str:
    """Return the sentence for those who asked for pictures where `Preview.detect` found no way."""
    known = os.environ if environment is None else environment
    return _hindrance(stream, known) or (
        "This terminal does not say that it can show pictures. Those that can: kitty, Ghostty, "
        "iTerm2, WezTerm, mintty, and others with sixel (foot, Konsole, Windows Terminal over ssh, "
        "xterm -ti vt340)."
    )


def _hindrance(stream: TextIO, environment: Mapping[str, str]) -> str:
    """Return why no terminal can be asked; empty if one can."""
    terminal = environment.get("TERM", "")
    if not stream.isatty():
        return "Pictures are shown on a terminal only; this output goes elsewhere."
    if environment.get("TMUX") or environment.get("STY") or terminal.startswith(("tmux", "screen")):
        return "Inside tmux and screen pictures cannot be shown. Run this outside of them."
    if terminal in _PLAIN_TERMINALS and sys.platform != "win32":
        return f"A terminal of the kind {terminal or 'unknown'!r} cannot show pictures."
    return ""


def _protocol(answer: bytes, environment: Mapping[str, str]) -> Protocol | None:
    name = _NAME.search(answer)
    if name:
        told = name[1].decode("ascii", "replace").lower()
        for beginning, protocol in _BY_NAME.items():
            if told.startswith(beginning):
                return protocol
    attributes = _ATTRIBUTES.search(answer)
    if attributes and _SIXEL_ATTRIBUTE in attributes[1].split(b";"):
        return Protocol.SIXEL
    return None if name else _by_environment(environment)


def _by_environment(environment: Mapping[str, str]) -> Protocol | None:
    """Return the protocol of a terminal that does not tell its name, such as an older one."""
    if environment.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
        return Protocol.KITTY
    # iTerm2 sets the second one, too, and lets ssh carry it on.
    names = environment.get("TERM_PROGRAM", ""), environment.get("LC_TERMINAL", "")
    return Protocol.ITERM2 if {"iTerm.app", "iTerm2", "WezTerm"} & set(names) else None


def _cell(answer: bytes) -> tuple[int, int]:
    told = _CELL.search(answer)
    if told is None or not int(told[1]) or not int(told[2]):
        return _USUAL_CELL
    return int(told[2]), int(told[1])


def _ask(stream: TextIO) -> bytes:
    """Return what the terminal behind `stream` answers in time; empty where it cannot be asked."""
    if sys.platform == "win32":
        return b""
    try:
        # Opened by its name: standard input may be a file, and output may be open for writing only.
        terminal = os.open(os.ttyname(stream.fileno()), os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        if not _in_foreground(terminal):
            return b""
        stream.flush()
        with _unechoed(terminal):
            os.write(terminal, _QUESTIONS)
            return _answer(terminal)
    finally:
        os.close(terminal)


def _in_foreground(terminal: int) -> bool:
    """Tell whether this process may use the terminal; one in the background would be stopped."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        # Not the terminal that controls this process, which therefore nothing stops.
        return True


@contextmanager
def _unechoed(terminal: int) -> Iterator[None]:
    """Let what the terminal sends be read at once, and not be shown."""
    import termios
    import tty

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _answer(terminal: int) -> bytes:
    """Read up to the terminal's attributes, or until its time is over."""
    answer = b""
    end = time.monotonic() + _TIMEOUT_SECONDS
    while not _ATTRIBUTES.search(answer):
        left = end - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            break
        part = os.read(terminal, 1024)
        if not part:
            break
        answer += part
    return answer


@contextmanager
def _decoded(jpeg: bytes) -> Iterator[Image.Image]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
            picture.load()
            yield picture
    except (OSError, Image.DecompressionBombError) as error:
        raise ImageUnreadable(f"The picture cannot be shown: {error}.") from error


def _kitty(picture: Image.Image, columns: int) -> str:
    """Return the codes of kitty's graphics protocol: PNG, in base64, in chunks.

    a=T shows at once, q=2 asks for no answer, c is the width in cells, m tells that more follows.
    """
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=1)
    payload = base64.b64encode(target.getvalue()).decode("ascii")
    chunks = [payload[i : i + _KITTY_CHUNK] for i in range(0, len(payload), _KITTY_CHUNK)]
    codes = []
    for number, chunk in enumerate(chunks, start=1):
        keys = f"a=T,f=100,q=2,c={columns}," if number == 1 else ""
        codes.append(f"\x1b_G{keys}m={int(number < len(chunks))};{chunk}\x1b\\")
    return "".join(codes)


def _iterm2(jpeg: bytes, columns: int) -> str:
    """Return the code of iTerm2's inline images, which takes the file as it is."""
    payload = base64.b64encode(jpeg).decode("ascii")
    return (
        f"\x1b]1337;File=inline=1;size={len(jpeg)};width={columns};height=auto;"
        f"preserveAspectRatio=1:{payload}\x07"
    )


def _sixel(picture: Image.Image, width: int) -> str:
    """Return the picture as sixels, scaled to a width in pixels."""
    from timg import SixelMethod

    # Bands are six pixels high, and timg leaves out what fills no band.
    height = max(6, round(picture.height * width / picture.width / 6) * 6)
    scaled = picture.convert("RGB").resize((width, height))
    codes: str = SixelMethod(scaled.quantize(_SIXEL_COLOURS)).to_string()
    return codes
