"""What the attacks on disks share: mounts, photos, the command line as a process, faulty writes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from attack import CannotAttack
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534
# Root without its powers, for whom permissions count as for anybody; the owner of what must not be
# written is `NOBODY`. A real other user may not even read this interpreter.
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
# No command that is attacked here takes a tenth of that.
_LONGEST_SECONDS = 300
_FILLER = ".filler"
# Sparse files of many gigabytes are known by their size and times (bytes).
_LARGEST_READ = 1 << 27


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that came to its end; -1 as its code means that it had to be killed."""

    code: int
    stdout: str
    stderr: str

    @property
    def unclear(self) -> str:
        """What is wrong with the way in which it failed, or nothing."""
        if self.code not in (0, 1, 2):
            return f"ended with {self.code}"
        if "Traceback" in self.stderr or "fault in imgsearch" in self.stderr:
            return f"a traceback or a fault: {self.stderr[-300:]}"
        errors = [line for line in self.stderr.splitlines() if line.startswith("imgsearch: ")]
        if len(errors) != (self.code != 0):
            return f"{len(errors)} messages with exit code {self.code}: {self.stderr[-300:]}"
        return ""


def imgsearch(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    without_powers: bool = False,
    before: Sequence[str] = (),
) -> Ran:
    """Run the command line of this repository, `before` it another program (strace)."""
    command = [*before, sys.executable, "-m", "imgsearch", *map(str, arguments)]
    if without_powers:
        command = [*UNPRIVILEGED, *command]
    own = {"PYTHONPATH": str(REPOSITORY), "XDG_CONFIG_HOME": "/nonexistent/config"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_LONGEST_SECONDS,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            env=os.environ | own | (environment or {}),
        )
    except subprocess.TimeoutExpired:
        return Ran(-1, "", "it did not end")
    return Ran(
        done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def make_photos(folder: Path, count: int, seed: int = 0, suffix: str = ".jpg") -> None:
    """Write `count` small photos, all different, into folders of twenty."""
    random = np.random.default_rng(seed)
    for number in range(count):
        path = folder / f"{number // 20:03d}" / f"{number:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC).save(path)


def need_root() -> None:
    """Raise CannotAttack unless file systems can be mounted here."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mount"):
        raise CannotAttack("needs Linux, and root for mounting file systems")


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Mount something at `place` for the time of the block: what `mount` is given before it."""
    need_root()
    place.mkdir(parents=True, exist_ok=True)
    answer = subprocess.run(
        ["mount", *options, str(place)], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise CannotAttack(f"mount: {answer.stderr.strip()}")
    try:
        yield place
    finally:
        # Lazily: whatever still holds it must not keep the soak from going on.
        subprocess.run(["umount", "-l", str(place)], check=False, stderr=subprocess.DEVNULL)


def fill(disk: Path, leave: int) -> None:
    """Let a file take all space of the file system but `leave` bytes."""
    make_room(disk)
    facts = os.statvfs(disk)
    size = max(0, facts.f_bavail * facts.f_frsize - leave)
    with (disk / _FILLER).open("wb") as file:
        if size:
            os.posix_fallocate(file.fileno(), 0, size)


def make_room(disk: Path) -> None:
    """Undo `fill`."""
    (disk / _FILLER).unlink(missing_ok=True)


@contextmanager
def faulty_writes(work: Path) -> Iterator[Path]:
    """Compile `faulty.c` and give the path of what LD_PRELOAD takes."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        raise CannotAttack("needs Linux and a C compiler for writes that fail")
    made = work / "faulty.so"
    source = Path(__file__).with_name("faulty.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"], check=True)
    yield made


@contextmanager
def _copy_of(library: Path) -> Iterator[sqlite3.Connection | None]:
    """Give a connection to a copy of the catalog and its log, or None without a catalog.

    A copy, because SQLite needs room beside a database even to read it, and the disk is full.
    """
    catalog = library / "catalog.sqlite"
    if not catalog.exists() or not catalog.stat().st_size:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("", "-wal"):
            source = catalog.with_name(catalog.name + ending)
            if source.exists():
                shutil.copy(source, folder)
        with closing(sqlite3.connect(Path(folder) / catalog.name)) as connection:
            yield connection


def is_whole(library: Path) -> str:
    """Return what SQLite's integrity check finds wrong with the catalog, or nothing."""
    try:
        with _copy_of(library) as connection:
            if connection is None:
                return ""
            found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            found += [
                f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")
            ]
    except sqlite3.Error as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)


def contents(library: Path) -> dict[str, Any]:
    """Return what the catalog holds that no run may change: files with content, and vectors."""
    with _copy_of(library) as connection:
        if connection is None or not connection.execute("PRAGMA user_version").fetchone()[0]:
            return {"files": {}, "vectors": {}}
        files = connection.execute(
            "SELECT r.path, f.path, p.content_hash FROM file f JOIN picture p ON p.id = picture_id"
            " JOIN root r ON r.id = f.root_id"
        )
        vectors = connection.execute(
            "SELECT p.content_hash, m.name, vector FROM embedding JOIN picture p"
            " ON p.id = picture_id JOIN model m ON m.id = model_id"
        )
        return {
            "files": {(root, path): content for root, path, content in files},
            "vectors": {(content, model): vector for content, model, vector in vectors},
        }


def lost(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return what of `before` is not in `after` as it was, or nothing."""
    for kind, held in before.items():
        missing = [key for key, value in held.items() if after[kind].get(key) != value]
        if missing:
            return f"{len(missing)} {kind} lost or changed, such as {missing[0]!r}"
    return ""


def fingerprint(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return kind, size, times, owner and content of everything below a folder, by path."""
    found: dict[str, tuple[object, ...]] = {}
    # `os.walk` calls itself for every level, which ends at a depth of 1,000.
    waiting = [os.fsencode(folder)]
    while waiting:
        place = waiting.pop()
        try:
            names = os.listdir(place)
        except OSError:
            continue  # Too long a path.
        for name in names:
            path = os.path.join(place, name)
            try:
                facts = os.lstat(path)
            except OSError:
                continue  # Too long a path.
            if stat.S_ISDIR(facts.st_mode):
                waiting.append(path)
            content = b""
            if stat.S_ISREG(facts.st_mode) and 0 < facts.st_size < _LARGEST_READ:
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").digest()
            found[repr(path)] = (
                facts.st_mode, facts.st_ino, facts.st_nlink, facts.st_uid, facts.st_size,
                facts.st_mtime_ns, facts.st_ctime_ns, content,
            )  # fmt: skip
    return found


def status_of(library: Path) -> dict[str, Any]:
    """Return what ``imgsearch status --json`` says."""
    answer = imgsearch("status", "--json", "--library", library)
    if answer.code:
        raise RuntimeError(answer.stderr)
    parsed: dict[str, Any] = json.loads(answer.stdout)
    return parsed
