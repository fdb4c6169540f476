"""Make docs/images/page-light.jpg and page-dark.jpg: the page over the example photos.

    python tools/screenshots.py

Needs the dev extra and Chromium.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from imgsearch import Library

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from live_page import Visitor, running_browser, serving  # noqa: E402 - lies with the tests

WORDS = "a cup of coffee"


def main() -> None:
    """Index the example photos, search, and take both pictures."""
    with tempfile.TemporaryDirectory() as place, running_browser() as browser:
        library = Path(place) / "library"
        with Library.open(library) as opened:
            opened.index(ROOT / "examples" / "photos")
        with serving(library, Path(place) / "log") as server:
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": 1280, "height": 800},
                    color_scheme=scheme,  # type: ignore[arg-type]
                )
                visitor = Visitor.arriving(context, server)
                visitor.box.wait_for()
                visitor.search(WORDS)
                visitor.tiles.first.hover()
                visitor.page.wait_for_timeout(1_000)
                picture = Image.open(io.BytesIO(visitor.page.screenshot()))
                target = ROOT / "docs" / "images" / f"page-{scheme}.jpg"
                picture.convert("RGB").save(target, quality=85)
                print(target)


if __name__ == "__main__":
    main()
