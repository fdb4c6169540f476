"""What the benchmarks share: arguments, measured processes, and how results are told."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("imgsearch-engine", "numpy", "onnxruntime", "faiss-cpu", "pillow", "sqlalchemy")
_METER = Path(__file__).with_name("meter.py")


class CannotMeasure(Exception):
    """Something that the benchmark needs is absent, or did not do what it should."""


@dataclass(frozen=True, slots=True)
class Result:
    """One figure. `met` is None where there is no target."""

    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A process that ran to its end: wall and processor time in seconds, peak resident memory in
    bytes.
    """

    seconds: float
    busy_seconds: float
    peak_bytes: int
    output: str


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "imgsearch-benchmarks",
        metavar="DIR",
        help="where photos and libraries are made and kept for the next run [%(default)s]",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def add_photo_source(parser: argparse.ArgumentParser) -> None:
    """Add the option for the pictures from which test photos are made."""
    parser.add_argument(
        "--source",
        type=Path,
        default=Path(__file__).parents[1] / "examples" / "photos",
        metavar="DIR",
        help="folder of JPEGs from which the test photos are cropped [%(default)s]",
    )


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """Add the options for the model that is measured and the data that it is measured on."""
    parser.add_argument("--model", default="starter", help="what load_encoder takes [%(default)s]")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), metavar="DIR", help="[%(default)s]"
    )


def at_least(what: str, value: float, unit: str, target: float, note: str = "") -> Result:
    """Return a figure that should not be below `target`."""
    return Result(what, value, unit, f">= {target:g}", value >= target, note)


def at_most(what: str, value: float, unit: str, target: float, note: str = "") -> Result:
    """Return a figure that should not be above `target`."""
    return Result(what, value, unit, f"<= {target:g}", value <= target, note)


def say(message: str) -> None:
    """Tell on standard error how far the benchmark is."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def excuses() -> Iterator[None]:
    """End the program with a message, not a traceback, when something is absent."""
    try:
        yield
    except CannotMeasure as error:
        say(f"cannot measure: {error}")
        sys.exit(2)


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment for measured processes.

    They may write and read compiled modules, as after any normal installation.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | more


def imgsearch_command() -> list[str]:
    """Return the command line program of this interpreter's environment."""
    script = Path(sys.executable).with_name("imgsearch")
    if script.is_file():
        return [str(script)]
    found = shutil.which("imgsearch")
    if found is None:
        raise CannotMeasure("the program imgsearch is not installed: pip install -e '.[dev]'")
    return [found]


def measured(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Measured:
    """Run a command and measure it. Raises CannotMeasure when it fails.

    It is started by a process of a few megabytes, because Linux counts the memory of whoever
    starts a process as part of its peak.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(_METER), *command],
        cwd=cwd,
        env=dict(env or child_environment()),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    lines = done.stderr.splitlines()
    if done.returncode or not lines:
        raise CannotMeasure(f"{' '.join(command)}\nended with an error:\n{done.stderr[-2000:]}")
    figures = json.loads(lines[-1])
    return Measured(figures["seconds"], figures["busy_seconds"], figures["peak_bytes"], done.stdout)


class Bystanders:
    """Tells how much of the processors other programs used since it was made (Linux)."""

    def __init__(self) -> None:
        self._start = _busy_seconds(), _own_seconds(), time.monotonic()

    def share(self) -> float:
        """Return it as a part of all cores, 0 to 1."""
        busy, own, started = self._start
        others = (_busy_seconds() - busy) - (_own_seconds() - own)
        cores = os.cpu_count() or 1
        return max(0.0, others / ((time.monotonic() - started) * cores))


def _busy_seconds() -> float:
    """Return for how long the cores have worked since the machine was started, added up."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


# From the import of this module on, that is over the whole benchmark.
_BYSTANDERS = Bystanders()


def machine(seed: int) -> dict[str, str]:
    """Describe what the figures were measured on and with."""
    facts = {
        "when": time.strftime("%Y-%m-%d %H:%M %Z"),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB",
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "absent"
    others = f"{100 * _BYSTANDERS.share():.0f} % of the cores"
    return facts | {
        "starter": starter_revision(),
        "seed": str(seed),
        "meanwhile other programs used": others,
    }


def starter_revision() -> str:
    """Return the revision of the built-in model."""
    from imgsearch.encoders import load_encoder

    return load_encoder("starter").description.revision


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.processor()


def report(title: str, results: Sequence[Result], seed: int, *, as_json: bool) -> None:
    """Print what was measured, as a table or as JSON."""
    facts = machine(seed)
    if as_json:
        print(
            json.dumps(
                {"benchmark": title, "machine": facts, "results": [asdict(r) for r in results]},
                indent=2,
            )
        )
        return
    print(title)
    print("  " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    width = max(len(result.what) for result in results)
    for result in results:
        verdict = {None: "", True: "met", False: "MISSED"}[result.met]
        print(
            f"  {result.what:{width}}  {_number(result.value):>9} {result.unit:9} "
            f"{result.target:>9} {verdict:7} {result.note}".rstrip()
        )


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
