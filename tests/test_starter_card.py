"""The model card of the built-in model: CI measures a small fixed set and compares."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import imgsearch

CHECKOUT = Path(__file__).parents[1]
FOLDER = Path(imgsearch.__file__).parent / "encoders" / "starter"
# Other processors round differently: a query or two of a measure may change sides.
TOLERANCE = 4.2


def told_by_the_card() -> dict[str, float]:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    section = card.partition("## The fixed set that CI measures")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([0-9.]+) \|$", section, re.MULTILINE)
    return {name: float(value) for name, value in rows}


def test_the_shipped_model_scores_what_its_card_says() -> None:
    told = told_by_the_card()

    command = [sys.executable, str(CHECKOUT / "benchmarks" / "starter_sample.py"), "--json"]
    measured = json.loads(subprocess.check_output(command, text=True))

    assert told.keys() == measured.keys()
    for name, value in measured.items():
        assert value == pytest.approx(told[name], abs=TOLERANCE), name


def test_the_card_is_of_the_shipped_revision() -> None:
    facts = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
    first_line = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8").partition("\n")[0]

    assert facts["revision"] in first_line


def test_the_docs_show_the_shipped_card() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")

    shown = (CHECKOUT / "docs" / "model-card.md").read_text(encoding="utf-8")

    assert shown.partition("-->\n\n")[2] == card, "run python tools/starter/card.py"
