"""The logic of the page, without a browser: addresses, filters, exports, the gate, the script."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import streamlit as st_state
from conftest import MakePhoto
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from streamlit.testing.v1 import AppTest

import imgsearch
from imgsearch import IndexSettings, Library, PictureFacts, SearchHit
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.errors import LibraryFull, PortTaken, UsageError
from imgsearch.search.query import Query, terms_of
from imgsearch.ui.asked import (
    ORIENTATIONS,
    PLACES,
    RATINGS,
    SIZES,
    SORTS,
    Asked,
    from_address,
    near_of,
    to_address,
)
from imgsearch.ui.asking import question_of
from imgsearch.ui.detail import described
from imgsearch.ui.export import as_csv, as_text, groups_as_csv, surplus_as_text
from imgsearch.ui.gate import Gate
from imgsearch.ui.jobs import IndexJob, JobState
from imgsearch.ui.marks import marks_told, set_marks
from imgsearch.ui.server import is_loopback, listen
from imgsearch.ui.shared import Shared, configure
from imgsearch.ui.words import counted, human_seconds, plain

PAGE = str(Path(imgsearch.__file__).parent / "ui" / "page.py")

texts = st.text(max_size=20).map(str.strip)
# What the names of folders are on Linux: any bytes.
paths = st.binary(max_size=20).map(os.fsdecode) | texts.map("quoted:".__add__)
picture_ids = st.lists(st.integers(0, 2**53), max_size=4, unique=True)
asked = st.builds(
    Asked,
    q=texts,
    like=st.none() | st.integers(0, 2**53),
    folder=st.lists(paths | texts, max_size=3).map(tuple),
    since=st.none() | st.dates(),
    until=st.none() | st.dates(),
    camera=st.lists(texts, max_size=3).map(tuple),
    orientation=st.lists(st.sampled_from(ORIENTATIONS), unique=True).map(tuple),
    size=st.none() | st.sampled_from(sorted(SIZES)),
    type=st.lists(texts, max_size=3).map(tuple),
    lens=st.lists(texts, max_size=3).map(tuple),
    keyword=st.lists(texts.filter(bool), max_size=3).map(tuple),
    rating=st.none() | st.sampled_from(RATINGS),
    place=st.none() | st.sampled_from(sorted(PLACES)),
    near=texts | st.sampled_from(("1,2", "91,0", "1,2,3", "nan,1", "1,2,inf")),
    name=texts,
    sort=st.sampled_from(SORTS),
    strength=st.integers(0, 100),
    saved=texts,
    good=picture_ids.map(lambda ids: tuple(2 * one for one in ids if one < 2**52)),
    bad=picture_ids.map(lambda ids: tuple(2 * one + 1 for one in ids if one < 2**52)),
    weaker=st.booleans(),
    frames=st.booleans(),
    dates=st.booleans(),
)


@given(asked)
def test_an_address_holds_all_that_is_asked(wanted: Asked) -> None:
    address = to_address(wanted)

    assert from_address(address) == wanted
    assert (wanted.filters.near is None) == (near_of(wanted.near) is None)
    assert all(value.encode() for values in address.values() for value in values if value)


@given(st.dictionaries(st.sampled_from(sorted(Asked.__slots__)), st.lists(st.text()), max_size=6))
def test_no_address_is_an_error(address: dict[str, list[str]]) -> None:
    read = from_address(address)

    assert from_address(to_address(read)) == read
    assert read.filters.any in (True, False)


@pytest.mark.parametrize(
    ("loopback", "kind", "headers", "passes"),
    [
        (True, "http", {"host": "127.0.0.1:8000"}, True),
        (True, "http", {"host": "LOCALHOST:8000"}, True),
        (True, "http", {"host": "[::1]:8000"}, True),
        (True, "http", {"host": "127.0.0.1:8001"}, False),
        (True, "http", {"host": "photos.example:8000"}, False),
        (True, "http", {"host": "127.0.0.1:8000@evil.test:8000"}, False),
        (True, "http", {}, False),
        (True, "http", {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, True),
        (True, "http", {"host": "127.0.0.1:8000", "origin": "http://evil.test"}, False),
        (True, "http", {"host": "127.0.0.1:8000", "origin": "null"}, False),
        (True, "http", {"host": "127.0.0.1:8000", "origin": "http://["}, False),
        (True, "websocket", {"host": "127.0.0.1:8000"}, False),
        (True, "websocket", {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, True),
        (True, "websocket", {"host": "127.0.0.1:8000", "origin": "http://localhost:1"}, False),
        (False, "http", {"host": "192.168.1.7:8000"}, True),
        (False, "http", {"host": "rebound.evil.test:8000"}, False),
        (False, "websocket", {"host": "192.168.1.7:80", "origin": "http://192.168.1.7:80"}, True),
        (False, "websocket", {"host": "192.168.1.7:80", "origin": "http://192.168.1.8:80"}, False),
    ],
)
def test_the_gate(loopback: bool, kind: str, headers: dict[str, str], passes: bool) -> None:
    async def nothing(*_: Any) -> None:
        return

    gate = Gate(nothing, port=8000, loopback=loopback)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]

    assert gate.admits(kind, raw) is passes


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.7", False), ("example.org", False)],
)  # fmt: skip
def test_what_is_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_two_servers_that_start_together_get_two_ports() -> None:
    first, second = listen("127.0.0.1", None), listen("127.0.0.1", None)
    taken = first.getsockname()[1]

    with first, second:
        assert second.getsockname()[1] != taken
        with pytest.raises(PortTaken, match="--port"):
            listen("127.0.0.1", taken)
    with pytest.raises(UsageError, match="no address"):
        listen("no.such.host.invalid", None)


@given(st.text())
def test_plain_text_keeps_every_character(text: str) -> None:
    left = plain(text).replace("\\", "").replace("\u2060", "")
    assert left == text.replace("\\", "").replace("\u2060", "")


@pytest.mark.parametrize("text", ["http://evil.test", "HTTPS://a", "www.evil.test", "a@evil.test"])
def test_plain_text_has_no_addresses_that_become_links(text: str) -> None:
    assert "\u2060" in plain(text)


def test_names_of_screenshots_and_emoji_are_shown_as_they_are() -> None:
    path = "/photos/Shot 3.04\u202fPM \U0001f468\u200d\U0001f469.png"
    facts = PictureFacts(width=1, height=1, format="PNG")
    hit = SearchHit(path, None, 1, (), 1, facts, "00", 0.0)

    assert hit.shown_path == path


def test_numbers_for_people() -> None:
    assert counted(1, "photo") == "1 photo"
    assert counted(12_000, "photo") == "12,000 photos"
    assert [human_seconds(n) for n in (0.1, 40, 600, 9000)] == [
        "1 second",
        "40 seconds",
        "10 minutes",
        "2.5 hours",
    ]


@pytest.fixture
def filled(
    tmp_path: Path, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> Iterator[Shared]:
    """A page over a few photos under the fake encoder."""
    for colour in ("red", "green", "blue"):
        make_photo(f"{colour}.png", colour)
    make_photo("trip/tall.jpg", "yellow", exif=camera_exif("=Cam|1", "2020:05:01 10:00:00"))
    with Library.open(tmp_path / "library", model=FakeEncoder()) as library:
        library.index(folder, settings=settings)
    shared = Shared(tmp_path / "library", FakeEncoder(), local=True)
    configure(shared)
    yield shared
    shared.library.close()


def camera_exif(camera: str, taken: str) -> Any:
    exif = Image.Exif()
    exif[0x0110] = camera
    exif.get_ifd(0x8769)[0x9003] = taken
    exif.get_ifd(0x8769)[0xA434] = "Lens 50mm"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 36.0), 3: "E", 4: (2.0, 21.0, 0.0)})
    exif[0x4746], exif[0x9C9E] = 4, "Beach;sea".encode("utf-16-le")
    return exif


def opened(**address: str) -> AppTest:
    """Run the page's script as for a visitor who comes with this address."""
    app = AppTest.from_file(PAGE, default_timeout=20)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def shown(app: AppTest) -> list[str]:
    """Return the names in the grid."""
    data = json.loads(app.get_by_key("gallery").proto.json)
    return [item["name"] for item in data["items"]]


