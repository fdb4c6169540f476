"""Kill the indexer at any moment: what was committed stays, and the next run goes on from there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from attack import Attack, CannotAttack, Outcome, Setting
from product import (
    Photos,
    committed,
    contents,
    differences,
    environment,
    integrity,
    members,
    run,
    start,
    survivors,
    turn_into_schema_1,
)

# So many photos are indexed, under the first schema, before the attack, and so many come to them.
OLD_PHOTOS, NEW_PHOTOS = 40, 110
# A library is indexed to its end after so many kills at random moments at most.
KILLS_IN_A_ROW = 12
QUERY = ["query", "a cup of coffee", "--limit", "40", "--all", "--no-group", "--paths"]


class Ground:
    """A folder of photos, a library that is behind it, and what it should become.

    `starts` are the libraries that an attack begins with: none, and one of schema 1 that lacks
    photos, has some too many, and must migrate, read facts again and remove from its index.
    """

    def __init__(self, setting: Setting) -> None:
        self.work = setting.work
        self.env = environment(setting.work)
        self.photos = Photos(setting.work / "photos", setting.seed)
        old = self.photos.add(OLD_PHOTOS, "old")
        template = setting.work / "template"
        must(run(["index", str(self.photos.folder)], template, self.env))
        turn_into_schema_1(template)
        for path in old[:5]:
            path.unlink()
        old[5].rename(old[5].with_name("renamed.jpg"))
        old[6].write_bytes(self.photos.picture())
        shutil.copy(old[7], old[7].with_name("copy.jpg"))
        new = self.photos.add(NEW_PHOTOS, "new")
        (self.photos.folder / "broken.jpg").write_bytes(new[0].read_bytes()[:2000])
        self.starts = [template, None]
        self.expected = []
        for begin in self.starts:
            whole = self.fresh(begin, setting.work / "undisturbed")
            begun = time.monotonic()
            must(run(["index", str(self.photos.folder)], whole, self.env))
            self.seconds = time.monotonic() - begun
            self.expected.append(self.state(whole))

    def fresh(self, begin: Path | None, place: Path) -> Path:
        """Return the folder `place` with a copy of the library to begin with."""
        shutil.rmtree(place, ignore_errors=True)
        if begin is not None:
            shutil.copytree(begin, place)
        return place

    def state(self, library: Path) -> dict[str, object]:
        """Return all that a finished library holds and answers."""
        code, said = run(QUERY, library, self.env)
        return {"answer": [code, *sorted(said.splitlines())], **contents(library)}

    def finish(self, library: Path, which: int) -> list[str]:
        """Index to the end, undisturbed; return what is not as it should be."""
        code, said = run(["index", str(self.photos.folder)], library, self.env)
        wrong = [f"the run after a kill ends with {code}: {said[-300:]}"] if code else []
        return wrong + differences(self.expected[which], self.state(library)) + self.left()

    def left(self) -> list[str]:
        """Return what lies in the folder for temporary files."""
        return [f"left behind: {path}" for path in (self.work / "tmp").iterdir()]


def must(result: tuple[int, str]) -> None:
    """Raise CannotAttack if a command did not end well."""
    if result[0]:
        raise CannotAttack(f"imgsearch does not run undisturbed: {result[1][-500:]}")


def after_death(
    library: Path, before: dict[tuple[bytes, str], bytes], process: subprocess.Popen[str]
) -> list[str]:
    """Return what is wrong after a kill: lost vectors, damage, processes that go on."""
    process.communicate()
    wrong = [f"process {one} goes on" for one in survivors(process.pid)]
    wrong += integrity(library) if library.exists() else []
    now = committed(library)
    lost = [key for key, vector in before.items() if now.get(key) != vector]
    return wrong + ([f"{len(lost)} committed vectors are lost"] if lost else [])


def random_kills(setting: Setting) -> Outcome:
    """Kill -9, the whole group or the main process alone, at random moments."""
    chance = random.Random(setting.seed)
    ground = Ground(setting)
    outcome = Outcome()
    shared = set(os.listdir("/dev/shm"))
    wanted, finished, in_a_row, which = setting.times(100), 0, 0, 0
    library = ground.fresh(ground.starts[0], setting.work / "library")
    while outcome.times < wanted:
        process = start(["index", str(ground.photos.folder)], library, ground.env)
        # The square: what a run begins with (migration, scan) takes little of its time.
        deadline = time.monotonic() + chance.random() ** 2 * ground.seconds
        before: dict[tuple[bytes, str], bytes] = {}
        while time.monotonic() < deadline and process.poll() is None:
            before |= committed(library)
            time.sleep(0.05)
        if process.poll() is None:
            outcome.times += 1
            in_a_row += 1
            others = len(members(process.pid)) - 1
            if chance.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            found = after_death(library, before, process)
            outcome.broken += [f"kill {outcome.times} ({others} children): {one}" for one in found]
        if process.returncode == 0 or in_a_row >= KILLS_IN_A_ROW or outcome.times == wanted:
            outcome.broken += ground.finish(library, which)
            finished, in_a_row = finished + 1, 0
            which = finished % 2
            library = ground.fresh(ground.starts[which], library)
    new = set(os.listdir("/dev/shm")) - shared
    outcome.broken += [f"left in /dev/shm: {one}" for one in new]
    outcome.note = f"{finished} libraries of {OLD_PHOTOS + NEW_PHOTOS} photos were finished"
    return outcome


def killed_writes(setting: Setting) -> Outcome:
    """Kill at the N-th write to a file of the library, half of which is done, for every N."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise CannotAttack("there is no C compiler for the library that is preloaded")
    killer, counter = setting.work / "killer.so", setting.work / "count"
    source = Path(__file__).with_name("killer.c")
    built = [compiler, "-shared", "-fPIC", "-O1", "-o", killer, source, "-ldl", "-lpthread"]
    subprocess.run(built, check=True)
    ground = Ground(setting)
    outcome = Outcome()
    library = setting.work / "library"
    for which, begin in enumerate(ground.starts):
        armed = {
            **ground.env,
            "LD_PRELOAD": str(killer),
            "IMGSEARCH_KILL_BELOW": f"{library}/",
            "IMGSEARCH_KILL_COUNT": str(counter),
        }
        counting = {**armed, "IMGSEARCH_KILL_WRITE": str(10**9)}
        must(run(["index", str(ground.photos.folder)], ground.fresh(begin, library), counting))
        writes = int(counter.read_text())
        step = max(1, writes // setting.times(150))
        for number in range(1 + setting.seed % step, writes + 1, step):
            ground.fresh(begin, library)
            before = committed(library)
            process = start(
                ["index", str(ground.photos.folder)],
                library,
                {**armed, "IMGSEARCH_KILL_WRITE": str(number)},
            )
            while process.poll() is None:
                before |= committed(library)
                time.sleep(0.05)
            if process.returncode != -signal.SIGKILL:
                process.communicate()
                continue  # Batches differ from run to run; this one had fewer writes.
            outcome.times += 1
            found = after_death(library, before, process) + ground.finish(library, which)
            outcome.broken += [f"write {number} of {writes}: {one}" for one in found]
        outcome.note += f"every {step}. of {writes} writes; "
    return outcome


ATTACKS = [
    Attack(
        "kills",
        "Committed work survives kill -9, and the next run ends where an undisturbed one does",
        "kill -9 (process group, or main process alone) at random moments of indexing, migrating "
        "and updating; integrity_check, all committed vectors, then catalog, thumbnails, FAISS "
        "cache and answers compared with an undisturbed run; no process or file is left",
        random_kills,
    ),
    Attack(
        "killed-writes",
        "No write to the library may be the last without harm",
        "SIGKILL in the middle of the N-th write, fsync, truncation, rename or unlink of a library "
        "file (preloaded library), from an empty library and from one of schema 1",
        killed_writes,
    ),
]
