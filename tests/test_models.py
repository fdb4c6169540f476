"""Several models in one library: switching, pruning, preferring; vectors never mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import WHOLE, MakePhoto

from imgsearch import IndexSettings, Library
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.encoders.registry import KNOWN_MODELS, known_model
from imgsearch.errors import LibraryNotFound, ModelNotFound
from imgsearch.settings import MODEL_VARIABLE, prefer_model, preferred_model

OLD, NEW = FakeEncoder(), FakeEncoder(name="other", revision="7")


@pytest.fixture
def both(tmp_path: Path, folder: Path, make_photo: MakePhoto) -> Path:
    """A library in which two folders are indexed with one model."""
    for colour in ("red", "green", "blue"):
        make_photo(f"a/{colour}.png", colour)
        make_photo(f"b/{colour}.png", colour, mark=5)
    with Library.open(tmp_path / "library", model=OLD) as library:
        library.index([folder / "a", folder / "b"], settings=IndexSettings(decode_workers=1))
    return tmp_path / "library"


def active(place: Path) -> str:
    with Library.open(place) as library:
        return next(model.name for model in library.status().models if model.active)


def test_queries_switch_when_the_new_model_has_all_pictures(
    both: Path, folder: Path, settings: IndexSettings
) -> None:
    with Library.open(both, model=NEW) as library:
        first = library.index(folder / "a", settings=settings)
        assert (first.embedded, first.without_vectors) == (3, 3)
        assert (first.active_model, active(both)) == ("fake", "fake")

        second = library.index(folder / "b", settings=settings)
        assert (second.embedded, second.active_model, active(both)) == (3, "other", "other")


def test_switching_back_and_forth_loses_nothing(
    both: Path, folder: Path, settings: IndexSettings
) -> None:
    with Library.open(both, model=NEW) as library:
        library.index(folder / "a", settings=settings)
        library.use_model("other")
        assert active(both) == "other"
        library.use_model("fake")
        assert active(both) == "fake"
        counts = {model.name: model.embeddings for model in library.status().models}
    assert counts == {"fake": 6, "other": 3}

    with Library.open(both, model=OLD) as library:
        assert len(library.search("red", **WHOLE)) == 6
    with Library.open(both, model=NEW) as library:
        assert len(library.search("red", **WHOLE)) == 3


def test_pruning_keeps_the_active_model_and_every_file(
    both: Path, folder: Path, settings: IndexSettings
) -> None:
    with Library.open(both, model=NEW) as library:
        library.index([folder / "a", folder / "b"], settings=settings)
        library.search("red", **WHOLE)

        removed = library.prune_models()

        assert removed == {"fake": 6}
        assert [model.name for model in library.status().models] == ["other"]
        assert library.status().files == 6
        assert len(library.search("red", **WHOLE)) == 6
        assert library.prune_models() == {}
    assert {path.name.split(".")[0][:7] for path in (both / "faiss").iterdir()} == {"model-2"}


def test_a_model_without_vectors_cannot_be_switched_to(both: Path, tmp_path: Path) -> None:
    with Library.open(both) as library, pytest.raises(ModelNotFound, match=r"fake.*--model clip"):
        library.use_model("clip")
    with Library.open(tmp_path / "nowhere") as library, pytest.raises(LibraryNotFound):
        library.use_model("clip")
    assert active(both) == "fake"


def test_the_preferred_model_is_that_of_new_libraries_only(
    both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preferred_model() is None
    prefer_model("owner/name@1")
    assert preferred_model() == "owner/name@1"
    monkeypatch.setenv(MODEL_VARIABLE, "no-such-model")
    assert preferred_model() == "no-such-model"

    with (
        Library.open(tmp_path / "new") as library,
        pytest.raises(ModelNotFound, match="no-such-model"),
    ):
        library.index(tmp_path)
    assert active(both) == "fake"


def test_known_models_are_pinned_and_distinct() -> None:
    assert len({model.name for model in KNOWN_MODELS}) == len(KNOWN_MODELS)
    for model in KNOWN_MODELS:
        assert len(bytes.fromhex(model.revision)) == 20
        assert model.repository.count("/") == 1
        assert known_model(model.name) is model
    assert known_model("starter") is None


def test_the_list_tells_short_names_and_what_is_active(both: Path) -> None:
    with Library.open(both) as library:
        listed = library.models()

    assert [one.name for one in listed if one.active] == ["fake"]
    assert listed[0].short_name == "starter"
    assert {"clip", "siglip2", "chinese"} <= {one.short_name for one in listed}
    assert [one.on_disk for one in listed if one.short_name == "clip"] == [False]
