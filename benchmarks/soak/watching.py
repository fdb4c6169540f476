"""Attacks on `imgsearch watch`: how soon, how many, at what cost, and when the folder vanishes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from attack import Attack, CannotAttack, Outcome, Setting
from PIL import Image

from imgsearch.data.paths import to_stored
from imgsearch.data.reader import CatalogReader
from imgsearch.errors import LibraryError

# What is promised (seconds, and share of one core).
SEARCHABLE_SECONDS = 5.0
IDLE_SHARE = 0.001
# For what must come at all.
_PATIENCE_SECONDS = 1_800.0
_IDLE_SECONDS = 60.0


class Watch:
    """A running `imgsearch watch` and the library that it keeps."""

    def __init__(self, process: subprocess.Popen[bytes], library: Path, log: Path) -> None:
        self.process = process
        self.library = library
        self.log = log

    def files(self) -> set[str]:
        """Return the relative paths of all files that can be found, with vectors."""
        try:
            with CatalogReader(self.library) as reader:
                rows = reader.rows(
                    "SELECT f.path FROM file f JOIN embedding e ON e.picture_id = f.picture_id"
                )
        except LibraryError:
            return set()
        return {str(path) for (path,) in rows}

    def seconds_until(
        self, condition: Callable[[], bool], limit: float = _PATIENCE_SECONDS
    ) -> float:
        """Return how long it takes until something is so, or infinity if it is not within limit."""
        begun = time.monotonic()
        while time.monotonic() - begun < limit:
            if condition():
                return time.monotonic() - begun
            if self.process.poll() is not None:
                return float("inf")
            time.sleep(0.02)
        return float("inf")

    def said(self, words: str) -> bool:
        """Tell whether its output holds these words."""
        return words in self.log.read_text(errors="replace")

    def processor_seconds(self) -> float:
        """Return the processor time of the process and of its children that ended."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Return its resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(one.split()[1]) / 1000 for one in lines if one.startswith("VmRSS"))


@contextmanager
def watching(setting: Setting, folder: Path, name: str) -> Iterator[Watch]:
    """Watch a folder inside this block, from when the first look through it is over."""
    if not Path("/proc/self/stat").exists():
        raise CannotAttack("needs /proc, as on Linux")
    library, log = setting.work / f"library-{name}", setting.work / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "imgsearch", "watch", folder, "--library", library],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    watch = Watch(process, library, log)
    try:
        if watch.seconds_until(lambda: watch.said("Watching")) == float("inf"):
            raise CannotAttack(f"it does not watch: {log.read_text(errors='replace')[-300:]}")
        yield watch
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def make_photo(path: Path, random: np.random.Generator, edge: int = 320) -> Path:
    """Write a photo of noise, unlike any other, under a name that is no photo's first."""
    coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((edge, edge)).save(path, format="JPEG")
    return path


def one_by_one(setting: Setting) -> Outcome:
    """New, changed, moved and removed files, one at a time."""
    random = np.random.default_rng(setting.seed)
    folder = setting.work / "photos"
    folder.mkdir()
    outcome = Outcome(times=setting.times(50))
    waits: dict[str, list[float]] = {"new": [], "changed": [], "moved": [], "removed": []}
    with watching(setting, folder, "single") as watch:

        def shown(name: str) -> bool:
            with CatalogReader(watch.library) as reader:
                return reader.picture_at(os.path.realpath(folder / name)) is not None

        def size(name: str) -> int:
            with CatalogReader(watch.library) as reader:
                rows = reader.rows("SELECT size FROM file WHERE path = ?", to_stored(name))
            return rows[0][0] if rows else 0

        for number in range(outcome.times):
            name, other = f"{number}.jpg", f"moved-{number}.jpg"
            make_photo(folder / name, random)
            waits["new"].append(watch.seconds_until(lambda n=name: shown(n), 60))
            changed = make_photo(folder / name, random, edge=400 + number).stat().st_size
            waits["changed"].append(watch.seconds_until(lambda n=name, c=changed: size(n) == c, 60))
            (folder / name).rename(folder / other)
            waits["moved"].append(
                watch.seconds_until(lambda n=name, o=other: shown(o) and not shown(n), 60)
            )
            (folder / other).unlink()
            waits["removed"].append(watch.seconds_until(lambda o=other: not shown(o), 60))
    notes = []
    for kind, seconds in waits.items():
        notes.append(f"{kind} {median(seconds):.1f} (most {max(seconds):.1f})")
        late = sum(one > SEARCHABLE_SECONDS for one in seconds)
        if late:
            outcome.broken.append(f"{kind}: {late} of {len(seconds)} took over 5 s")
    outcome.note = f"seconds, median: {', '.join(notes)}"
    return outcome


