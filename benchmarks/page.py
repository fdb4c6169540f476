"""Time in the browser page from Enter in the search box to the last visible thumbnail painted.

`imgsearch ui` serves a library of pictures that exist nowhere, with random vectors but with real
thumbnails and varied facts; headless Chromium types the queries on a display of 1920 x 1080. The
clock runs inside the page. How long Library.search takes by itself is told beside it. The browser's
processes count as "other programs" in what is said of the machine.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from common import (
    CannotMeasure,
    Result,
    add_photo_source,
    at_most,
    child_environment,
    excuses,
    imgsearch_command,
    new_parser,
    report,
    say,
    starter_revision,
)
from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright

from imgsearch import Library
from imgsearch.data.catalog import Catalog
from imgsearch.data.connection import SCHEMA_VERSION
from imgsearch.data.photo_store import PhotoStore
from imgsearch.data.records import FileStat, NewPhoto, PictureFacts
from imgsearch.data.thumbnail_store import ThumbnailStore
from imgsearch.encoders import load_encoder

WARM_UPS = (
    "a warm-up before anything is measured",
    "another sentence that nobody waits for",
    "a third one, so that every code path has run",
)
QUERIES = (
    "a dog running on the beach",
    "two children building a snowman",
    "a cup of coffee on a wooden table",
    "a red car parked in front of a house",
    "the sea at sunset with a sailing boat",
    "a woman reading a book in a park",
    "a bicycle leaning against a brick wall",
    "an old man playing the violin",
    "a birthday cake with candles",
    "mountains covered with snow",
    "a cat asleep on a sofa",
    "people dancing at a wedding",
    "a plate of pasta with tomatoes",
    "a train crossing a bridge",
    "a football match in the rain",
    "a city street at night",
    "a field of yellow flowers",
    "a man climbing a steep rock",
    "a desk with a laptop and a lamp",
    "a flock of birds over a lake",
)
# Seconds at so many pictures, on two cores.
TARGETS = {10_000: 1.0, 50_000: 1.5}
# What the page asks the library for at first: `search_page.PAGE`, whose import starts Streamlit.
HITS = 60
VIEWPORT = (1920, 1080)
_PATIENCE_SECONDS = 30.0
# Between two queries a visitor looks at the results; meanwhile the browser loads those below the
# visible ones.
_PAUSE_SECONDS = 1.0
_BATCH = 2_000
_THUMBNAIL_EDGE, _THUMBNAIL_QUALITY = 256, 75

_CAMERAS = (
    None, "Apple iPhone 12", "Apple iPhone 15 Pro", "Canon EOS 80D", "FUJIFILM X-T30",
    "Google Pixel 7", "NIKON D750", "Panasonic DMC-TZ10", "SONY ILCE-7M3", "samsung SM-G991B",
)  # fmt: skip
_FORMATS = ("JPEG",) * 8 + ("HEIF", "PNG")
# Proportions, width to height.
_SHAPES = ((4, 3), (3, 2), (16, 9), (1, 1), (3, 4), (2, 3), (9, 16))
_MEGAPIXELS = (0.5, 2.0, 5.0, 12.0, 24.0)
_OCCASIONS = ("walks", "home", "holidays", "birthday", "garden", "work", "trip", "concert")
_FIRST_DAY = datetime(2005, 1, 1)

_CHROMIUM_OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Arms the clock and leaves the measurement to come in window.measured. The grid lies in the shadow
# root of a component and may be made anew. Lazy pictures are not complete before they were asked
# for, so visibility is looked at in every frame; after the last one is decoded, the first animation
# frame is the one that paints it, and the second begins when that is done.
_CLOCK = """
(words) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  let grid = null;
  const find = () => {
    if (grid?.isConnected) return grid;
    for (const host of document.querySelectorAll("*")) {
      grid = host.shadowRoot?.querySelector(".gallery") ?? null;
      if (grid) return grid;
    }
    return null;
  };
  const answers = (one) => {
    try { return JSON.parse(one.dataset.search)[0].q?.[0] === words; } catch { return false; }
  };
  const seen = () => [...grid.querySelectorAll(".tile")].filter((tile) => {
    const box = tile.getBoundingClientRect();
    return box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth
      && box.width > 0 && box.height > 0;
  });
  performance.setResourceTimingBufferSize(5000);
  performance.clearResourceTimings();
  window.measured = new Promise((resolve, reject) => {
    const pressed = async (event) => {
      if (event.key !== "Enter") return;
      removeEventListener("keydown", pressed, true);
      const start = performance.now();
      while (!(find() && answers(grid))) await frame();
      const shown = performance.now();
      let tiles;
      for (;;) {
        tiles = seen();
        if (grid.querySelector(".lost")) return reject(new Error("a thumbnail was not there"));
        const pictures = tiles.map((tile) => tile.querySelector("img"));
        if (tiles.length && pictures.every((one) => one.complete && one.naturalWidth > 0)) {
          await Promise.all(pictures.map((one) => one.decode()));
          const after = seen();
          if (after.length === tiles.length && after.every((one, at) => one === tiles[at])) break;
        }
        await frame();
      }
      const decoded = performance.now();
      await frame();
      await frame();
      const painted = performance.now();
      const sources = new Set(tiles.map((tile) => tile.querySelector("img").src));
      const loaded = performance.getEntriesByType("resource")
        .filter((one) => sources.has(one.name) && one.transferSize > 0);
      resolve({
        painted: painted - start, shown: shown - start, decoded: decoded - start,
        loaded: loaded.length ? Math.max(...loaded.map((one) => one.responseEnd)) - start
                              : shown - start,
        visible: tiles.length, fetched: loaded.length,
      });
    };
    addEventListener("keydown", pressed, true);
  });
  window.measured.catch(() => {});
}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One query in the page. Times are seconds since Enter.

    `shown`: the tiles of the new results are in the page; `loaded`: the last visible thumbnail has
    arrived; `painted`: it is on the screen. Of `visible` tiles `fetched` came from the server, not
    from the browser's cache.
    """

    shown: float
    loaded: float
    painted: float
    visible: int
    fetched: int


def page_library(work: Path, count: int, seed: int, source: Path) -> Path:
    """Return a library of `count` pictures that exist nowhere but have thumbnails, kept in `work`.

    Vectors are random; texts of the starter are all but orthogonal, so that every query has other
    results and the browser's cache is of no help.
    """
    # Neither another model's vectors nor another version's tables may be measured.
    name = f"library-page-{count}-seed{seed}-{starter_revision()}-schema{SCHEMA_VERSION}"
    library = work / name
    done = library.with_name(name + ".done")
    if done.exists() and done.read_text() == str(source.resolve()):
        return library
    done.unlink(missing_ok=True)
    shutil.rmtree(library, ignore_errors=True)
    pictures = sorted(str(path) for path in source.rglob("*.jpg"))
    if not pictures:
        raise CannotMeasure(f"no JPEGs in {source}; give a folder of photos with --source")
    say(f"making a library of {count} pictures with thumbnails ...")
    # It is there, as the disk of a real library mostly is.
    root = work / "page-photos"
    root.mkdir(parents=True, exist_ok=True)
    size = _fill(library, root, count, seed, pictures)
    say(f"made it: {size / count / 1000:.1f} kB a thumbnail on average")
    done.write_text(str(source.resolve()))
    return library


def _fill(library: Path, root: Path, count: int, seed: int, pictures: Sequence[str]) -> int:
    """Store the pictures and their thumbnails; return how many bytes the thumbnails have."""
    starter = load_encoder("starter").description
    random = np.random.default_rng(seed)
    total = 0
    with (
        Catalog(library) as catalog,
        ThumbnailStore(library) as thumbnails,
        ProcessPoolExecutor(initializer=_read_pictures, initargs=(list(pictures),)) as pool,
    ):
        model = catalog.register_model(
            starter.name, starter.revision, starter.source, starter.dimension
        )
        catalog.activate_model(model)
        root_id = catalog.add_root(os.path.realpath(root))
        store = PhotoStore(catalog, model)
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            vectors = random.standard_normal((len(numbers), starter.dimension), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            photos = [
                _photo(root_id, seed, number, vector.tobytes())
                for number, vector in zip(numbers, vectors.astype("<f2"), strict=True)
            ]
            store.store(photos)
            shapes = [(photo.facts.width, photo.facts.height) for photo in photos]
            made = pool.map(partial(_thumbnail, seed), numbers, shapes, chunksize=50)
            by_hash = dict(zip((photo.content_hash for photo in photos), made, strict=True))
            if len(set(by_hash.values())) < len(photos):
                raise CannotMeasure("two thumbnails are the same")
            thumbnails.add(by_hash)
            total += sum(map(len, by_hash.values()))
        catalog.mark_scanned([root_id])
    return total


def _photo(root_id: int, seed: int, number: int, vector: bytes) -> NewPhoto:
    """Invent a photo: some in every year, folder and format, one in ten without a date of its own.

    Number i is the same in every library of the same seed.
    """
    random = np.random.default_rng([seed, 1, number])
    across, down = _SHAPES[random.integers(len(_SHAPES))]
    unit = math.sqrt(_MEGAPIXELS[random.integers(len(_MEGAPIXELS))] * 1e6 / (across * down))
    camera = _CAMERAS[random.integers(len(_CAMERAS))]
    format_ = _FORMATS[random.integers(len(_FORMATS))]
    taken = _FIRST_DAY + timedelta(seconds=int(random.integers(20 * 365 * 86_400)))
    placed = random.random() < 0.3
    facts = PictureFacts(
        width=round(across * unit),
        height=round(down * unit),
        format=format_,
        taken_at=taken.isoformat() if random.random() < 0.9 else None,
        camera=camera,
        latitude=float(random.uniform(-60, 70)) if placed else None,
        longitude=float(random.uniform(-180, 180)) if placed else None,
    )
    occasion = _OCCASIONS[random.integers(len(_OCCASIONS))]
    suffix = {"JPEG": "jpg", "HEIF": "heic", "PNG": "png"}[format_]
    path = f"{taken.year}/{taken.month:02d} {occasion}/IMG_{number:06d}.{suffix}"
    size = int(facts.width * facts.height * random.uniform(0.15, 0.45))
    digest = hashlib.sha256(f"{seed} {path}".encode()).digest()
    modified = int(taken.timestamp()) * 1_000_000_000
    return NewPhoto(FileStat(root_id, path, size, modified), digest, facts, vector)


_pictures: list[Image.Image] = []


def _read_pictures(paths: list[str]) -> None:
    """Decode the pictures to crop from, once in every process."""
    for path in paths:
        with Image.open(path) as opened:
            _pictures.append(opened.convert("RGB"))


def _thumbnail(seed: int, number: int, shape: tuple[int, int]) -> bytes:
    """Return a JPEG as the indexer makes them, of a random part of a random picture."""
    random = np.random.default_rng([seed, 2, number])
    picture = _pictures[random.integers(len(_pictures))]
    width, height = (round(edge * _THUMBNAIL_EDGE / min(shape)) for edge in shape)
    scale = min(picture.width / width, picture.height / height) * random.uniform(0.6, 1.0)
    left = random.uniform(0, picture.width - scale * width)
    top = random.uniform(0, picture.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    target = io.BytesIO()
    picture.resize((width, height), Image.Resampling.BILINEAR, box=box).save(
        target, "JPEG", quality=_THUMBNAIL_QUALITY
    )
    return target.getvalue()


@contextmanager
def served(library: Path) -> Iterator[str]:
    """Run `imgsearch ui` over a library; yield its address."""
    command = [*imgsearch_command(), "ui", "--no-browser", "--library", str(library)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=child_environment()
    ) as it:
        try:
            yield _announced(it)
        finally:
            it.send_signal(signal.SIGINT)
            try:
                it.wait(10)
            except subprocess.TimeoutExpired:
                it.kill()


def _announced(server: subprocess.Popen[str]) -> str:
    """Wait for the line with the address, and return that."""
    assert server.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(server.stdout, selectors.EVENT_READ)
        line = server.stdout.readline() if selector.select(_PATIENCE_SECONDS) else ""
    found = re.search(r"http://\S+", line)
    if found is None:
        raise CannotMeasure("imgsearch ui named no address")
    return found[0]


def asked_in_page(address: str, chromium: Path, queries: Sequence[str]) -> list[Answer]:
    """Type the queries into the page, after some that warm it up; return how each was answered."""
    width, height = VIEWPORT
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=str(chromium), args=list(_CHROMIUM_OPTIONS)
            )
            page = browser.new_page(viewport={"width": width, "height": height})
            # The pictures exist nowhere, and nothing matches well: a whole page all the same.
            page.goto(address + "?weaker=1")
            page.locator(".gallery .tile").first.wait_for(timeout=_PATIENCE_SECONDS * 1000)
            for words in WARM_UPS:
                _ask(page, words)
            answers = [_ask(page, words) for words in queries]
            browser.close()
            return answers
    except Error as error:
        raise CannotMeasure(f"the browser: {error.message}") from error


def _ask(page: Page, words: str) -> Answer:
    page.wait_for_timeout(_PAUSE_SECONDS * 1000)
    box = page.locator(".st-key-q input")
    box.fill(words)
    page.evaluate(_CLOCK, words)
    box.press("Enter")
    found = page.evaluate(
        """(patience) => Promise.race([window.measured, new Promise((_, reject) =>
            setTimeout(() => reject(new Error("the results did not come")), patience))])""",
        _PATIENCE_SECONDS * 1000,
    )
    return Answer(
        found["shown"] / 1000,
        found["loaded"] / 1000,
        found["painted"] / 1000,
        found["visible"],
        found["fetched"],
    )


def asked_in_process(library: Path, queries: Sequence[str]) -> list[float]:
    """Return how many seconds Library.search takes as the page calls it."""
    seconds = []
    with Library.open(library) as opened:
        for words in (*WARM_UPS, *queries):
            start = time.perf_counter()
            opened.search(words, limit=HITS, cut_off=False)
            seconds.append(time.perf_counter() - start)
    return seconds[len(WARM_UPS) :]


def _results(count: int, answers: Sequence[Answer], searches: Sequence[float]) -> list[Result]:
    what = f"{count:,} pictures"
    painted = sorted(one.painted for one in answers)
    middle, search = median(painted), median(searches)
    tiles = median(one.visible for one in answers)
    fetched = median(one.fetched for one in answers)
    note = (
        f"median of {len(painted)}; {painted[0]:.2f} to {painted[-1]:.2f}; "
        f"{tiles:.0f} thumbnails visible, {fetched:.0f} of them fetched"
    )
    target = TARGETS.get(count)
    whole = f"{what}: Enter to painted"
    return [
        Result(whole, middle, "s", note=note)
        if target is None
        else at_most(whole, middle, "s", target, note),
        Result(f"{what}: p95", float(np.percentile(painted, 95)), "s"),
        Result(f"{what}: new tiles in the page", median(one.shown for one in answers), "s"),
        Result(f"{what}: thumbnails arrived", median(one.loaded for one in answers), "s"),
        Result(
            f"{what}: Library.search alone", search, "s",
            note=f"{100 * search / middle:.0f} % of the whole",
        ),
    ]  # fmt: skip


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    add_photo_source(parser)
    parser.add_argument(
        "--pictures", type=int, nargs="+", default=[1_000, 10_000, 50_000], metavar="N",
        help="sizes of the libraries [%(default)s]",
    )  # fmt: skip
    parser.add_argument(
        "--queries", type=int, default=len(QUERIES), metavar="N", help="of the list [%(default)s]"
    )
    parser.add_argument(
        "--chromium", type=Path, default=Path("/usr/bin/chromium"), metavar="FILE",
        help="the browser [%(default)s]",
    )  # fmt: skip
    options = parser.parse_args()
    queries = QUERIES[: options.queries]
    results = []
    with excuses():
        if not options.chromium.is_file():
            raise CannotMeasure(f"there is no {options.chromium}; name a browser with --chromium")
        for count in options.pictures:
            library = page_library(options.work, count, options.seed, options.source)
            say(f"asking {len(queries)} queries over {count} pictures ...")
            with served(library) as address:
                answers = asked_in_page(address, options.chromium, queries)
            results += _results(count, answers, asked_in_process(library, queries))
        report("page", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
