"""What ``imgsearch index --profile`` prints: where the time of a run went."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgsearch.indexer.profile import IndexProfile

_HEADS = f"{'':26} {'seconds':>8} {'processor':>9} {'ms each':>8} {'of':>8}"


def print_profile(profile: IndexProfile) -> None:
    """Print the stages of a run by who was at work, and the rate of the encoder alone."""
    print()
    print(_HEADS)
    where = ""
    for row in profile.stages:
        if row.where != where:
            where = row.where
            print(f"{where[0].upper()}{where[1:]}")
        spent = row.wall_seconds if row.processor_seconds is None else row.processor_seconds
        each = f"{1e3 * spent / row.count:.3f}" if row.count and spent is not None else ""
        print(
            f"  {row.stage:24} {_seconds(row.wall_seconds):>8} {_seconds(row.processor_seconds):>9}"
            f" {each:>8} {row.count or '':>8}".rstrip()
        )
    print(
        f"In all {profile.wall_seconds:.2f} s and {profile.processor_seconds:.2f} s of processor "
        f"time on {profile.cores} cores, for {profile.photos} photos embedded. Seconds of several "
        "threads or processes are added up; ms each are of processor time."
    )
    if profile.ceiling is not None:
        print(
            f"The encoder alone embeds {profile.ceiling:.1f} photos/s (measured after the run, "
            f"on pictures of it). The run reached {_percent(profile.share)} of that; "
            f"{_percent(profile.share_while_encoding)} from its first batch to its last. Of the "
            f"run's processor time the encoder alone would have taken "
            f"{_percent(profile.processor_share)}."
        )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
