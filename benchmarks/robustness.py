"""Index a folder of odd, damaged, huge and hostile image files with the default settings.

Every file must end up indexed, or recorded as failed with a reason, or left alone because by its
name or first bytes it is no photo; and what Pillow can open (status "ok" in manifest.tsv) should be
indexed. Ends with 1 if the run crashes or a file is lost.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from common import CannotMeasure, Result, excuses, new_parser, report, say

from imgsearch import Library
from imgsearch.indexer.content import sniff
from imgsearch.indexer.formats import Verdict, judge_name

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "robustness"


@dataclass(frozen=True, slots=True)
class Case:
    """A file of the corpus; `opens` tells whether Pillow decoded it."""

    kind: str
    path: str
    opens: bool


class Fate(Enum):
    """What became of a file."""

    INDEXED = "indexed"
    FAILED = "failed"
    NO_PHOTO = "no photo"
    LOST = "LOST"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of a file and, if it failed, the recorded reason."""

    fate: Fate
    reason: str = ""


def read_manifest(corpus: Path) -> list[Case]:
    """Return the cases whose files are there, each once. Raises CannotMeasure without any."""
    manifest = corpus / "manifest.tsv"
    if not manifest.is_file():
        raise CannotMeasure(f"{manifest} is absent; give the corpus with --corpus")
    with manifest.open(encoding="utf-8", newline="") as file:
        cases = {
            row["path"]: Case(row["kind"], row["path"], row["status"] == "ok")
            for row in csv.DictReader(file, delimiter="\t")
            if (corpus / row["path"]).is_file()
        }
    if not cases:
        raise CannotMeasure(f"no file of {manifest} is there")
    return list(cases.values())


def index_corpus(corpus: Path, cases: list[Case]) -> dict[str, Outcome]:
    """Index the corpus in a temporary library; return each file's outcome."""
    with tempfile.TemporaryDirectory() as place, Library.open(Path(place) / "library") as library:
        library.index([corpus])
        reasons = {failure.path: failure.reason for failure in library.failures()}
        # All pictures come back from a search that is allowed enough results.
        hits = library.search("a photo", limit=10 * len(cases), cut_off=False, group=False)
        indexed = {path for hit in hits for path in (hit.path, *hit.duplicates)}
    return {case.path: _outcome(str(corpus / case.path), indexed, reasons) for case in cases}


def _outcome(path: str, indexed: set[str], reasons: dict[str, str]) -> Outcome:
    if path in indexed:
        return Outcome(Fate.INDEXED)
    if path in reasons:
        return Outcome(Fate.FAILED if reasons[path] else Fate.LOST, reasons[path])
    verdict = judge_name(path)
    if verdict is Verdict.OTHER or (verdict is Verdict.UNKNOWN and not sniff(path)):
        return Outcome(Fate.NO_PHOTO)
    return Outcome(Fate.LOST)


def tabulate(cases: list[Case], outcomes: dict[str, Outcome]) -> list[str]:
    """Return lines that count the fates by kind and list what differs from Pillow."""
    counts = Counter((case.kind, outcomes[case.path].fate) for case in cases)
    kinds = sorted({case.kind for case in cases})
    width = max(map(len, kinds))
    lines = ["  " + " " * width + "".join(f"{fate.value:>10}" for fate in Fate)]
    lines += [
        f"  {kind:{width}}" + "".join(f"{counts[kind, fate] or '':>10}" for fate in Fate)
        for kind in kinds
    ]
    for case in cases:
        outcome = outcomes[case.path]
        if case.opens is not (outcome.fate is Fate.INDEXED):
            verdict = "opened" if case.opens else "did not open"
            lines.append(f"  Pillow {verdict} {case.path}: {outcome.fate.value} {outcome.reason}")
    return lines


def main() -> None:
    """Index, compare, report; end with 1 if a file is lost."""
    parser = new_parser(__doc__)
    parser.add_argument("--corpus", type=Path, default=CORPUS, metavar="DIR", help="[%(default)s]")
    options = parser.parse_args()
    with excuses():
        corpus = options.corpus.resolve()
        cases = read_manifest(corpus)
        started = time.perf_counter()
        outcomes = index_corpus(corpus, cases)
        seconds = time.perf_counter() - started
    say("\n".join(tabulate(cases, outcomes)))
    fates = Counter(outcome.fate for outcome in outcomes.values())
    missed = sum(case.opens and outcomes[case.path].fate is not Fate.INDEXED for case in cases)
    results = [
        Result("files", len(cases), ""),
        Result("indexed", fates[Fate.INDEXED], ""),
        Result("failed, with a reason", fates[Fate.FAILED], ""),
        Result("left alone: no photo by name and first bytes", fates[Fate.NO_PHOTO], ""),
        Result("lost", fates[Fate.LOST], "", "0", fates[Fate.LOST] == 0),
        Result("opened by Pillow, not indexed", missed, "", "0", missed == 0),
        Result("time", seconds, "s"),
    ]
    report("robustness", results, options.seed, as_json=options.json)
    sys.exit(1 if fates[Fate.LOST] else 0)


if __name__ == "__main__":
    main()
