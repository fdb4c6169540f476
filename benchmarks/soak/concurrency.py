"""Several processes at one library: two that index, commands that change it, many that read."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attack import Attack, Outcome, Setting
from product import (
    Photos,
    contents,
    differences,
    environment,
    integrity,
    run,
    start,
)

BUSY = "Another imgsearch is indexing"
READERS = 8
READING_SECONDS = 600.0
# What a reader may grow by after the first third of its time.
MORE_BYTES, MORE_FILES = 40_000_000, 8


def two_indexers(setting: Setting) -> Outcome:
    """Start two runs at the same moment: on one folder, or on two, on a new library or an old."""
    outcome = Outcome()
    env = environment(setting.work)
    photos = Photos(setting.work / "photos", setting.seed)
    busy = 0
    for number in range(setting.times(20)):
        library = setting.work / "library"
        if number % 3 == 0:
            shutil.rmtree(library, ignore_errors=True)
            shutil.rmtree(photos.folder, ignore_errors=True)
        before = embedded(library)
        photos.add(12, "one")
        photos.add(12, "two")
        folders = [photos.folder / "one", photos.folder / "two"] if number % 2 else [photos.folder]
        runs = [
            start(["index", str(folders[place % len(folders)]), "--json"], library, env)
            for place in range(2)
        ]
        made = 0
        for one in runs:
            out, err = one.communicate(timeout=300)
            if one.returncode == 0:
                made += json.loads(out)["embedded"]
            elif BUSY in err:
                busy += 1
            else:
                outcome.broken.append(f"round {number}: ends with {one.returncode}: {err[-300:]}")
        for folder in folders:
            code, said = run(["index", str(folder), "--json"], library, env)
            made += json.loads(said)["embedded"] if code == 0 else 0
        now = embedded(library)
        if made != now - before or now != len(list(photos.folder.rglob("*.jpg"))):
            outcome.broken.append(f"round {number}: {made} embedded for {now - before} photos")
        outcome.broken += integrity(library)
        outcome.times += 1
    outcome.broken += killed_holder(setting, photos, env)
    outcome.note = f"the second said so {busy} times, and otherwise came later"
    return outcome


def killed_holder(setting: Setting, photos: Photos, env: dict[str, str]) -> list[str]:
    """Kill whoever holds the lock; the next run must get it at once."""
    library = setting.work / "library"
    photos.add(60, "three")
    holder = start(["index", str(photos.folder)], library, env)
    before = embedded(library)
    while embedded(library) == before and holder.poll() is None:
        time.sleep(0.02)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    code, said = run(["index", str(photos.folder)], library, env)
    return [f"after its holder was killed: {said[-300:]}"] if code else []


def embedded(library: Path) -> int:
    """Return the number of vectors in the catalog."""
    from product import committed

    return len(committed(library))


def all_at_once(setting: Setting) -> Outcome:
    """Remove, choose models, prune, and save searches while a run is at work."""
    outcome = Outcome()
    env = environment(setting.work)
    photos = Photos(setting.work / "photos", setting.seed)
    library = setting.work / "library"
    photos.add(10, "stays")
    photos.add(10, "goes")
    run(["index", str(photos.folder / "stays"), str(photos.folder / "goes")], library, env)
    commands: list[tuple[list[str], bool]] = [
        (["remove", str(photos.folder / "goes")], False),
        (["models", "use", "starter"], False),
        (["models", "prune"], False),
        (["query", "a dog", "--save", "dogs"], True),
        (["query", "a cat", "--json"], True),
        (["status", "--json"], True),
        (["index", str(photos.folder / "stays"), "--dry-run"], True),
    ]
    for number in range(setting.times(10)):
        photos.add(40, "stays")
        indexer = start(["index", str(photos.folder / "stays")], library, env)
        running = [(start(words, library, env), words, must) for words, must in commands]
        for process, words, must_work in running:
            _, err = process.communicate(timeout=300)
            outcome.times += 1
            refused = BUSY in err and not must_work
            unknown = words[0] == "remove" and "is not a folder of this library" in err
            if process.returncode and not (refused or unknown):
                outcome.broken.append(f"round {number}: {' '.join(words)}: {err[-300:]}")
        _, err = indexer.communicate(timeout=300)
        if indexer.returncode and BUSY not in err:
            outcome.broken.append(f"round {number}: index: {err[-300:]}")
        run(["index", str(photos.folder / "stays"), str(photos.folder / "goes")], library, env)
        outcome.broken += integrity(library)
    fresh = setting.work / "fresh"
    run(["index", str(photos.folder / "stays"), str(photos.folder / "goes")], fresh, env)
    outcome.broken += differences(contents(fresh), contents(library))
    return outcome


def eight_readers(setting: Setting) -> Outcome:
    """Read with eight processes while one adds, changes and removes, and caches are deleted."""
    outcome = Outcome()
    seconds = max(20.0, READING_SECONDS * setting.scale)
    writer = Writer(setting)
    writer.steps[0]()
    script = Path(__file__).with_name("concurrent_reader.py")
    env = environment(setting.work)
    readers = [
        subprocess.Popen(
            [sys.executable, script, writer.path, str(seconds), str(setting.seed + number)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(READERS)
    ]
    deadline = time.monotonic() + seconds
    written = 0
    while time.monotonic() < deadline:
        writer.step()
        written += 1
    exact = 0
    for number, reader in enumerate(readers):
        out, err = reader.communicate(timeout=300)
        if reader.returncode:
            outcome.broken.append(f"reader {number} ended: {err[-500:]}")
            continue
        told = json.loads(out)
        outcome.times += told["reads"]
        exact += told["exact"]
        outcome.broken += [f"reader {number}: {one}" for one in told["wrong"][:5]]
        bytes_more, files_more = (b - a for a, b in zip(told["early"], told["late"], strict=True))
        if bytes_more > MORE_BYTES or files_more > MORE_FILES:
            outcome.broken.append(
                f"reader {number} grew by {bytes_more / 1e6:.0f} MB and {files_more} open files"
            )
    outcome.broken += integrity(writer.path)
    outcome.note = (
        f"{seconds:.0f} s, {written} changes; {exact} answers were compared with the catalog file "
        "by file"
    )
    return outcome


class Writer:
    """Changes a library in every way that its commands do, and deletes its caches."""

    def __init__(self, setting: Setting) -> None:
        from imgsearch import IndexSettings, Library
        from imgsearch.encoders.fake import FakeEncoder

        self.photos = Photos(setting.work / "photos", setting.seed)
        for folder in ("one", "two"):
            self.photos.add(20, folder)
        self.path = setting.work / "library"
        self.library = Library.open(self.path, model=FakeEncoder())
        self.settings = IndexSettings(decode_workers=1, batch_size=4)
        self.chance = random.Random(setting.seed)
        self.steps: list[Callable[[], object]] = [
            self.index,
            self.add,
            self.add,
            self.delete,
            self.change,
            self.remove_and_add_again,
            self.lose_caches,
        ]

    def step(self) -> None:
        """Do one of the steps."""
        self.chance.choice(self.steps)()

    def index(self) -> None:
        """Bring the library up to date."""
        folders = [self.photos.folder / "one", self.photos.folder / "two"]
        self.library.index(folders, settings=self.settings)

    def add(self) -> None:
        """Add a few photos."""
        self.photos.add(8, self.chance.choice(["one", "two"]))
        self.index()

    def delete(self) -> None:
        """Delete a few photos, but not all."""
        held = sorted(self.photos.folder.rglob("*.jpg"))
        for path in self.chance.sample(held, max(0, min(8, len(held) - 20))):
            path.unlink()
        self.index()

    def change(self) -> None:
        """Put other pictures in the place of a few."""
        for path in self.chance.sample(sorted(self.photos.folder.rglob("*.jpg")), 4):
            path.write_bytes(self.photos.picture())
        self.index()

    def remove_and_add_again(self) -> None:
        """Forget a root, whose pictures are deleted at once."""
        self.library.remove(self.photos.folder / self.chance.choice(["one", "two"]))
        self.index()

    def lose_caches(self) -> None:
        """Delete the caches under the readers' feet."""
        shutil.rmtree(self.path / "faiss", ignore_errors=True)
        for ending in ("", "-wal", "-shm"):
            for name in ("thumbnails.sqlite", "similar.sqlite"):
                (self.path / f"{name}{ending}").unlink(missing_ok=True)
        self.index()


ATTACKS = [
    Attack(
        "two-indexers",
        "Two runs at one library do no work twice and never wait for each other for ever",
        "two `index` started at the same moment, same and different roots, new and old library; "
        "then the holder of the lock is killed",
        two_indexers,
    ),
    Attack(
        "all-at-once",
        "Every command is safe while photos are indexed",
        "`remove`, `models use`, `models prune`, `query --save`, `query`, `status` and a dry run "
        "at the same time as `index`; the catalog is compared with a fresh one at the end",
        all_at_once,
    ),
    Attack(
        "eight-readers",
        "Reading while indexing never fails, shows just what is committed, and leaks nothing",
        "8 processes search, list, page, ask for thumbnails and near-duplicates while one indexes, "
        "changes, removes, re-adds and deletes FAISS cache, thumbnails and signatures",
        eight_readers,
    ),
]