@pytest.mark.usefixtures("filled")
def test_without_words_all_photos_are_shown() -> None:
    app = opened()

    assert sorted(shown(app)) == ["blue.png", "green.png", "red.png", "tall.jpg"]
    assert any("newest first" in caption.value for caption in app.caption)


@pytest.mark.usefixtures("filled")
def test_words_rank_and_go_into_the_address() -> None:
    app = opened()

    app.text_input(key="q").set_value("green").run()

    assert shown(app)[0] == "green.png"
    assert app.query_params["q"] == "green"


@pytest.mark.usefixtures("filled")
def test_filters_of_the_sidebar_narrow_the_results(folder: Path) -> None:
    app = opened(q="red")

    app.multiselect(key="f_folder").set_value([str(folder / "trip")]).run()
    assert shown(app) == ["tall.jpg"]
    app.multiselect(key="f_folder").set_value([]).run()
    app.multiselect(key="f_type").set_value(["PNG"]).run()
    app.toggle(key="f_weaker").set_value(True).run()
    assert len(shown(app)) == 3
    app.date_input(key="f_until").set_value(date(2020, 12, 31)).run()
    assert shown(app) == []
    assert any("Loosen them" in caption.value for caption in app.caption)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("address", "passes"),
    [
        ({"lens": "Lens 50mm"}, True),
        ({"keyword": "BEACH"}, True),
        ({"rating": "4"}, True),
        ({"rating": "5"}, False),
        ({"place": "with"}, True),
        ({"near": "48.86, 2.35, 1"}, True),
        ({"near": "0, 0"}, False),
        ({"name": "TALL.*"}, True),
        ({"name": "blue*", "place": "with"}, False),
    ],
)
def test_filters_of_an_address(address: dict[str, str], passes: bool) -> None:
    app = opened(q="red", **address)

    assert shown(app) == (["tall.jpg"] if passes else [])


