"""Queries of several parts, in several orders, saved, marked, explained, and many at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES, MakePhoto
from PIL import Image

from imgsearch import Filters, IndexSettings, Library, SearchResults
from imgsearch.errors import PhotoNotFound, QueryInvalid
from imgsearch.search.query import Query, Term, terms_of

COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta", "white")


@pytest.fixture
def colours(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> Library:
    """A library with one photo of each colour."""
    for colour in COLOURS:
        make_photo(f"{colour}.png", colour)
    library.index(folder, settings=settings)
    return library


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The example photos under the built-in model."""
    with Library.open(tmp_path_factory.mktemp("examples") / "library") as opened:
        opened.index(EXAMPLES, settings=IndexSettings(decode_workers=1))
        yield opened


def names(results: SearchResults) -> list[str]:
    return [Path(hit.path).stem for hit in results]


def everything(library: Library, text: str | None = None, **options: object) -> list[str]:
    options = {"limit": 100, "cut_off": False} | options
    return names(library.search(text, **options))  # type: ignore[arg-type]


# --- Parts ---


def test_parts_are_added_by_their_weights(colours: Library) -> None:
    equal = everything(colours, "red + green")
    mostly_red = everything(colours, "red:4 + green:0.5")

    assert equal[0] == "yellow"
    assert mostly_red[0] == "red"


def test_what_is_not_wanted_goes_down_and_the_rest_keeps_its_order(colours: Library) -> None:
    plain = everything(colours, "red")

    without = everything(colours, "red -blue")

    assert without[0] == "red"
    assert without.index("magenta") > plain.index("magenta")
    assert set(without) == set(plain)


def test_not_wanted_can_be_said_beside_the_text(colours: Library) -> None:
    assert everything(colours, "red", without=["magenta"]) == everything(colours, "red -magenta")
    assert everything(colours, "red", without="magenta:0.5") == everything(
        colours, "red -magenta:0.5"
    )


def test_several_pictures_with_weights(colours: Library, folder: Path) -> None:
    red, blue = folder / "red.png", folder / "blue.png"

    assert everything(colours, like=[red, blue])[0] == "magenta"
    assert everything(colours, like=[(red, 4.0), (blue, 0.2)])[0] == "red"
    assert everything(colours, "green", like=(red, 1.0))[0] == "yellow"


@pytest.mark.parametrize("text", ["-red", '-"red car" -blue'])
def test_a_query_of_nothing_wanted_is_refused(colours: Library, text: str) -> None:
    with pytest.raises(QueryInvalid, match="only what is not wanted"):
        colours.search(text)


def test_a_weight_of_nothing_is_refused(colours: Library, folder: Path) -> None:
    with pytest.raises(QueryInvalid, match="weight"):
        colours.search("red", like=(folder / "red.png", 0.0))
    with pytest.raises(QueryInvalid, match="weight"):
        colours.search("red", without="blue:99")
    with pytest.raises(QueryInvalid, match="name"):
        colours.search("red", without=" ")


def test_not_coffee_hides_the_cup(examples: Library) -> None:
    plain = everything(examples, "coffee + a cat")
    without = everything(examples, "coffee + a cat", without="a cup of coffee")

    assert set(plain[:2]) == {"coffee", "cat"}
    assert without[0] == "cat"
    assert without.index("coffee") > len(without) // 2


# --- The cut-off ---


def test_results_end_where_they_stop_matching(examples: Library) -> None:
    results = examples.search("a cat", limit=100)

    assert names(results) == ["cat"]
    assert (results.total, results.matching) == (1, 1)


def test_where_nothing_matches_the_closest_are_given_and_it_is_said(examples: Library) -> None:
    results = examples.search("the tax return was filed late", limit=3)

    assert results.matching == 0
    assert len(results) == 3
    assert results.total == 3


def test_without_cut_off_all_are_given(examples: Library) -> None:
    results = examples.search("a cat", cut_off=False, limit=5)

    assert (len(results), results.total, results.matching) == (5, 12, None)
    plain = examples.search("a cat", cut_off=False, group=False, limit=5)
    assert (len(plain), plain.total) == (5, 12)


# --- Orders and pages ---


