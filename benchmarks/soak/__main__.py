"""Attack imgsearch until it breaks, and print what held.

    python benchmarks/soak                  # everything, about as long as docs/reliability.md says
    python benchmarks/soak --only kills     # one attack
    python benchmarks/soak --scale 0.05     # a quick look

Every module of this folder with a list ATTACKS takes part. Ends with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import tempfile
import time
from pathlib import Path

from attack import Attack, CannotAttack, Outcome, Setting


def main() -> None:
    """Run the attacks that were asked for and print a table of them."""
    arguments = parse()
    attacks = [a for a in known_attacks() if not arguments.only or a.name in arguments.only]
    if not attacks:
        sys.exit(f"no such attack; there are: {', '.join(a.name for a in known_attacks())}")
    rows = [attempt(attack, arguments) for attack in attacks]
    print(json.dumps(rows, indent=2) if arguments.json else markdown(rows))
    sys.exit(any(row["result"].startswith("BROKEN") for row in rows))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="run this attack alone")
    parser.add_argument("--scale", type=float, default=1.0, help="length of it all [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def known_attacks() -> list[Attack]:
    """Every attack of this folder, in the order of its modules' names."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    modules = [importlib.import_module(name) for name in names if name != "__main__"]
    return [attack for module in modules for attack in getattr(module, "ATTACKS", [])]


def attempt(attack: Attack, arguments: argparse.Namespace) -> dict[str, str]:
    """Run one attack in a folder of its own, and return its row of the report."""
    print(f"{attack.name}: {attack.how}", file=sys.stderr, flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imgsearch-soak-") as work:
        try:
            outcome = attack.run(Setting(Path(work), arguments.seed, arguments.scale))
            result = "BROKEN" if outcome.broken else "held"
        except CannotAttack as reason:
            outcome, result = Outcome(note=str(reason)), "not run"
    for line in outcome.broken:
        print(f"  {line}", file=sys.stderr, flush=True)
    return {
        "promise": attack.promise,
        "how it is attacked": attack.how,
        "times": str(outcome.times),
        "result": f"{result}: {outcome.broken[0]}" if outcome.broken else result,
        "note": outcome.note,
        "seconds": f"{time.monotonic() - begun:.0f}",
        "command": f"python benchmarks/soak --only {attack.name}",
    }


def markdown(rows: list[dict[str, str]]) -> str:
    """Return the rows as the table of docs/reliability.md."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    main()
