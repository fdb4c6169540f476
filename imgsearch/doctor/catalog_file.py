"""Is the catalog a database, ours, intact, and of a schema that we know?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from imgsearch.data.connection import (
    NO_TEXT,
    SCHEMA_VERSION,
    catalog_path,
    check_identity,
    connect_read_only,
    connect_writable,
    schema_version,
    translated_errors,
)
from imgsearch.data.copies import draft_of, flush, flush_folder
from imgsearch.data.lost_catalog import has_traces, misplaced_catalog
from imgsearch.data.restoring import aside_name, put_aside
from imgsearch.data.salvage import UNKNOWN_TIME, Salvaged, salvage
from imgsearch.data.schema_check import differences
from imgsearch.data.wal import frames_promised, read_log
from imgsearch.doctor.findings import Finding
from imgsearch.doctor.patient import Check, Patient, counted, index_again, some
from imgsearch.errors import LibraryDamaged, LibraryError, LibraryTooNew

# How many complaints of SQLite are of use to anybody.
_MOST_COMPLAINTS = 20
_SHARED_BYTES = 96


class State(Enum):
    """What a catalog file is."""

    MISSING = auto()
    EMPTY = auto()
    FINE = auto()
    OLDER = auto()
    NEWER = auto()
    DAMAGED = auto()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the catalog is, and why."""

    state: State
    complaints: tuple[str, ...] = ()


def diagnose(library: Path, *, quick: bool = False) -> Diagnosis:
    """Look at the catalog without changing it."""
    path = catalog_path(library)
    if not os.path.lexists(path):
        return Diagnosis(State.MISSING)
    if not path.is_file():
        return Diagnosis(State.DAMAGED, ("it is no regular file",))
    try:
        with closing(connect_read_only(library)) as connection, translated_errors(library):
            return _diagnose_open(connection, quick)
    except LibraryTooNew as error:
        return Diagnosis(State.NEWER, (str(error),))
    except LibraryDamaged as error:
        return Diagnosis(State.DAMAGED, (str(error.__cause__ or "it is no catalog of imgsearch"),))


def _diagnose_open(connection: sqlite3.Connection, quick: bool) -> Diagnosis:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    version = schema_version(connection)
    if not tables and version == 0:
        return Diagnosis(State.EMPTY)
    wrong = differences(connection)
    pragma = "quick_check" if quick else "integrity_check"
    rows = connection.execute(f"PRAGMA {pragma}({_MOST_COMPLAINTS})").fetchall()
    complaints = [str(row[0]) for row in rows if row[0] != "ok"] + wrong
    if not complaints:
        complaints = _garbled(connection)
    if complaints:
        return Diagnosis(State.DAMAGED, tuple(complaints))
    return Diagnosis(State.OLDER if version < SCHEMA_VERSION else State.FINE)


def _garbled(connection: sqlite3.Connection) -> list[str]:
    """Return the columns with text that is not UTF-8, which SQLite does not look at."""
    found = []
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for column in connection.execute(f"PRAGMA table_info({table})").fetchall():
            if column[2] != "VARCHAR":
                continue
            try:
                for _ in connection.execute(f'SELECT "{column[1]}" FROM {table}'):
                    pass
            except sqlite3.OperationalError as error:
                if not str(error).startswith(NO_TEXT):
                    raise
                found.append(f"text that is not UTF-8 in {table}.{column[1]}")
    return found


def check_log(patient: Patient) -> tuple[str, list[Finding]]:
    """Look for committed work in the write-ahead log that SQLite will not read."""
    path = Path(f"{catalog_path(patient.library)}-wal")
    if not path.is_file() or not path.stat().st_size:
        return "empty", []
    log = read_log(path)
    promised = frames_promised(patient.shared_memory, log)
    seen = f"{log.committed:,} pages not yet in the catalog's file"
    if log.valid and not log.unreadable_commits and promised <= log.committed:
        return seen, []
    if not log.valid:
        problem = f"{path.name} is not a write-ahead log: it is damaged, or another file"
    elif log.unreadable_commits:
        problem = f"{path.name} is damaged behind its page {log.committed:,}"
    else:
        problem = f"{path.name} was cut off: {promised:,} pages were written, {log.committed:,} are"
    finding = Finding(
        problem,
        "What was committed last is lost: SQLite reads the log up to the damage only. The photos "
        "are as they were, and the catalog is as it was some batches before.",
        "Index the folders again; what was lost of them is found and embedded again. Searches that "
        "were saved, or folders removed, just before are to be saved or removed again.",
        mended=patient.repair,
    )
    if patient.repair:
        _take_over_log(patient.library)
    return seen, [finding]


