"""The page as its visitors meet it: a live server, a real library, a real browser."""

from __future__ import annotations

import base64
import csv
import hashlib
import http.client
import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import EXAMPLES
from live_page import Server, Visitor, running_browser, serving
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, expect

from imgsearch import Library

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
BERLIN = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photos, some with a hostile name, a place, a folder of their own."""
    folder = tmp_path_factory.mktemp("page") / "photos"
    shutil.copytree(EXAMPLES, folder)
    (folder / "CREDITS.md").unlink()
    (folder / "cat.jpg").rename(folder / HOSTILE)
    (folder / "space").mkdir()
    (folder / "rocket_launch.jpg").rename(folder / "space" / "rocket_launch.jpg")
    exif = Image.Exif()
    exif[0x0110] = "Testcam 3"
    exif.get_ifd(0x8769)[0x9003] = "2021:07:14 10:00:00"
    exif.get_ifd(0x8825).update(BERLIN)
    with Image.open(folder / "coffee.jpg") as coffee:
        coffee.save(folder / "coffee.jpg", exif=exif, quality=92)
    return folder


@pytest.fixture(scope="module")
def server(photos: Path) -> Iterator[Server]:
    """A server over the photos, which must end without a complaint in its log."""
    library = photos.parent / "library"
    with Library.open(library) as opened:
        opened.index(photos)
    with serving(library, photos.parent / "server.log") as running:
        yield running
    assert running.complaints() == ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def errors() -> list[str]:
    """What the page's scripts complained about."""
    return []


@pytest.fixture(scope="module")
def same_browser(browser: Browser, errors: list[str]) -> BrowserContext:
    """What all tests share, since the page's scripts are read and compiled once for each of it."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))
    return context


@pytest.fixture
def context(same_browser: BrowserContext, errors: list[str]) -> Iterator[BrowserContext]:
    """A browser without tabs and cookies; errors of the page's scripts fail the test."""
    errors.clear()
    yield same_browser
    for page in same_browser.pages:
        page.close()
    same_browser.clear_cookies()
    assert errors == []


@pytest.fixture
def visitor(context: BrowserContext, server: Server) -> Visitor:
    visitor = Visitor.arriving(context, server)
    visitor.tiles.first.wait_for()
    return visitor


def test_words_show_the_right_photo_first(visitor: Visitor) -> None:
    expect(visitor.box).to_be_focused()

    visitor.page.keyboard.type("a cup of coffee")
    visitor.page.keyboard.press("Enter")
    visitor.wait_for_results({"q": ["a cup of coffee"]})

    assert visitor.names() == ["coffee.jpg"]
    visitor.page.get_by_text("Show weaker matches").first.click()
    visitor.wait_for_results({"q": ["a cup of coffee"], "weaker": ["1"]})
    assert visitor.names()[0] == "coffee.jpg"
    strengths = [int(text) for text in visitor.page.locator(".strength").all_inner_texts()]
    assert strengths[0] > 80 > 40 > strengths[1]
    assert strengths == sorted(strengths, reverse=True)


def test_a_link_and_the_back_button_bring_a_search_back(visitor: Visitor) -> None:
    visitor.search("a cat")
    visitor.search("a rocket")

    visitor.page.go_back()
    visitor.wait_for_results({"q": ["a cat"]})
    assert (visitor.box.input_value(), visitor.names()[0]) == ("a cat", HOSTILE)

    link = Visitor.arriving(visitor.page.context, visitor.server, "?q=a+rocket")
    link.wait_for_results({"q": ["a rocket"]})
    assert (link.box.input_value(), link.names()[0]) == ("a rocket", "rocket_launch.jpg")


def test_filters_work_together_with_the_words(visitor: Visitor) -> None:
    visitor.search("a cup of coffee")

    visitor.page.get_by_text("Portrait", exact=True).click()
    visitor.wait_for_results({"q": ["a cup of coffee"], "orientation": ["portrait"]})

    assert 0 < visitor.tiles.count() < 12
    assert "coffee.jpg" not in visitor.names()
    assert "orientation=portrait" in visitor.page.url


