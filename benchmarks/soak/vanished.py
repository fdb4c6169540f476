"""Disks that are pulled out, and come back: nothing that was known of their photos may be lost."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attack import Attack, Outcome, Setting
from disks import (
    REPOSITORY,
    Ran,
    contents,
    imgsearch,
    is_whole,
    lost,
    make_photos,
    mounted,
    need_root,
    status_of,
)

from imgsearch import IndexSettings, Library
from imgsearch.encoders.fake import FakeEncoder

_KNOWN, _NEW = 40, 60
# About as long as an undisturbed run takes on two cores, its start included (seconds).
_LONGEST_WAIT = 5.0


def pulled_out(setting: Setting) -> Outcome:
    """Take the photos' disk away at random moments of a run, and give it back."""
    need_root()
    rng, outcome = random.Random(setting.seed), Outcome()
    disk, place, library = setting.work / "disk", setting.work / "usb", setting.work / "library"
    with mounted(disk, "-t", "tmpfs", "-o", "size=64m", "tmpfs"):
        make_photos(disk / "known", _KNOWN, seed=1)
        place.mkdir()
        with mounted(place, "--bind", str(disk)):
            imgsearch("index", place, "--library", library)
            before = contents(library)
            make_photos(disk / "new", _NEW, seed=2)
            shutil.copytree(library, setting.work / "undisturbed")
            imgsearch("index", place, "--library", setting.work / "undisturbed")
        undisturbed = contents(setting.work / "undisturbed")
        interrupted = 0
        for number in range(setting.times(50)):
            outcome.times += 1
            trial = setting.work / f"trial-{number}"
            shutil.copytree(library, trial)
            way = rng.choice(("pulled", "pulled, with a file at its mount point", "renamed"))
            ran = _run_without_disk(disk, place, trial, way, rng.uniform(0.3, _LONGEST_WAIT))
            after = contents(trial)
            interrupted += len(after["files"]) < len(undisturbed["files"])
            outcome.broken += _wrong(way, ran, trial, before, after)
            # At its own mount point, or at another one.
            back = place if rng.random() < 0.5 else setting.work / f"usb-{number}"
            with mounted(back, "--bind", str(disk)):
                again = imgsearch("index", back, "--library", trial)
                # Of folders that were seen under other names, nothing tells at another place that
                # they are the same: what is there is new, and the old root is kept, offline.
                aside = any(path.startswith("aside") for _, path in after["files"])
                old = {} if back == place or not aside else after["files"]
                outcome.broken += _wrong_at_the_end(again, trial, undisturbed, old, place, back)
            shutil.rmtree(trial)
    outcome.note = f"{interrupted} of the runs were cut off before their end"
    return outcome


