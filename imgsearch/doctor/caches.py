"""Do the caches agree with the catalog? Whatever does not is deleted, and made again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.data.signature_store import FILE_NAME as SIMILAR
from imgsearch.data.thumbnail_store import FILE_NAME as THUMBNAILS
from imgsearch.data.thumbnail_store import unsealed
from imgsearch.data.vector_cache import VectorCache
from imgsearch.doctor.findings import Finding
from imgsearch.doctor.patient import Check, Patient, counted

_PAGE = 1_000
_ENDINGS = ("", "-wal", "-shm")


def check_index(patient: Patient) -> tuple[str, list[Finding]]:
    """Compare the FAISS index of every model with the catalog, vector by vector."""
    findings, seen = [], []
    with patient.reader() as reader:
        active = reader.active_model()
        for model in reader.models():
            cache = VectorCache(patient.library, model)
            if cache.is_absent():
                continue
            problem, held = _compared(cache, reader, model)
            seen.append(f"{counted(held, 'vector')} of {model.name}")
            if problem is None:
                continue
            if patient.repair:
                cache.delete()
                if model == active:
                    cache.load(reader, trust_cache=False)
            findings.append(
                Finding(
                    f"The index of {model.name} {problem}.",
                    "Searches may miss photos, or rank them wrongly. The vectors themselves are in "
                    "the catalog.",
                    "Make it again from the catalog: imgsearch doctor --repair",
                    mended=patient.repair,
                )
            )
    return ", ".join(seen) or "none yet; the first query makes it", findings


def _compared(
    cache: VectorCache, reader: CatalogReader, model: StoredModel
) -> tuple[str | None, int]:
    """Return what is wrong with a cache, or None, and how many vectors it holds."""
    contents = cache.contents(reader)
    if contents is None:
        return "cannot be read: it is damaged, of another library, or of another program", 0
    stamp, index = contents
    generation = reader.generation()
    if stamp.generation > generation:
        return "was made from commits that the catalog does not have any more", len(index)
    held, wanted = index.ids(), reader.visible_ids(model.id)
    if len(np.unique(held)) != len(held):
        return "holds pictures twice", len(index)
    if stamp.generation == generation and not np.array_equal(np.sort(held), wanted):
        missing, surplus = len(np.setdiff1d(wanted, held)), len(np.setdiff1d(held, wanted))
        return f"lacks {missing} pictures and has {surplus} that are not there", len(index)
    if index.coded != stamp.coded:
        return "has codes that cannot be read", len(index)
    different = 0
    for ids, vectors in reader.vectors(model, np.intersect1d(held, wanted)):
        copies = index.vectors(ids).astype("<f2")
        different += int((copies.view(np.uint16) != vectors.view(np.uint16)).any(axis=1).sum())
    if different:
        return f"has {different} vectors that are not those of the catalog", len(index)
    return None, len(index)


def check_prompts(patient: Patient) -> tuple[str, list[Finding]]:
    """Look at the vectors of fixed texts that are kept beside the index."""
    paths = sorted(patient.library.glob("faiss/model-*-prompts-*.npy"))
    bad = [path for path in paths if not _is_unit_rows(path)]
    if not bad:
        return counted(len(paths), "file"), []
    if patient.repair:
        for path in bad:
            path.unlink(missing_ok=True)
    return counted(len(paths), "file"), [
        Finding(
            f"{counted(len(bad), 'file')} with vectors of fixed texts cannot be read.",
            "They are made again when a query needs them.",
            "Delete them: imgsearch doctor --repair",
            items=tuple(path.name for path in bad),
            mended=patient.repair,
        )
    ]


def _is_unit_rows(path: Path) -> bool:
    try:
        rows: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = np.linalg.norm(rows, axis=1)
    except (OSError, ValueError, EOFError, TypeError):
        return False
    return bool((np.abs(lengths - 1) < 0.01).all())


def check_thumbnails(patient: Patient) -> tuple[str, list[Finding]]:
    """Read the cache of thumbnails from end to end, each with its checksum."""
    path = patient.library / THUMBNAILS
    if not path.exists():
        return "none yet", []
    try:
        with closing(_opened(path)) as connection:
            complaint = _complaint(connection, patient.quick)
            bad = [] if complaint else list(_bad_thumbnails(connection))
            count = (
                0
                if complaint
                else connection.execute("SELECT count(*) FROM thumbnail").fetchone()[0]
            )
    except (sqlite3.Error, UnicodeDecodeError) as error:
        complaint, bad, count = str(error), [], 0
    if complaint:
        return "damaged", [_cache_deleted(patient, path, complaint)]
    if not bad:
        return counted(count, "thumbnail"), []
    if patient.repair:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany("DELETE FROM thumbnail WHERE id = ?", [(one,) for one in bad])
    return counted(count, "thumbnail"), [
        Finding(
            f"{counted(len(bad), 'thumbnail')} are damaged.",
            "The page makes them again from the photos when it shows them.",
            "Delete them: imgsearch doctor --repair",
            mended=patient.repair,
        )
    ]


def _bad_thumbnails(connection: sqlite3.Connection) -> Iterator[int]:
    for id_, digest, jpeg in connection.execute("SELECT id, content_hash, jpeg FROM thumbnail"):
        whole = isinstance(jpeg, bytes) and unsealed(jpeg) is not None
        if not whole or not isinstance(digest, bytes) or len(digest) != 32:
            yield id_


def check_similar(patient: Patient) -> tuple[str, list[Finding]]:
    """Read the cache of near-duplicates from end to end."""
    path = patient.library / SIMILAR
    if not path.exists():
        return "none yet", []
    try:
        with closing(_opened(path)) as connection:
            complaint = _complaint(connection, patient.quick)
            sizes = connection.execute(
                "SELECT count(*), count(DISTINCT length(descriptor)), count(DISTINCT length(grey)),"
                " coalesce(max(length(content_hash)), 32) FROM signature"
            ).fetchone()
            connection.execute("SELECT count(*) FROM pair JOIN meta").fetchone()
            if not complaint and (sizes[1] > 1 or sizes[2] > 1 or sizes[3] != 32):
                complaint = "signatures of different lengths"
    except (sqlite3.Error, UnicodeDecodeError) as error:
        complaint, sizes = str(error), (0,)
    if complaint:
        return "damaged", [_cache_deleted(patient, path, complaint)]
    return counted(sizes[0], "signature"), []


def _cache_deleted(patient: Patient, path: Path, complaint: str) -> Finding:
    if patient.repair:
        for ending in _ENDINGS:
            with suppress(OSError):
                Path(f"{path}{ending}").unlink()
    return Finding(
        f"The cache {path.name} is damaged.",
        "Everything in it can be made again from the photos and the catalog.",
        "Delete it: imgsearch doctor --repair. What is needed is made again when it is asked for",
        items=(complaint,),
        mended=patient.repair and not path.exists(),
    )


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _complaint(connection: sqlite3.Connection, quick: bool) -> str | None:
    pragma = "quick_check" if quick else "integrity_check"
    (verdict,) = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
    return None if verdict == "ok" else str(verdict)


CHECKS = (
    Check("index", "Index", check_index),
    Check("prompts", "Fixed texts", check_prompts),
    Check("thumbnails", "Thumbnails", check_thumbnails, needs_catalog=False),
    Check("similar", "Near-duplicates", check_similar, needs_catalog=False),
)
