"""Clocks that jump, times that tell nothing, and files that change while they are indexed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from attack import Attack, Outcome, Setting
from product import Photos, environment, integrity, run

# 1901, 1970, the last second of 32 bits and later, 2200; and a time for all that are the same.
TIMES = [-2_177_452_800, 0, 2**31 - 1, 2**31 + 10, 7_258_118_400, 1_500_000_000]
# Loaded by every process of the product: its clock stands so many seconds elsewhere.
JUMP = """
import os, time
shift = float(os.environ.get("SOAK_SHIFT", "0"))
real, real_ns, real_get = time.time, time.time_ns, time.clock_gettime_ns
time.time = lambda: real() + shift
time.time_ns = lambda: real_ns() + int(shift * 1e9)
time.clock_gettime_ns = lambda clock: real_get(clock) + int(shift * 1e9)
"""
SHIFTS = (0, 86_400 * 400, -86_400 * 400, 3_600, -3_600, -1_700_000_000, 3_000_000_000)


def known(library: Path) -> dict[str, str]:
    """Return the content hash that the catalog has of every file."""
    with closing(sqlite3.connect(library / "catalog.sqlite", timeout=60)) as database:
        return dict(
            database.execute(
                "SELECT path, lower(hex(content_hash)) FROM file"
                " JOIN picture ON picture.id = picture_id"
            )
        )


def damaged(library: Path) -> set[str]:
    """Return the files that the catalog knows as no pictures."""
    with closing(sqlite3.connect(library / "catalog.sqlite", timeout=60)) as database:
        return {row[0] for row in database.execute("SELECT path FROM failure")}


def present(folder: Path) -> dict[str, str]:
    """Return the content hash of every photo as it is."""
    return {str(path.relative_to(folder)): digest(path) for path in folder.rglob("*.jpg")}


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def jumping_clocks(setting: Setting) -> Outcome:
    """Run with clocks that are years off, on files of all times, rewritten under their old time."""
    outcome, chance = Outcome(), random.Random(setting.seed)
    site = setting.work / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(JUMP)
    photos, library = Photos(setting.work / "photos", setting.seed), setting.work / "library"
    photos.add(30)
    env = environment(setting.work, PYTHONPATH=str(site))
    for number in range(setting.times(30)):
        for path in sorted(photos.folder.glob("*.jpg")):
            when = chance.choice(TIMES)
            os.utime(path, (when, when))
        shift = SHIFTS[number % len(SHIFTS)]
        code, said = run(["index", str(photos.folder)], library, {**env, "SOAK_SHIFT": str(shift)})
        # With a right clock before and after: what keeps size and time is seen by ctime alone.
        code_now, said_now = run(["index", str(photos.folder)], library, env)
        for path in chance.sample(sorted(photos.folder.glob("*.jpg")), 3):
            rewrite_under_old_time(path, photos.picture())
        code_then, said_then = run(["index", str(photos.folder)], library, env)
        outcome.times += 1
        if code or code_now or code_then:
            outcome.broken.append(f"clock {shift:+d} s: {(said + said_now + said_then)[-300:]}")
        if known(library) != present(photos.folder):
            outcome.broken.append(f"clock {shift:+d} s: the catalog claims what is not there")
    outcome.broken += integrity(library)
    return outcome


def rewrite_under_old_time(path: Path, content: bytes) -> None:
    """Put another picture into a file, of the same size (padded at its end) and time."""
    before = path.stat()
    if len(content) > before.st_size:
        return
    path.write_bytes(content.ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def moving_files(setting: Setting) -> Outcome:
    """Index while a thread changes, truncates, replaces and deletes the files."""
    outcome, chance = Outcome(), random.Random(setting.seed)
    photos, library = Photos(setting.work / "photos", setting.seed), setting.work / "library"
    env = environment(setting.work)
    paths = photos.add(40)
    pool = [photos.picture() for _ in range(200)]
    pool += [one[: len(one) // 2] for one in pool[:20]]
    ever = {digest(path) for path in paths} | {hashlib.sha256(one).hexdigest() for one in pool}
    for number in range(setting.times(50)):
        over = threading.Event()
        meddler = threading.Thread(target=meddle, args=(paths, pool, over, chance.random(), ever))
        meddler.start()
        try:
            code, said = run(["index", str(photos.folder)], library, env)
        finally:
            over.set()
            meddler.join()
        outcome.times += 1
        if code:
            outcome.broken.append(f"round {number}: ends with {code}: {said[-300:]}")
        if not set(known(library).values()) <= ever:
            outcome.broken.append(f"round {number}: content that never was in any file")
        if number % 5 == 4 or number + 1 == setting.times(50):
            run(["index", str(photos.folder), "--retry-failed"], library, env)
            held, there = known(library), present(photos.folder)
            # What is cut off in its middle may be no picture, and is known as that.
            wrong = [p for p in there if p not in damaged(library) and held.get(p) != there[p]]
            wrong += [path for path in held if path not in there]
            outcome.broken += [f"round {number}: {path} is not as it is known" for path in wrong]
    outcome.broken += integrity(library)
    return outcome


def meddle(
    paths: list[Path], pool: list[bytes], over: threading.Event, seed: float, ever: set[str]
) -> None:
    """Change files in every way until it is over; note in `ever` what was in them."""
    chance = random.Random(seed)
    while not over.is_set():
        path, content = chance.choice(paths), chance.choice(pool)
        way = chance.randrange(5)
        with contextlib.suppress(FileNotFoundError):
            if way == 0:
                path.write_bytes(content)
            elif way == 1:
                path.unlink()
            elif way == 2:
                draft = path.with_suffix(".draft")
                draft.write_bytes(content)
                draft.replace(path)
            elif way == 3:
                padded = content.ljust(path.stat().st_size, b"\0")
                ever.add(hashlib.sha256(padded).hexdigest())
                rewrite_under_old_time(path, content)
            else:
                held = path.read_bytes()
                ever.add(hashlib.sha256(held[: len(held) // 2]).hexdigest())
                os.truncate(path, len(held) // 2)
                path.write_bytes(content)
        time.sleep(0.005)


ATTACKS = [
    Attack(
        "clocks",
        "No clock and no time of a file makes the catalog claim what is not there",
        "runs with a clock that is up to 95 years off; files of 1901, 1970, 2038, 2200; content "
        "replaced under the same size and time; every file's hash compared with the catalog",
        jumping_clocks,
    ),
    Attack(
        "moving-files",
        "The catalog holds only content that was read, and a later run sees the truth",
        "a thread rewrites, truncates, replaces and deletes the files while they are indexed; "
        "every known hash must have been in a file, and the next run at peace knows all as it is",
        moving_files,
    ),
]
