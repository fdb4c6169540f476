"""Random damage to the files of a library; backups, restores and migrations cut short."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from attack import Attack, Outcome, Setting
from PIL import ExifTags, Image

from imgsearch import ImgsearchError, IndexSettings, Library, SearchHit
from imgsearch.data.connection import SCHEMA_VERSION
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.search.query import Query, terms_of

_FORK = multiprocessing.get_context("fork")
# What every step needs.
_NEEDED = (
    "faiss",
    "sqlalchemy.dialects.sqlite",
    "imgsearch.data.catalog",
    "imgsearch.doctor.examination",
    "imgsearch.indexer.run",
    "imgsearch.search.engine",
)
_SETTINGS = IndexSettings(decode_workers=1, batch_size=8)
_WORDS = ("red", "green", "blue", "yellow", "magenta", "cyan", "white")
_PHOTOS = 60
# A step that takes longer hangs (seconds).
_PATIENCE = 120.0

# By word: path, score and facts of all photos.
Answers = dict[str, list[tuple[str, float, str]]]


def opened(library: Path) -> Library:
    """Return the library under the arithmetic encoder."""
    return Library.open(library, model=FakeEncoder())


def make_photos(folder: Path, count: int, seed: int) -> None:
    """Write photos of random colours, all different, with facts of every kind."""
    colours = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colour = tuple(colours.randrange(256) for _ in range(3))
        exif = Image.Exif()
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Soak", f"Model {number % 5}"
        exif[ExifTags.Base.DateTime] = f"2023:06:{1 + number % 28:02} 12:{number % 60:02}:00"
        exif[ExifTags.Base.XPKeywords] = f"word{number % 9};every".encode("utf-16-le")
        path = folder / f"{number:04}.jpg"
        Image.new("RGB", (40 + number % 7, 30), colour).save(path, exif=exif)


def answers(library: Path) -> Answers:
    """Return paths, scores and facts of all photos for every word, as a query gives them."""
    with opened(library) as one:
        found = {
            word: one.search(word, limit=10_000, cut_off=False, group=False) for word in _WORDS
        }
    # By path where they are equally good: otherwise by id, which may be another one afterwards.
    return {word: _in_order(hits) for word, hits in found.items()}


def _in_order(hits: Iterable[SearchHit]) -> list[tuple[str, float, str]]:
    scored = [(hit.path, round(hit.score, 3), f"{hit.byte_size} {hit.facts}") for hit in hits]
    return sorted(scored, key=lambda one: (-one[1], one[0]))


def in_child(step: Callable[..., Any], *arguments: Any) -> tuple[Any, str | None]:
    """Run a step in a process of its own; return what it returned, or how it died.

    So a crash of native code is one result among others, and no lock or cache outlives a step.
    """
    mine, theirs = _FORK.Pipe(duplex=False)

    def run() -> None:
        try:
            theirs.send((step(*arguments), None))
        except BaseException:
            theirs.send((None, traceback.format_exc()))
        os._exit(0)

    process = _FORK.Process(target=run)
    process.start()
    theirs.close()
    result: tuple[Any, str | None] = (None, "hung")
    if mine.poll(_PATIENCE):
        try:
            result = mine.recv()
        except EOFError:
            process.join()
            result = (None, f"died with exit code {process.exitcode}")
    process.kill()
    process.join()
    return result


# --- Damage ---------------------------------------------------------------------------------------


def _flip_bytes(path: Path, others: list[Path], rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    count = rng.choice([1, 1, 1, 4, 64])
    for _ in range(count):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{count} bits flipped"


def _overwrite(path: Path, others: list[Path], rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    length = min(len(content), rng.choice([16, 512, 4096, 20_000]))
    at = rng.randrange(len(content) - length + 1)
    content[at : at + length] = rng.randbytes(length) if rng.random() < 0.5 else bytes(length)
    path.write_bytes(content)
    return f"{length} bytes overwritten at {at}"


def _truncate(path: Path, others: list[Path], rng: random.Random) -> str:
    length = rng.randrange(path.stat().st_size)
    os.truncate(path, length)
    return f"cut off at {length}"


def _delete(path: Path, others: list[Path], rng: random.Random) -> str:
    path.unlink()
    return "deleted"


def _replace(path: Path, others: list[Path], rng: random.Random) -> str:
    path.write_bytes(rng.randbytes(rng.randrange(1, 20_000)))
    return "replaced by random bytes"


def _swap(path: Path, others: list[Path], rng: random.Random) -> str:
    other = rng.choice([one for one in others if one != path])
    spare = path.with_name("spare")
    path.rename(spare)
    other.rename(path)
    spare.rename(other)
    return f"swapped with {other.name}"


_DAMAGES = (_flip_bytes, _flip_bytes, _flip_bytes, _overwrite, _truncate, _delete, _replace, _swap)


def damage_once(library: Path, rng: random.Random) -> str:
    """Damage one file of the library, more often the catalog; return what was done."""
    files = [path for path in sorted(library.rglob("*")) if path.is_file() and path.stat().st_size]
    catalog = [path for path in files if path.name.startswith("catalog.sqlite")]
    path = rng.choice(catalog if rng.random() < 0.5 else files)
    return f"{path.name}: {rng.choice(_DAMAGES)(path, files, rng)}"


def _first_use(library: Path, photos: Path, what: str) -> bool:
    """Use a damaged library before any doctor sees it; only errors for users may come of it.

    Return whether it was told that the catalog was gone, and what was lost with it.
    """
    try:
        if what == "query":
            answers(library)
        elif what == "index":
            with opened(library) as one:
                return bool(one.index(photos, settings=_SETTINGS).lost_catalog)
    except ImgsearchError:
        return False
    return False


def _examined(library: Path, repair: bool) -> tuple[list[str], list[str]]:
    """Return what the doctor says is left, and was mended."""
    with opened(library) as one:
        report = one.doctor(repair=repair)
    return (
        [finding.problem for finding in report.left],
        [finding.problem for finding in report.mended],
    )


def _indexed(library: Path, photos: Path) -> bool:
    """Index, and return whether it was told that the catalog was gone."""
    with opened(library) as one:
        return bool(one.index(photos, settings=_SETTINGS).lost_catalog)


def _saved(library: Path) -> str:
    with opened(library) as one:
        return repr(one.saved_searches())


def _round(
    library: Path,
    photos: Path,
    wanted: Answers,
    saved: str,
    what: str,
    log_damaged: bool,
    seen: Counter[str],
) -> str | None:
    """Take one damaged library through query or index, doctor, repair, index; return what broke.

    Where the log was damaged and something else used the library first, SQLite has passed over what
    was behind the damage without a word, and nobody can tell any more that a search was saved.
    """
    told, error = in_child(_first_use, library, photos, what)
    if error:
        return f"{what} on a damaged library: {error}"
    found, error = in_child(_examined, library, False)
    if error:
        return f"doctor: {error}"
    left, error = in_child(_examined, library, True)
    if error:
        return f"doctor --repair: {error}"
    seen["mended" if left[1] and not left[0] else "named as lost" if left[0] else "healthy"] += 1
    if left[0] and any("newer imgsearch" in problem for problem in left[0]):
        # A flipped version number: nothing is touched, which is what is promised.
        return None
    if found[0] and not (left[0] or left[1]):
        return f"doctor found {found[0]}, and doctor --repair did not"
    told_later, error = in_child(_indexed, library, photos)
    if error:
        return f"index after the repair ({left}): {error}"
    got, error = in_child(answers, library)
    if error:
        return f"query after the repair ({left}): {error}"
    if got != wanted:
        return f"other answers after {left}"
    names, error = in_child(_saved, library)
    said = left[0] or left[1] or told or told_later or (log_damaged and what != "nothing")
    if error or (names != saved and not said):
        return f"the saved search is gone or another one, and nobody said so: {error}"
    again, error = in_child(_examined, library, False)
    if error or again[0]:
        return f"not healthy in the end: {error or again[0]}"
    return None


def _make_library(work: Path, seed: int) -> tuple[Path, Path, Path]:
    """Return the photos, a library at rest, and one as a process that was killed leaves it."""
    photos, library, killed = work / "photos", work / "library", work / "killed"
    make_photos(photos, _PHOTOS // 2, seed)
    with opened(library) as one:
        one.index(photos, settings=_SETTINGS)
        one.near_duplicates()
        one.save_search("mine", Query(terms=terms_of("red", None, ())))
    with closing(sqlite3.connect(library / "catalog.sqlite")) as keeper:
        # Somebody who has it open keeps the log from being emptied.
        keeper.execute("SELECT count(*) FROM picture").fetchone()
        make_photos(photos, _PHOTOS, seed)
        with opened(library) as one:
            one.index(photos, settings=_SETTINGS)
            one.near_duplicates()
            shutil.copytree(library, killed)
    answers(library)
    return photos, library, killed


def damage(setting: Setting) -> Outcome:
    """Damage copies of a library at random."""
    outcome, seen = Outcome(), Counter[str]()
    # The steps run in processes forked from this one: what it has loaded, they need not load.
    for name in _NEEDED:
        importlib.import_module(name)
    made, error = in_child(_make_library, setting.work, setting.seed)
    assert error is None, error
    photos, *pristine = made
    wanted, error = in_child(answers, pristine[0])
    assert error is None, error
    saved, error = in_child(_saved, pristine[0])
    assert error is None, error
    for number in range(setting.times(200)):
        rng = random.Random(setting.seed * 1_000_003 + number)
        # In one place always: the answers hold paths of photos, and caches the library's.
        copy = setting.work / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(rng.choice(pristine), copy)
        done = "; ".join(damage_once(copy, rng) for _ in range(rng.choice([1, 1, 1, 2, 3])))
        what = rng.choice(["query", "index", "nothing"])
        broken = _round(copy, photos, wanted, saved, what, "-wal" in done, seen)
        outcome.times += 1
        if broken:
            outcome.broken.append(f"{number} ({done}; first {what}): {broken}")
            print(outcome.broken[-1], file=sys.stderr, flush=True)
    outcome.note = ", ".join(f"{count} {kind}" for kind, count in sorted(seen.items()))
    return outcome


# --- Backups of a live library --------------------------------------------------------------------


def backups(setting: Setting) -> Outcome:
    """Take backups while a run of the indexer commits batches, and restore each."""
    outcome = Outcome()
    photos, library = setting.work / "photos", setting.work / "library"
    make_photos(photos, 4_000, setting.seed)
    writer = _FORK.Process(target=_indexed, args=(library, photos))
    writer.start()
    while not (library / "catalog.sqlite").exists() or not _count(library / "catalog.sqlite"):
        time.sleep(0.05)
    taken: list[Path] = []
    live = 0
    for number in range(setting.times(20)):
        target = setting.work / f"{number}.backup"
        _, error = in_child(_backed_up, library, target)
        live += writer.is_alive()
        if error:
            outcome.broken.append(f"backup {number}: {error}")
        else:
            taken.append(target)
        time.sleep(0.2)
    writer.join()
    final, error = in_child(answers, library)
    before = 0
    for number, target in enumerate(taken):
        place = setting.work / "restored"
        shutil.rmtree(place, ignore_errors=True)
        _, error = in_child(_restored, place, target)
        got, failed = in_child(answers, place)
        report, ill = in_child(_examined, place, False)
        count = _count(target)
        outcome.times += 1
        if error or failed or ill or report[0]:
            outcome.broken.append(f"restore {number}: {error or failed or ill or report[0]}")
        elif count < before or any(set(got[word]) - set(final[word]) for word in _WORDS):
            outcome.broken.append(f"backup {number} holds what was never there")
        before = count
    outcome.note = f"{live} of them while photos were being indexed"
    return outcome


def _backed_up(library: Path, target: Path) -> None:
    opened(library).backup(target)


def _restored(library: Path, source: Path) -> None:
    opened(library).restore(source)


def _count(catalog: Path) -> int:
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)) as connection,
    ):
        return int(connection.execute("SELECT count(*) FROM picture").fetchone()[0])
    return 0


# --- Restores and migrations that are killed ------------------------------------------------------


def _killed(step: Callable[[], object], after: float) -> bool:
    """Kill a step after so many seconds; tell whether it was still at it."""
    process = _FORK.Process(target=step)
    process.start()
    time.sleep(after)
    alive = process.is_alive()
    if alive and process.pid:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return alive


def _duration(step: Callable[[], object]) -> float:
    begun = time.monotonic()
    process = _FORK.Process(target=step)
    process.start()
    process.join()
    return time.monotonic() - begun


def restores(setting: Setting) -> Outcome:
    """Kill restores at random moments while a reader asks on."""
    outcome, rng = Outcome(), random.Random(setting.seed)
    old_photos, new_photos = setting.work / "old", setting.work / "new"
    make_photos(old_photos, 300, setting.seed)
    make_photos(new_photos, 500, setting.seed + 1)
    first, second = setting.work / "first", setting.work / "second"
    for library, photos in ((first, old_photos), (second, new_photos)):
        _, error = in_child(_indexed, library, photos)
        assert error is None, error
    backup = setting.work / "second.backup"
    in_child(_backed_up, second, backup)
    copy = setting.work / "copy"

    def restore() -> object:
        return opened(copy).restore(backup, force=True)

    shutil.copytree(first, copy)
    old, _ = in_child(answers, copy)
    longest = _duration(restore)
    new, _ = in_child(answers, copy)
    interrupted = finished = 0
    for number in range(setting.times(100)):
        shutil.rmtree(copy)
        shutil.copytree(first, copy)
        reader, stop = _FORK.Pipe(duplex=False)
        asking = _FORK.Process(target=_ask_on, args=(copy, old, new, stop))
        asking.start()
        interrupted += _killed(restore, rng.uniform(0, longest * 1.1))
        asking.terminate()
        asking.join()
        complaint = reader.recv() if reader.poll() else None
        got, error = in_child(answers, copy)
        report, ill = in_child(_examined, copy, True)
        finished += got == new
        outcome.times += 1
        if complaint or error or ill or report[0] or got not in (old, new):
            outcome.broken.append(f"{number}: {complaint or error or ill or report}")
    outcome.note = f"{interrupted} killed in the middle, {finished} with the new content"
    return outcome


def _ask_on(library: Path, old: Answers, new: Answers, stop: Any) -> None:
    """Ask one open library again and again; tell of an answer that is neither old nor new."""
    try:
        with opened(library) as one:
            while True:
                hits = one.search("red", limit=10_000, cut_off=False, group=False)
                got = _in_order(hits)
                if got not in (old["red"], new["red"]):
                    stop.send(f"a reader got {len(got)} photos, neither the old nor the new ones")
                    return
    except Exception:
        stop.send(traceback.format_exc())


def migrations(setting: Setting) -> Outcome:
    """Kill migrations at random moments."""
    outcome, rng = Outcome(), random.Random(setting.seed)
    photos, library = setting.work / "photos", setting.work / "library"
    make_photos(photos, 500, setting.seed)
    _, error = in_child(_indexed, library, photos)
    assert error is None, error
    wanted, _ = in_child(answers, library)
    _back_to_schema_2(library)
    copy = setting.work / "copy"

    def migrate() -> object:
        return opened(copy).status()

    shutil.copytree(library, copy)
    longest = _duration(migrate)
    interrupted, versions = 0, Counter[int]()
    for number in range(setting.times(100)):
        shutil.rmtree(copy)
        shutil.copytree(library, copy)
        interrupted += _killed(migrate, rng.uniform(0, longest * 1.1))
        with closing(
            sqlite3.connect(f"{(copy / 'catalog.sqlite').as_uri()}?mode=ro", uri=True)
        ) as at:
            version = at.execute("PRAGMA user_version").fetchone()[0]
            intact = at.execute("PRAGMA integrity_check").fetchone()[0]
        versions[version] += 1
        got, error = in_child(answers, copy)
        report, ill = in_child(_examined, copy, False)
        outcome.times += 1
        if version not in (2, SCHEMA_VERSION) or intact != "ok" or got != wanted or error:
            outcome.broken.append(f"{number}: schema {version}, {intact}, {error}")
        elif ill or report[0]:
            outcome.broken.append(f"{number}: {ill or report}")
    seen = ", ".join(
        f"{count} with schema {version}" for version, count in sorted(versions.items())
    )
    outcome.note = f"{interrupted} killed in the middle: {seen}"
    return outcome


def _back_to_schema_2(library: Path) -> None:
    with closing(sqlite3.connect(library / "catalog.sqlite")) as connection:
        connection.execute("DROP TABLE vector_checksum")
        connection.execute("ALTER TABLE picture DROP COLUMN facts_crc")
        connection.execute("ALTER TABLE saved_search DROP COLUMN crc")
        connection.execute("PRAGMA user_version=2")


ATTACKS = [
    Attack(
        "damage",
        "A damaged library is mended from the truth, or what is lost is named; never a traceback",
        "flip, overwrite, cut off, delete, swap, replace files of a library; then query or index, "
        "doctor, doctor --repair, index; the answers must be those of before",
        damage,
    ),
    Attack(
        "backups",
        "A backup of a live library is whole, and can be restored",
        "backups while 4,000 photos are being indexed, each restored, searched and examined",
        backups,
    ),
    Attack(
        "restores",
        "A restore that is killed leaves the old library or the new one, and readers never fail",
        "SIGKILL at a random moment of a restore, beside a reader that asks all the time",
        restores,
    ),
    Attack(
        "migrations",
        "A migration that is killed leaves the old schema or the new one, whole",
        "SIGKILL at a random moment of a migration from schema 2",
        migrations,
    ),
]