@pytest.mark.usefixtures("filled")
def test_labels_and_places_in_the_sidebar() -> None:
    app = opened(q="red")

    app.multiselect(key="f_keyword").set_value(["sea"]).run()
    assert shown(app) == ["tall.jpg"]
    assert app.query_params["keyword"] in ("sea", ["sea"])
    app.selectbox(key="f_rating").set_value(5).run()
    assert shown(app) == []
    app.selectbox(key="f_rating").set_value(None).run()
    app.text_input(key="f_near").set_value("nowhere").run()
    assert shown(app) == ["tall.jpg"]
    assert any("no place" in caption.value for caption in app.caption)


def test_rating_lens_and_keywords_are_told_of_a_photo(filled: Shared) -> None:
    [hit] = filled.library.search("red", filters=imgsearch.Filters(names=("tall.jpg",)))

    told = dict(described(hit))

    assert (told["Rating"], told["Keywords"], told["Lens"]) == (
        "\u2605" * 4,
        "Beach, sea",
        "Lens 50mm",
    )


@pytest.mark.usefixtures("filled")
def test_an_address_with_unknown_values_is_understood() -> None:
    app = opened(q="red", folder="/nowhere", camera="unknown", type="XYZ", like="999999")

    assert shown(app)[0] == "red.png"


@pytest.mark.usefixtures("filled")
def test_by_date_the_newest_match_comes_first() -> None:
    app = opened(sort="date")

    assert shown(app)[-1] == "tall.jpg"


def test_an_upload_is_searched_by_and_not_kept(filled: Shared, folder: Path) -> None:
    app = opened()

    content = (folder / "blue.png").read_bytes()
    app.file_uploader(key="upload-0").upload("a.png", content, "image/png").run()

    assert shown(app)[0] == "blue.png"
    assert (
        app.session_state["picture"].content_hash == filled.library.search("blue")[0].content_hash
    )
    assert app.file_uploader(key="upload-1").value is None


