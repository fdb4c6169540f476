"""Fills the model card's template with measures of the finished folder.

    python tools/starter/card.py

copies the card of the shipped folder into docs/, as write_card does when it writes that card.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from speed import cold_query_in_fresh_process, photos_per_second

CHECKOUT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("card_template.md")
SHIPPED = CHECKOUT / "imgsearch" / "encoders" / "starter" / "MODEL_CARD.md"
IN_DOCS = CHECKOUT / "docs" / "model-card.md"
NOTE = """<!-- A copy of imgsearch/encoders/starter/MODEL_CARD.md: change that, or its template in
tools/starter, and run `python tools/starter/card.py`. -->

"""


def write_card(folder: Path, data: Path) -> None:
    """Measure the model in `folder` and write its MODEL_CARD.md."""
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    files = sorted(path for path in folder.iterdir() if path.suffix != ".md")
    sizes = {path.name: path.stat().st_size for path in files}
    facts = {
        "REVISION": description["revision"],
        "DIMENSION": str(description["dimension"]),
        "SIZE": str(description["image"]["size"]),
        "SCORES": score_table(json_of("starter_quality.py", folder, data)["scores"]),
        "BREADTH": figures(json_of("starter_breadth.py", folder, data)["results"]),
        "AUDIT": figures(json_of("starter_audit.py", folder, data)["results"]),
        "SAMPLE": "\n".join(
            f"| {name} | {value} |" for name, value in json_of("starter_sample.py", folder).items()
        ),
        "FILES": "\n".join(f"| {name} | {size / 1e6:.1f} MB |" for name, size in sizes.items()),
        "TOTAL": f"{sum(sizes.values()) / 1e6:.1f}",
        "PHOTOS": f"{photos_per_second(folder):.0f}",
        "COLD": f"{1000 * cold_query_in_fresh_process(folder):.0f}",
    }
    card = TEMPLATE.read_text(encoding="utf-8")
    for name, value in facts.items():
        card = card.replace(f"@{name}@", value)
    path = folder / "MODEL_CARD.md"
    path.write_text(card, encoding="utf-8")
    if path.resolve() == SHIPPED:
        copy_to_docs()


def copy_to_docs() -> None:
    """Put the shipped card into docs/, for those who read there."""
    IN_DOCS.write_text(NOTE + SHIPPED.read_text(encoding="utf-8"), encoding="utf-8")


def json_of(script: str, folder: Path, data: Path | None = None) -> Any:
    """What a script of benchmarks/ tells about `folder`."""
    command = [sys.executable, str(CHECKOUT / "benchmarks" / script), "--json"]
    command += ["--model", str(folder.resolve())]
    command += ["--data", str(data.resolve())] if data else []
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    return json.loads(subprocess.check_output(command, env=environment, text=True))


def figures(results: list[dict[str, Any]]) -> str:
    """Markdown rows of measure, value, aim and note."""
    return "\n".join(
        f"| {one['what']} | {one['value']:.1f} {one['unit']} | {one['target']} | {one['note']} |"
        for one in results
    )


def score_table(scores: dict[str, dict[str, float]]) -> str:
    """Markdown rows of measure and values."""
    return "\n".join(
        f"| {name} | {' / '.join(scores_of.keys())} | "
        f"{' / '.join(f'{value:.1f}' for value in scores_of.values())} |"
        for name, scores_of in scores.items()
    )


if __name__ == "__main__":
    copy_to_docs()
