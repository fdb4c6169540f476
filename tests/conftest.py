"""Small real things to test with: folders of coloured photos, a library, an arithmetic encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import forked
import pytest
from PIL import Image

from imgsearch import IndexSettings, Library
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.settings import LIBRARY_VARIABLE, MODEL_VARIABLE

NOBODY = 65534
EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"

# Photos of one colour are one moment, and other colours no good match: for tests of something else.
WHOLE = {"cut_off": False, "group": False}

MakePhoto = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _processes_are_forked() -> Iterator[None]:
    forked.install()
    yield
    forked.close()


@pytest.fixture
def started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes be started as users start them; see `forked`."""
    monkeypatch.setattr(forked, "allowed", False)


@pytest.fixture(autouse=True)
def _no_library_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, str(tmp_path / "default-library"))
    # Nor the model that the developer prefers, on Linux.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)


@pytest.fixture
def settings() -> IndexSettings:
    """One decoding process: starting more takes longer than these tiny folders do."""
    return IndexSettings(decode_workers=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for photos."""
    path = tmp_path / "photos"
    path.mkdir()
    return path


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """A new library under the fake encoder."""
    with Library.open(tmp_path / "library", model=FakeEncoder()) as opened:
        yield opened


@pytest.fixture
def make_photo(folder: Path) -> MakePhoto:
    """Write a photo of one colour into `folder`; `mark` makes its bytes distinct."""

    def make(name: str, colour: str = "red", mark: int = 0, **options: object) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (40, 30), colour)
        image.putpixel((mark % 40, mark // 40), (mark % 256, 7, 9))
        image.save(path, **options)  # type: ignore[arg-type]
        return path

    return make


@pytest.fixture
def without_privileges() -> Callable[[], AbstractContextManager[None]]:
    """Give a block in which file permissions count even when the tests run as root."""

    @contextmanager
    def drop() -> Iterator[None]:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            yield
            return
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    return drop
