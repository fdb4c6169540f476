"""What every way of asking costs in a library of 50,000 pictures, warm, with the built-in model.

The pictures exist nowhere; their vectors are random, so that nothing matches well: what shows many
results has --all, or a minimum strength. Times are medians over several queries,
wall time in milliseconds, the text tower included. Decoding a picture to search by is not: it is
asked for by its id.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from datetime import date

import numpy as np
from catalogs import synthetic_library, warmed
from common import Result, at_most, excuses, new_parser, report, say

from imgsearch import Filters, Library
from imgsearch.search.query import Query, terms_of

_TARGET_MS = 150.0
_WORDS = ("a dog", "two people on a beach", "red car", "a birthday cake", "snow", "an old church")
_ROUNDS = 4


def ways(library: Library) -> dict[str, Callable[[str], object]]:
    """Return the ways of asking, each as what is done with some words."""
    ids = itertools.cycle(range(1, 400))

    def search(text: str | None, **options: object) -> object:
        return library.search(text, limit=60, **options)  # type: ignore[arg-type]

    return {
        "words": search,
        "words, no cut-off": lambda text: search(text, cut_off=False),
        "words, no cut-off, no groups": lambda text: search(text, cut_off=False, group=False),
        "two parts": lambda text: search(f"{text} + a house:0.5"),
        "not wanted": lambda text: search(f'{text} -people -"the sea":0.5'),
        "not wanted, no cut-off": lambda text: search(f"{text} -people", cut_off=False),
        "a picture": lambda _: search(None, like=next(ids)),
        "words and a picture": lambda text: search(text, like=(next(ids), 0.7)),
        "3 good, 3 bad": lambda text: search(
            text, good=[next(ids) for _ in range(3)], bad=[next(ids) for _ in range(3)]
        ),
        "explained": lambda text: search(f"{text} + trees -people", explain=True, cut_off=False),
        "by date": lambda text: search(text, sort="date", min_strength=1),
        "by name": lambda text: search(text, sort="name", min_strength=1),
        "by size": lambda text: search(text, sort="size", min_strength=1),
        "tenth page": lambda text: search(text, cut_off=False, offset=540),
        "deep page": lambda text: search(text, cut_off=False, offset=20_000),
        "a broad filter": lambda text: search(text, filters=Filters(since=date(1990, 1, 1))),
        "a tight filter": lambda text: search(text, filters=Filters(names=("*77.jpg",))),
        "all, by date": lambda _: search(None, sort="date"),
        "all, by name": lambda _: search(None, sort="name"),
        "all, by size": lambda _: search(None, sort="size"),
        "each of 50 at once": lambda text: library.answer_all(
            [Query(terms_of(f"{text} {n}"), limit=60) for n in range(50)]
        ),
    }


def main() -> None:
    """Measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument("--pictures", type=int, default=50_000, help="[%(default)s]")
    options = parser.parse_args()
    with excuses():
        place = warmed(synthetic_library(options.work, options.pictures, options.seed))
        results: list[Result] = []
        with Library.open(place) as library:
            for name, ask in ways(library).items():
                say(f"{name} ...")
                share = 50 if "50" in name else 1
                value = 1_000 * statistics.median(_times(ask)) / share
                results.append(at_most(name, value, "ms", _TARGET_MS))
        report(f"{options.pictures} pictures", results, options.seed, as_json=options.json)


def _times(ask: Callable[[str], object]) -> list[float]:
    """Return the seconds that each of the queries took, the first round left out."""
    ask(_WORDS[0])
    taken = []
    for words in _WORDS * _ROUNDS:
        started = time.perf_counter()
        ask(words)
        taken.append(time.perf_counter() - started)
    assert np.isfinite(taken).all()
    return taken


if __name__ == "__main__":
    main()
