"""What is around the catalog: the folder, the disk, the lock, leftovers, models, the photos."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from imgsearch.data.copies import DRAFT_ENDING
from imgsearch.data.lock import writer_lock
from imgsearch.data.paths import from_stored
from imgsearch.data.reader import StoredModel
from imgsearch.data.vector_cache import FOLDER_NAME
from imgsearch.data.vector_files import VECTOR_ENDINGS, named_by
from imgsearch.doctor.findings import Finding
from imgsearch.doctor.patient import Check, Patient, counted
from imgsearch.encoders import STARTER
from imgsearch.errors import LibraryBusy, LibraryError

# Less than this is left of a disk when one more batch or index may not fit (bytes).
_LITTLE_SPACE = 100_000_000
# No program takes this long to write one file of the library; what is older was left (seconds).
_LEFTOVER_AGE = 3_600.0
_CACHE_FILE = re.compile(r"model-(\d+)(?:\.json|-.+)")


def check_folder(patient: Patient) -> tuple[str, list[Finding]]:
    """May the folder and its files be read and written, and is there space?"""
    findings = []
    unreadable = [path.name for path in _files(patient.library) if not _may(path, os.R_OK)]
    if unreadable:
        findings.append(
            Finding(
                "Some files of the library may not be read.",
                "They belong to another user, or their permissions were changed.",
                f"Give yourself the right to: chmod -R u+rwX {patient.library}",
                items=tuple(unreadable),
            )
        )
    fixed = [path.name for path in _files(patient.library) if not _may(path, os.W_OK)]
    if not _may(patient.library, os.W_OK) or fixed:
        findings.append(
            Finding(
                "The library may not be written.",
                "Searching works. Indexing, saving searches and repairs do not, and what is not in "
                "the caches is made anew for every query.",
                f"If that is not meant so: chmod -R u+rwX {patient.library}, or mount the disk for "
                "writing",
                items=tuple(fixed),
                fault=False,
            )
        )
    free = shutil.disk_usage(patient.library).free
    if free < _LITTLE_SPACE:
        findings.append(
            Finding(
                f"Only {free // 1_000_000} MB are free on the library's disk.",
                "The next run of the indexer may stop for want of space. What is stored is safe.",
                "Free some space, or move the library's folder to another disk",
                fault=False,
            )
        )
    return f"{patient.library}, {free // 1_000_000:,} MB free", findings


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _files(library: Path) -> Iterator[Path]:
    yield from (path for path in library.glob("*.sqlite*") if path.is_file())
    yield from (path for path in library.glob(f"{FOLDER_NAME}/*") if path.is_file())


def check_lock(patient: Patient) -> tuple[str, list[Finding]]:
    """Does somebody write at this moment?"""
    if patient.repair:
        return "held by this repair", []
    if not (patient.library / "writer.lock").exists():
        return "free", []
    try:
        with writer_lock(patient.library):
            pass
    except LibraryBusy:
        return "held", [
            Finding(
                "Another imgsearch is indexing this library at this moment.",
                "What is said here is true of the moment at which it was looked at.",
                "Nothing. Repairs have to wait until it is done",
                fault=False,
            )
        ]
    except LibraryError:
        return "cannot be tried without the right to write", []
    return "free (the file writer.lock stays; a run that dies leaves no lock)", []


def check_leftovers(patient: Patient) -> tuple[str, list[Finding]]:
    """Look for unfinished files of runs that died."""
    left = sorted(_leftovers(patient))
    if not left:
        return "none", []
    size = sum(_size(path) for path in left)
    gone = []
    if patient.repair:
        for path in left:
            with suppress(OSError):
                path.unlink()
                gone.append(path)
    return counted(len(left), "file"), [
        Finding(
            f"{counted(len(left), 'file')} were left by runs that died or models that are gone.",
            f"They are of no use, and take {size // 1_000_000:,} MB.",
            "Delete them: imgsearch doctor --repair",
            items=tuple(str(path.relative_to(patient.library)) for path in left),
            mended=len(gone) == len(left),
        )
    ]


def _leftovers(patient: Patient) -> Iterator[Path]:
    library, cache = patient.library, patient.library / FOLDER_NAME
    found = [*library.glob(f".*{DRAFT_ENDING}"), *library.glob(f".*{DRAFT_ENDING}-*")]
    found += cache.glob("*.draft")
    models = _model_ids(patient)
    found += cache.glob("draft-model-*")
    used = {name for path in cache.glob("model-*.json") for name in named_by(path)}
    for path in cache.glob("model-*"):
        known = _CACHE_FILE.fullmatch(path.name)
        if known is None:
            continue
        unused = path.suffix in VECTOR_ENDINGS and path.name not in used
        draft = path.suffix == ".json" and "-" in path.stem.removeprefix("model-")
        of_no_model = models is not None and int(known[1]) not in models
        if unused or draft or of_no_model:
            found.append(path)
    now = time.time()
    for path in set(found):
        with suppress(OSError):
            if path.is_file() and abs(now - path.stat().st_mtime) > _LEFTOVER_AGE:
                yield path


def _model_ids(patient: Patient) -> set[int] | None:
    if not patient.readable:
        return None
    with patient.reader() as reader:
        return {model.id for model in reader.models()}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def check_models(patient: Patient) -> tuple[str, list[Finding]]:
    """Is every model there by which vectors were made? Nothing is loaded or fetched."""
    findings = []
    with patient.reader() as reader:
        active, models = reader.active_model(), reader.models()
        embedded = {row[0] for row in reader.rows("SELECT DISTINCT model_id FROM embedding")}
    for model in models:
        if model.id not in embedded or _is_there(model, patient):
            continue
        if _is_starter(model):
            findings.append(_starter_mended(patient, model))
            continue
        findings.append(
            Finding(
                f"The model {model.name} ({model.revision}) is not there: {model.source}",
                "Its vectors are of use only with it: words cannot be searched for without."
                if model == active
                else "Queries do not use it; its vectors take space only.",
                f"Bring it back to its place, or fetch it: imgsearch pull {model.source}; or index "
                "with another one: imgsearch index FOLDER --model starter"
                if model == active
                else "Bring it back, or delete its vectors: imgsearch models prune",
                fault=model == active,
            )
        )
    return counted(len(models), "model"), findings


def _is_there(model: StoredModel, patient: Patient) -> bool:
    if patient.known is not None:
        known = patient.known
        if (known.name, known.revision) == (model.name, model.revision):
            return True
    if model.source == STARTER:
        return _is_starter(model)
    if Path(model.source).is_dir():
        return True
    repository, _, revision = model.source.partition("@")
    if repository.count("/") != 1 or repository.startswith(("/", ".", "~")):
        return False
    with suppress(ImportError):
        from imgsearch.encoders.hub import cached
        from imgsearch.encoders.layout import split_mark

        return cached(repository, split_mark(revision or model.revision)[0]) is not None
    return False


def _is_starter(model: StoredModel) -> bool:
    import imgsearch.encoders

    path = Path(imgsearch.encoders.__file__).parent / STARTER / "model.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (facts.get("name"), facts.get("revision")) == (model.name, model.revision)


def _starter_mended(patient: Patient, model: StoredModel) -> Finding:
    if patient.repair:
        with patient.catalog() as catalog:
            catalog.register_model(model.name, model.revision, STARTER, model.dimension)
    return Finding(
        f"The catalog says that the built-in model lies at {model.source!r}.",
        "It is not found there.",
        "Set it right: imgsearch doctor --repair",
        mended=patient.repair,
    )


def check_photos(patient: Patient) -> tuple[str, list[Finding]]:
    """Are the folders of the photos there?"""
    with patient.reader() as reader:
        rows = reader.rows(
            "SELECT path, (SELECT count(*) FROM file WHERE root_id = root.id) FROM root"
        )
    roots = [(from_stored(path), count) for path, count in rows]
    away = [(root, count) for root, count in roots if count and not _has_something(root)]
    seen = f"{counted(len(roots), 'folder')}, {counted(sum(row[1] for row in roots), 'file')}"
    if not away:
        return seen, []
    return seen, [
        Finding(
            f"{counted(len(away), 'folder')} of photos are not there now.",
            "Perhaps a disk is not plugged in. The photos are found by searches, and kept until "
            "they are removed by name; they cannot be shown in full.",
            "Plug the disk in, or forget a folder: imgsearch remove FOLDER",
            items=tuple(f"{root} ({counted(count, 'file')})" for root, count in away),
            fault=False,
        )
    ]


def _has_something(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


BEFORE = (
    Check("folder", "Folder", check_folder, needs_catalog=False),
    Check("lock", "Lock", check_lock, needs_catalog=False),
)
AFTER = (
    Check("leftovers", "Leftovers", check_leftovers, needs_catalog=False),
    Check("models", "Models", check_models),
    Check("photos", "Photos", check_photos),
)
