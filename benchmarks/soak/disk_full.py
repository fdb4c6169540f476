"""Disks that are full, or fail: nothing committed is lost, and every command says what is wrong."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attack import Attack, Outcome, Setting
from disks import (
    Ran,
    contents,
    faulty_writes,
    fill,
    imgsearch,
    is_whole,
    lost,
    make_photos,
    make_room,
    mounted,
)

_PHOTOS = 60
# What a library of so many small photos takes, WAL and caches included, and some (bytes).
_LIBRARY_BYTES = 1_300_000
_READING: Sequence[tuple[str, ...]] = (
    ("query", "a photo", "--all"),
    ("similar",),
    ("status",),
    ("models",),
    ("saved",),
)


def disk_full(setting: Setting) -> Outcome:
    """Index onto a disk that is full after a random number of bytes; make room; go on."""
    rng, outcome, failed = random.Random(setting.seed), Outcome(), 0
    photos = setting.work / "photos"
    make_photos(photos, _PHOTOS)
    imgsearch("index", photos, "--library", setting.work / "undisturbed")
    undisturbed = contents(setting.work / "undisturbed")
    with mounted(setting.work / "disk", "-t", "tmpfs", "-o", "size=16m", "tmpfs") as disk:
        library = disk / "library"
        for _ in range(setting.times(100)):
            outcome.times += 1
            shutil.rmtree(library, ignore_errors=True)
            leave = rng.randrange(_LIBRARY_BYTES)
            fill(disk, leave)
            first = imgsearch("index", photos, "--library", library)
            failed += first.code != 0
            before = contents(library)
            outcome.broken += [f"{leave} bytes: {what}" for what in _wrong(first, library)]
            # Searching must go on, however full the disk is.
            fill(disk, 0)
            if before["files"]:
                for command in _READING[: rng.randrange(1, 3)]:
                    ran = imgsearch(*command, "--library", library)
                    if ran.code or ran.unclear:
                        outcome.broken.append(f"{leave} bytes, {command[0]}: {ran.stderr[-200:]}")
            make_room(disk)
            again = imgsearch("index", photos, "--library", library)
            outcome.broken += [
                f"{leave} bytes, again: {what}"
                for what in _at_the_end(again, library, before, undisturbed)
            ]
    outcome.note = f"{failed} runs met the full disk"
    return outcome


def _wrong(ran: Ran, library: Path) -> Iterator[str]:
    if ran.unclear:
        yield ran.unclear
    if ran.code and "is full" not in ran.stderr:
        yield f"another message: {ran.stderr[-200:]}"
    if damage := is_whole(library):
        yield damage


def _at_the_end(
    ran: Ran, library: Path, before: dict[str, Any], undisturbed: dict[str, Any]
) -> Iterator[str]:
    after = contents(library)
    if ran.code or ran.unclear:
        yield ran.unclear or ran.stderr[-200:]
    if gone := lost(before, after) or is_whole(library):
        yield gone
    if after != undisturbed:
        yield "not as an undisturbed run"


def failing_writes(setting: Setting) -> Outcome:
    """Let writes in the library, and of outputs, fail after some that succeed: every command."""
    rng, outcome = random.Random(setting.seed), Outcome()
    photos, place = setting.work / "photos", setting.work / "place"
    library, out = place / "library", place / "out"
    make_photos(photos, 30)
    out.mkdir(parents=True)
    imgsearch("index", photos, "--library", library)
    imgsearch("save", "kept", "a photo", "--library", library)
    make_photos(photos, 40)
    intact = setting.work / "intact"
    shutil.copytree(library, intact)
    before = contents(library)
    commands: list[tuple[str | Path, ...]] = [
        *_READING,
        ("index", photos),
        ("save", "new", "a photo"),
        ("saved", "--delete", "kept"),
        ("remove", photos),
        *(
            ("query", "a photo", "--output", out / f"a{end}")
            for end in (".json", ".csv", ".parquet")
        ),
        ("query", "a photo", "--explain-to", out / "maps"),
    ]
    reading = {command[0] for command in _READING} - {"saved"}
    faults = [(errno.ENOSPC, False), (errno.EIO, False), (errno.EACCES, True), (errno.EIO, True)]
    with faulty_writes(setting.work) as faulty:
        for _ in range(setting.times(5)):
            for command in commands:
                number, opening = rng.choice(faults)
                after = 0 if opening else rng.choice((0, 0, 1, 3, 10, 30))
                environment = {
                    "LD_PRELOAD": str(faulty),
                    "FAULTY_BELOW": f"{place}/",
                    "FAULTY_ERRNO": str(number),
                    "FAULTY_AFTER": str(after),
                } | ({"FAULTY_OPEN": "1"} if opening else {})
                outcome.times += 1
                ran = imgsearch(*command, "--library", library, environment=environment)
                case = f"{' '.join(map(str, command[:3:2]))}, {os.strerror(number)} after {after}"
                if ran.unclear:
                    outcome.broken.append(f"{case}: {ran.unclear}")
                if ran.code and command[0] in reading and len(command) < 4:
                    outcome.broken.append(f"{case}: it needs no disk: {ran.stderr[-200:]}")
                gone = "" if command[0] == "remove" else lost(before, contents(library))
                if damage := is_whole(library) or gone:
                    outcome.broken.append(f"{case}: {damage}")
                shutil.rmtree(place)
                out.mkdir(parents=True)
                shutil.copytree(intact, library)
    return outcome


ATTACKS = [
    Attack(
        "disk-full",
        "A full disk loses nothing: one clear message, searching goes on, the next run resumes",
        "indexing onto a tmpfs that is full after a random number of bytes",
        disk_full,
    ),
    Attack(
        "failing-writes",
        "Writes that fail are told in one clear message, and lose nothing",
        "ENOSPC, EIO and EACCES by LD_PRELOAD in every command, in catalog, caches and outputs",
        failing_writes,
    ),
]