def test_a_folder_a_camera_and_dates_in_a_link(context: BrowserContext, server: Server) -> None:
    here = "q=photo&camera=Testcam+3&since=2021-07-14&until=2021-07-14"
    camera = Visitor.arriving(context, server, f"?{here}")
    camera.tiles.first.wait_for()
    assert camera.names() == ["coffee.jpg"]

    later = Visitor.arriving(context, server, "?q=photo&camera=Testcam+3&since=2021-07-15")
    expect(later.page.get_by_text("No photo passes these filters")).to_be_visible()

    nonsense = Visitor.arriving(context, server, "?q=cat&since=never&like=x&size=9&strength=-4")
    nonsense.tiles.first.wait_for()
    assert nonsense.names()[0] == HOSTILE


def test_more_like_this_combines_with_words(visitor: Visitor) -> None:
    visitor.search("a rocket")
    first = visitor.tiles.first

    first.hover()
    first.get_by_role("button", name="More like").click()
    expect(visitor.page.get_by_text("Looks like rocket_launch.jpg")).to_be_visible()
    assert "like=" in visitor.page.url

    visitor.page.get_by_role("button", name="Remove the picture").click()
    visitor.wait_for_results({"q": ["a rocket"]})
    expect(visitor.page.get_by_text("Looks like")).to_have_count(0)


def test_an_uploaded_picture_finds_itself(visitor: Visitor, photos: Path) -> None:
    visitor.page.get_by_text("By picture").click()
    visitor.page.locator("input[type=file]").set_input_files(photos / "blue_dress.jpg")

    expect(visitor.page.get_by_text("Looks like the picture that you gave")).to_be_visible()
    expect(visitor.tiles.first.locator("img")).to_have_attribute("alt", "blue_dress.jpg")


def test_an_upload_that_is_no_picture_is_refused_kindly(visitor: Visitor) -> None:
    visitor.page.get_by_text("By picture").click()
    garbage = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xffgarbage"}
    visitor.page.locator("input[type=file]").set_input_files(garbage)

    expect(visitor.page.get_by_text("This picture cannot be used")).to_be_visible()
    assert visitor.tiles.count() == 12


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_a_picture_can_be_pasted_and_dropped(visitor: Visitor, photos: Path, event: str) -> None:
    encoded = base64.b64encode((photos / "pink_cap.jpg").read_bytes()).decode()
    visitor.page.evaluate(
        """([encoded, event]) => {
            const bytes = Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], 'some.jpg', { type: 'image/jpeg' }));
            const options = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(event === 'paste'
                ? new ClipboardEvent('paste', { ...options, clipboardData: transfer })
                : new DragEvent('drop', { ...options, dataTransfer: transfer }));
        }""",
        [encoded, event],
    )

    expect(visitor.page.get_by_text("Looks like the picture that you gave")).to_be_visible()
    expect(visitor.tiles.first.locator("img")).to_have_attribute("alt", "pink_cap.jpg")


def test_a_photo_opens_large_with_its_facts(visitor: Visitor, photos: Path) -> None:
    visitor.search_all("a cup of coffee")

    visitor.tiles.first.locator(".open").click()

    dialog = visitor.dialog
    for fact in (str(photos / "coffee.jpg"), "Testcam 3", "2021-07-14 10:00", "600 x 400"):
        expect(dialog.get_by_text(fact)).to_be_visible()
    expect(dialog.get_by_role("img", name="Map: 52.52, 13.41")).to_be_visible()
    width = "() => document.querySelector('.imgsearch-photo')?.naturalWidth === 600"
    visitor.page.wait_for_function(width)
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_text("Testcam 3")).to_have_count(0)
    visitor.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(visitor.tiles.first.locator(".open")).to_be_focused()


def test_a_switch_colours_the_photo_where_the_words_were_found(visitor: Visitor) -> None:
    visitor.tiles.first.locator(".open").click()
    expect(visitor.dialog.locator(".imgsearch-photo")).to_be_visible()
    # Without words there is nothing to show.
    expect(visitor.dialog.get_by_text("Show where")).to_have_count(0)
    visitor.page.keyboard.press("Escape")
    expect(visitor.dialog).to_have_count(0)
    visitor.search_all("a cup of coffee & <milk>?")
    visitor.tiles.first.locator(".open").click()
    layer = visitor.dialog.locator(".imgsearch-heat")
    expect(visitor.dialog.get_by_text("Show where")).to_be_visible()
    expect(layer).to_have_count(0)

    visitor.dialog.get_by_text("Show where").click()

    expect(layer).to_be_visible()
    visitor.page.wait_for_function(
        "() => document.querySelector('.imgsearch-heat')?.naturalWidth === 384"
    )
    photo = visitor.dialog.locator(".imgsearch-photo").bounding_box()
    over = layer.bounding_box()
    assert photo is not None
    assert over is not None
    assert all(abs(photo[side] - over[side]) < 1 for side in photo)  # type: ignore[literal-required]
    # The next photo is shown in the same way.
    before = str(layer.get_attribute("src"))
    visitor.dialog.get_by_role("button", name="Next").click()
    expect(layer).not_to_have_attribute("src", before)
    expect(layer).to_have_count(1)
    visitor.dialog.get_by_text("Show where").click()
    expect(layer).to_have_count(0)


