"""Hostile images: thousands of spoilt ones among intact ones, and the corpus of odd files."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attack import Attack, CannotAttack, Outcome, Setting
from mutants import Mutant, mutant, seeds
from PIL import Image

from imgsearch import DecodeLimits, IndexSettings, Library
from imgsearch.encoders.fake import FakeEncoder

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "robustness"
_MUTANTS = 5_000
# Intact photos among them, one for so many mutants.
_ONE_INTACT_IN = 20
_LOOK_SECONDS = 0.05
# What a run may do between two files, beyond the limit of the file itself, on a busy machine.
_SLACK_SECONDS = 40.0


@dataclass(slots=True)
class Seen:
    """What was seen of a run: its report, and the processes that it used."""

    added: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)
    peak_bytes: int = 0
    longest_pause: float = 0.0
    seconds: float = 0.0


def spoilt_images(setting: Setting) -> Outcome:
    """Index mutants and intact photos in one run."""
    photos = setting.work / "photos"
    photos.mkdir()
    all_seeds = seeds()
    number = setting.times(_MUTANTS)
    mutants = [write_mutant(photos, mutant(all_seeds, setting.seed, n)) for n in range(number)]
    intact = [write_intact(photos, n) for n in range(number // _ONE_INTACT_IN + 1)]
    outcome = Outcome(len(mutants))
    before = fingerprint(photos)
    seen = index(setting.work / "library", photos)
    outcome.broken += judged(seen, [path for path, _ in mutants], intact)
    if fingerprint(photos) != before:
        outcome.broken.append("a file was changed")
    outcome.note = told(seen)
    return outcome


def corpus(setting: Setting) -> Outcome:
    """Index the corpus of odd, damaged and hostile files from the test suites of decoders."""
    if not CORPUS.is_dir():
        raise CannotAttack(f"{CORPUS} is absent")
    photos = setting.work / "photos"
    photos.mkdir()
    found = sorted(path for path in CORPUS.iterdir() if path.suffix not in (".tsv", ".md"))
    for path in found[: setting.times(len(found))]:
        (photos / path.name).write_bytes(path.read_bytes())
    intact = [write_intact(photos, n) for n in range(10)]
    seen = index(setting.work / "library", photos)
    # By their names and first bytes some are no photos: those need no reason.
    outcome = Outcome(len(list(photos.iterdir())) - len(intact))
    outcome.broken += judged(seen, [], intact)
    outcome.note = told(seen)
    return outcome


def memory(setting: Setting) -> Outcome:
    """Index valid pictures up to the limit of pixels, whose decoders want gigabytes."""
    photos = setting.work / "photos"
    photos.mkdir()
    intact = [write_intact(photos, n) for n in range(10)]
    edge = max(1_000, round(_LARGE_EDGE * min(1.0, setting.scale) ** 0.5))
    large = [write_large(photos, *kind, edge) for kind in _LARGE_KINDS]
    outcome = Outcome(len(large))
    seen = index(setting.work / "library", photos)
    outcome.broken += judged(seen, large, intact)
    names = ", ".join(path.stem for path in large if str(path) in seen.indexed)
    outcome.note = f"within the limit: {names}; {told(seen)}"
    return outcome


def write_large(folder: Path, mode: str, suffix: str, options: dict[str, Any], edge: int) -> Path:
    """Write a plain picture; it takes little room on disk."""
    kind = "-".join([mode, *(str(value) for value in options.values())]).replace(";", "")
    path = folder / f"large-{kind}{suffix}"
    Image.new(mode, (edge, edge - 100)).save(path, **options)
    return path


def write_mutant(folder: Path, made: Mutant) -> tuple[Path, str]:
    """Write a mutant; return its path and how it was made."""
    path = folder / made.name
    path.write_bytes(made.data)
    return path, made.how


def write_intact(folder: Path, number: int) -> Path:
    """Write a photo unlike all others."""
    path = folder / f"{number * _ONE_INTACT_IN:06d}-intact.png"
    colour = (number % 256, number // 256 % 256, 77)
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def fingerprint(folder: Path) -> str:
    """Return a hash of all names, sizes, times and bytes of a folder's files."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        facts = path.stat()
        whole.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns} ".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def index(library: Path, photos: Path, settings: IndexSettings | None = None) -> Seen:
    """Index a folder with a toy model, and watch the decoding processes meanwhile."""
    seen = Seen()
    steps = [time.monotonic()]
    over = threading.Event()
    watcher = threading.Thread(target=watch_children, args=(seen, over))
    watcher.start()

    def progress(_: object) -> None:
        now = time.monotonic()
        seen.longest_pause = max(seen.longest_pause, now - steps[-1])
        steps.append(now)

    try:
        with Library.open(library, model=FakeEncoder()) as opened:
            opened.index(photos, settings=settings or IndexSettings(), progress=progress)
            seen.seconds = time.monotonic() - steps[0]
            seen.reasons = {failure.path: failure.reason for failure in opened.failures()}
            hits = opened.search("red", limit=1_000_000, cut_off=False, group=False)
            seen.indexed = {path for hit in hits for path in (hit.path, *hit.duplicates)}
            problems = [line for hit in hits for line in senseless(hit.facts)]
    finally:
        over.set()
        watcher.join()
    seen.added = len(seen.indexed)
    seen.reasons |= {f"facts {number}": line for number, line in enumerate(problems)}
    return seen


