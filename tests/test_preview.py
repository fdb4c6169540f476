"""Pictures in terminals: a thread at the other end of a pseudo-terminal plays the terminal."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import select
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from imgsearch import preview
from imgsearch.errors import ImageUnreadable
from imgsearch.preview import Preview, Protocol, why_not

XTERM = {"TERM": "xterm-256color"}
SIXEL = b"\x1b[?62;4;22c"
NO_SIXEL = b"\x1b[?62;22c"


def named(name: bytes) -> bytes:
    return b"\x1bP>|" + name + b"\x1b\\"


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """Left half red, right half blue, a green bar below."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    image.paste("lime", (0, height * 3 // 4, width, height))
    target = io.BytesIO()
    image.save(target, "JPEG", quality=95, subsampling=0)
    return target.getvalue()


class FakeTerminal:
    """The far end of a pseudo-terminal: answers the questions, and keeps all that is written."""

    def __init__(self, answer: bytes) -> None:
        self.main, far = pty.openpty()
        self._answer = answer
        self._done = threading.Event()
        self._written = b""
        # A new-line must not become two characters: pictures are compared byte by byte.
        mode = termios.tcgetattr(far)
        mode[1] &= ~termios.OPOST
        termios.tcsetattr(far, termios.TCSANOW, mode)
        self.stream: TextIO = open(far, "w", encoding="ascii")  # noqa: SIM115 - closed below
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        answered = False
        while True:
            ready = select.select([self.main], [], [], 0.05)[0]
            if ready:
                self._written += os.read(self.main, 65_536)
            elif self._done.is_set():
                return
            if not answered and self._written.endswith(b"\x1b[c"):
                answered = True
                os.write(self.main, self._answer)

    def written(self) -> bytes:
        """Everything so far; ends the terminal."""
        self.stream.flush()
        self._done.set()
        self._thread.join()
        return self._written

    def close(self) -> None:
        self.written()
        self.stream.close()
        os.close(self.main)


@contextmanager
def terminal(answer: bytes) -> Iterator[FakeTerminal]:
    played = FakeTerminal(answer)
    try:
        yield played
    finally:
        played.close()


def shown(answer: bytes, picture: bytes, columns: int = 8) -> bytes:
    """Return what a terminal that answers like this is sent for a picture."""
    with terminal(answer) as played:
        found = Preview.detect(played.stream, XTERM)
        assert found is not None
        found.show(picture, columns)
        return played.written().partition(b"\x1b[c")[2]


def pixels(image: Image.Image) -> npt.NDArray[np.int16]:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def sixel_pixels(data: bytes) -> npt.NDArray[np.int16]:
    """Draw sixels as a terminal does: the picture [h, w, 3]; -1 where nothing was drawn."""
    palette: dict[int, tuple[int, ...]] = {}
    drawn: dict[tuple[int, int], tuple[int, ...]] = {}
    column, band, colour = 0, 0, (0, 0, 0)
    for token in re.findall(rb"#\d+;2;\d+;\d+;\d+|#\d+|!\d+[?-~]|[?-~$-]", data):
        if token.startswith(b"#"):
            number, *definition = map(int, token[1:].split(b";"))
            if definition:
                palette[number] = tuple(round(v * 2.55) for v in definition[1:])
            colour = palette[number]
        elif token == b"$":
            column = 0
        elif token == b"-":
            column, band = 0, band + 1
        else:
            count = int(token[1:-1]) if token.startswith(b"!") else 1
            rows = [band * 6 + bit for bit in range(6) if (token[-1] - 63) >> bit & 1]
            drawn |= dict.fromkeys(product(rows, range(column, column + count)), colour)
            column += count
    height, width = (1 + max(place[axis] for place in drawn) for axis in (0, 1))
    result = np.full((height, width, 3), -1, dtype=np.int16)
    for place, value in drawn.items():
        result[place] = value
    return result


def test_kitty_gets_the_very_pixels() -> None:
    picture = jpeg(300, 200)

    codes = shown(named(b"kitty(0.45.0)") + NO_SIXEL, picture)

    parts = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", codes)
    assert b"a=T" in parts[0][0]
    assert b"q=2" in parts[0][0]
    assert b"c=8" in parts[0][0]
    png = Image.open(io.BytesIO(base64.b64decode(b"".join(chunk for _, chunk in parts))))
    assert png.format == "PNG"
    assert np.array_equal(pixels(png), pixels(Image.open(io.BytesIO(picture))))
    assert codes.endswith(b"\x1b\\\n")


def test_kitty_gets_large_pictures_in_chunks() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(noise).save(target, "JPEG", quality=95)

    codes = shown(named(b"ghostty 1.2.0") + NO_SIXEL, target.getvalue())

    parts = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", codes)
    assert len(parts) > 3
    assert [keys.endswith(b"m=1") for keys, _ in parts] == [True] * (len(parts) - 1) + [False]
    assert max(len(chunk) for _, chunk in parts) <= 4096
    png = Image.open(io.BytesIO(base64.b64decode(b"".join(chunk for _, chunk in parts))))
    assert np.array_equal(pixels(png), pixels(Image.open(io.BytesIO(target.getvalue()))))