def test_the_original_is_downloaded_as_it_is(visitor: Visitor, photos: Path) -> None:
    visitor.search("a cat")
    visitor.tiles.first.locator(".open").click()

    with visitor.page.expect_download() as download:
        visitor.dialog.get_by_text("Download the original").click()

    assert Path(download.value.path()).read_bytes() == (photos / HOSTILE).read_bytes()
    assert download.value.suggested_filename.endswith(".jpg")


def test_selected_photos_are_exported(visitor: Visitor, photos: Path) -> None:
    visitor.search_all("a cup of coffee")
    for place in (0, 1):
        visitor.tiles.nth(place).hover()
        visitor.tiles.nth(place).get_by_role("checkbox").check()
        expect(visitor.page.get_by_text(f"{place + 1} selected")).to_be_visible()
    second = visitor.names()[1]

    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Paths").click()
    assert Path(download.value.path()).read_text().splitlines() == [
        str(photos / "coffee.jpg"),
        str(photos / second),
    ]
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["camera"] for row in rows] == ["Testcam 3", ""]
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("link", name="Files (zip)").click()
    archive = zipfile.ZipFile(download.value.path())
    assert archive.testzip() is None
    assert archive.namelist() == ["coffee.jpg", second]
    assert archive.read("coffee.jpg") == (photos / "coffee.jpg").read_bytes()

    visitor.page.get_by_role("button", name="Clear", exact=True).click()
    expect(visitor.page.locator(".tile.chosen")).to_have_count(0)


def test_a_quick_selection_loses_nothing(visitor: Visitor) -> None:
    visitor.search_all("a cat")
    boxes = visitor.page.locator(".tile .pick input")

    for number in range(10):
        boxes.nth(number).evaluate("box => box.click()")
        visitor.page.wait_for_timeout(70)

    count = visitor.page.get_by_text("10 selected")
    expect(count).to_be_visible()
    expect(visitor.page.locator(".tile.chosen")).to_have_count(10)
    # The bar is dark in both schemes.
    assert count.evaluate("text => getComputedStyle(text).color") == "rgb(255, 255, 255)"
    visitor.page.get_by_role("button", name="Clear", exact=True).click()
    expect(visitor.page.locator(".tile.chosen")).to_have_count(0)


