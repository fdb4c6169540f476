"""Where the time of a run goes: what `index(profile=True)` says must add up."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import MakePhoto

from imgsearch import IndexProfile, IndexSettings, Library
from imgsearch.indexer.stages import Stage, StageRecorder

PHOTOS = 9


@pytest.fixture
def profile(
    library: Library, folder: Path, make_photo: MakePhoto, settings: IndexSettings
) -> IndexProfile:
    """Of a run over distinct photos, a copy of one of them, and a damaged file."""
    for number in range(PHOTOS):
        make_photo(f"{number}.jpg", mark=number)
    shutil.copy(folder / "0.jpg", folder / "copy.jpg")
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\xff")
    report = library.index(folder, settings=settings, profile=True)
    assert (report.embedded, report.failed) == (PHOTOS, 1)
    assert report.profile is not None
    return report.profile


def test_the_stages_add_up_and_count_the_photos(profile: IndexProfile) -> None:
    main = [one.wall_seconds or 0.0 for one in profile.stages if one.where == "main thread"]
    counts = {one.stage: one.count for one in profile.stages}

    assert sum(main) == pytest.approx(profile.wall_seconds)
    assert all(
        seconds is None or seconds >= 0
        for one in profile.stages
        for seconds in (one.wall_seconds, one.processor_seconds)
    )
    # The copy may have been met with the first batch or after it.
    decoded = {"read": PHOTOS + 2, "decode": PHOTOS + 1, "resize": PHOTOS + 1, "hash": PHOTOS + 1}
    assert counts | decoded == counts
    assert counts["files that gave no photo"] == 1
    assert counts["walk and stat"] == PHOTOS + 2
    assert counts["encode"] == profile.photos == PHOTOS
    assert PHOTOS <= counts["store in the catalog"] == counts["store thumbnails"] <= PHOTOS + 1


def test_the_ceiling_is_the_rate_of_the_encoder_alone(profile: IndexProfile) -> None:
    assert profile.ceiling is not None
    assert profile.share is not None
    assert profile.share_while_encoding is not None
    rate = profile.photos / profile.wall_seconds
    assert profile.share * profile.ceiling == pytest.approx(rate)
    assert profile.share < profile.share_while_encoding
    # The fake encoder is far faster than photos can be decoded.
    assert profile.share < 1
    assert 0 < (profile.processor_share or 0) < 1


def test_a_run_without_work_has_a_profile_without_a_ceiling(
    library: Library, folder: Path, profile: IndexProfile, settings: IndexSettings
) -> None:
    unprofiled = library.index(folder, settings=settings)
    again = library.index(folder, settings=settings, profile=True).profile

    assert unprofiled.profile is None
    assert again is not None
    assert (again.photos, again.ceiling, again.share) == (0, None, None)
    assert {one.where for one in again.stages} == {"main thread"}
    assert asdict(again)["wall_seconds"] > 0


@pytest.mark.parametrize(
    "spent",
    [{"WALK": [1, 1]}, {"NONE": [1, 1]}, {"READ": [-1, 1]}, {"READ": [1, 1e30]}, {"READ": 1}, 3],
)
def test_times_that_a_taken_over_process_invents_are_refused(spent: object) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        StageRecorder().add_spent({"spent": spent})


def test_a_stage_within_another_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=iter([0, 1, 4, 6]).__next__, thread_time=lambda: 0)
    monkeypatch.setattr("imgsearch.indexer.stages.time", clock)
    stages = StageRecorder()

    with stages.timed(Stage.COMPARE), stages.timed(Stage.WALK):
        pass

    assert stages.times == {Stage.WALK: (3, 0, 0), Stage.COMPARE: (3, 0, 0)}
