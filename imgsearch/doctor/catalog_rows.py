"""Do the rows of the catalog make sense together, and are the vectors what was stored?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imgsearch.data.catalog import ACTIVE_MODEL_KEY, GENERATION_KEY, LIBRARY_ID_KEY, bump_generation
from imgsearch.data.checksums import checksum
from imgsearch.data.reader import CatalogReader, StoredModel
from imgsearch.data.vector_cache import VectorCache
from imgsearch.doctor.findings import Finding
from imgsearch.doctor.patient import Check, Patient, counted, index_again, some

# How far float16 takes a unit vector from length 1, at most: each of its values is off by 2^-11 of
# itself, so their length is, too; ten times that is far from what any flipped exponent does.
_LENGTH_TOLERANCE = 10 * 2.0**-11
_PAGE = 10_000
# Rows that refer to nothing are of no use without what they refer to, which is found again.
_REFERRING = ("keyword", "file", "failure", "vector_checksum", "embedding")


def check_references(patient: Patient) -> tuple[str, list[Finding]]:
    """Look for rows that refer to rows that are not there."""
    with patient.reader() as reader:
        found = Counter(str(row[0]) for row in reader.rows("PRAGMA foreign_key_check"))
    if not found:
        return "every row has what it refers to", []
    if patient.repair:
        with patient.catalog() as catalog, catalog.statements() as connection:
            # Deleting may leave others without what they refer to.
            while rows := connection.execute("PRAGMA foreign_key_check").fetchall():
                for table, rowid, *_ in rows:
                    if rowid is not None:
                        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
                _delete_without_rowid(connection)
            bump_generation(connection)
    with patient.reader() as reader:
        again = index_again(reader)
    return "", [
        Finding(
            f"{counted(found.total(), 'row')} refer to nothing.",
            "What they belonged to is gone; they are never found by a search.",
            f"Delete them: imgsearch doctor --repair. Files among them are found again by: {again}",
            items=tuple(f"{table}: {number}" for table, number in sorted(found.items())),
            mended=patient.repair,
        )
    ]


def _delete_without_rowid(connection: object) -> None:
    """Delete the rows of tables without row ids, which SQLite's check does not name."""
    import sqlite3

    assert isinstance(connection, sqlite3.Connection)
    connection.execute("DELETE FROM keyword WHERE picture_id NOT IN (SELECT id FROM picture)")
    connection.execute(
        "DELETE FROM vector_checksum WHERE NOT EXISTS (SELECT 1 FROM embedding e WHERE"
        " e.picture_id = vector_checksum.picture_id AND e.model_id = vector_checksum.model_id)"
    )


def check_meta(patient: Patient) -> tuple[str, list[Finding]]:
    """Look at the single values: identity, generation, active model."""
    with patient.reader() as reader:
        wrong = _wrong_values(reader)
        best = reader.rows(
            "SELECT model_id FROM embedding GROUP BY model_id ORDER BY count(*) DESC, model_id"
            " LIMIT 1"
        )
    if not wrong:
        return "identity, generation and active model are there", []
    if patient.repair:
        with patient.catalog() as catalog, catalog.statements() as connection:
            mend = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
            if LIBRARY_ID_KEY in wrong:
                connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES (?, lower(hex(randomblob(16))))",
                    (LIBRARY_ID_KEY,),
                )
            if GENERATION_KEY in wrong:
                # Far above any that a cache can have been stamped with.
                connection.execute(mend, (GENERATION_KEY, str(2**40)))
            if ACTIVE_MODEL_KEY in wrong:
                connection.execute(mend, (ACTIVE_MODEL_KEY, str(best[0][0])))
    return "", [
        Finding(
            f"Values that every library has are missing or wrong: {', '.join(sorted(wrong))}.",
            "Caches cannot be told from those of other states, or queries do not know which model "
            "to ask.",
            "Set them anew, and have the caches made again: imgsearch doctor --repair",
            items=tuple(f"{key}: {value!r}" for key, value in sorted(wrong.items())),
            mended=patient.repair,
        )
    ]