def test_what_is_dropped_and_is_no_picture_is_refused(visitor: Visitor) -> None:
    visitor.page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["text"], "photo.heic"));
            const dropped = { bubbles: true, cancelable: true, dataTransfer };
            document.body.dispatchEvent(new DragEvent("drop", dropped));
        }"""
    )

    expect(visitor.page.get_by_text("This picture cannot be used.")).to_be_visible()


def test_file_names_are_text_and_never_markup(visitor: Visitor) -> None:
    visitor.search("a cat")

    visitor.tiles.first.hover()
    expect(visitor.tiles.first.locator(".name")).to_have_text(HOSTILE)
    visitor.tiles.first.locator(".open").click()
    expect(visitor.dialog.get_by_text(HOSTILE, exact=True)).to_be_visible()

    assert visitor.page.locator("img[src=x]").count() == 0


def test_the_keyboard_is_enough(visitor: Visitor) -> None:
    visitor.search_all("a cat")
    visitor.tiles.first.locator(".open").focus()

    visitor.page.keyboard.press("ArrowRight")
    expect(visitor.tiles.nth(1).locator(".open")).to_be_focused()
    visitor.page.keyboard.press("ArrowDown")
    visitor.page.keyboard.press("ArrowUp")
    visitor.page.keyboard.press("Enter")
    expect(visitor.dialog).to_be_visible()
    visitor.page.keyboard.press("Escape")
    expect(visitor.dialog).to_have_count(0)


def test_help_and_a_query_in_parts(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="help icon").first.click()
    expect(visitor.page.get_by_text("beaches without people")).to_be_visible()
    visitor.page.keyboard.press("Escape")

    visitor.search('"a rocket" + "the sky":0.5 -cat')

    assert visitor.names()[0] == "rocket_launch.jpg"
    visitor.tiles.first.locator(".open").click()
    parts = visitor.dialog.get_by_text(re.compile(r"^a rocket: \d+; the sky:0.5: \d+; not cat: "))
    expect(parts).to_be_visible()
    visitor.page.keyboard.press("Escape")
    expect(visitor.dialog).to_have_count(0)
    visitor.box.fill("-people")
    visitor.box.press("Enter")
    expect(visitor.page.get_by_text("says only what is not wanted")).to_be_visible()
    expect(visitor.tiles).to_have_count(0)


def test_frames_of_a_moment_are_picked_in_the_dialog(
    context: BrowserContext, tmp_path: Path, photos: Path
) -> None:
    folder, library = tmp_path / "photos", tmp_path / "library"
    shutil.copytree(photos, folder)
    with Image.open(folder / "coffee.jpg") as coffee:
        for quality in (80, 85, 90):
            coffee.save(folder / f"<b>{quality}.jpg", exif=coffee.getexif(), quality=quality)
    with Library.open(library) as opened:
        opened.index(folder)
    with serving(library, tmp_path / "log") as server:
        visitor = Visitor.arriving(context, server)
        visitor.search_all("a cup of coffee")
        expect(visitor.tiles.first.locator(".others")).to_have_text("+3")
        expect(visitor.tiles.nth(1).locator(".others")).to_have_count(0)
        first = visitor.tiles.first.get_by_role("button", name="Open")
        assert "stands for 3 more" in str(first.get_attribute("aria-label"))

        visitor.tiles.first.locator(".open").click()
        frames = visitor.dialog.locator(".frame")
        expect(frames).to_have_count(4)
        expect(frames.first).to_have_attribute("aria-current", "true")
        shown = visitor.dialog.locator(".imgsearch-photo")
        before = str(shown.get_attribute("src"))
        frames.nth(2).focus()
        visitor.page.keyboard.press("Enter")
        expect(shown).not_to_have_attribute("src", before)
        expect(frames.nth(2)).to_have_attribute("aria-current", "true")
        name = str(shown.get_attribute("alt"))
        assert str(frames.nth(2).get_attribute("aria-label")).endswith(name)
        assert "<b>" in "".join(
            str(frames.nth(place).get_attribute("aria-label")) for place in range(4)
        )
        found = Axe().run(visitor.page, options={"runOnly": ["wcag2a", "wcag2aa"]})
        assert serious(found.response) == []
        visitor.dialog.get_by_role("button", name="Next").click()
        expect(frames).to_have_count(0)
        visitor.page.keyboard.press("Escape")

        visitor.page.get_by_text("Show each frame").click()
        visitor.wait_for_results({"q": ["a cup of coffee"], "weaker": ["1"], "frames": ["1"]})
        expect(visitor.page.locator(".others")).to_have_count(0)
    assert server.complaints() == ""


def test_marks_by_keyboard_order_the_results_anew(visitor: Visitor) -> None:
    visitor.search("a rocket")
    before = visitor.names()
    last = visitor.page.locator(".tile", has=visitor.page.get_by_alt_text(before[-1], exact=True))
    good = last.get_by_role("button", name="Good match")
    last.locator(".open").focus()
    for _ in range(3):
        visitor.page.keyboard.press("Tab")
    expect(good).to_be_focused()

    visitor.page.keyboard.press("Enter")

    expect(visitor.page.get_by_role("button", name="1 good")).to_be_visible()
    expect(visitor.tiles.first.locator("img")).to_have_attribute("alt", before[-1])
    expect(good).to_have_attribute("aria-pressed", "true")
    expect(good).to_be_focused()
    assert "good=" in visitor.page.url
    visitor.page.keyboard.press("Enter")
    visitor.wait_for_results({"q": ["a rocket"]})
    assert visitor.names() == before
    expect(visitor.page.get_by_role("button", name="1 good")).to_have_count(0)
    visitor.page.go_back()
    expect(visitor.page.get_by_role("button", name="1 good")).to_be_visible()


def test_quick_marks_are_not_lost(visitor: Visitor) -> None:
    visitor.search_all("a rocket")

    visitor.page.locator(".gallery").evaluate(
        """(grid) => {
            const buttons = [...grid.querySelectorAll(".verdict.bad")].slice(0, 5);
            for (const button of buttons) button.click();
        }"""
    )

    expect(visitor.page.get_by_role("button", name="5 bad")).to_be_visible()
    visitor.page.get_by_role("button", name="5 bad").click()
    visitor.wait_for_results({"q": ["a rocket"], "weaker": ["1"]})


def test_marks_of_a_selection_and_in_the_dialog(visitor: Visitor) -> None:
    visitor.search("a rocket")
    visitor.page.get_by_text("Show weaker matches").first.click()
    visitor.wait_for_results({"q": ["a rocket"], "weaker": ["1"]})
    for place in (0, 1):
        visitor.tiles.nth(place).get_by_role("checkbox").evaluate("box => box.click()")
        expect(visitor.page.get_by_text(f"{place + 1} selected")).to_be_visible()
    visitor.page.get_by_role("button", name="Good matches").click()
    expect(visitor.page.get_by_role("button", name="2 good")).to_be_visible()
    expect(visitor.page.get_by_text("2 selected")).to_have_count(0)

    visitor.tiles.nth(2).locator(".open").click()
    visitor.dialog.get_by_role("button", name="Bad match").click()

    expect(visitor.page.get_by_role("button", name="1 bad")).to_be_visible()
    expect(visitor.dialog).to_have_count(0)
    # Other words are another search.
    visitor.box.fill("a cat")
    visitor.box.press("Enter")
    visitor.wait_for_results({"q": ["a cat"], "weaker": ["1"]})
    expect(visitor.page.get_by_role("button", name="2 good")).to_have_count(0)


def test_a_search_is_saved_run_and_forgotten(visitor: Visitor) -> None:
    name = "<i>rockets</i> *1*"
    visitor.search("a rocket -cat")
    visitor.page.get_by_role("button", name="Save this search").click()
    visitor.dialog.get_by_label("Name", exact=True).fill(name)
    visitor.page.keyboard.press("Enter")
    sidebar = visitor.page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text(name)).to_be_visible()
    expect(visitor.dialog).to_have_count(0)

    visitor.search("a cat")
    sidebar.get_by_text(name).click()
    visitor.wait_for_results({"saved": [name], "sort": ["match"]})
    assert (visitor.names()[0], visitor.box.input_value()) == ("rocket_launch.jpg", "")
    expect(visitor.page.get_by_text(f"Saved search {name}: a rocket -cat")).to_be_visible()

    visitor.page.get_by_role("button", name="Leave it").click()
    visitor.wait_for_results({})
    sidebar.get_by_text(name).click()
    visitor.wait_for_results({"saved": [name], "sort": ["match"]})
    sidebar.get_by_role("button", name="Forget").click()
    visitor.dialog.get_by_role("button", name="Forget").click()
    expect(sidebar.get_by_text(name)).to_have_count(0)
    visitor.wait_for_results({})


def test_two_tabs_do_not_disturb_each_other(visitor: Visitor) -> None:
    other = Visitor.arriving(visitor.page.context, visitor.server)

    visitor.search("a cat")
    other.search("a rocket")

    assert (visitor.names()[0], other.names()[0]) == (HOSTILE, "rocket_launch.jpg")


def test_twenty_quick_searches_in_a_row(visitor: Visitor) -> None:
    for number in range(20):
        visitor.box.fill(f"a cat number {number}")
        visitor.box.press("Enter")

    visitor.wait_for_results({"q": ["a cat number 19"]})
    assert visitor.names()[0] == HOSTILE
    assert visitor.server.complaints() == ""


def serious(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the violations that axe found, without minor ones: the rule and the elements."""
    return [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] != "minor"
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "address", ["?q=a+cat", "?q=in+2026+a+cat+-dog&weaker=1&dates=1&good=1&bad=2"]
)
def test_nobody_is_shut_out(
    context: BrowserContext, server: Server, scheme: Literal["light", "dark"], address: str
) -> None:
    visitor = Visitor(context.new_page(), server)
    visitor.page.emulate_media(color_scheme=scheme)
    visitor.page.goto(server.url + address)
    visitor.tiles.first.wait_for()

    found = Axe().run(visitor.page, options={"runOnly": ["wcag2a", "wcag2aa"]})

    assert serious(found.response) == []


