"""Queries from a file: what is a query, what is told, what is refused."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

import pytest

from imgsearch import batch
from imgsearch.batch import BatchLine, read_batch
from imgsearch.errors import BatchInvalid


def written(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "queries.txt"
    path.write_bytes(data)
    return str(path)


def test_lines_keep_their_numbers(tmp_path: Path) -> None:
    source = written(
        tmp_path,
        codecs.BOM_UTF8 + "# summer\n\n  a dog  \r\n\t# more\nein Hündchen\nlast, no end".encode(),
    )

    read = read_batch(source)

    assert read.lines == (
        BatchLine(3, "a dog"),
        BatchLine(5, "ein Hündchen"),
        BatchLine(6, "last, no end"),
    )
    assert read.errors == ()


def test_a_remark_after_the_mark_of_utf8_is_a_remark(tmp_path: Path) -> None:
    assert read_batch(written(tmp_path, codecs.BOM_UTF8 + b"# x\na cat")).lines == (
        BatchLine(2, "a cat"),
    )


def test_lines_that_are_no_queries_are_collected(tmp_path: Path) -> None:
    read = read_batch(written(tmp_path, b"a dog\ncaf\xe9\n\x01\x02\na cat\n"))

    assert [line.text for line in read.lines] == ["a dog", "a cat"]
    assert [(error.number, error.reason[:18]) for error in read.errors] == [
        (2, "This line is not U"),
        (3, "The query is empty"),
    ]


def test_standard_input_is_a_dash() -> None:
    assert read_batch("-", io.BytesIO(b"a dog\n")).lines == (BatchLine(1, "a dog"),)


@pytest.mark.parametrize("data", [b"", b"\n\n# nothing\n", codecs.BOM_UTF8])
def test_a_file_without_queries_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BatchInvalid, match="holds no query"):
        read_batch(written(tmp_path, data))


def test_utf16_is_named(tmp_path: Path) -> None:
    with pytest.raises(BatchInvalid, match="UTF-16"):
        read_batch(written(tmp_path, "a dog\n".encode("utf-16")))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchInvalid, match="No such file"):
        read_batch(str(tmp_path / "absent"))
    with pytest.raises(BatchInvalid, match="directory"):
        read_batch(str(tmp_path))
    with pytest.raises(BatchInvalid, match="null"):
        read_batch("a\0b")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_QUERIES", 2)
    source = written(tmp_path, b"a\nb\n# remark\n")
    assert len(read_batch(source).lines) == 2

    with pytest.raises(BatchInvalid, match="more than 2 queries"):
        read_batch(written(tmp_path, b"a\nb\nc\n"))

    monkeypatch.setattr(batch, "MAX_BYTES", 3)
    with pytest.raises(BatchInvalid, match="larger than"):
        read_batch(source)