def _run_without_disk(disk: Path, place: Path, library: Path, way: str, after: float) -> Ran:
    """Index `place`, which shows `disk` for so many seconds; then look for it a second time."""
    for name in place.iterdir():
        name.unlink()
    if "file" in way:
        (place / "NOT MOUNTED.txt").write_text("plug in the disk")
    aside = place.with_name("aside")
    with mounted(place, "--bind", str(disk)):
        process = subprocess.Popen(
            [sys.executable, "-m", "imgsearch", "index", str(place), "--library", str(library)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        time.sleep(after)
        if way == "renamed":
            (disk / "known").rename(disk / "aside")
            (disk / "new").rename(disk / "aside-new")
        else:
            subprocess.run(["umount", "-l", str(place)], check=True)
        stdout, stderr = process.communicate(timeout=120)
        first = Ran(process.returncode, stdout, stderr)
        if way == "renamed":
            (disk / "aside").rename(disk / "known")
            (disk / "aside-new").rename(disk / "new")
            return first
        with suppress(OSError):
            aside.rmdir()
        second = imgsearch("index", place, "--library", library)
    return first if first.unclear else second


def _wrong(
    way: str, ran: Ran, library: Path, before: dict[str, Any], after: dict[str, Any]
) -> Iterator[str]:
    if ran.unclear:
        yield f"{way}: {ran.unclear}"
    if (damage := is_whole(library)) or (
        # Two folders that are renamed in a root that is there are gone indeed: vectors stay.
        damage := lost(before if way != "renamed" else {"vectors": before["vectors"]}, after)
    ):
        yield f"{way}: {damage}"
    if way != "renamed":
        [root] = status_of(library)["roots"]
        if root["present"]:
            yield f"{way}: its root is not told to be offline"


def _wrong_at_the_end(
    ran: Ran,
    library: Path,
    undisturbed: dict[str, Any],
    kept: dict[tuple[str, str], Any],
    old: Path,
    new: Path,
) -> Iterator[str]:
    if ran.code:
        yield f"back: {ran.stderr[-200:]}"
    end = contents(library)
    if lost_files := kept.keys() - end["files"].keys():
        yield f"back: {len(lost_files)} files of the offline root are gone"
    here = {key: content for key, content in end["files"].items() if key not in kept}
    files = {(str(old), path): content for (_, path), content in here.items()}
    if files != undisturbed["files"] or end["vectors"] != undisturbed["vectors"]:
        yield f"back: not as an undisturbed run: {len(files)} files, {len(end['vectors'])} vectors"
    if {root for root, _ in here} != {str(new)}:
        yield f"back: the root is not at {new}"


def found_again(setting: Setting) -> Outcome:
    """Copy photos to another place, changed a little or much; the library must not guess wrong."""
    rng, outcome = random.Random(setting.seed), Outcome()
    trial = setting.work / "trial"
    for _ in range(setting.times(200)):
        outcome.times += 1
        trial.mkdir()
        with _library(trial / "library") as library:
            outcome.broken += _guess(library, trial, rng)
        shutil.rmtree(trial)
    return outcome


@contextmanager
def _library(place: Path) -> Iterator[Library]:
    with Library.open(place, model=FakeEncoder()) as library:
        yield library


def _guess(library: Library, work: Path, rng: random.Random) -> Iterator[str]:
    settings = IndexSettings(decode_workers=1)
    old, new = work / "old", work / "new"
    count = rng.randrange(1, 25)
    make_photos(old, count, seed=rng.randrange(1 << 30), suffix=".png")
    library.index(old, settings=settings)
    ids = {hit.content_hash: hit.picture_id for hit in _all(library)}
    shutil.copytree(old, new, copy_function=shutil.copy2)
    photos = sorted(new.rglob("*.png"))
    shift = rng.choice((0, 1, -2, 3600, -3600, 3601))
    for photo in photos:
        os.utime(photo, ns=(0, photo.stat().st_mtime_ns + shift * 10**9))
    share = rng.choice((0.0, 0.1, 0.6, 1.0))
    changed = photos[: round(len(photos) * share)]
    for photo in changed:
        # The same size and time, and other content: only reading it tells.
        facts = photo.stat()
        photo.write_bytes(os.urandom(facts.st_size))
        os.utime(photo, ns=(0, facts.st_mtime_ns))
    gone = rng.random() < 0.8
    if gone:
        old.rename(work / "unplugged")
    report = library.index(new, settings=settings)
    moved = bool(report.moved_roots)
    kept = {hit.content_hash: hit.picture_id for hit in _all(library)}
    case = f"{count} photos, {shift} s, {len(changed)} changed, old place gone: {gone}"
    if any(kept.get(content) != id_ for content, id_ in ids.items()) and not moved:
        yield f"{case}: pictures were lost"
    if report.embedded:
        yield f"{case}: {report.embedded} were embedded again"
    if moved and not gone:
        yield f"{case}: a root that is there was moved"
    if gone and not changed and not moved:
        yield f"{case}: it was not found again"
    if moved and share > 0.5:
        yield f"{case}: it was taken for another folder"


def _all(library: Library) -> list[Any]:
    return list(library.search("red", limit=1000, cut_off=False, group=False))


ATTACKS = [
    Attack(
        "pulled-out",
        "Photos on a disk that is not there are kept, marked offline, and found again",
        "the disk unmounted, or its folders renamed, at a random moment of a run; back at its own "
        "or another mount point",
        pulled_out,
    ),
    Attack(
        "found-again",
        "Photos at another place are the known ones only if they are",
        "copies with shifted times, other content under the same size and time, old place there or "
        "gone",
        found_again,
    ),
]
