"""Coverage-guided fuzzing of our own parsers, by atheris, for a fixed number of inputs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from attack import Attack, CannotAttack, Outcome, Setting
from parser_targets import TARGETS

_RUNS = 200_000
# For one input. Parsers take microseconds; atheris itself watches every line of them.
_SECONDS_AN_INPUT = 10
_MEGABYTES = 2_000
_LONGEST_INPUT = 4_096
_RUNNER = Path(__file__).with_name("parser_runner.py")


def fuzz(setting: Setting) -> Outcome:
    """Fuzz every parser; each begins with valid inputs, and goes where new code is reached."""
    if importlib.util.find_spec("atheris") is None:
        raise CannotAttack(
            "atheris is not installed; on Linux with Python 3.11 to 3.13: pip install atheris"
        )
    runs = setting.times(_RUNS) // len(TARGETS)
    outcome = Outcome()
    reached = []
    for name in TARGETS:
        place = setting.work / name
        place.mkdir()
        ended = subprocess.run(
            command(name, place, max(1, runs), setting.seed),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        outcome.times += runs
        reached.append(f"{name} {last_coverage(ended.stderr)}")
        if ended.returncode:
            outcome.broken.append(f"{name}: {what_broke(ended.stdout + ended.stderr, place)}")
    outcome.note = f"points of code reached: {', '.join(reached)}"
    return outcome


def command(name: str, place: Path, runs: int, seed: int) -> list[str]:
    """Return the command that fuzzes one target, in a folder of its own."""
    target = TARGETS[name]
    corpus = place / "corpus"
    corpus.mkdir()
    for number, example in enumerate(target.examples):
        (corpus / str(number)).write_bytes(example)
    words = place / "words"
    # At least one: an empty dictionary is an error.
    words.write_text("".join(f'"{word}"\n' for word in (*target.words, "0")))
    return [
        sys.executable,
        str(_RUNNER),
        name,
        f"-runs={runs}",
        # 0 would be the time of day.
        f"-seed={seed + 1}",
        f"-max_len={_LONGEST_INPUT}",
        "-len_control=0",
        f"-timeout={_SECONDS_AN_INPUT}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={place}/",
        f"-dict={words}",
        str(corpus),
    ]


def last_coverage(log: str) -> str:
    """Return how many points of the code were reached, as libFuzzer counts them."""
    counts = [line.partition("cov: ")[2].split()[0] for line in log.splitlines() if "cov: " in line]
    return counts[-1] if counts else "?"


def what_broke(log: str, place: Path) -> str:
    """Return the last line of the exception, and the input in hexadecimal."""
    marks = ("Error", "Exception", "ERROR:", "Invalid")
    lines = [line.strip() for line in log.splitlines() if any(mark in line for mark in marks)]
    inputs = [
        path for path in place.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))
    ]
    shown = inputs[0].read_bytes()[:200].hex() if inputs else "?"
    return f"{lines[0][:200] if lines else log[-200:]}; input {shown}"


ATTACKS = [
    Attack(
        "parsers",
        "Whatever is in queries, dates, EXIF, XMP, IPTC, model.json, saved searches, filters, "
        "batches and messages, their readers refuse it or return values in range",
        "coverage-guided fuzzing (atheris) of 8 targets",
        fuzz,
    )
]