def test_a_phone_sees_whole_photos(context: BrowserContext, server: Server) -> None:
    visitor = Visitor(context.new_page(), server)
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    visitor.page.goto(server.url + "?q=a+cat")
    visitor.tiles.first.wait_for()

    widths = visitor.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    box = visitor.tiles.first.bounding_box()

    assert widths[0] <= widths[1]
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def fetched(server: Server, path: str, **headers: str) -> tuple[bytes, dict[str, str]]:
    """Ask the server for exactly this path; fail on any other status than 200."""
    status, content, answered = asked_for(server, path, **headers)
    assert status == 200, content
    return content, answered


def asked_for(
    server: Server, path: str, host: str | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.host.split(":")[1]))
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or server.host)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, {key.lower(): value for key, value in answer.getheaders()}


def test_thumbnails_are_kept_by_the_browser(visitor: Visitor) -> None:
    source = str(visitor.tiles.first.locator("img").get_attribute("src"))

    content, headers = fetched(visitor.server, source)

    assert "max-age=31536000" in headers["cache-control"]
    assert Image.open(io.BytesIO(content)).format == "JPEG"
    assert len(content) < 60_000
    again = asked_for(visitor.server, source, **{"If-None-Match": headers["etag"]})
    assert again[:2] == (304, b"")