def _wrong_values(reader: CatalogReader) -> dict[str, str | None]:
    wrong: dict[str, str | None] = {}
    if not reader.meta(LIBRARY_ID_KEY):
        wrong[LIBRARY_ID_KEY] = reader.meta(LIBRARY_ID_KEY)
    generation = reader.meta(GENERATION_KEY) or ""
    if not (generation.isascii() and generation.isdigit() and int(generation) < 2**62):
        wrong[GENERATION_KEY] = generation
    if reader.active_model() is None and reader.rows("SELECT 1 FROM embedding LIMIT 1"):
        wrong[ACTIVE_MODEL_KEY] = reader.meta(ACTIVE_MODEL_KEY)
    return wrong


@dataclass(slots=True)
class _Vectors:
    """What is wrong with the vectors of one model: picture ids, by kind."""

    count: int = 0
    short: list[int] = field(default_factory=list)
    changed: dict[int, bytes] = field(default_factory=dict)
    impossible: list[int] = field(default_factory=list)
    unsealed: dict[int, bytes] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)


def check_vectors(patient: Patient) -> tuple[str, list[Finding]]:
    """Compare every stored vector with its checksum, its dimension, and length 1."""
    findings: list[Finding] = []
    total = 0
    with patient.reader() as reader:
        models = reader.models()
    for model in models:
        with patient.reader() as reader:
            vectors = _examined(reader, model)
            dimension = _true_dimension(vectors, model)
            if dimension != model.dimension:
                findings.append(_dimension_mended(patient, model, dimension))
                model = StoredModel(model.id, model.name, model.revision, model.source, dimension)
                vectors = _examined(reader, model)
        total += vectors.count
        findings += _unsealed_found(patient, model, vectors)
        findings += _bad_found(patient, model, vectors)
    return f"{counted(total, 'vector')} of {counted(len(models), 'model')}", findings


def _examined(reader: CatalogReader, model: StoredModel) -> _Vectors:
    seen = _Vectors()
    for ids, vectors, sums in _pages(reader, model):
        seen.count += len(ids)
        whole: list[int] = []
        for place, (picture_id, vector, crc) in enumerate(zip(ids, vectors, sums, strict=True)):
            seen.lengths[len(vector)] += 1
            if crc is not None and checksum(vector) != crc:
                seen.changed[picture_id] = crc
            elif len(vector) != 2 * model.dimension:
                seen.short.append(picture_id)
            else:
                whole.append(place)
                if crc is None:
                    seen.unsealed[picture_id] = checksum(vector)
        bad = _not_of_length_1([vectors[place] for place in whole], model.dimension)
        seen.impossible += [ids[whole[place]] for place in bad]
    for picture_id in seen.impossible:
        seen.unsealed.pop(picture_id, None)
    return seen


def _pages(
    reader: CatalogReader, model: StoredModel
) -> Iterator[tuple[list[int], list[bytes], list[bytes | None]]]:
    last = -(2**63)
    while True:
        rows = reader.rows(
            "SELECT e.picture_id, e.vector, s.crc FROM embedding e LEFT JOIN vector_checksum s"
            " ON s.picture_id = e.picture_id AND s.model_id = e.model_id"
            " WHERE e.model_id = ? AND e.picture_id > ? ORDER BY e.picture_id LIMIT ?",
            model.id,
            last,
            _PAGE,
        )
        if not rows:
            return
        last = rows[-1][0]
        ids, vectors, sums = zip(*rows, strict=True)
        yield (
            list(ids),
            [one if isinstance(one, bytes) else str(one).encode() for one in vectors],
            list(sums),
        )


