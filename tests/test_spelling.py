"""Slips of the keys: what a query is read as, and what is said about it."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES

import imgsearch
from imgsearch import Encoder, IndexSettings, Library, ModelInvalid, load_encoder
from imgsearch.encoders.base import Respells
from imgsearch.encoders.spelling import WORDS, Spelling

STARTER = Path(imgsearch.__file__).parent / "encoders" / "starter"


@pytest.fixture(scope="module")
def starter() -> Encoder:
    return load_encoder("starter")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("a child on a bicylce", "a child on a bicycle"),
        ("moutain lake", "mountain lake"),
        ("two dogs on a beeach", "two dogs on a beach"),
        ("Moutain in snwo, red jcket", "Mountain in snow, red jacket"),
    ],
)
def test_a_slip_is_read_as_the_word_it_stands_for(starter: Encoder, typed: str, meant: str) -> None:
    assert isinstance(starter, Respells)
    assert starter.respelt(typed) == meant
    assert np.array_equal(starter.encode_texts([typed]), starter.encode_texts([meant]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "minimalist home office",
        "a placid lake, seen by a kayaker treading water",
        "a labradoodle beside a quokka",
        "a view of Moutain in Xyzzy",
        "PHOTS of NASCAR",
        "img_moutain2 moutain2 o'moutain",
        "naïve café résumé",
        "ein Hund im Schnee",
        "собака на снегу 雪の中の犬",
        "x" * 5_000,
    ],
)
def test_what_may_be_meant_stays(starter: Encoder, text: str) -> None:
    assert isinstance(starter, Respells)
    assert starter.respelt(text) == text


def test_a_query_says_how_it_was_read(tmp_path: Path) -> None:
    shutil.copy(next(EXAMPLES.glob("*.jpg")), tmp_path / "photo.jpg")
    with Library.open(tmp_path / "library") as library:
        library.index(tmp_path, settings=IndexSettings(decode_workers=1))
        slipped = library.search("moutain -snwo")
        plain = library.search("mountain -snow")

    assert slipped.note == 'Read "moutain" as "mountain", "snwo" as "snow".'
    assert plain.note is None
    assert slipped[0].score == plain[0].score


def test_a_model_without_words_reads_what_is_typed(tmp_path: Path) -> None:
    folder = shutil.copytree(STARTER, tmp_path / "model", ignore=shutil.ignore_patterns(WORDS))

    encoder = load_encoder(str(folder))

    assert isinstance(encoder, Respells)
    assert encoder.respelt("moutain") == "moutain"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"mountain\n",
        gzip.compress("bergübergang\n\n".encode()),
        gzip.compress(bytes(9 << 20)),
        gzip.compress(b"mountain\n\n")[:-6],
    ],
    ids=["empty", "not compressed", "not ascii", "too long", "cut off"],
)
def test_a_list_that_cannot_be_read_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WORDS).write_bytes(content)

    with pytest.raises(ModelInvalid, match="is no list of words"):
        Spelling.read(tmp_path / WORDS)
