"""Names, facts and searches as markup, looked at by a real browser: nothing runs, nobody is asked.

Every text of the library tries to run a script, to load something, or to be a link.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_page import Server, Visitor, running_browser, serving
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from imgsearch import Library
from imgsearch.search.query import Query, terms_of

# A file name holds no slash, so these have none; texts elsewhere do.
NAMES = (
    "<img src=x onerror=xss()>", "<svg onload=xss()>", "<script>xss()<",
    "\"><img src=x onerror=xss()>",
    "' onerror='xss()", "[link](javascript:xss())", "![picture](http:evil.test)", "`code` **bold**",
    "$\\href{javascript:xss()}{x}$", ":material_delete: :red[x]", "&lt;img src=x onerror=xss()&gt;",
    "{{7*7}} ${7*7}", "<iframe srcdoc='<script>parent.xss()'>",
)  # fmt: skip
TEXT = (
    "<img src=//evil.test/x onerror=xss()><script src=http://evil.test/x></script>"
    "[a](javascript:xss()) ![b](http://evil.test/b) <a href=javascript:xss()>c</a>"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("markup")
    photos = root / "<img src=x onerror=xss()> [d](javascript:xss())"
    photos.mkdir()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "<b>make</b>", TEXT
    exif.get_ifd(0x8769)[0xA434] = TEXT
    escaped = TEXT.replace("<", "&lt;").replace(">", "&gt;")
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
        '22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:subject><rdf:Bag><rdf:li>{escaped}</rdf:li></rdf:Bag>"
        "</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    for number, name in enumerate(NAMES):
        # All but the same picture, so that they are near-duplicates and frames of one moment.
        image = Image.radial_gradient("L").convert("RGB")
        image.putpixel((number, 3), (number, 9, 9))
        image.save(photos / f"{name}.jpg", exif=exif, xmp=xmp.encode(), quality=95)
    (photos / "<img src=x onerror=xss()> broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    # A picture that is a page, too.
    with (photos / f"{NAMES[0]}.jpg").open("ab") as file:
        file.write(b"<html><script>xss()</script>")
    with Library.open(root / "library") as opened:
        opened.index(photos)
        opened.save_search(TEXT[:100], Query(terms_of("red")))
    return root / "library"


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[Server]:
    with serving(library, library.parent / "log") as running:
        yield running
    assert running.complaints() == ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def wrong() -> list[str]:
    """What ran, was refused by the page's policy, or asked another server."""
    return []


@pytest.fixture(scope="module")
def context(browser: Browser, server: Server, wrong: list[str]) -> BrowserContext:
    """A browser for all tests: the page's scripts are read and compiled once."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.expose_function("xss", lambda: wrong.append("a script ran"))
    context.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    context.on("weberror", lambda error: wrong.append(str(error.error)))

    def note(address: str) -> None:
        if not address.startswith((server.url, server.url.replace("http", "ws"), "data:", "blob:")):
            wrong.append(address)

    context.on("request", lambda request: note(request.url))
    context.on(
        "console",
        lambda said: "Content Security Policy" in said.text and wrong.append(said.text),
    )
    return context


@pytest.fixture
def page(context: BrowserContext, wrong: list[str]) -> Iterator[Page]:
    """A tab in which nothing of a photo or an address may run or stand as markup."""
    wrong.clear()
    page = context.new_page()
    yield page
    inner = page.evaluate(
        """() => {
            const found = [];
            const walk = (root) => {
                for (const one of root.querySelectorAll('*')) {
                    const address = one.getAttribute('href') ?? one.getAttribute('src') ?? '';
                    if (/^(x$|javascript:|http:.*evil|\\/\\/evil)/i.test(address.trim())
                        || [...one.attributes].some(a => /^on/i.test(a.name))
                        || one.localName === 'iframe') found.push(one.outerHTML.slice(0, 200));
                    if (one.shadowRoot) walk(one.shadowRoot);
                }
            };
            walk(document);
            return found;
        }"""
    )
    page.close()
    assert wrong == []
    assert inner == []


def arriving(page: Page, server: Server, address: str = "") -> Visitor:
    page.goto(server.url + address)
    return Visitor(page, server)


def test_results_a_photo_and_its_frames_are_text(page: Page, server: Server) -> None:
    visitor = arriving(page, server, "?q=a+circle&weaker=1&frames=1")
    expect(visitor.tiles).to_have_count(len(NAMES))
    assert set(visitor.names()) == {f"{name}.jpg" for name in NAMES}

    for number in (0, 5):
        visitor.tiles.nth(number).locator(".open").click()
        expect(visitor.dialog.get_by_text("<b>make</b>").first).to_be_visible()
        visitor.dialog.get_by_role("button", name="Next").click()
        page.keyboard.press("Escape")
        expect(visitor.dialog).to_have_count(0)
    arriving(page, server, "?q=a+circle&weaker=1").tiles.first.locator(".open").click()
    expect(visitor.dialog.locator("img").first).to_be_visible()


def test_folders_failures_saved_searches_and_copies_are_text(page: Page, server: Server) -> None:
    visitor = arriving(page, server, "library")
    page.get_by_text("could not be read").click()
    expect(page.get_by_text("broken.png").first).to_be_visible()
    page.get_by_label("Another folder").fill(f"/{TEXT}")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("is not a folder on this computer")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(visitor.dialog.get_by_text("onerror").first).to_be_visible()

    arriving(page, server)
    expect(page.get_by_test_id("stSidebar").get_by_text(TEXT[:20]).first).to_be_visible()
    arriving(page, server, "similar")
    expect(page.locator(".imgsearch-group li").first).to_be_visible(timeout=40_000)


@pytest.mark.parametrize("parameter", ["q", "saved", "folder", "camera", "keyword", "near"])
def test_what_an_address_says_is_text(page: Page, server: Server, parameter: str) -> None:
    from urllib.parse import quote

    arriving(page, server, f"?{parameter}={quote(TEXT)}&like=1")

    expect(page.locator(".st-key-q input")).to_be_visible()
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)


def test_a_picture_that_is_a_page_too_is_shown_as_a_picture(page: Page, server: Server) -> None:
    visitor = arriving(page, server, "?q=a+circle&weaker=1&frames=1")
    visitor.tiles.first.wait_for()
    for source in visitor.page.locator(".tile img").evaluate_all("all => all.map(i => i.src)"):
        name = source.split("/")[-1][:64]
        answer = page.goto(f"{server.url}imgsearch/view/{name}")
        assert answer is not None
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert page.evaluate("document.contentType") == "image/jpeg"
