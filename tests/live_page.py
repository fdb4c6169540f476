"""A live server with a real library, and a real browser to look at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

# A busy machine may take longer than the usual five seconds for a page.
expect.set_options(timeout=20_000)
# Set by .ci/run: there a missing browser is a failure.
REQUIRE_BROWSER = "IMGSEARCH_REQUIRE_BROWSER"
_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def find_browser() -> str | None:
    """Return the path of Chromium or Chrome, if there is one; without windows it is quicker."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser, or skip, loudly, where none is installed."""
    path = find_browser()
    if path is None:
        message = "no browser found; install one with: apt-get install chromium"
        if os.environ.get(REQUIRE_BROWSER):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


_ADDRESS = re.compile(r"Search your photos at (http://\S+)")
_SECONDS_TO_START = 60


@dataclass
class Server:
    """A running ``imgsearch ui``."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def host(self) -> str:
        """The address and port, as a Host header names them."""
        return self.url.split("/")[2]

    def complaints(self) -> str:
        """Return what the server wrote besides its address."""
        lines = self.log.read_text().splitlines()
        return "\n".join(line for line in lines if _ADDRESS.search(line) is None)


@contextmanager
def serving(
    library: Path, log: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run ``imgsearch ui`` on a free port; at the end it must stop by itself on Ctrl-C."""
    command = [sys.executable, "-m", "imgsearch", "ui", "--no-browser", "--library", str(library)]
    with log.open("w") as sink:
        process = subprocess.Popen(
            [*command, *options],
            # Streamlit prints what a script raises to stdout.
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(environment or {}),
        )
        try:
            yield Server(_address(process, log), process, log)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(20) == 0
            finally:
                process.kill()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Wait until the server has told its address."""
    end = time.monotonic() + _SECONDS_TO_START
    while (address := _ADDRESS.search(log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return address[1]


@dataclass
class Visitor:
    """A tab on the page."""

    page: Page
    server: Server

    @classmethod
    def arriving(cls, context: BrowserContext, server: Server, address: str = "") -> Visitor:
        """Open the page and wait until it can be used."""
        visitor = cls(context.new_page(), server)
        visitor.page.goto(server.url + address)
        return visitor

    @property
    def box(self) -> Locator:
        """The search box."""
        return self.page.locator(".st-key-q input")

    @property
    def tiles(self) -> Locator:
        """The results."""
        return self.page.locator(".tile")

    @property
    def dialog(self) -> Locator:
        """The photo that is open."""
        return self.page.get_by_role("dialog")

    def names(self) -> list[str]:
        """Return the file names of the results, best first."""
        return self.page.locator(".tile .open").evaluate_all(
            "all => all.map(one => one.querySelector('img')?.alt ?? one.textContent)"
        )

    def search(self, words: str) -> None:
        """Type words, press Enter, and wait for the results."""
        self.box.fill(words)
        self.box.press("Enter")
        self.wait_for_results({"q": [words]})

    def search_all(self, words: str) -> None:
        """Search, and have what matches less well shown, too."""
        self.search(words)
        self.page.get_by_text("Show weaker matches").first.click()
        self.wait_for_results({"q": [words], "weaker": ["1"]})

    def wait_for_results(self, asked: dict[str, list[str]]) -> None:
        """Wait until the grid shows the results of just this search."""
        self.page.wait_for_function(
            """asked => {
                const find = (node) => {
                    for (const one of node.querySelectorAll('*')) {
                        if (one.classList?.contains('gallery')) return one;
                        const inner = one.shadowRoot && find(one.shadowRoot);
                        if (inner) return inner;
                    }
                };
                const grid = find(document);
                if (!grid?.dataset.search) return false;
                const shown = JSON.parse(grid.dataset.search)[0];
                const plain = (one) => JSON.stringify(Object.entries(one).sort());
                return plain(shown) === plain(asked);
            }""",
            arg=asked,
            # By default it would look at every frame, and let every frame be drawn.
            polling=100,
        )