def burst(setting: Setting) -> Outcome:
    """Many files at once, made as fast as this machine makes them."""
    random = np.random.default_rng(setting.seed)
    folder = setting.work / "photos"
    folder.mkdir()
    count = setting.times(10_000)
    outcome = Outcome(times=count)
    with watching(setting, folder, "burst") as watch:
        begun = time.monotonic()
        for number in range(count):
            make_photo(folder / f"{number:05d}.jpg", random, edge=64)
        made = time.monotonic() - begun
        during = len(watch.files())
        watch.seconds_until(lambda: len(watch.files()) == count)
        took = time.monotonic() - begun
        found = len(watch.files())
        # A last word about the batch that has just been stored.
        time.sleep(2)
        batches = watch.log.read_text().count("Added")
    if found != count:
        outcome.broken.append(f"{count - found} of {count} files were not found")
    if count >= 1_000 and not during:
        outcome.broken.append("nothing was searchable before the last file was written")
    outcome.note = (
        f"written in {made:.0f} s, meanwhile {during} searchable; all after {took:.0f} s, in "
        f"{batches} batches"
    )
    return outcome


def idle(setting: Setting) -> Outcome:
    """Processor time while nothing happens, in a tree of many folders."""
    random = np.random.default_rng(setting.seed)
    folder = setting.work / "photos"
    for number in range(1_000):
        (folder / f"{number % 10}" / f"{number}").mkdir(parents=True)
    make_photo(folder / "a.jpg", random)
    times = setting.times(3)
    with watching(setting, folder, "idle") as watch:
        time.sleep(5)
        before = watch.processor_seconds()
        time.sleep(_IDLE_SECONDS * times)
        share = (watch.processor_seconds() - before) / (_IDLE_SECONDS * times)
        memory = watch.megabytes()
    outcome = Outcome(times=times)
    if share >= IDLE_SHARE:
        outcome.broken.append(f"{100 * share:.3f} % of a core")
    outcome.note = f"{100 * share:.3f} % of a core over {60 * times} s, {memory:.0f} MB"
    return outcome


def vanishing(setting: Setting) -> Outcome:
    """The folder is moved away, deleted and made anew, at random moments."""
    random = np.random.default_rng(setting.seed)
    folder, away = setting.work / "photos", setting.work / "away"
    folder.mkdir()
    outcome = Outcome(times=setting.times(20))
    with watching(setting, folder, "vanishing") as watch:
        for number in range(outcome.times):
            make_photo(folder / f"{number}.jpg", random)
            time.sleep(random.uniform(0, 3))
            kept = watch.files()
            if number % 2:
                folder.rename(away)
                time.sleep(random.uniform(0, 4))
                if not kept <= watch.files():
                    outcome.broken.append(f"round {number}: photos of a missing folder were lost")
                away.rename(folder)
            else:
                shutil.rmtree(folder)
                time.sleep(random.uniform(0, 4))
                folder.mkdir()
            make_photo(folder / f"back-{number}.jpg", random)
            expected = {path.name for path in folder.iterdir()}
            if watch.seconds_until(lambda e=expected: watch.files() == e, 60) > 60:
                missing, surplus = expected - watch.files(), watch.files() - expected
                outcome.broken.append(f"round {number}: without {missing}, with {surplus}")
    return outcome


ATTACKS = [
    Attack(
        "watch-one",
        "What happens to a watched photo shows in searches within 5 seconds",
        "photos are added, changed, moved and removed, one at a time",
        one_by_one,
    ),
    Attack(
        "watch-burst",
        "A burst of new photos is searchable progressively, and none is missed",
        "10,000 photos are written as fast as the machine can",
        burst,
    ),
    Attack(
        "watch-idle",
        "Watching costs nothing measurable while nothing happens",
        "1,010 folders are watched for minutes",
        idle,
    ),
    Attack(
        "watch-vanishing",
        "Watching survives its folder vanishing and coming back",
        "the folder is moved away, or deleted and made anew, at random moments",
        vanishing,
    ),
]
