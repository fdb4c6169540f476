"""Results as files: JSON, CSV, Parquet; what is replaced and what is not; names of any bytes."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imgsearch import Library, SearchHit, SearchResults
from imgsearch.data.records import PictureFacts
from imgsearch.errors import ExtraMissing, OutputFailed, OutputInvalid
from imgsearch.outputs import COLUMNS, CsvStream, Format, as_json, write_results

NAMES = [
    "query", "rank", "path", "score", "strength", "date", "width", "height", "format", "byte_size",
    "camera", "lens", "latitude", "longitude", "rating", "keywords", "content_hash",
    "picture_id", "duplicates", "offline",
]  # fmt: skip
ODD_PATH = os.fsdecode(b'/photos/caf\xff, "x"\n.jpg')


def hit(
    path: str = "/photos/a.jpg",
    camera: str | None = None,
    score: float | None = -0.25,
    duplicates: tuple[str, ...] = (),
    taken_at: str | None = "2024-05-01T12:00:00",
) -> SearchHit:
    facts = PictureFacts(40, 30, "JPEG", 1, taken_at, camera, None, -33.5, 151.0)
    return SearchHit(path, score, 7, duplicates, 1234, facts, "ab" * 32, 0.0, 60)


def found(*hits: SearchHit) -> SearchResults:
    return SearchResults(hits, "fake", None, len(hits))


def csv_rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))


def test_a_real_search_is_written_the_same_in_all_formats(
    library: Library, folder: Path, make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    make_photo("red.png", "red")
    make_photo("blue.png", "blue", mark=1)
    make_photo("copy of blue.png", "blue", mark=1)
    library.index([folder])
    queries = ["blue", "red"]
    results = [library.search(one, cut_off=False) for one in queries]

    for suffix in ("json", "csv", "parquet"):
        write_results(results, queries, tmp_path / f"out.{suffix}")

    answers = json.loads((tmp_path / "out.json").read_bytes())
    table = csv_rows((tmp_path / "out.csv").read_bytes())
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    expected = [
        (query, rank, one.path, one.score, one.content_hash, list(one.duplicates))
        for query, page in zip(queries, results, strict=True)
        for rank, one in enumerate(page, start=1)
    ]
    assert len(expected) == 4
    assert sum(bool(row[-1]) for row in expected) == 2
    told = ("query", "rank", "path", "score", "content_hash", "duplicates")
    assert [tuple(row[name] for name in told) for row in rows] == expected
    assert [(a["query"], *(h[name] for name in told[1:])) for a in answers for h in a["hits"]] == [
        tuple(row) for row in expected
    ]
    assert [
        (row["query"], int(row["rank"]), row["path"], float(row["score"]), row["content_hash"],
         json.loads(row["duplicates"] or "[]"))
        for row in table
    ] == expected  # fmt: skip
    assert [a["total"] for a in answers] == [2, 2]


def test_columns_are_the_promised_ones(tmp_path: Path) -> None:
    write_results([found(hit())], ["q"], tmp_path / "a.csv")
    write_results([found(hit())], ["q"], tmp_path / "a.parquet")
    [answer] = json.loads(as_json([found(hit())], ["q"]))

    assert [column.name for column in COLUMNS] == NAMES
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == ",".join(NAMES)
    assert pq.read_table(tmp_path / "a.parquet").column_names == NAMES
    assert list(answer["hits"][0]) == NAMES[1:]


def test_parquet_has_types_and_nulls(tmp_path: Path) -> None:
    bare = hit(score=None, taken_at="never")

    write_results([found(hit(), bare)], ["q"], tmp_path / "a.parquet")

    first, second = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert first["date"] == datetime(2024, 5, 1, 12)
    assert first["latitude"] == -33.5
    assert first["camera"] is None
    assert second["score"] is None
    assert second["date"] is None


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    results = [found(hit(ODD_PATH, duplicates=(ODD_PATH,)))]

    for suffix in ("json", "csv", "parquet"):
        write_results(results, ["q"], tmp_path / f"out.{suffix}")

    [row] = csv_rows((tmp_path / "out.csv").read_bytes())
    assert os.fsencode(row["path"]) == os.fsencode(ODD_PATH)
    assert json.loads(row["duplicates"]) == [ODD_PATH]
    [answer] = json.loads((tmp_path / "out.json").read_text("ascii"))
    assert answer["hits"][0]["path"] == ODD_PATH
    [told] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert told["path"] == '/photos/caf\\xff, "x"\n.jpg'
    assert told["duplicates"] == [told["path"]]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_spreadsheets_see_no_formula_and_numbers_stay_numbers(tmp_path: Path, start: str) -> None:
    evil = f"{start}cmd|' /C calc'!A0"

    write_results([found(hit(camera=evil))], [evil], tmp_path / "a.csv")

    [row] = csv_rows((tmp_path / "a.csv").read_bytes())
    assert row["camera"] == "'" + evil
    assert row["query"] == "'" + evil
    assert (row["score"], row["latitude"]) == ("-0.25", "-33.5")


def test_a_stream_grows_query_by_query() -> None:
    stream = io.BytesIO()

    table = CsvStream(stream)
    table.write(found(hit(), hit()), "one")
    before = len(stream.getvalue())
    table.write(found(hit()), "two")

    assert [(r["query"], r["rank"]) for r in csv_rows(stream.getvalue()[:before])] == [
        ("one", "1"),
        ("one", "2"),
    ]
    assert [r["query"] for r in csv_rows(stream.getvalue())][-1] == "two"


def test_a_name_cannot_control_the_terminal() -> None:
    main, terminal = pty.openpty()
    try:
        with open(terminal, "wb", closefd=False) as stream:
            CsvStream(stream).write(found(hit("/photos/\x1b[2Jx.jpg")))
        shown = os.read(main, 10_000)
    finally:
        os.close(main)
        os.close(terminal)

    assert b"\\x1b[2Jx.jpg" in shown
    assert b"\x1b" not in shown


def test_results_are_replaced_and_nothing_else(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"precious")
    link = tmp_path / "link.csv"
    link.symlink_to(photo)
    (tmp_path / "folder.csv").mkdir()
    old = tmp_path / "old.CSV"
    old.write_text("old")

    write_results([found(hit())], ["q"], old)
    for refused in (photo, link, tmp_path / "folder.csv", tmp_path / "nowhere" / "a.csv"):
        with pytest.raises(OutputInvalid):
            write_results([found(hit())], ["q"], refused)

    assert old.read_text().startswith("query,rank")
    assert photo.read_bytes() == b"precious"
    assert link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_a_chosen_format_does_not_let_a_photo_be_replaced(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"precious")

    with pytest.raises(OutputInvalid, match="is there already"):
        write_results([found(hit())], ["q"], photo, Format.CSV)
    write_results([found(hit())], ["q"], tmp_path / "new.txt", Format.CSV)

    assert photo.read_bytes() == b"precious"
    assert (tmp_path / "new.txt").read_text().startswith("query,rank")


def test_what_fails_halfway_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("old")

    with pytest.raises(ValueError, match="zip"):
        write_results([found(hit()), found(hit())], ["only one"], old)

    assert old.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["old.csv"]


def test_a_folder_that_may_not_be_written_is_told(
    tmp_path: Path, without_privileges: Callable[[], AbstractContextManager[None]]
) -> None:
    enterable(tmp_path)
    place = tmp_path / "closed"
    place.mkdir(mode=0o555)

    with without_privileges(), pytest.raises(OutputFailed, match=r"Cannot write .*a\.csv"):
        write_results([found(hit())], ["q"], place / "a.csv")


def test_a_folder_that_may_not_be_looked_into_is_told(
    tmp_path: Path, without_privileges: Callable[[], AbstractContextManager[None]]
) -> None:
    enterable(tmp_path)
    (tmp_path / "closed" / "inner").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o600)

    with without_privileges(), pytest.raises(OutputInvalid, match="Permission denied"):
        write_results([found(hit())], ["q"], tmp_path / "closed" / "inner" / "a.csv")


def enterable(folder: Path) -> None:
    """Let everybody come as far as this folder, which pytest lets nobody else into."""
    for place in (folder, *folder.parents):
        if place.is_relative_to(tempfile.gettempdir()) and place != Path(tempfile.gettempdir()):
            place.chmod(0o755)


def test_a_new_file_has_the_rights_that_the_user_chose(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_results([found(hit())], ["q"], tmp_path / "a.json")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_an_unknown_suffix_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match=r"\.json, \.csv or \.parquet"):
        write_results([found(hit())], ["q"], tmp_path / "a.xlsx")


def test_parquet_without_pyarrow_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    with pytest.raises(ExtraMissing, match="pip install pyarrow"):
        write_results([found(hit())], ["q"], tmp_path / "a.parquet")

    assert not (tmp_path / "a.parquet").exists()
