"""Killed at any moment: what was committed stays, nothing is left behind, the next run goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import EXAMPLES, MakePhoto

from imgsearch import DecodeLimits, IndexSettings, Library
from imgsearch.data.connection import SCHEMA_VERSION, connect_writable, schema_version
from imgsearch.data.migrations import migrate

# What attacks them, or kills them, meets processes as users start them.
pytestmark = pytest.mark.usefixtures("started_anew")

# Indexes the folder argv[2] into the library argv[1], and kills itself (not its children) at the
# argv[3]-th file that it opens to write, renames or deletes below the library, or SQL statement.
SUICIDAL = """
import os, signal, sqlite3, sys
from imgsearch import IndexSettings, Library
from imgsearch.encoders.fake import FakeEncoder
library, folder, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = 0
def point(*_):
    global seen
    seen += 1
    if seen == limit:
        os.kill(os.getpid(), signal.SIGKILL)
def hook(event, arguments):
    if event in ("os.rename", "os.remove", "open") and str(arguments[0]).startswith(library):
        point()
def traced(*arguments, **options):
    connection = connect(*arguments, **options)
    connection.set_trace_callback(point)
    return connection
connect, sqlite3.connect = sqlite3.connect, traced
sys.addaudithook(hook)
with Library.open(library, model=FakeEncoder()) as opened:
    opened.index(folder, settings=IndexSettings(decode_workers=1, batch_size=4))
print(seen)
"""
CONTENTS = {
    "catalog.sqlite": (
        "SELECT path, size, mtime_ns, content_hash, camera, vector FROM file"
        " JOIN picture ON picture.id = file.picture_id"
        " JOIN embedding ON embedding.picture_id = picture.id ORDER BY path",
        "SELECT path, reason FROM failure ORDER BY path",
    ),
    "thumbnails.sqlite": ("SELECT content_hash, jpeg FROM thumbnail ORDER BY content_hash",),
}


def index_and_die(library: Path, folder: Path, at: int) -> tuple[int, str]:
    """Run SUICIDAL; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", SUICIDAL, str(library), str(folder), str(at)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def contents(library: Path) -> list[object]:
    """Return all that the databases of a library hold, having checked that they are whole."""
    held: list[object] = []
    for name, queries in CONTENTS.items():
        with closing(sqlite3.connect(library / name)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            held += [database.execute(query).fetchall() for query in queries]
    return held


def vectors(library: Path) -> set[tuple[bytes, bytes]]:
    """Return the committed vectors by content."""
    with closing(sqlite3.connect(library / "catalog.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'picture'").fetchall():
            return set()
        return set(
            database.execute(
                "SELECT content_hash, vector FROM embedding JOIN picture ON picture.id = picture_id"
            )
        )


def answers(library: Library) -> list[tuple[str, float]]:
    hits = library.search("red", limit=100, cut_off=False, group=False)
    return [(hit.path, hit.score) for hit in hits]


def test_a_run_that_is_killed_at_any_step_is_continued(
    tmp_path: Path, library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    for number in range(14):
        make_photo(f"{number:02}.jpg", ["red", "green", "blue"][number % 3], mark=number)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    library.index(folder, settings=settings)
    expected = contents(library.path), answers(library)
    code, told = index_and_die(tmp_path / "counted", folder, 10**9)
    assert code == 0, told
    steps = int(told)
    killed = tmp_path / "killed"

    for part in (0.05, 0.3, 0.6, 0.8, 0.9, 0.97):
        code, told = index_and_die(killed, folder, int(steps * part))
        before = vectors(killed) if (killed / "catalog.sqlite").exists() else set()
        code_again, told = index_and_die(killed, folder, 20)
        assert (code, code_again) == (-signal.SIGKILL, -signal.SIGKILL), told
        assert before <= vectors(killed)
        with Library.open(killed, model=library._encoder) as resumed:
            report = resumed.index(folder, settings=settings)
            assert report.embedded == 14 - len(before)
            assert (contents(killed), answers(resumed)) == expected
        assert [path.suffix for path in (killed / "faiss").glob("model-1-*")].count(".rows") == 1
        assert not list((killed / "faiss").glob("model-1-*.json"))
        for path in [*killed.rglob("*")]:
            path.is_dir() or path.unlink()


def children_of(process: int) -> list[int]:
    """Return the living children of a process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_hanging_decoder_ends_although_nobody_is_left_to_end_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    # A native decoder in an endless loop holds the interpreter: no thread of ours would run.
    (site / "sitecustomize.py").write_text(
        "import re\nfrom PIL import Image\n"
        "def hang(*_, **__):\n    re.match('(a*)*b', 'a' * 40)\n"
        "if 'worker' in open('/proc/self/cmdline').read():\n    Image.open = hang\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    (folder / "a.jpg").write_bytes((EXAMPLES / "astronaut.jpg").read_bytes())
    limits = DecodeLimits(timeout_seconds=4)
    code = (
        "import sys; from imgsearch import *; from imgsearch.encoders.fake import FakeEncoder;"
        "Library.open(sys.argv[1], model=FakeEncoder()).index(sys.argv[2],"
        f"settings=IndexSettings(decode_workers=1, limits={limits!r}))"
    )
    indexer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "library"), str(folder)])
    deadline = time.monotonic() + 60
    while not (workers := children_of(indexer.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)  # By now it works on the photo.
    indexer.kill()
    indexer.wait()

    while (left := [pid for pid in workers if os.path.exists(f"/proc/{pid}")]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.1)

    assert workers
    assert left == []


def test_what_a_killed_process_left_of_the_cache_is_deleted_by_a_run_with_nothing_to_do(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)
    cache = library.path / "faiss"
    before = {path.name for path in cache.iterdir()}
    for ending in ("rows", "ids", "removed", "codes", "faiss"):
        (cache / f"model-1-0123456789ab.{ending}").write_bytes(b"half an index")
    (cache / "model-1-0123456789ab.json").write_text('{"rows":')

    library.index(folder, settings=settings)

    assert {path.name for path in cache.iterdir()} == before
    assert len(answers(library)) == 1


def test_a_run_that_was_killed_before_its_cache_leaves_it_to_the_next(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)
    for path in (library.path / "faiss").iterdir():
        path.unlink()

    library.index(folder, settings=settings)

    assert list((library.path / "faiss").glob("model-1-*.rows"))


def test_a_backup_that_was_killed_is_made_again(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("a.jpg")
    library.index(folder, settings=settings)
    name = f"catalog.sqlite.v{SCHEMA_VERSION}.backup"
    for left in (f".{name}.1234.part", f".{name}.1234.part-journal"):
        (library.path / left).write_bytes(b"half a catalog")

    with closing(connect_writable(library.path)) as database:
        migrate(database, library.path, SCHEMA_VERSION + 1, {SCHEMA_VERSION: lambda _: None})

    with closing(sqlite3.connect(library.path / name)) as backup:
        assert backup.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert schema_version(backup) == SCHEMA_VERSION
    assert not list(library.path.glob("*.part*"))
