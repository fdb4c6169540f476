"""Text that others wrote never reaches the terminal as something that the terminal obeys.

Every command runs over a library whose names, folders, EXIF, keywords, searches and models hold
control sequences, on a terminal and in a pipe.
"""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgsearch import Library
from imgsearch.data.paths import printable
from imgsearch.safe_stream import SafeStream

# What each would do: colours; the title; the clipboard (OSC 52); a link (OSC 8); an 8-bit CSI; a
# query that the terminal types the answer to; text in another order; invisible; a new line that
# looks like ours; a device control string; markup of rich; formulas of spreadsheets.
HOSTILE = (
    "\x1b[31mred", "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x1b\\", "\x1b]8;;http:evil\x1b\\x",
    "\x9b31mred", "\x1b[6n", "\u202egpj.exe", "\u2066a\u2069b", "a\u200bb", "a\u2028b",
    "x\nimgsearch: ok", "\x1bP+q544e\x1b\\", "[red]x[", "a\rb\x08\x7f", "=cmd|'c'!A1",
    "\U000e0041tag", "\x0e\x0f",
)  # fmt: skip
# What our own output on a terminal may hold: links to files, colours and movements of progress.
OURS = re.compile(
    rb"\x1b\]8;;(?:file://[!-~]*)?\x1b\\|\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[[0-9]*[AK]|\x1b\[2K"
)
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\U000e0000-\U000e007f]"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that holds all of it."""
    root = tmp_path_factory.mktemp("text")
    photos = root / "photos \x1b[32m\u202e"
    photos.mkdir()
    for number, text in enumerate(HOSTILE):
        exif = Image.Exif()
        exif[0x0110] = f"camera {text}"
        exif[0x010F] = text
        exif.get_ifd(0x8769)[0xA434] = f"lens {text}"
        exif[0x010E] = text
        image = Image.new("RGB", (64, 48), (200 - number, 10 * number, 40))
        image.save(photos / f"{text}{number}.jpg", exif=exif, quality=95)
        xmp = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
            '22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<dc:subject><rdf:Bag><rdf:li>key {OBEYED.sub('?', text)}\u009b31m</rdf:li></rdf:Bag>"
            "</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
        )
        image.save(photos / f"k{number}.jpg", xmp=xmp.encode(), exif=exif, quality=90)
    (photos / os.fsdecode(b"\xff\x9b31m\x1b[1m.jpg")).write_bytes(b"no photo")
    (photos / "\x1b[5mbroken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    place = root / "library \x9b2J"
    with Library.open(place) as opened:
        opened.index(photos)
    return place


def commands(library: Path) -> list[list[str]]:
    """Return every command that prints something, well used and wrongly."""
    photos = str(next(library.parent.glob("photos*")))
    evil = "".join(HOSTILE).replace("\n", "")
    inside = [
        ["query", "red", "--all", "--no-group", "-n", "50"], ["query", "red", "--explain", "--all"],
        ["query", evil], ["query", "--camera", evil, "red"], ["query", "--folder", evil],
        ["query", "--like", evil], ["query", "--good", evil, "red"], ["query", "--after", evil],
        ["query", "--near", evil], ["query", "--sort", evil], ["query", "--type", evil],
        ["query", "--saved", evil], ["query", "--queries", evil], ["query", "--output", evil, "a"],
        ["query", "--no-such-" + evil], ["query", "--model", evil, "red"],
        ["query", "red", "--paths", "--all"], ["query", "red", "--json", "--all", "-n", "50"],
        ["query", "red", "--output", f"{library.parent}/\x1b[1m.csv"],
        ["query", "red", "--device", evil], ["query", "-n", evil],
        ["save", "\x1b[31m\x9b1m", "red", "\x1b[1m"], ["saved"], ["saved", "--json"],
        ["query", "--saved", "\x1b[31m\x9b1m"], ["saved", "--delete", evil],
        ["status"], ["status", "--failed"], ["status", "--json"], ["status", "--failed", "--json"],
        ["similar", "--threshold", "0.6"], ["similar", "--keep", "best"], ["similar", "--paths"],
        ["similar", "--json"], ["similar", "--keep", evil], ["similar", "--threshold", evil],
        ["models"], ["models", "use", evil], ["models", "prune"], ["models", "--json"],
        ["index", photos, "--dry-run"], ["index", evil], ["index", photos, "--retry-failed"],
        ["index", photos, "--model", evil], ["remove", evil],
        ["ui", "--host", evil, "--no-browser"],
        ["ui", "--token-file", evil, "--no-browser"], ["ui", "--port", evil],
    ]  # fmt: skip
    outside = [[evil], ["models", "pull", evil], ["models", "pull", f"a/{evil}"],
               ["models", "export", evil, "--to", evil], ["models", evil]]  # fmt: skip
    return [[*one, "--library", str(library)] for one in inside] + outside


# Runs commands in one process, which a terminal or a pipe belongs to; each ends with its status.
RUNNER = """
import json, sys, os
os.environ.update(COLUMNS="200", HF_ENDPOINT="http://127.0.0.1:9")
from imgsearch import cli
out, err = sys.stdout, sys.stderr
for arguments in json.load(open(sys.argv[1])):
    sys.argv, sys.stdout, sys.stderr, status = ["imgsearch", *arguments], out, err, 0
    try:
        cli.main()
    except SystemExit as end:
        status = end.code or 0
    out.flush(); err.flush()
    print(f"<{status}>", file=err, flush=True)
"""


def prepared(library: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "commands.json").write_text(json.dumps(commands(library)))
    return [sys.executable, "-c", RUNNER, str(tmp_path / "commands.json")]


def assert_harmless(output: bytes, own: re.Pattern[bytes] | None = None) -> None:
    """Fail where a terminal, of 8 bits or UTF-8, would find something to obey."""
    left = own.sub(b"", output) if own else output
    text = left.decode("utf-8")  # what is no UTF-8 is an error, too
    found = OBEYED.search(text)
    assert found is None, repr(text[max(0, found.start() - 200) : found.end() + 60])


def statuses(output: bytes) -> list[int]:
    return [int(one) for one in re.findall(rb"<(\d)>\s", output)]


def test_in_a_pipe_nothing_is_obeyed(library: Path, tmp_path: Path) -> None:
    asked = [one for one in commands(library) if "--paths" not in one]
    (tmp_path / "commands.json").write_text(json.dumps(asked))
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(tmp_path / "commands.json")], capture_output=True
    )

    assert_harmless(done.stdout)
    assert_harmless(done.stderr)
    assert len(statuses(done.stderr)) == len(asked)
    assert {0, 1, 2} == set(statuses(done.stderr))
    assert b"fault in imgsearch" not in done.stderr
    assert b"\\x1b[31mred" in done.stdout
    assert b"Traceback" not in done.stderr


