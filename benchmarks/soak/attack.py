"""What every attack of the soak is: a promise, how it is attacked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Setting:
    """What an attack may use: a folder of its own, the seed of all randomness, and its length.

    `scale` multiplies how often something is tried: 1 is the length that docs/reliability.md
    reports, and a smaller number is for trying an attack out.
    """

    work: Path
    seed: int
    scale: float

    def times(self, number: int) -> int:
        """Return how often to try what the report tries `number` times, at least once."""
        return max(1, round(number * self.scale))


@dataclass(slots=True)
class Outcome:
    """How often it was tried, what broke (nothing, if the promise holds), and what was seen."""

    times: int = 0
    broken: list[str] = field(default_factory=list)
    note: str = ""


class CannotAttack(Exception):
    """Something that the attack needs is not on this machine; the message says what."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the report. `name` selects it on the command line."""

    name: str
    promise: str
    how: str
    run: Callable[[Setting], Outcome]