def senseless(facts: object) -> list[str]:
    """Return what is out of range in a picture's facts."""
    found = []
    for name, least, most in (
        ("width", 1, 1 << 31),
        ("height", 1, 1 << 31),
        ("orientation", 1, 8),
        ("latitude", -90, 90),
        ("longitude", -180, 180),
        ("rating", -1, 5),
    ):
        value = getattr(facts, name)
        if value is not None and not least <= value <= most:
            found.append(f"SENSELESS {name} {value}")
    return found


def judged(seen: Seen, mutants: Sequence[Path], intact: Sequence[Path]) -> list[str]:
    """Return what broke."""
    limits = DecodeLimits()
    broken = [
        f"{path.name} was intact and is missing" for path in intact if str(path) not in seen.indexed
    ]
    for path in mutants:
        if str(path) not in seen.indexed and str(path) not in seen.reasons:
            broken.append(f"{path.name} is neither indexed nor failed")
    for path, reason in seen.reasons.items():
        if not is_clear(reason):
            broken.append(f"{Path(path).name} failed with {reason!r}")
    if seen.peak_bytes > limits.memory_bytes:
        broken.append(f"a decoding process took {seen.peak_bytes / 1e6:.0f} MB")
    if seen.longest_pause > limits.stall_seconds + _SLACK_SECONDS:
        broken.append(f"nothing moved for {seen.longest_pause:.0f} s")
    return broken


def is_clear(reason: str) -> bool:
    """Tell whether a reason is a sentence that a person can read."""
    return (
        bool(reason.strip())
        and reason.isprintable()
        and len(reason) < 400
        and ("Traceback" not in reason and "SENSELESS" not in reason)
    )


def watch_children(seen: Seen, over: threading.Event) -> None:
    """Note the peak of the resident memory of this process's children, until it is over."""
    while not over.wait(_LOOK_SECONDS) and sys.platform == "linux":
        for child in children(os.getpid()):
            seen.peak_bytes = max(seen.peak_bytes, peak_of(child))


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            found += [int(one) for one in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def peak_of(process: int) -> int:
    """Return the largest resident memory (bytes) that a process has had; 0 if it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) << 10 if peaks else 0


def told(seen: Seen) -> str:
    """Return what was seen, in a line."""
    kinds = Counter(kind_of(reason) for reason in seen.reasons.values())
    most = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(6))
    return (
        f"{seen.added} indexed, {len(seen.reasons)} failed ({most}); peak "
        f"{seen.peak_bytes / 1e6:.0f} MB a process, longest pause {seen.longest_pause:.1f} s"
    )


def kind_of(reason: str) -> str:
    """Return a reason without what differs from file to file."""
    return reason.partition(":")[0][:50]


_LARGE_EDGE = 15_500
_LARGE_KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("RGB", ".png", {}),
    ("RGBA", ".png", {}),
    ("LA", ".png", {}),
    ("P", ".png", {}),
    ("I;16", ".png", {}),
    ("L", ".gif", {}),
    ("RGB", ".jpg", {}),
    ("RGB", ".jpg", {"progressive": True}),
    ("CMYK", ".jpg", {"progressive": True}),
    ("RGB", ".tif", {"compression": "tiff_deflate"}),
    ("F", ".tif", {"compression": "tiff_deflate"}),
    ("LAB", ".tif", {"compression": "tiff_deflate"}),
)

ATTACKS = [
    Attack(
        "images",
        "One bad file never costs another; memory and time a file are bounded",
        "mutants of 34 valid JPEG, PNG, WebP, GIF, TIFF, HEIC, AVIF, BMP, ICO, JPEG 2000, TGA and "
        "ICNS files among intact photos, in one run",
        spoilt_images,
    ),
    Attack(
        "memory",
        "A decoding process takes no more than 1 GB; what needs more is recorded as failed",
        f"valid pictures of {_LARGE_EDGE} x {_LARGE_EDGE - 100} pixels in 12 kinds, among intact "
        "photos",
        memory,
    ),
    Attack(
        "corpus",
        "Odd files from the test suites of decoders are indexed or failed with a reason",
        "the files of shared/data/robustness among intact photos, in one run",
        corpus,
    ),
]
