"""A library, or photos, that cannot be written: all that only reads must work all the same."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attack import Attack, CannotAttack, Outcome, Setting
from disks import (
    NOBODY,
    REPOSITORY,
    UNPRIVILEGED,
    contents,
    fingerprint,
    imgsearch,
    make_photos,
    mounted,
    need_root,
)

_READING: Sequence[tuple[str, ...]] = (
    ("query", "a photo", "--all", "--json"),
    ("query", "a photo", "--offline"),
    ("query", "--type", "jpeg"),
    ("status",),
    ("similar",),
    ("saved",),
    ("models",),
)
# Left behind in the library by a process that was killed: what lies in the WAL is committed, too.
_STATES = ("clean", "wal", "wal without shm", "no caches")


def read_only_library(setting: Setting) -> Outcome:
    """Read libraries of all states on a read-only mount, and as a user who may not write them."""
    need_root()
    outcome = Outcome()
    for parent in (setting.work, *setting.work.parents):
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    photos = setting.work / "photos"
    make_photos(photos, 20)
    for number, state in enumerate(_STATES):
        library = setting.work / f"library-{number}"
        imgsearch("index", photos, "--library", library)
        imgsearch("similar", "--library", library)
        _leave(library, state)
        held = len(contents(shutil.copytree(library, setting.work / f"copy-{number}"))["files"])
        for path in (library, *library.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        before = fingerprint(library)
        for way in ("read-only mount", "another user"):
            place = setting.work / f"place-{number}"
            with _unwritable(library, place, way):
                broken = list(_read(place, way == "another user", held))
                outcome.broken += [f"{state}, {way}: {what}" for what in broken]
            outcome.times += len(_READING) + 2
        if fingerprint(library) != before:
            outcome.broken.append(f"{state}: the library was changed")
    return outcome


def _leave(library: Path, state: str) -> None:
    """Bring the library into a state that a process may leave behind."""
    if state == "no caches":
        shutil.rmtree(library / "faiss")
        for cache in (*library.glob("thumbnails*"), *library.glob("similar*")):
            cache.unlink()
    if not state.startswith("wal"):
        return
    # One file more, committed in the WAL only.
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1])\n"
        "c.execute('INSERT INTO file (root_id, path, size, mtime_ns, picture_id)"
        " SELECT root_id, 1, size, mtime_ns, picture_id FROM file LIMIT 1')\n"
        "c.commit()\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(library / "catalog.sqlite")], check=True)
    if state == "wal without shm":
        (library / "catalog.sqlite-shm").unlink()


@contextmanager
def _unwritable(library: Path, place: Path, way: str) -> Iterator[None]:
    """Show `library` at `place`, without a way of writing it."""
    with mounted(place, "--bind", str(library)):
        if way == "read-only mount":
            subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield


def _read(library: Path, without_powers: bool, held: int) -> Iterator[str]:
    for command in _READING:
        ran = imgsearch(*command, "--library", library, without_powers=without_powers)
        if ran.code or ran.unclear:
            yield f"{command[0]}: {ran.unclear or ran.stderr[-200:]}"
    status = imgsearch("status", "--library", library, without_powers=without_powers).stdout
    if f"in {held} files" not in status:
        yield f"not all that is committed was read: {status[:200]}"
    ran = imgsearch(
        "index", library.parent / "photos", "--library", library, without_powers=without_powers
    )
    if ran.code != 1 or ran.unclear or "cannot be written" not in ran.stderr:
        yield f"index: {ran.unclear or ran}"
    page = _page(library, without_powers)
    if page:
        yield f"page: {page}"


def _page(library: Path, without_powers: bool) -> str:
    """Start the page and fetch it and a thumbnail; return what went wrong."""
    command = [sys.executable, "-m", "imgsearch", "ui", "--no-browser", "--library", str(library)]
    if without_powers:
        command = [*UNPRIVILEGED, *command]
    connection = sqlite3.connect(f"{(library / 'catalog.sqlite').as_uri()}?immutable=1", uri=True)
    [(content,)] = connection.execute("SELECT hex(content_hash) FROM picture LIMIT 1").fetchall()
    connection.close()
    process = subprocess.Popen(
        command,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "HOME": "/nonexistent"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = next((word for word in line.split() if word.startswith("http")), "")
        if not address:
            return f"it did not start: {line!r}"
        for path in ("", f"imgsearch/thumbnail/{content.lower()}.jpg"):
            with urllib.request.urlopen(f"{address.rstrip('/')}/{path}", timeout=60) as answer:
                if not answer.read(64):
                    return f"{path} is empty"
    except OSError as error:
        return str(error)
    finally:
        process.terminate()
        process.wait(30)
    return ""


def photos_untouched(setting: Setting) -> Outcome:
    """Run every command over photos on a read-only mount, and trace what is opened for writing."""
    need_root()
    tracer = shutil.which("strace")
    if tracer is None:
        raise CannotAttack("needs strace")
    outcome = Outcome()
    photos, shown = setting.work / "photos", setting.work / "shown"
    library, out = setting.work / "library", setting.work / "out"
    out.mkdir()
    make_photos(photos, 20)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    before = fingerprint(photos)
    some = photos / "000/00003.jpg"
    commands: list[tuple[str | Path, ...]] = [
        ("index", shown),
        ("index", shown, "--retry-failed"),
        *_READING,
        ("query", "--like", some),
        ("query", "a photo", "--explain-to", out / "maps"),
        ("query", "a photo", "--output", out / "a.csv"),
        ("save", "one", "a photo"),
        ("saved", "--delete", "one"),
        ("remove", shown),
    ]
    for options in (("remount,ro,bind",), ()):
        with mounted(shown, "--bind", str(photos)):
            for option in options:
                subprocess.run(["mount", "-o", option, str(shown)], check=True)
            for command in commands:
                outcome.times += 1
                log = setting.work / "trace"
                before_it = (tracer, "-f", "-qq", "-e", "trace=%file,ftruncate", "-o", str(log))
                ran = imgsearch(*command, "--library", library, before=before_it)
                if ran.code or ran.unclear:
                    outcome.broken.append(f"{command[0]}: {ran.unclear or ran.stderr[-200:]}")
                writes = [line for line in log.read_text(errors="replace").splitlines()
                          if _writes(line, (str(photos), str(shown)))]  # fmt: skip
                outcome.broken += [f"{command[0]}: {line}" for line in writes]
                if fingerprint(photos) != before:
                    outcome.broken.append(f"{command[0]}: the photos were changed")
    return outcome


def _writes(line: str, folders: tuple[str, ...]) -> bool:
    """Tell whether a line of strace is a call that writes below one of the folders."""
    changing = (
        "O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "unlink", "rename", "mkdir", "rmdir", "chmod",
        "chown", "utime", "truncate", "link(", "linkat(", "symlink", "mknod", "setxattr",
    )  # fmt: skip
    return any(f'"{folder}/' in line for folder in folders) and any(
        word in line for word in changing
    ) and "readlink" not in line  # fmt: skip


ATTACKS = [
    Attack(
        "read-only",
        "A library that cannot be written can be searched, with everything that is committed",
        "on a read-only mount and as another user; clean, with a WAL left behind, with one without "
        "its shared memory, without caches; query, status, similar, the page; index says so",
        read_only_library,
    ),
    Attack(
        "photos-untouched",
        "Photos are never written",
        "every command over a read-only and a writable mount; strace: no call writes; content, "
        "times, owner and mode of all files before and after",
        photos_untouched,
    ),
]