@pytest.fixture
def sized(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> Library:
    """Red photos of different names, sizes and dates."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("b/Two", "a/one", "c/three")):
        make_photo(f"{name}.png", "red", mark=number)
        path = folder / f"{name}.png"
        noise = Image.fromarray(rng.integers(0, 255, (8 + 8 * number, 8, 3), dtype=np.uint8))
        canvas = Image.new("RGB", (400, 300), "red")
        canvas.paste(noise)
        canvas.save(path)
        os.utime(path, (1e9 + number * 1e6,) * 2)
    library.index(folder, settings=settings)
    return library


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", ["one", "three", "Two"]),
        ("size", ["three", "one", "Two"]),
        ("date", ["three", "one", "Two"]),
    ],
)
@pytest.mark.parametrize("text", ["red", None])
def test_orders(sized: Library, sort: str, expected: list[str], text: str | None) -> None:
    def found(**page: int) -> list[str]:
        least = 1 if text else 0
        return names(sized.search(text, sort=sort, min_strength=least, group=False, **page))

    assert found() == expected
    pages = [found(limit=1, offset=at) for at in range(3)]
    assert [name for page in pages for name in page] == expected


def test_pages_continue_each_other(colours: Library) -> None:
    whole = everything(colours, "red -blue")

    pages = [everything(colours, "red -blue", limit=2, offset=at) for at in range(0, 8, 2)]

    assert [name for page in pages for name in page] == whole


# --- Marks ---


def test_marked_results_move_the_others(colours: Library) -> None:
    ids = {name: colours.search(name, limit=1)[0].picture_id for name in COLOURS}
    plain = everything(colours, "white")

    marked = everything(colours, "white", good=[ids["blue"]], bad=[ids["yellow"]])

    assert plain[0] == "white"
    assert marked.index("blue") < plain.index("blue")
    assert marked.index("yellow") > plain.index("yellow")


def test_marks_alone_are_a_query(colours: Library) -> None:
    blue = colours.search("blue", limit=1)[0].picture_id

    assert everything(colours, good=[blue])[0] == "blue"


def test_marks_of_pictures_that_are_gone_count_for_nothing(colours: Library) -> None:
    assert everything(colours, "red", good=[10_000]) == everything(colours, "red")


# --- Explanations ---


def test_every_part_is_explained(colours: Library) -> None:
    best = colours.search("red + blue -green", explain=True, limit=1)[0]

    assert [part.part for part in best.parts] == ["red", "blue", "not green"]
    strengths = {part.part: part.strength for part in best.parts}
    assert strengths["red"] > strengths["not green"]
    assert colours.search("red", limit=1)[0].parts == ()


# --- Many at once ---


def test_many_queries_get_the_answers_that_each_gets_alone(colours: Library) -> None:
    texts = ["red", "red -magenta", "blue + green", "nothing at all", "red"]
    queries = [Query(terms_of(text), limit=3) for text in texts]
    queries.append(Query(sort="name", limit=3))
    queries.append(Query(terms_of("white"), filters=Filters(names=("*e*",)), limit=2, offset=1))

    together = colours.answer_all(queries)

    assert together == [colours.answer(query) for query in queries]


# --- Saved searches ---


def test_a_saved_search_comes_back_whole(colours: Library, folder: Path) -> None:
    query = Query(
        terms=(*terms_of("red:2 + white -blue", [folder / "red.png"]), Term(3, 0.5)),
        filters=Filters(names=("*.png",), min_pixels=10),
        sort="name",
        min_strength=20,
        group=False,
        good=(1,),
        bad=(2, 3),
    )

    colours.save_search("  my search ", query)

    assert colours.saved_search("my search") == query
    assert list(colours.saved_searches()) == ["my search"]
    colours.save_search("my search", Query(terms_of("blue")))
    assert colours.saved_search("my search") == Query(terms_of("blue"))


def test_a_saved_search_can_be_forgotten(colours: Library) -> None:
    colours.save_search("reds", Query(terms_of("red")))

    colours.forget_search("reds")

    assert colours.saved_searches() == {}
    with pytest.raises(QueryInvalid, match="there are: none"):
        colours.saved_search("reds")
    with pytest.raises(QueryInvalid, match="No search"):
        colours.forget_search("reds")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 101, "\x1b[31m"])
def test_a_search_needs_a_name_that_can_be_shown(colours: Library, name: str) -> None:
    with pytest.raises(QueryInvalid, match="name"):
        colours.save_search(name, Query(terms_of("red")))


def test_a_search_by_an_upload_cannot_be_saved(colours: Library, folder: Path) -> None:
    upload = colours.look_at((folder / "red.png").read_bytes())

    with pytest.raises(QueryInvalid, match="cannot be saved"):
        colours.save_search("upload", Query(terms_of(None, upload)))


# --- Photos by path ---


def test_a_photo_is_known_by_its_path(colours: Library, folder: Path, tmp_path: Path) -> None:
    assert colours.picture_id(folder / "red.png") == colours.search("red", limit=1)[0].picture_id
    for missing in (folder / "none.png", tmp_path / "other.png"):
        with pytest.raises(PhotoNotFound, match="not a photo"):
            colours.picture_id(missing)
