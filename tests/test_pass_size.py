"""The search for the size of a pass, on a clock that stands still by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imgsearch.encoders.pass_size import PassSize


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def settle(size: PassSize, clock: Clock, seconds: Callable[[int], float], passes: int = 200) -> int:
    """Run full passes, each of which takes `seconds` of its size; return the size at the end."""
    for _ in range(passes):
        count = size.now
        size.begin()
        clock.now += seconds(count)
        size.end(count)
    return size.now


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # Twice the pictures in the same time, for ever: up to the limit.
        (lambda count: 1.0, 2_048),
        # As long as there are pictures: nothing is gained by more of them at once.
        (lambda count: count / 1_000, 256),
        # What a pass costs besides is worth a twentieth up to 512 or, ten times as much, 1,024.
        (lambda count: 0.03 + count / 1_000, 512),
        (lambda count: 0.06 + count / 1_000, 1_024),
        # Larger passes are slower.
        (lambda count: count**2 / 1e6, 256),
    ],
)
def test_sizes_double_while_a_twentieth_is_gained(
    seconds: Callable[[int], float], expected: int
) -> None:
    clock = Clock()

    assert settle(PassSize(256, 2_048, clock), clock, seconds) == expected


def test_the_first_pass_of_a_size_does_not_count() -> None:
    clock = Clock()
    seen: set[int] = set()

    def slow_at_first(count: int) -> float:
        first = count not in seen
        seen.add(count)
        return 100.0 if first else 1.0

    assert settle(PassSize(256, 2_048, clock), clock, slow_at_first) == 2_048


def test_time_without_a_pass_does_not_count() -> None:
    clock = Clock()
    size = PassSize(256, 512, clock)

    for _ in range(50):
        # The larger the passes, the longer the pictures for them take to come.
        clock.now += size.now
        settle(size, clock, lambda count: 1.0, passes=1)

    assert size.now == 512


def test_two_passes_at_once_are_measured_together() -> None:
    clock = Clock()
    size = PassSize(256, 512, clock)

    for _ in range(50):
        count = size.now
        size.begin()
        size.begin()
        # Each takes all the longer because the other runs, too: as much as two in a row.
        clock.now += 2 * count / 1_000
        size.end(count)
        size.end(count)

    assert size.now == 256


def test_no_size_is_tried_that_did_not_fit_the_memory() -> None:
    clock = Clock()
    size = PassSize(256, 2_048, clock)
    tried: list[int] = []

    for _ in range(100):
        count = size.now
        tried.append(count)
        size.begin()
        clock.now += 1.0
        if count > 600:
            size.too_large(count)
        else:
            size.end(count)

    assert tried.count(1_024) == 1
    assert size.now == 512


def test_halving_comes_to_an_end_at_one_picture() -> None:
    size = PassSize(4, 4)

    for _ in range(5):
        size.begin()
        size.too_large(size.now)

    assert size.now == 1


def test_a_part_of_a_pass_that_failed_later_than_another_does_not_enlarge_it_again() -> None:
    size = PassSize(256, 2_048)
    size.begin()
    size.begin()

    size.too_large(64)
    size.too_large(256)

    assert size.now == 32


def test_on_a_processor_nothing_is_tried() -> None:
    clock = Clock()

    assert settle(PassSize(16, 16, clock), clock, lambda count: 1.0) == 16