@pytest.mark.usefixtures("filled")
def test_the_library_page_shows_folders_failures_and_model(
    filled: Shared, folder: Path, settings: IndexSettings
) -> None:
    (folder / "broken *x*.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    filled.library.index(folder, settings=settings)

    app = AppTest.from_string(
        "from imgsearch.ui.library_page import show_library\nshow_library()", default_timeout=20
    ).run()

    texts = "\n".join(text.value for text in app.text)
    assert not app.exception
    assert "4 photos in 4 files" in texts
    assert "broken *x*.jpg: " in texts
    assert "fake (1), in use: 4 vectors of dimension 4" in texts
    assert str(folder) in texts


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_folders_that_are_not_utf8_are_shown_and_filtered_by(
    filled: Shared, tmp_path: Path, make_photo: MakePhoto, settings: IndexSettings
) -> None:
    root = tmp_path / os.fsdecode(b"root\xff")
    inner = root / os.fsdecode(b"in\xfe")
    inner.mkdir(parents=True)
    make_photo("orange.png", "orange").rename(inner / "orange.png")
    filled.library.index(root, settings=settings)

    app = opened()
    app.multiselect(key="f_folder").set_value([str(inner)]).run()
    assert not app.exception
    assert shown(app) == ["orange.png"]
    [folder] = to_address(Asked(folder=(str(inner),)))["folder"]
    assert shown(opened(folder=folder)) == ["orange.png"]

    app = AppTest.from_string(
        "from imgsearch.ui.library_page import show_library\nshow_library()", default_timeout=20
    )
    app.session_state["browsing"] = str(root)
    app.run()
    assert not app.exception
    assert any("root\\udcff" in text.value for text in app.text)
    assert app.selectbox(key="subfolder").options == ["in\\udcfe"]


@pytest.mark.parametrize("typed", ["~nobody-of-that-name/x", "/" + "b" * 300, "/a\0b", "''"])
def test_what_is_no_folder_is_refused_kindly(filled: Shared, typed: str) -> None:
    app = AppTest.from_string(
        "from imgsearch.ui.library_page import show_library\nshow_library()", default_timeout=20
    ).run()

    app.text_input(key="folder_path").set_value(typed)
    next(button for button in app.button if button.label == "Add").click().run()

    assert not app.exception
    assert len(app.warning) == 1
    assert filled.job.state.folders == ()


def test_quotes_around_a_folder_are_taken_off(filled: Shared, folder: Path) -> None:
    app = AppTest.from_string(
        "from imgsearch.ui.library_page import show_library\nshow_library()", default_timeout=20
    ).run()

    app.text_input(key="folder_path").set_value(f"'{folder}'")
    next(button for button in app.button if button.label == "Add").click().run()

    assert filled.job.state.folders == (str(folder),)
    filled.job.stop()
    while filled.job.state.running:
        time.sleep(0.05)


def test_a_catalog_that_is_gone_is_no_first_start(filled: Shared) -> None:
    filled.library.close()
    for file in filled.library.path.glob("catalog.sqlite*"):
        file.unlink()

    app = opened()

    assert "has lost its catalog" in app.warning[0].value
    assert "imgsearch restore" in app.warning[0].value
    # It can be begun anew.
    assert any(button.label == "Add" for button in app.button)


def test_visitors_from_elsewhere_cannot_choose_folders(filled: Shared) -> None:
    filled.local = False

    app = AppTest.from_string(
        "from imgsearch.ui.library_page import show_library\nshow_library()", default_timeout=20
    ).run()

    assert not app.exception
    assert [button.label for button in app.button] == []
    assert [field.label for field in app.text_input] == []


LIBRARY = "from imgsearch.ui.library_page import show_library\nshow_library()"


def click(app: AppTest, label: str) -> AppTest:
    """Press the first button with this label."""
    return next(button for button in app.button if button.label == label).click().run()


def finished(shared: Shared) -> JobState:
    """Wait for the run in the background; return how it ended."""
    for _ in range(600):
        if not shared.job.state.running:
            break
        time.sleep(0.05)
    return shared.job.state


def test_a_folder_is_scanned_again_and_its_failures_tried_again(
    filled: Shared, folder: Path, settings: IndexSettings
) -> None:
    for number in range(201):
        (folder / f"broken{number}.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    filled.library.index(folder, settings=settings)
    (folder / "red.png").unlink()

    app = click(AppTest.from_string(LIBRARY, default_timeout=20).run(), "Scan again")
    scanned = finished(filled)
    app.run()
    assert any("1 removed" in message.value for message in app.success)
    assert any(text.value.startswith("and ") for text in app.caption)
    app = click(app, "Try them again")

    assert not app.exception
    assert scanned.report is not None
    assert (scanned.report.removed, scanned.report.failed) == (1, 201)
    retried = finished(filled).report
    assert retried is not None
    assert retried.failed == 201


def test_a_folder_that_is_not_there_is_kept_and_said_so(filled: Shared, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))

    app = AppTest.from_string(LIBRARY, default_timeout=20).run()

    assert not app.exception
    assert any("Not there now" in caption.value for caption in app.caption)
    assert next(one for one in app.button if one.label == "Scan again").disabled


def test_folders_are_looked_for_step_by_step(filled: Shared, folder: Path) -> None:
    app = AppTest.from_string(LIBRARY, default_timeout=20)
    app.session_state["browsing"] = str(folder)
    app.run()

    app.selectbox(key="subfolder").set_value("trip").run()
    assert any(text.value == str(folder / "trip") for text in app.text)
    click(app, "Up")
    assert any(text.value == str(folder) for text in app.text)
    click(app, "Index this folder")

    assert not app.exception
    assert finished(filled).folders == (str(folder),)


def test_a_folder_that_cannot_be_listed_is_told(filled: Shared, tmp_path: Path) -> None:
    app = AppTest.from_string(LIBRARY, default_timeout=20)
    app.session_state["browsing"] = str(tmp_path / "gone")

    app.run()

    assert not app.exception
    assert any("cannot be looked into" in warning.value for warning in app.warning)


def test_an_empty_folder_and_a_second_run_are_told(filled: Shared, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    filled.job.start([str(tmp_path / "empty")])
    finished(filled)

    app = AppTest.from_string(LIBRARY, default_timeout=20).run()

    assert not app.exception
    assert any("there are no photos in it" in warning.value for warning in app.warning)


SIMILAR = "from imgsearch.ui.similar_page import show_similar\nshow_similar()"


def test_a_comparison_shows_how_far_it_is_can_be_stopped_and_goes_on(
    filled: Shared, folder: Path, settings: IndexSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "red.png", folder / "red again.png")
    filled.library.index(folder, settings=settings)
    may_go_on = threading.Event()
    compare = filled.library.near_duplicates

    def slowly(*arguments: Any, progress: Any, **options: Any) -> Any:
        progress(1, 4)
        may_go_on.wait(20)
        return compare(*arguments, progress=progress, **options)

    monkeypatch.setattr(filled.library, "near_duplicates", slowly)
    app = AppTest.from_string(SIMILAR, default_timeout=20).run()
    assert not app.exception
    filled.similar.stop()
    may_go_on.set()
    filled.similar.wait(20)
    app.run()
    assert any("Stopped" in info.value for info in app.info)
    click(app, "Go on")
    filled.similar.wait(20)
    app.run()

    assert not app.exception
    assert any("1 group with 2 files" in text.value for text in app.text)


def test_a_comparison_that_fails_says_why(filled: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise LibraryFull("The disk is full.")

    monkeypatch.setattr(filled.library, "near_duplicates", fails)

    app = AppTest.from_string(SIMILAR, default_timeout=20).run()
    filled.similar.wait(20)
    app.run()

    assert not app.exception
    assert [warning.value for warning in app.warning] == [plain("The disk is full.")]


def test_the_page_of_copies_marks_the_best(
    filled: Shared, folder: Path, settings: IndexSettings
) -> None:
    shutil.copy(folder / "red.png", folder / "red <b> again.png")
    filled.library.index(folder, settings=settings)

    app = AppTest.from_string(SIMILAR, default_timeout=20).run()
    filled.similar.wait(20)
    app.run()

    assert not app.exception
    assert any("1 group with 2 files" in text.value for text in app.text)
    assert [code.value for code in app.code] == [
        str(folder / "red <b> again.png"),
        str(folder / "red.png"),
    ]
    [group] = filled.library.near_duplicates()
    assert surplus_as_text([group]) == bytes(folder / "red.png") + b"\n"
    assert groups_as_csv([group]).count(b"\n") == 3


def test_the_page_of_copies_says_when_there_are_none(filled: Shared) -> None:
    app = AppTest.from_string(SIMILAR, default_timeout=20).run()
    filled.similar.wait(20)
    app.run()

    assert not app.exception
    assert any("no copies" in text.value for text in app.text)


def test_lists_for_spreadsheets_hold_no_formulas(filled: Shared, folder: Path) -> None:
    [hit] = [one for one in filled.library.search("yellow") if one.name == "tall.jpg"]

    assert as_text([hit]) == bytes(folder / "trip" / "tall.jpg") + b"\n"
    assert b"'=Cam|1" in as_csv([hit])


def test_an_index_run_that_fails_says_why(tmp_path: Path) -> None:
    job = IndexJob(lambda: Library.open(tmp_path / "library", model=FakeEncoder()))

    assert job.start([str(tmp_path / "not there")])
    for _ in range(200):
        if not job.state.running:
            break
        time.sleep(0.05)

    assert job.state.error is not None
    assert "not there" in job.state.error


def test_marks_in_an_address_are_few_and_of_one_kind_each() -> None:
    numbers = [str(number) for number in range(300)]

    read = from_address({"good": [*numbers[:150], "x", "-1"], "bad": numbers})

    assert (read.good, read.bad) == (tuple(range(150)), tuple(range(150, 200)))


def told(app: AppTest) -> str:
    """Return what the page says in text."""
    return "\n".join(one.value for one in [*app.caption, *app.text, *app.warning])


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("words", "first"),
    [("red + green", "tall.jpg"), ('"blue":3 + red:0.2', "blue.png"), ("yellow -green", "red.png")],
)
def test_the_box_takes_parts_weights_and_what_is_not_wanted(words: str, first: str) -> None:
    assert shown(opened(q=words, weaker="1"))[0] == first


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("-people", "Say what the photo shows"),
        (" + ".join("abcdefghijklmnopqr"), "more than 16 parts"),
    ],
)
def test_a_query_that_means_nothing_is_explained(words: str, reason: str) -> None:
    app = opened(q=words)

    assert [reason in one.value.replace("\\", "") for one in app.warning] == [True]
    assert "imgsearch query" not in told(app)
    app.text_input(key="q").set_value("red").run()
    assert shown(app)[0] == "red.png"


