"""Fills the model card's template with measures of the finished folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from speed import cold_query_in_fresh_process, photos_per_second

CHECKOUT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("card_template.md")


def write_card(folder: Path, data: Path) -> None:
    """Measure the model in `folder` and write its MODEL_CARD.md."""
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.[jo]*n*"))}
    facts = {
        "REVISION": description["revision"],
        "DIMENSION": str(description["dimension"]),
        "SIZE": str(description["image"]["size"]),
        "SCORES": score_table(quality(folder, data)),
        "FILES": "\n".join(f"| {name} | {size / 1e6:.1f} MB |" for name, size in sizes.items()),
        "TOTAL": f"{sum(sizes.values()) / 1e6:.1f}",
        "PHOTOS": f"{photos_per_second(folder):.0f}",
        "COLD": f"{1000 * cold_query_in_fresh_process(folder):.0f}",
    }
    card = TEMPLATE.read_text(encoding="utf-8")
    for name, value in facts.items():
        card = card.replace(f"@{name}@", value)
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def quality(folder: Path, data: Path) -> dict[str, dict[str, float]]:
    """The scores that benchmarks/starter_quality.py prints for `folder`."""
    script = CHECKOUT / "benchmarks" / "starter_quality.py"
    command = [sys.executable, str(script), "--json"]
    command += ["--model", str(folder.resolve()), "--data", str(data.resolve())]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    output = subprocess.check_output(command, env=environment, text=True)
    return json.loads(output)["scores"]


def score_table(scores: dict[str, dict[str, float]]) -> str:
    """Markdown rows of measure and values."""
    return "\n".join(
        f"| {name} | {' / '.join(scores_of.keys())} | "
        f"{' / '.join(f'{value:.1f}' for value in scores_of.values())} |"
        for name, scores_of in scores.items()
    )
