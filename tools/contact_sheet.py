"""Draws the picture in the README: real queries over the example photos, with their best results.

python tools/contact_sheet.py docs/images/queries.jpg
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

import imgsearch

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"
QUERIES = ("a cup of coffee", "a rocket taking off", "something to wear on your feet")
RESULTS = 4
THUMBNAIL = (220, 165)
MARGIN, CAPTION, HEADING = 16, 26, 40
INK, GREY, PAPER = "#1f2328", "#59636e", "#ffffff"


def main(target: Path) -> None:
    """Index the example photos into a temporary library, ask, and draw the answers."""
    width = MARGIN + RESULTS * (THUMBNAIL[0] + MARGIN)
    row = HEADING + THUMBNAIL[1] + CAPTION + MARGIN
    sheet = Image.new("RGB", (width, MARGIN + len(QUERIES) * row), PAPER)
    with tempfile.TemporaryDirectory() as folder, imgsearch.Library.open(folder) as library:
        library.index(EXAMPLES)
        for number, query in enumerate(QUERIES):
            results = library.search(query, limit=RESULTS, cut_off=False)
            draw_row(sheet, MARGIN + number * row, query, results)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, quality=88)


def draw_row(sheet: Image.Image, top: int, query: str, results: imgsearch.SearchResults) -> None:
    """Draw one query and the thumbnails of its results, with file names and scores."""
    draw = ImageDraw.Draw(sheet)
    heading, caption = ImageFont.load_default(22), ImageFont.load_default(14)
    draw.text((MARGIN, top + 4), f'imgsearch query "{query}"', fill=INK, font=heading)
    for column, hit in enumerate(results):
        left = MARGIN + column * (THUMBNAIL[0] + MARGIN)
        with Image.open(hit.path) as photo:
            thumbnail = ImageOps.fit(ImageOps.exif_transpose(photo).convert("RGB"), THUMBNAIL)
        sheet.paste(thumbnail, (left, top + HEADING))
        text = f"{hit.score:.3f}  {Path(hit.path).name}"
        draw.text((left, top + HEADING + THUMBNAIL[1] + 5), text, fill=GREY, font=caption)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
