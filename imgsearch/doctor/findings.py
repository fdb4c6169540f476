"""What an examination of a library says."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: what it is, what it means, and what to do.

    A note (`fault` is False) is worth knowing and nothing to mend: photos on a disk that is not
    plugged in. `items` are what it is about: paths, file names, messages of SQLite. `mended` tells
    that nothing of it is left to do but, at most, what `remedy` says.
    """

    problem: str
    meaning: str
    remedy: str
    items: tuple[str, ...] = ()
    fault: bool = True
    mended: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check saw: its findings, and one line of what there was to look at."""

    name: str
    title: str
    seen: str
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class DoctorReport:
    """The results of all checks, in their order. `repaired` tells whether mending was asked for."""

    library: str
    repaired: bool
    checks: list[CheckResult] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """All findings of all checks."""
        return [finding for check in self.checks for finding in check.findings]

    @property
    def left(self) -> list[Finding]:
        """The faults that are there still."""
        return [one for one in self.findings if one.fault and not one.mended]

    @property
    def mended(self) -> list[Finding]:
        """The faults that were mended."""
        return [one for one in self.findings if one.fault and one.mended]

    @property
    def is_healthy(self) -> bool:
        """Tell whether nothing is wrong (any more)."""
        return not self.left
