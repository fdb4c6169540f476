"""Groups of hits: compared with the rule spelt out in plain loops, and stable under paging."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from imgsearch import SearchHit
from imgsearch.data.records import PictureFacts
from imgsearch.search.grouping import Group, Likeness, group_hits

START = datetime(2024, 5, 1, 12)
LIKENESS = Likeness(moment=0.75, anytime=0.97, seconds=30)

Floats = npt.NDArray[np.float32]


def hit(number: int, seconds: float | None = None, camera: str | None = "Cam") -> SearchHit:
    taken = None if seconds is None else (START + timedelta(seconds=seconds)).isoformat()
    facts = PictureFacts(40, 30, "JPEG", 1, taken, camera)
    return SearchHit(f"/p/{number}.jpg", 0.5, number, (), 1, facts, f"{number:064x}", 0.0)


def at(*cosines: float) -> Floats:
    """Rows that have these cosines to the first axis, in different directions otherwise."""
    rows = np.zeros((len(cosines), len(cosines) + 1), dtype=np.float32)
    rows[:, 0] = cosines
    rows[np.arange(len(cosines)), np.arange(1, len(cosines) + 1)] = np.sqrt(1 - rows[:, 0] ** 2)
    return rows


def numbers(groups: list[Group]) -> list[list[int]]:
    return [[one.picture_id for one in group.hits] for group in groups]


def by_loops(hits: list[SearchHit], vectors: Floats, likeness: Likeness) -> list[list[int]]:
    """The rule as the module's docstring tells it."""
    cosines = vectors @ vectors.T
    groups: list[list[int]] = []
    for i, one in enumerate(hits):
        for group in groups:
            other = hits[group[0]]
            together = False
            if one.facts.taken_at and other.facts.taken_at:
                apart = datetime.fromisoformat(one.facts.taken_at) - datetime.fromisoformat(
                    other.facts.taken_at
                )
                together = abs(apart.total_seconds()) <= likeness.seconds
                together &= one.facts.camera == other.facts.camera
            cosine = cosines[i, group[0]]
            if cosine >= likeness.anytime or (together and cosine >= likeness.moment):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def many(seed: int, count: int, spread: float) -> tuple[list[SearchHit], Floats]:
    """Scenes of a few frames each, in random order, with some times and cameras missing."""
    random = np.random.default_rng(seed)
    scenes = random.normal(size=(count // 4, 96))
    scene = random.integers(0, len(scenes), count)
    scales = spread * random.choice([0.1, 0.4, 0.8], (count, 1))
    rows = scenes[scene] + scales * random.normal(size=(count, 96))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    hits = [
        hit(
            i,
            None if random.random() < 0.2 else int(scene[i]) * 20 + int(random.integers(0, 40)),
            [None, "Cam", "Other"][int(random.integers(0, 3))],
        )
        for i in range(count)
    ]
    return hits, rows.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 40, 700])
def test_groups_are_those_of_the_rule(seed: int, count: int) -> None:
    hits, vectors = many(seed, max(4, count), 1.0)
    hits, vectors = hits[:count], vectors[:count]

    groups = group_hits(hits, vectors, likeness=LIKENESS)

    assert numbers(groups) == by_loops(hits, vectors, LIKENESS)
    assert count < 700 or len(groups) < count * 0.9


def test_identical_vectors_are_one_group() -> None:
    hits = [hit(i) for i in range(600)]

    groups = group_hits(hits, np.tile(at(0.5), (600, 1)))

    assert numbers(groups) == [list(range(600))]
    assert groups[0].representative is hits[0]


def test_more_hits_change_no_group_above() -> None:
    hits, vectors = many(7, 700, 1.0)
    whole = numbers(group_hits(hits, vectors))

    for count in (10, 63, 256, 257, 500):
        part = numbers(group_hits(hits[:count], vectors[:count]))

        kept = [[one for one in group if one < count] for group in whole]
        assert part == [group for group in kept if group]


def test_frames_of_one_moment_join_and_others_do_not() -> None:
    vectors = at(1.0, 0.8, 0.8, 0.8, 0.8, 0.7)
    hits = [
        hit(0, 0),
        hit(1, 30),
        hit(2, -31),
        hit(3, 5, "Other"),
        hit(4, None),
        hit(5, 5),
    ]

    assert numbers(group_hits(hits, vectors, likeness=LIKENESS)) == [[0, 1], [2], [3], [4], [5]]


def test_versions_of_a_photo_join_whenever_taken() -> None:
    vectors = at(1.0, 0.98, 0.96)

    groups = group_hits([hit(0, 0), hit(1, 9e6), hit(2, None)], vectors, likeness=LIKENESS)

    assert numbers(groups) == [[0, 1], [2]]


def test_a_chain_of_small_steps_does_not_join_its_ends() -> None:
    angles = np.linspace(0, np.pi / 2, 10)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    groups = group_hits([hit(i) for i in range(10)], vectors, likeness=LIKENESS)

    assert numbers(groups) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize(
    "told", ["", "yesterday", "2024-02-30T00:00:00", "2024-05-01T12:00:00+02:00"]
)
def test_a_time_that_is_none_is_no_moment(told: str) -> None:
    odd = [
        SearchHit("/p/0.jpg", 0.5, i, (), 1, PictureFacts(1, 1, "JPEG", 1, told, "Cam"), "", 0.0)
        for i in range(2)
    ]

    assert numbers(group_hits(odd, at(1.0, 0.8))) == [[0], [1]]


def test_nothing_gives_nothing_and_numbers_must_agree() -> None:
    assert group_hits([], np.zeros((0, 4), dtype=np.float32)) == []
    with pytest.raises(ValueError, match="1 hits have 2 vectors"):
        group_hits([hit(0)], at(1.0, 1.0))


def test_thresholds_follow_how_alike_unrelated_pictures_are() -> None:
    random = np.random.default_rng(0)
    unrelated = random.normal(size=(400, 64))
    alike = unrelated + 8.0 * np.eye(64)[0]
    unrelated /= np.linalg.norm(unrelated, axis=1, keepdims=True)
    alike /= np.linalg.norm(alike, axis=1, keepdims=True)
    mean = float((alike @ alike.T)[np.triu_indices(400, 1)].mean())

    usual = Likeness.measured(unrelated.astype(np.float32))
    strict = Likeness.measured(alike.astype(np.float32))

    assert usual == Likeness()
    assert strict.anytime == pytest.approx(1 - 0.03 * (1 - mean) / 0.88)
    assert strict.moment == pytest.approx(1 - 0.25 * (1 - mean) / 0.88)
    assert Likeness.measured(alike[:1].astype(np.float32)) == Likeness()
    # As a damaged row of an index may be.
    alike[3, 5], alike[4, 5] = np.inf, -np.inf
    assert Likeness.measured(alike.astype(np.float32)) == Likeness()
