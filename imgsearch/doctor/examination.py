"""One examination of a library: all checks, one after the other."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from imgsearch.data.connection import catalog_path, translated_errors
from imgsearch.data.lock import writer_lock
from imgsearch.doctor import caches, catalog_file, catalog_rows, fact_rows, surroundings
from imgsearch.doctor.catalog_file import State, diagnose, shared_memory
from imgsearch.doctor.findings import CheckResult, DoctorReport, Finding
from imgsearch.doctor.patient import Check, Patient
from imgsearch.encoders.base import ModelDescription
from imgsearch.errors import LibraryBusy, LibraryError, LibraryNotFound, LibraryReadOnly

# What is mended first decides what the later ones see.
CHECKS: tuple[Check, ...] = (
    *surroundings.BEFORE,
    *catalog_file.CHECKS,
    *catalog_rows.CHECKS,
    *fact_rows.CHECKS,
    *caches.CHECKS,
    *surroundings.AFTER,
)


def examine(
    library: Path,
    *,
    repair: bool = False,
    quick: bool = False,
    known: ModelDescription | None = None,
) -> DoctorReport:
    """Examine the library folder `library`; with `repair`, mend what the truth is known of.

    Without `repair` nothing is changed. A library of a newer imgsearch is not touched in any case.
    `known` is a model at hand. Raises LibraryNotFound where there is no library; with `repair`,
    LibraryBusy while another process indexes, or LibraryReadOnly.
    """
    if not library.is_dir() or not _holds_something(library):
        raise LibraryNotFound(
            f"There is no library in {library} yet. Make one with: imgsearch index FOLDER"
        )
    shared = shared_memory(library)
    with contextlib.ExitStack() as stack:
        if repair and diagnose(library, quick=True).state is State.NEWER:
            repair = False
        if repair:
            stack.enter_context(writer_lock(library))
        patient = Patient(library, repair, quick, known, shared_memory=shared)
        report = DoctorReport(str(library), repair)
        for check in CHECKS:
            report.checks.append(_run(check, patient))
    return report


def _holds_something(library: Path) -> bool:
    """Tell whether the folder looks like a library, even one whose catalog is gone."""
    traces = (catalog_path(library), *library.glob("*.sqlite*"), library / "faiss")
    return any(os.path.lexists(path) for path in traces)


def _run(check: Check, patient: Patient) -> CheckResult:
    if check.needs_catalog and not patient.readable:
        return CheckResult(check.name, check.title, "not looked at: it needs the catalog")
    try:
        with translated_errors(patient.library):
            seen, findings = check.run(patient)
    except LibraryError as error:
        if patient.repair and isinstance(error, LibraryReadOnly):
            raise
        return CheckResult(check.name, check.title, "could not be finished", (_failed(error),))
    return CheckResult(check.name, check.title, seen, tuple(findings))


def _failed(error: LibraryError) -> Finding:
    busy = isinstance(error, LibraryBusy)
    return Finding(
        f"The check could not be finished: {error}",
        "Another process is writing." if busy else "What it looks at cannot be read or written.",
        "Try again" if busy else "See to what is said above first; then run imgsearch doctor again",
    )