@pytest.mark.parametrize(
    "route", ["thumbnail/{}.jpg", "view/{}", "original/{}", "heat/{}.png?words=cat"]
)
@pytest.mark.parametrize(
    "name",
    ["0" * 64, "f" * 63, "%00", "..%2f..%2fetc%2fpasswd", "../../etc/passwd", "/etc/passwd", "é"],
)
def test_nothing_but_photos_of_the_library_can_be_fetched(
    server: Server, route: str, name: str
) -> None:
    path = "/imgsearch/" + route.format(name.encode().decode("latin-1").replace("Ã©", "%C3%A9"))

    status, content, _ = asked_for(server, path)

    # Streamlit answers unknown addresses with its own page.
    assert status == 404 or b"<title>Streamlit</title>" in content
    assert b"root:" not in content


def test_where_words_are_found_is_a_layer_of_the_photos_shape(visitor: Visitor) -> None:
    visitor.search("a cup of coffee")
    name = str(visitor.tiles.first.locator("img").get_attribute("src")).split("/")[-1][:64]

    content, headers = fetched(visitor.server, f"/imgsearch/heat/{name}.png?words=a%20cup")

    layer = Image.open(io.BytesIO(content))
    assert (layer.format, layer.mode, layer.size) == ("PNG", "RGBA", (384, 256))
    # The centre square is what the starter sees; beside it nothing is coloured.
    assert layer.crop((0, 0, 60, 256)).getextrema()[3] == (0, 0)
    assert layer.getextrema()[3][1] > 150
    # The map changes with the model, so it must not be kept for ever.
    assert headers["cache-control"] == "private, max-age=60"
    for words in ("", "%20", "%00", "x" * 2_001):
        assert asked_for(visitor.server, f"/imgsearch/heat/{name}.png?words={words}")[0] == 404
    foreign = {"Origin": "http://evil.test"}
    assert asked_for(visitor.server, f"/imgsearch/heat/{name}.png?words=a", **foreign)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.test"},
        {"host": "127.0.0.1:1"},
        {"Origin": "http://evil.test"},
        {"Origin": "http://localhost:1"},
    ],
)
def test_other_pages_and_other_names_are_refused(
    server: Server, photos: Path, headers: dict[str, str]
) -> None:
    digest = hashlib.sha256((photos / "coffee.jpg").read_bytes()).hexdigest()
    source = f"/imgsearch/thumbnail/{digest}.jpg"
    assert asked_for(server, source)[0] == 200

    assert asked_for(server, source, **headers)[0] == 403
    assert asked_for(server, "/", **headers)[0] == 403


