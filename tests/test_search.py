"""What a query finds, and that the FAISS cache under it may be anything at all."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import MakePhoto

import imgsearch
from imgsearch import IndexSettings, Library, SearchResults
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import (
    ImageUnreadable,
    LibraryEmpty,
    LibraryNotFound,
    ModelNotFound,
    QueryInvalid,
)

STARTER_FOLDER = Path(imgsearch.__file__).parent / "encoders" / "starter"
COLOURS = ("red", "green", "blue", "yellow", "cyan")


@pytest.fixture
def colours(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> Library:
    """A library with one photo of each colour."""
    for colour in COLOURS:
        make_photo(f"{colour}.png", colour)
    library.index(folder, settings=settings)
    library.close()
    return library


def names(results: SearchResults) -> list[str]:
    return [Path(hit.path).stem for hit in results]


def cache_files(library: Library) -> list[Path]:
    return sorted((library.path / "faiss").glob("*.rows"))


def test_the_best_match_comes_first_with_scores_that_fall(colours: Library) -> None:
    results = colours.search("something yellow", cut_off=False)

    scores = [hit.score for hit in results]
    assert names(results)[0] == "yellow"
    assert set(names(results)) == set(COLOURS)
    assert scores == sorted(scores, reverse=True)
    assert all(-1.001 <= score <= 1.001 for score in scores)


def test_scores_are_the_cosines_of_the_encoder(colours: Library) -> None:
    encoder = FakeEncoder()
    pixels = np.full((1, 8, 8, 3), (255, 0, 0), dtype=np.uint8)
    cosine = float((encoder.encode_images(pixels) @ encoder.encode_texts(["blue"]).T)[0, 0])

    found = {Path(hit.path).stem: hit.score for hit in colours.search("blue", cut_off=False)}

    assert found["red"] == pytest.approx(cosine, abs=2e-2)


def test_the_limit_is_kept(colours: Library) -> None:
    assert len(colours.search("red", limit=2, cut_off=False)) == 2
    assert len(colours.search("red", limit=10_000, cut_off=False)) == len(COLOURS)


def test_equal_scores_come_in_a_stable_order(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    for number in range(20):
        make_photo(f"{number:02}.png", "white")
        (folder / f"{number:02}.png").write_bytes(
            (folder / f"{number:02}.png").read_bytes() + bytes([number])
        )
    library.index(folder, settings=settings)

    first, second = library.search("white"), library.search("white", limit=20)

    assert names(first) == names(second)[:10]
    assert [hit.picture_id for hit in second] == sorted(hit.picture_id for hit in second)


def test_search_by_picture(colours: Library, make_photo: MakePhoto) -> None:
    asked = make_photo("elsewhere/asked.jpg", "cyan", mark=5)

    assert names(colours.search(like=asked))[0] == "cyan"


def test_words_and_picture_together(colours: Library, make_photo: MakePhoto) -> None:
    red = make_photo("elsewhere/asked.jpg", "red")

    assert names(colours.search("green", like=red))[0] == "yellow"


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_unreadable_picture_to_search_by(
    colours: Library, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "asked.jpg"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ImageUnreadable, match=r"Cannot search by .*asked\.jpg: \w"):
        colours.search(like=path)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00\x1b", None])
def test_an_empty_query_is_refused(colours: Library, text: str | None) -> None:
    with pytest.raises(QueryInvalid, match="empty"):
        colours.search(text)


def test_a_limit_below_one_is_refused(colours: Library) -> None:
    with pytest.raises(QueryInvalid, match="limit"):
        colours.search("red", limit=0)


@pytest.mark.parametrize("text", ["red " * 2500, "\ud800 red", "🏖️ red", "红色的汽车", "a" * 10_000])
def test_odd_queries_get_an_answer(colours: Library, text: str) -> None:
    assert len(colours.search(text, cut_off=False)) == len(COLOURS)


def test_a_query_in_another_script_gets_a_remark(colours: Library) -> None:
    assert "English" in (colours.search("红色的汽车").note or "")
    assert colours.search("café, naïve").note is None


def test_an_empty_library_says_what_to_do(
    library: Library, folder: Path, settings: IndexSettings
) -> None:
    library.index(folder, settings=settings)

    with pytest.raises(LibraryEmpty, match="imgsearch index FOLDER"):
        library.search("red")


def test_another_model_is_never_compared(colours: Library) -> None:
    with (
        Library.open(colours.path, model=FakeEncoder(revision="2")) as other,
        pytest.raises(ModelNotFound, match="--model fake"),
    ):
        other.search("red")


def test_an_open_library_sees_what_another_one_indexed(
    colours: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    assert "magenta" not in names(colours.search("magenta"))
    make_photo("magenta.png", "magenta")
    (folder / "red.png").unlink()
    with Library.open(colours.path, model=FakeEncoder()) as other:
        other.index(folder, settings=settings)

    found = names(colours.search("magenta"))

    assert found[0] == "magenta"
    assert "red" not in found


def test_an_open_library_follows_a_switch_to_another_model(
    folder: Path, make_photo: MakePhoto, settings: IndexSettings, tmp_path: Path
) -> None:
    make_photo("a.jpg", "red")
    path = tmp_path / "library"
    with Library.open(path) as session, Library.open(path) as other:
        other.index(folder, settings=settings)
        before = session.search("red").model
        copy = Path(shutil.copytree(STARTER_FOLDER, tmp_path / "model"))
        facts = json.loads((copy / "model.json").read_text())
        (copy / "model.json").write_text(json.dumps({**facts, "name": "second"}))
        with Library.open(path, model=str(copy)) as switching:
            switching.index(folder, settings=settings)

        assert (before, session.search("red").model) == ("starter", "second")


def test_an_open_library_notices_that_it_was_made_anew(
    colours: Library, folder: Path, settings: IndexSettings
) -> None:
    colours.search("red")
    shutil.rmtree(colours.path)
    with pytest.raises(LibraryNotFound):
        colours.search("red")
    (folder / "red.png").unlink()
    with Library.open(colours.path, model=FakeEncoder()) as other:
        other.index(folder, settings=settings)

    assert "red" not in names(colours.search("red"))


def test_a_model_without_vectors_is_not_made_active(
    colours: Library, tmp_path: Path, settings: IndexSettings
) -> None:
    (tmp_path / "empty").mkdir()
    with Library.open(colours.path, model=FakeEncoder(revision="2")) as other:
        report = other.index(tmp_path / "empty", settings=settings)
        with pytest.raises(LibraryEmpty, match="no vectors"):
            other.search("red")

    assert report.without_vectors == len(COLOURS)
    assert [model.revision for model in colours.status().models if model.active] == ["1"]


def test_searching_by_a_pipe_does_not_wait_for_it(colours: Library, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(ImageUnreadable, match="ordinary file"):
        colours.search(like=tmp_path / "pipe.jpg")


def test_by_date_the_best_of_weak_matches_are_better_than_nothing(colours: Library) -> None:
    # No colour in it: to the fake encoder it is as good as a sentence about nothing.
    weak = colours.search("nothing", sort="date", limit=3)

    assert len(weak) == 3
    assert [hit.date for hit in weak] == sorted((hit.date for hit in weak), reverse=True)
    assert len(colours.search("nothing", sort="date", limit=3, min_strength=60)) == 0


def test_a_deleted_cache_is_made_again(colours: Library) -> None:
    for path in (colours.path / "faiss").iterdir():
        path.unlink()

    assert names(colours.search("red"))[0] == "red"
    assert len(cache_files(colours)) == 1


@pytest.mark.parametrize("damage", ["garbage", "same size", "truncated", "empty", "stamp"])
def test_a_damaged_cache_is_made_again(colours: Library, damage: str) -> None:
    [path] = cache_files(colours)
    size = path.stat().st_size
    generator = random.Random(0)
    if damage == "garbage":
        path.write_bytes(generator.randbytes(1000))
    elif damage == "same size":
        path.write_bytes(generator.randbytes(size))
    elif damage == "truncated":
        os.truncate(path, size // 2)
    elif damage == "empty":
        os.truncate(path, 0)
    else:
        (colours.path / "faiss" / "model-1.json").write_text("{")

    assert names(colours.search("red"))[0] == "red"
    colours.close()
    assert names(colours.search("green"))[0] == "green"


@pytest.mark.parametrize("part", ["vectors", "ids"])
def test_a_cache_that_lies_is_made_again(colours: Library, part: str) -> None:
    [path] = cache_files(colours)
    if part == "ids":
        path = path.with_suffix(".ids")
    data = bytearray(path.read_bytes())
    if part == "ids":
        data[:] = b"\x77" * len(data)
    else:
        start = bytes(data).index(np.float16(FakeEncoder().encode_texts(["red"])[0, 0]).tobytes())
        data[start : start + 8] = b"\xff\x7f" * 4
    path.write_bytes(data)

    results = colours.search("red", cut_off=False)

    assert names(results)[0] == "red"
    assert set(names(results)) == set(COLOURS)


def test_the_cache_of_another_library_is_not_believed(
    colours: Library, tmp_path: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    make_photo("../other/white.png", "white")
    with Library.open(tmp_path / "second", model=FakeEncoder()) as second:
        second.index(tmp_path / "other", settings=settings)
        for path in (second.path / "faiss").iterdir():
            path.unlink()
        for path in (colours.path / "faiss").iterdir():
            (second.path / "faiss" / path.name).write_bytes(path.read_bytes())

        assert names(second.search("red")) == ["white"]


def test_a_stamp_cannot_name_a_file_outside_the_cache(colours: Library, tmp_path: Path) -> None:
    stamp_path = colours.path / "faiss" / "model-1.json"
    stamp = json.loads(stamp_path.read_text())
    outside = tmp_path / "outside.rows"
    outside.write_bytes((colours.path / "faiss" / stamp["rows"]).read_bytes())
    stamp_path.write_text(json.dumps({**stamp, "rows": "../../outside.rows"}))

    colours.search("red")

    assert json.loads(stamp_path.read_text())["rows"] != "../../outside.rows"


def test_ranking_equals_brute_force(tmp_path: Path) -> None:
    from imgsearch.data.catalog import Catalog
    from imgsearch.data.photo_store import PhotoStore
    from imgsearch.data.reader import CatalogReader
    from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
    from imgsearch.data.vector_cache import VectorCache

    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((3000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = vectors.astype("<f2")
    with Catalog(tmp_path) as catalog:
        root_id = catalog.add_root("/photos")
        model_id = catalog.register_model("m", "1", "m", 64)
        catalog.activate_model(model_id)
        ids = PhotoStore(catalog, model_id).store(
            [
                NewPhoto(
                    FileStat(root_id, f"{n}.jpg", n, n),
                    n.to_bytes(32, "big"),
                    PictureFacts(1, 1, "JPEG"),
                    stored[n].tobytes(),
                )
                for n in range(3000)
            ]
        )
    position = {ids[n.to_bytes(32, "big")]: n for n in range(3000)}

    with CatalogReader(tmp_path) as reader:
        model = reader.active_model()
        assert model is not None
        index = VectorCache(tmp_path, model).load(reader)
        for query in vectors[:20]:
            found, scores = index.search(query, 10)
            exact = stored.astype(np.float32) @ query
            assert [position[one] for one in found.tolist()] == np.argsort(-exact)[:10].tolist()
            assert scores == pytest.approx(np.sort(exact)[::-1][:10], abs=1e-3)