def test_on_a_terminal_nothing_is_obeyed(library: Path, tmp_path: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        prepared(library, tmp_path), stdin=subprocess.DEVNULL, stdout=child, stderr=child
    )
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65_536)
        except OSError:
            break
        shown += part
    os.close(parent)

    assert process.wait() == 0
    # The terminal itself makes \r\n of line ends; a bar of progress begins its line anew.
    assert_harmless(shown.replace(b"\r\n", b"\n").replace(b"\r", b""), OURS)
    assert len(statuses(shown)) == len(commands(library))
    assert b"\\x1b[31mred" in shown
    assert b"\x1b]8;;file://" in shown


def test_paths_for_programs_are_exact_and_json_is_ascii(library: Path) -> None:
    def run(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "imgsearch", *arguments, "--library", str(library)]
        return subprocess.run(command, capture_output=True, check=True).stdout

    raw = run("query", "red", "-0", "--all", "-n", "99", "--no-group").split(b"\0")[:-1]
    told = run("query", "red", "--json", "--all", "-n", "99", "--no-group")

    photos = next(library.parent.glob("photos*"))
    assert {os.path.basename(os.fsdecode(one)) for one in raw} >= {
        f"{text}{number}.jpg" for number, text in enumerate(HOSTILE)
    }
    assert all(os.path.exists(one) for one in raw)
    assert sorted(os.fsencode(hit["path"]) for hit in json.loads(told)["hits"]) == sorted(raw)
    assert not set(told) - set(range(32, 127)) - {10}
    assert os.fsencode(photos) in raw[0]


@given(st.text())
def test_no_text_is_obeyed(text: str) -> None:
    sink = io.StringIO()

    SafeStream(sink).write(f"x{text}")

    for shown in (printable(text), sink.getvalue().replace("\n", "").replace("\t", "")):
        assert OBEYED.search(shown) is None
        shown.encode("utf-8")


def test_bars_of_progress_still_move() -> None:
    sink = io.StringIO()
    stream = SafeStream(sink)

    for part in ("\n", "\r 50 %\x1b[31m", "\x1b[A", "\r\n", "x\x1b[A"):
        stream.write(part)

    assert sink.getvalue() == "\n\r 50 %\\x1b[31m\x1b[A\r\nx\\x1b[A"