@pytest.mark.parametrize("name", [b"iTerm2 3.5.14", b"WezTerm 20260101", b"mintty 3.8.0"])
def test_iterm2_gets_the_very_file(name: bytes) -> None:
    picture = jpeg()

    # All three also know sixel, whose colours are fewer.
    codes = shown(named(name) + SIXEL, picture)

    found = re.fullmatch(rb"\x1b\]1337;File=([^:]*):([^\x07]*)\x07\n", codes)
    assert found is not None
    assert base64.b64decode(found[2]) == picture
    assert dict(part.split(b"=") for part in found[1].split(b";")) == {
        b"inline": b"1",
        b"size": str(len(picture)).encode(),
        b"width": b"8",
        b"height": b"auto",
        b"preserveAspectRatio": b"1",
    }


def test_sixel_draws_the_picture() -> None:
    picture = jpeg(64, 48)

    codes = shown(named(b"foot(1.20)") + b"\x1b[6;16;8t" + SIXEL, picture)

    assert codes.startswith(b"\x1bPq")
    assert codes.endswith(b"\x1b\\\n")
    drawn = sixel_pixels(codes[3:-3])
    # Eight cells of eight pixels: the very size of the picture.
    assert drawn.shape == (48, 64, 3)
    difference = np.abs(drawn - pixels(Image.open(io.BytesIO(picture))))
    assert difference.mean() < 4


def test_a_tall_picture_is_no_higher_than_a_wide_one_is_wide() -> None:
    codes = shown(named(b"foot(1.20)") + b"\x1b[6;20;10t" + SIXEL, jpeg(48, 96), columns=12)

    assert sixel_pixels(codes[3:-3]).shape == (120, 60, 3)


@pytest.mark.parametrize(
    ("answer", "environment", "protocol"),
    [
        (b"", {"TERM": "xterm-kitty"}, Protocol.KITTY),
        (NO_SIXEL, {"TERM": "xterm", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM2),
        (NO_SIXEL, {"TERM": "xterm", "LC_TERMINAL": "iTerm2"}, Protocol.ITERM2),
        (SIXEL, XTERM, Protocol.SIXEL),
        (b"\x1b[?4c", XTERM, Protocol.SIXEL),
        (b"\x1b[?64;14c", XTERM, None),
        # Started from a kitty whose variables it inherited.
        (named(b"XTerm(390)") + NO_SIXEL, {"TERM": "xterm-kitty"}, None),
        (named(b"tmux 3.5") + NO_SIXEL, XTERM, None),
        (b"", XTERM, None),
        (b"hello\n", XTERM, None),
    ],
)
def test_what_a_terminal_can_do(
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    environment: dict[str, str],
    protocol: Protocol | None,
) -> None:
    if not answer.endswith(b"c"):
        monkeypatch.setattr(preview, "_TIMEOUT_SECONDS", 0.1)
    with terminal(answer) as played:
        found = Preview.detect(played.stream, environment)

        assert (found and found.protocol) == protocol
        if protocol is None:
            assert "does not say that it can show pictures" in why_not(played.stream, environment)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TERM": "dumb"}, "'dumb' cannot show"),
        ({}, "'unknown' cannot show"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, "tmux"),
        ({"TERM": "xterm-kitty", "STY": "1.pts-0"}, "screen"),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "WezTerm"}, "screen"),
    ],
)
def test_plain_terminals_get_a_sentence_and_no_codes(
    environment: dict[str, str], reason: str
) -> None:
    with terminal(named(b"kitty(0.45.0)") + SIXEL) as played:
        assert Preview.detect(played.stream, environment) is None
        assert reason in why_not(played.stream, environment)
        assert "\n" not in why_not(played.stream, environment)
        assert played.written() == b""


def test_what_is_no_terminal_gets_no_codes() -> None:
    stream = io.StringIO()

    assert Preview.detect(stream, {"TERM": "xterm-kitty"}) is None
    assert "goes elsewhere" in why_not(stream, {"TERM": "xterm-kitty"})
    assert stream.getvalue() == ""


def test_the_terminal_is_left_as_it_was() -> None:
    with terminal(SIXEL) as played:
        before = termios.tcgetattr(played.stream)

        Preview.detect(played.stream, XTERM)

        assert termios.tcgetattr(played.stream) == before


@pytest.mark.parametrize(
    "answer", [named(b"kitty(1)") + NO_SIXEL, named(b"iTerm2 3") + NO_SIXEL, SIXEL]
)
def test_what_is_no_jpeg_is_not_sent(answer: bytes) -> None:
    with terminal(answer) as played:
        found = Preview.detect(played.stream, XTERM)
        assert found is not None
        for damaged in (b"\x07\x1b]0;title\x07", jpeg()[:300]):
            with pytest.raises(ImageUnreadable, match="cannot be shown"):
                found.show(damaged, 10)

        assert played.written().endswith(b"\x1b[c")


def test_showing_needs_nothing_but_a_stream() -> None:
    stream = io.StringIO()

    Preview(stream, Protocol.ITERM2).show(jpeg(), 10)

    assert stream.getvalue().startswith("\x1b]1337;File=")
