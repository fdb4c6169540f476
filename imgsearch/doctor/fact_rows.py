"""Does the catalog still say of pictures and searches what was stored?"""

from __future__ import annotations

from contextlib import closing

from imgsearch.data.catalog import bump_generation
from imgsearch.data.connection import connect_read_only
from imgsearch.data.fact_checksums import changed_pictures, changed_searches, seal_searches
from imgsearch.data.reader import CatalogReader
from imgsearch.data.records import SUSPECT_VERSION
from imgsearch.doctor.findings import Finding
from imgsearch.doctor.patient import Check, Patient, counted, index_again, some


def check_facts(patient: Patient) -> tuple[str, list[Finding]]:
    """Compare what is said of every picture (date, camera, keywords ...) with its checksum."""
    if patient.quick:
        return "not compared with their checksums: that is left out of a quick look", []
    with closing(connect_read_only(patient.library)) as connection:
        changed = list(changed_pictures(connection))
    with patient.reader() as reader:
        (total,) = reader.rows("SELECT count(*) FROM picture")[0]
        waiting = reader.ids("SELECT id FROM picture WHERE facts_version = ?", SUSPECT_VERSION)
        findings = [
            *([_changed(reader, changed, patient.repair)] if changed else []),
            *([_waiting(reader, waiting.tolist())] if len(waiting) else []),
        ]
    if changed and patient.repair:
        _have_read_again(patient, changed)
    return counted(total, "picture"), findings


def _changed(reader: CatalogReader, pictures: list[int], mended: bool) -> Finding:
    shown = reader.pictures(pictures)
    items = [f"to be read again: {path}" for one in shown.values() for path in one.paths]
    if len(pictures) > len(shown):
        items.append(f"{counted(len(pictures) - len(shown), 'picture')} that no file shows now")
    return Finding(
        f"What the catalog says of {counted(len(pictures), 'picture')} is not what was stored.",
        "A date, a camera, a place, a size or a keyword is wrong or missing there, and so may be "
        "what filters find.",
        f"Have the photos read again: imgsearch doctor --repair, and then: {index_again(reader)}",
        items=some(items),
        mended=mended,
    )


def _waiting(reader: CatalogReader, pictures: list[int]) -> Finding:
    shown = reader.pictures(pictures)
    return Finding(
        f"{counted(len(pictures), 'picture')} are to be read again.",
        "What the catalog says of them (date, camera, keywords ...) was found to be damaged.",
        f"Index the folders again, with all disks plugged in: {index_again(reader)}",
        items=some(path for one in shown.values() for path in one.paths),
        fault=False,
    )


def _have_read_again(patient: Patient, pictures: list[int]) -> None:
    with patient.catalog() as catalog, catalog.statements() as connection:
        connection.executemany(
            "UPDATE picture SET facts_version = ? WHERE id = ?",
            [(SUSPECT_VERSION, id_) for id_ in pictures],
        )
        bump_generation(connection)


def check_searches(patient: Patient) -> tuple[str, list[Finding]]:
    """Compare every saved search with its checksum."""
    with closing(connect_read_only(patient.library)) as connection:
        changed = changed_searches(connection)
        (total,) = connection.execute("SELECT count(*) FROM saved_search").fetchone()
    seen = counted(total, "saved search", "saved searches")
    if not changed:
        return seen, []
    if patient.repair:
        with patient.catalog() as catalog, catalog.statements() as connection:
            seal_searches(connection, changed)
    return seen, [
        Finding(
            f"{counted(len(changed), 'saved search', 'saved searches')} differ from what was kept.",
            "They find something else now, or cannot be read. What was kept is lost: nothing else "
            "knows it.",
            "Look at what they say, and save them anew. To keep them as they are: imgsearch doctor "
            "--repair",
            items=some(f"{name!r} is now {query}" for name, query in changed),
            mended=patient.repair,
        )
    ]


CHECKS = (
    Check("facts", "Facts", check_facts),
    Check("searches", "Saved searches", check_searches),
)