@pytest.mark.usefixtures("filled")
def test_results_end_where_they_stop_matching_unless_weaker_ones_are_wanted() -> None:
    app = opened(q="red")
    assert shown(app) == ["red.png"]

    app.button(key="weaker").click().run()

    assert len(shown(app)) == 4
    assert app.query_params["weaker"] in ("1", ["1"])
    assert app.toggle(key="f_weaker").value
    app.toggle(key="f_weaker").set_value(False).run()
    assert shown(app) == ["red.png"]


@pytest.mark.usefixtures("filled")
def test_where_nothing_matches_the_page_says_so() -> None:
    app = opened(q="nonsense")

    assert "Nothing matches well; the closest are:" in told(app)
    assert shown(app)
    assert "Nothing matches" not in told(opened(q="red"))


def test_orders(filled: Shared, folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*.*")}
    by_size = sorted(sizes, key=lambda name: -sizes[name])

    app = opened()
    listing = app.button_group(key="f_listing")
    assert listing.options == ["Newest", "Name", "Largest"]
    listing.set_value("name").run()
    assert shown(app) == ["blue.png", "green.png", "red.png", "tall.jpg"]
    assert "by name" in told(app)
    app.text_input(key="q").set_value("red + blue + green").run()
    app.button_group(key="f_sort").set_value("size").run()
    assert sorted(shown(app), key=by_size.index) == shown(app)
    assert app.query_params["sort"] in ("size", ["size"])
    assert len(app.button_group(key="f_sort").options) == 4


@pytest.fixture
def bursts(filled: Shared, folder: Path, make_photo: MakePhoto, settings: IndexSettings) -> Shared:
    """The page, with three frames of a red moment more."""
    for mark in range(1, 4):
        make_photo(f"red {mark}.png", "red", mark)
    filled.library.index(folder, settings=settings)
    return filled


@pytest.mark.usefixtures("bursts")
def test_a_tile_stands_for_the_frames_of_its_moment() -> None:
    app = opened(q="red")
    data = json.loads(app.get_by_key("gallery").proto.json)
    assert [item["others"] for item in data["items"]] == [3]
    assert "1 result for 4 photos" in told(app)

    app.toggle(key="f_frames").set_value(True).run()

    assert len(shown(app)) == 4
    assert app.query_params["frames"] in ("1", ["1"])


def test_marks_order_the_results_anew(filled: Shared) -> None:
    ids = {hit.name: hit.picture_id for hit in filled.library.search(sort="name")}
    before = shown(opened(q="red", weaker="1"))

    app = opened(q="red", weaker="1", good=str(ids["blue.png"]), bad=str(ids["tall.jpg"]))

    assert before[:2] == ["red.png", "tall.jpg"]
    assert shown(app)[0] == "blue.png"
    assert shown(app)[-1] != "blue.png"
    data = json.loads(app.get_by_key("gallery").proto.json)
    assert data["marks"] == {"good": [ids["blue.png"]], "bad": [ids["tall.jpg"]]}
    app.button(key="forget-good").click().run()
    assert "good" not in app.query_params
    app.button(key="forget-bad").click().run()
    assert shown(app) == before
    # Other words are another search.
    app = opened(q="red", good=str(ids["blue.png"]))
    app.text_input(key="q").set_value("green").run()
    assert shown(app) == ["green.png"]


@pytest.mark.usefixtures("filled")
def test_marks_of_photos_that_are_gone_do_no_harm() -> None:
    assert shown(opened(q="red", good="999999", bad="999998")) == ["red.png"]
    assert not opened(good="999999").exception


def test_the_oldest_marks_make_room() -> None:
    state = st_state.session_state
    state.good, state.bad = tuple(range(150)), tuple(range(200, 250))

    set_marks({1000: "bad", 3: "bad", 200: ""})

    assert (state.good[0], len(state.good), state.bad[-2:]) == (1, 148, (1000, 3))
    assert 200 not in state.bad


@pytest.mark.parametrize(
    "message", [None, 5, ["good"], {"x": "good"}, {"1": "great"}, {"9" * 20: "bad"}]
)
def test_what_is_no_mark_is_left_out(message: object) -> None:
    assert marks_told(message) == {}


def test_saved_searches_are_listed_run_and_left(filled: Shared) -> None:
    assert not opened().get("button_group")[0].options[0].startswith("mine")
    query = Query(
        terms=terms_of("red", without="green"),
        filters=imgsearch.Filters(formats=("PNG",)),
        sort="name",
        cut_off=False,
    )
    filled.library.save_search("mine [1]", query)

    app = opened()
    app.button_group(key="f_saved").set_value("mine [1]").run()

    assert shown(app) == sorted(shown(app))
    assert len(shown(app)) >= 1
    assert "tall.jpg" not in shown(app)
    assert "Saved search mine [1]: red -green with filters" in told(app)
    assert app.query_params["saved"] in ("mine [1]", ["mine [1]"])
    linked = opened(saved="mine [1]")
    assert shown(linked) == shown(app)
    assert linked.button_group(key="f_sort").value == "name"
    app.multiselect(key="f_type").set_value(["JPEG"]).run()
    assert set(shown(app)) <= {"tall.jpg"}
    app.text_input(key="q").set_value("blue").run()
    assert "saved" not in app.query_params
    assert "Saved search" not in told(app)


def test_a_saved_search_by_a_file_and_marks_runs(filled: Shared, folder: Path) -> None:
    [red] = [hit for hit in filled.library.search("red") if hit.name == "red.png"]
    query = Query(terms=terms_of("blue:0.2", like=folder / "red.png"), good=(red.picture_id,))
    filled.library.save_search("file", query)

    app = opened(saved="file")

    assert shown(app)[0] == "red.png"
    assert "Saved search file: blue:0.2 + red.png" in told(app)
    assert app.button(key="forget-good").label == "1 good"
    assert not opened(saved="file", sort="match", good="999").exception


@pytest.mark.usefixtures("filled")
def test_a_saved_search_that_is_gone_is_explained() -> None:
    app = opened(saved="gone")

    assert len(app.warning) == 1
    assert "No search" in app.warning[0].value


def named(app: AppTest, label: str) -> Any:
    """Return the button of that label."""
    return next(button for button in app.button if button.label == label)


def saving(asked: Asked) -> AppTest:
    """Run the dialog that saves a search; a dialog of the page would be closed by the next run."""

    def script(asked):  # type: ignore[no-untyped-def] # runs where no name is imported
        import streamlit

        from imgsearch.ui.saved import ask_for_name
        from imgsearch.ui.shared import get_shared

        streamlit.session_state.setdefault("picture", None)
        ask_for_name(get_shared(), asked, get_shared().library.saved_searches())

    return AppTest.from_function(script, args=(asked,), default_timeout=20).run()


def test_a_search_is_saved_and_replaced_only_when_that_is_said_twice(filled: Shared) -> None:
    app = saving(Asked(q='"red" -green', sort="date", type=("PNG",)))
    app.text_input(key="save_name").set_value("reds")
    named(app, "Save").click().run()
    [(name, query)] = filled.library.saved_searches().items()
    assert (name, query.described, query.sort) == ("reds", "red -green with filters", "date")

    app = saving(Asked(saved="reds", strength=50))
    app.text_input(key="save_name").set_value("reds")
    named(app, "Save").click().run()
    assert "Save once more" in app.warning[0].value
    assert filled.library.saved_search("reds") == query
    named(app, "Save").click().run()
    again = filled.library.saved_search("reds")
    assert (again.min_strength, again.terms, again.filters) == (50, query.terms, query.filters)


@pytest.mark.parametrize("name", ["", "  "])
def test_a_search_needs_a_name(filled: Shared, name: str) -> None:
    app = saving(Asked(q="red"))
    app.text_input(key="save_name").set_value(name)
    named(app, "Save").click().run()

    assert "needs a name" in app.warning[0].value
    assert filled.library.saved_searches() == {}


def test_saving_while_another_process_writes_is_refused_kindly(
    filled: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch.data.connection.BUSY_TIMEOUT_SECONDS", 0.1)
    app = saving(Asked(q="red"))
    app.text_input(key="save_name").set_value("reds")
    with contextlib.closing(sqlite3.connect(filled.library.path / "catalog.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        named(app, "Save").click().run()

        assert not app.exception
        assert "process" in app.warning[0].value
    named(app, "Save").click().run()
    assert list(filled.library.saved_searches()) == ["reds"]


def test_visitors_from_elsewhere_run_saved_searches_and_change_none(filled: Shared) -> None:
    filled.library.save_search("reds", Query(terms=terms_of("red")))
    filled.local = False

    app = opened(saved="reds")

    assert shown(app) == ["red.png"]
    labels = {button.label for button in app.button}
    assert not labels & {"Save this search", "Forget"}


@pytest.mark.usefixtures("filled")
def test_dates_in_words() -> None:
    app = opened(q="yellow in 2020")
    assert "Only photos from" not in told(app)

    app.toggle(key="f_dates").set_value(True).run()

    assert shown(app) == ["tall.jpg"]
    assert "Only photos from 2020-01-01 to 2020-12-31" in told(app)
    assert app.query_params["dates"] in ("1", ["1"])
    # A date alone lists what was taken then.
    app.text_input(key="q").set_value("in 2020").run()
    assert shown(app) == ["tall.jpg"]
    assert "newest first" in told(app)


def test_how_well_each_part_is_met_is_told_of_a_photo(filled: Shared) -> None:
    asked = Asked(q="red + blue:0.5 -green")
    question = question_of(filled.library, asked, None, date(2026, 1, 1))
    hit = filled.library.answer(question.query)[0]

    parts = dict(described(hit))["Of each part"]

    assert re.fullmatch(r"red: \d+; blue:0.5: \d+; not green: \d+", parts)
    single = question_of(filled.library, Asked(q="red"), None, date(2026, 1, 1))
    assert "Of each part" not in dict(described(filled.library.answer(single.query)[0]))