def _not_of_length_1(vectors: list[bytes], dimension: int) -> list[int]:
    rows = np.frombuffer(b"".join(vectors), dtype="<f2").reshape(len(vectors), dimension)
    with np.errstate(invalid="ignore", over="ignore"):
        wide = rows.astype(np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", wide, wide))
        # Written this way round, what is no number is found, too.
        bad: npt.NDArray[np.int64] = np.flatnonzero(~(np.abs(lengths - 1) < _LENGTH_TOLERANCE))
    return [int(place) for place in bad]


def _true_dimension(vectors: _Vectors, model: StoredModel) -> int:
    """Return the dimension that nearly all vectors have, which a damaged row may not say."""
    if not vectors.lengths:
        return model.dimension
    (length, number), *_ = vectors.lengths.most_common(1)
    likely = number > 0.9 * vectors.count and length % 2 == 0 and length > 0
    return length // 2 if likely else model.dimension


def _dimension_mended(patient: Patient, model: StoredModel, dimension: int) -> Finding:
    if patient.repair:
        with patient.catalog() as catalog, catalog.statements() as connection:
            connection.execute("UPDATE model SET dimension = ? WHERE id = ?", (dimension, model.id))
            bump_generation(connection)
    return Finding(
        f"The catalog says that vectors of {model.name} have dimension {model.dimension}; they "
        f"have {dimension}.",
        "No query can be answered with this model.",
        "Set it right: imgsearch doctor --repair",
        mended=patient.repair,
    )


def _unsealed_found(patient: Patient, model: StoredModel, vectors: _Vectors) -> list[Finding]:
    if not vectors.unsealed:
        return []
    if patient.repair:
        with patient.catalog() as catalog, catalog.statements() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO vector_checksum (picture_id, model_id, crc)"
                " VALUES (?, ?, ?)",
                [(id_, model.id, crc) for id_, crc in vectors.unsealed.items()],
            )
    return [
        Finding(
            f"{counted(len(vectors.unsealed), 'vector')} of {model.name} have no checksum.",
            "They look right, but small changes in them could not be found.",
            "Take them as they are: imgsearch doctor --repair",
            mended=patient.repair,
        )
    ]


def _bad_found(patient: Patient, model: StoredModel, vectors: _Vectors) -> list[Finding]:
    bad = sorted({*vectors.short, *vectors.changed, *vectors.impossible})
    if not bad:
        return []
    items = []
    kinds = (
        (vectors.changed, "not as they were stored (wrong checksum)"),
        (vectors.short, "of a wrong dimension"),
        (vectors.impossible, "not of length 1"),
    )
    for ids, what in kinds:
        if ids:
            items.append(f"{counted(len(ids), 'vector')} {what}")
    with patient.reader() as reader:
        copies = _good_copies(reader, model, vectors.changed, patient)
        lost = [id_ for id_ in bad if id_ not in copies]
        shown = reader.pictures(lost)
        again = index_again(reader)
    if patient.repair:
        _mend_vectors(patient, model, copies, lost)
    if copies:
        items.append(
            f"{counted(len(copies), 'vector')} taken back from the index, where it is right"
        )
    items += [f"to be embedded again: {path}" for one in shown.values() for path in one.paths]
    return [
        Finding(
            f"{counted(len(bad), 'vector')} of {model.name} are damaged.",
            "These photos are found for the wrong words, or not at all.",
            "Take right copies from the index, and delete the others: imgsearch doctor --repair. "
            f"Then have them embedded again: {again}",
            items=some(items),
            mended=patient.repair,
        )
    ]


def _good_copies(
    reader: CatalogReader, model: StoredModel, changed: dict[int, bytes], patient: Patient
) -> dict[int, bytes]:
    """Return those of the vectors that the FAISS cache holds as they were stored."""
    found = VectorCache(patient.library, model).contents(reader) if changed else None
    if found is None:
        return {}
    index = found[1]
    wanted = np.intersect1d(index.ids(), np.array(list(changed), dtype=np.int64))
    rows = index.vectors(wanted).astype("<f2")
    copies = {int(id_): row.tobytes() for id_, row in zip(wanted, rows, strict=True)}
    return {id_: row for id_, row in copies.items() if checksum(row) == changed[id_]}


def _mend_vectors(
    patient: Patient, model: StoredModel, copies: dict[int, bytes], lost: list[int]
) -> None:
    with patient.catalog() as catalog, catalog.statements() as connection:
        connection.executemany(
            "UPDATE embedding SET vector = ? WHERE picture_id = ? AND model_id = ?",
            [(vector, id_, model.id) for id_, vector in copies.items()],
        )
        connection.executemany(
            "DELETE FROM embedding WHERE picture_id = ? AND model_id = ?",
            [(id_, model.id) for id_ in lost],
        )
        bump_generation(connection)


CHECKS = (
    Check("references", "References", check_references),
    Check("values", "Identity", check_meta),
    Check("vectors", "Vectors", check_vectors),
)