def _take_over_log(library: Path) -> None:
    """Keep the log under another name, and let SQLite take what it can from it."""
    path = f"{catalog_path(library)}-wal"
    shutil.copyfile(path, f"{aside_name(library, 'log')}-wal")
    if not os.path.lexists(catalog_path(library)):
        # SQLite would delete the log; what is readable of it is the next check's business.
        return
    # So is a catalog that cannot be opened.
    with suppress(LibraryError), closing(connect_writable(library)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def shared_memory(library: Path) -> bytes:
    """Return the head of the ``-shm`` file, which tells how long the log was when a process died.

    Whoever opens the catalog makes it anew. It is read by another process: closing it in this one
    would release the locks that SQLite holds on it for other connections of this process.
    """
    path = Path(f"{catalog_path(library)}-shm")
    if not path.is_file():
        return b""
    program = f"import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read({_SHARED_BYTES}))"
    command = [sys.executable, "-I", "-S", "-c", program, str(path)]
    try:
        return subprocess.run(command, capture_output=True, check=False).stdout
    except OSError:
        return b""


def check_catalog(patient: Patient) -> tuple[str, list[Finding]]:
    """Open the catalog and read it from end to end; mend it from what is readable."""
    diagnosis = diagnose(patient.library, quick=patient.quick)
    patient.readable = diagnosis.state is State.FINE
    match diagnosis.state:
        case State.FINE:
            return f"schema {SCHEMA_VERSION}, every page intact", []
        case State.NEWER:
            return "of a newer imgsearch", [_newer(diagnosis)]
        case State.OLDER:
            return "of an older imgsearch", [_migrated(patient)]
        case State.EMPTY if not has_traces(patient.library):
            return "new, nothing in it yet", []
    path = misplaced_catalog(patient.library)
    if path is not None:
        return "not in its place", [_moved_back(patient, path)]
    if diagnosis.state is State.DAMAGED and _is_fine_without_log(patient.library):
        return "intact, beside another database's log", [_rid_of_log(patient)]
    return "damaged", [_salvaged(patient, diagnosis)]


def _newer(diagnosis: Diagnosis) -> Finding:
    return Finding(
        diagnosis.complaints[0],
        "This version would not understand, and might spoil, what a newer one has written. Nothing "
        "was touched.",
        "Upgrade imgsearch. To go on with this version, restore a backup that it made: imgsearch "
        "restore FILE --force",
    )


def _migrated(patient: Patient) -> Finding:
    if patient.repair:
        patient.catalog().close()
        patient.readable = True
    return Finding(
        "The catalog has the schema of an older imgsearch.",
        "It is brought to the present schema the first time it is used, in one transaction, with a "
        "backup beside it (catalog.sqlite.vN.backup). The other checks need the present schema.",
        "Nothing, or now: imgsearch doctor --repair",
        mended=patient.repair,
        fault=patient.repair,
    )


def _moved_back(patient: Patient, path: Path) -> Finding:
    own = catalog_path(patient.library)
    kept: tuple[str, ...] = ()
    if patient.repair:
        if os.path.lexists(own):
            kept = (f"what was there is now {put_aside(patient.library, 'foreign').name}",)
        for ending in ("-wal", ""):
            with suppress(FileNotFoundError):
                os.replace(f"{path}{ending}", f"{own}{ending}")
        again = check_catalog(patient)
        kept += tuple(finding.problem for finding in again[1])
    return Finding(
        f"The catalog lies under the name {path.name}.",
        "Somebody has renamed files of the library. The catalog itself is there.",
        "Give it its name back: imgsearch doctor --repair",
        items=kept,
        mended=patient.repair and patient.readable,
    )


def _is_fine_without_log(library: Path) -> bool:
    path = catalog_path(library)
    log = Path(f"{path}-wal")
    if not log.is_file() or not log.stat().st_size:
        return False
    # Without the log, and without a lock: for one look at a file that nobody can be using.
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            check_identity(connection, library)
            return _diagnose_open(connection, False).state in (State.FINE, State.OLDER)
    except (sqlite3.Error, LibraryError, UnicodeDecodeError):
        return False


def _rid_of_log(patient: Patient) -> Finding:
    path = Path(f"{catalog_path(patient.library)}-wal")
    items: tuple[str, ...] = ()
    if patient.repair:
        items = (f"the log is now {_log_put_aside(patient.library).name}",)
        patient.readable = diagnose(patient.library).state is State.FINE
    return Finding(
        f"The log {path.name} does not belong to the catalog, which is intact without it.",
        "SQLite would write pages of another database over the catalog.",
        "Put the log aside: imgsearch doctor --repair. Then index the folders again, in case that "
        "the right log held something.",
        items=items,
        mended=patient.repair,
    )


def _log_put_aside(library: Path) -> Path:
    """Give the log another name, and return that. Raises FileNotFoundError where there is none."""
    kept = Path(f"{aside_name(library, 'log')}-wal")
    os.replace(f"{catalog_path(library)}-wal", kept)
    Path(f"{catalog_path(library)}-shm").unlink(missing_ok=True)
    return kept


def _salvaged(patient: Patient, diagnosis: Diagnosis) -> Finding:
    """Put a new catalog in the place of the damaged one, made of what is readable of it."""
    path = catalog_path(patient.library)
    missing = diagnosis.state in (State.MISSING, State.EMPTY)
    problem = (
        f"The catalog {path.name} is {'gone' if diagnosis.state is State.MISSING else 'empty'}."
        if missing
        else f"The catalog {path.name} is damaged."
    )
    if not patient.repair:
        return Finding(
            problem,
            "Some or all of what the library knows cannot be read. The photos are not concerned.",
            "Have a new catalog made of what can be read; the damaged one is kept: imgsearch "
            f"doctor --repair. {_backups_of(patient.library)}",
            items=diagnosis.complaints,
        )
    log = Path(f"{path}-wal")
    with draft_of(path) as draft:
        source = path if path.is_file() else Path(os.devnull)
        result = salvage(source, log if log.is_file() else None, draft)
        if not result.is_ours:
            return _hopeless(patient, problem, diagnosis)
        flush(draft)
        kept = put_aside(patient.library, "damaged")
        os.replace(draft, path)
        flush_folder(patient.library)
    patient.readable = True
    return _what_was_saved(patient, problem, diagnosis, result, kept.name)


def _hopeless(patient: Patient, problem: str, diagnosis: Diagnosis) -> Finding:
    items = diagnosis.complaints
    if diagnosis.state in (State.MISSING, State.EMPTY):
        # Where nothing can be made of the log, it must not be in the way of a new catalog.
        with suppress(FileNotFoundError):
            items = (*items, f"the log is now {_log_put_aside(patient.library).name}")
    elif not _is_a_database(catalog_path(patient.library)):
        kept = put_aside(patient.library, "damaged")
        catalog_path(patient.library).unlink()
        items = (*items, f"the damaged file is now {kept.name}")
    return Finding(
        f"{problem} Nothing of a library can be read in it.",
        "The list of folders, the vectors and the saved searches are lost; the photos are not "
        "concerned.",
        f"Restore a backup, or index your folders again. {_backups_of(patient.library)}",
        items=items,
    )


def _is_a_database(path: Path) -> bool:
    """Tell whether the file is an intact database with something in it, though none of ours."""
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            # SQLite takes a file of a few bytes for a database without tables.
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return bool(tables) and connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def _backups_of(library: Path) -> str:
    names = sorted(path.name for path in library.glob("*.backup"))
    return f"Backups in the library's folder: {', '.join(names)}." if names else ""


def _what_was_saved(
    patient: Patient, problem: str, diagnosis: Diagnosis, result: Salvaged, kept: str
) -> Finding:
    with patient.reader() as reader:
        bare = reader.rows(
            "SELECT count(*) FROM picture p WHERE p.orphaned_at IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM embedding WHERE picture_id = p.id)"
        )[0][0]
        doubtful = reader.rows("SELECT f.picture_id FROM file f WHERE f.mtime_ns = ?", UNKNOWN_TIME)
        pictures = reader.pictures(sorted({row[0] for row in doubtful})).values()
        again = index_again(reader)
    rows = result.rows
    facts = [
        f"in the new catalog: {counted(rows['picture'], 'picture')}, "
        f"{counted(rows['file'], 'file')}, {counted(rows['embedding'], 'vector')}, "
        f"{counted(rows['root'], 'folder')}, "
        f"{counted(rows['saved_search'], 'saved search', 'saved searches')}",
        f"left out: {counted(result.dropped, 'row')} that refer to lost ones, or are there twice; "
        f"{counted(result.vectors_lost, 'vector')} with a wrong checksum",
        f"without a vector: {counted(bare, 'picture')}",
        *(f"lost: {name!r}" for name in result.lost_names),
        *(f"to be read again: {path}" for one in pictures for path in one.paths),
    ]
    return Finding(
        problem,
        "Pages of it cannot be read, or contradict each other. A new catalog was made of all rows "
        f"that can be read; the damaged one was kept as {kept}.",
        f"Have what is missing found and embedded again: {again}",
        items=some([*diagnosis.complaints, *facts]),
        mended=True,
    )


CHECKS = (
    Check("log", "Write-ahead log", check_log, needs_catalog=False),
    Check("catalog", "Catalog", check_catalog, needs_catalog=False),
)