def test_first_start_adds_a_folder_and_then_finds(
    context: BrowserContext, tmp_path: Path, photos: Path
) -> None:
    # More than one page, so that "Show more" has something to show.
    folder = tmp_path / "many photos"
    folder.mkdir()
    shutil.copy(photos / "coffee.jpg", folder)
    for number in range(99):
        Image.new("RGB", (60, 40), (number * 2, 90, 200 - number)).save(folder / f"{number}.png")
    with serving(tmp_path / "library", tmp_path / "log") as server:
        visitor = Visitor.arriving(context, server)
        expect(visitor.page.get_by_text("Find your photos by describing them")).to_be_visible()

        visitor.page.get_by_label("Another folder").fill(str(folder / "not there"))
        visitor.page.get_by_role("button", name="Add").click()
        expect(visitor.page.get_by_text("is not a folder")).to_be_visible()
        visitor.page.get_by_label("Another folder").fill(str(folder))
        visitor.page.get_by_role("button", name="Add").click()
        visitor.tiles.first.wait_for(timeout=60_000)
        visitor.search("a cup of coffee")
        assert visitor.names()[0] == "coffee.jpg"

        visitor.page.get_by_text("Show weaker matches").first.click()
        visitor.page.get_by_text("Show each frame").click()
        visitor.wait_for_results({"q": ["a cup of coffee"], "weaker": ["1"], "frames": ["1"]})
        more = visitor.page.get_by_role("button", name="Show more")
        more.scroll_into_view_if_needed()
        # The last row is filled up; the one before stays where it is on the screen.
        place = visitor.tiles.nth(50).bounding_box()
        more.click()
        expect(visitor.tiles).to_have_count(100, timeout=20_000)
        assert visitor.tiles.nth(50).bounding_box() == place

        visitor.page.goto(server.url + "library")
        expect(visitor.page.get_by_text("100 photos in 100 files")).to_be_visible()
        visitor.page.get_by_role("button", name="Remove").click()
        visitor.dialog.get_by_role("button", name="Remove").click()
        expect(visitor.page.get_by_text("0 photos in 0 files")).to_be_visible()
    assert server.complaints() == ""
    assert len(list(folder.iterdir())) == 100


def test_searching_goes_on_while_a_folder_is_indexed(
    context: BrowserContext, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    with Library.open(library) as opened:
        opened.index(EXAMPLES)
    folder = tmp_path / "new"
    folder.mkdir()
    # So many that it outlasts the visit on a machine that has other work.
    for number in range(2_400):
        colour = number % 256, 80, number // 10
        Image.new("RGB", (60, 40), colour).save(folder / f"{number}.jpg")
    with serving(library, tmp_path / "log") as server:
        manager = Visitor.arriving(context, server, "library")
        manager.page.get_by_label("Another folder").fill(str(folder))
        manager.page.get_by_role("button", name="Add").click()
        expect(manager.page.get_by_text(re.compile("of 2,?400 photos"))).to_be_visible(
            timeout=30_000
        )

        visitor = Visitor.arriving(context, server)
        visitor.search("a cup of coffee")
        assert visitor.names()[0] == "coffee.jpg"
        expect(manager.page.get_by_role("button", name="Stop")).to_be_visible()
        manager.page.get_by_role("button", name="Stop").click()
        expect(manager.page.get_by_text("Stopped")).to_be_visible(timeout=30_000)
    assert server.complaints() == ""


def test_a_missing_file_and_a_dead_library_say_so(
    context: BrowserContext, tmp_path: Path, photos: Path
) -> None:
    folder, library = tmp_path / "photos", tmp_path / "library"
    folder.mkdir()
    shutil.copy(photos / "coffee.jpg", folder)
    with Library.open(library) as opened:
        opened.index(folder)
    (folder / "coffee.jpg").unlink()
    with serving(library, tmp_path / "log") as server:
        visitor = Visitor.arriving(context, server, "?q=coffee")
        visitor.tiles.first.locator(".open").click()
        expect(visitor.dialog.get_by_text("The file is not there now")).to_be_visible()

        shutil.rmtree(library)
        library.mkdir()
        (library / "catalog.sqlite").write_bytes(b"no database at all")
        again = Visitor.arriving(context, server, "?q=coffee")
        expect(again.page.get_by_text("is not a readable imgsearch catalog")).to_be_visible()
    assert server.complaints() == ""
