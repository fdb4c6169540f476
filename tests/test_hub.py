"""Fetching models: the real client against a hub on loopback that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import hub
import pytest
from conftest import EXAMPLES
from test_checkpoints import make_clip

import imgsearch
from imgsearch.offer import OFFERED

NAME = "owner/tiny"
# Nothing listens on port 9 of this machine: the connection is refused at once.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as its repository on the hub would hold it."""
    folder = tmp_path_factory.mktemp("repository")
    make_clip(folder)
    (folder / "README.md").write_text("Nothing that is worth fetching.")
    return folder


def run(
    tmp_path: Path, endpoint: str, *arguments: str, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run `imgsearch` with this hub and an own, at first empty, cache."""
    return subprocess.run(
        [sys.executable, "-m", "imgsearch", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            **extra,
        },
    )


def snapshot(tmp_path: Path) -> dict[str, bytes]:
    """Return the whole files that the cache shows for the model."""
    place = tmp_path / "hub" / "hub" / "models--owner--tiny" / "snapshots" / hub.COMMIT
    return {path.name: path.read_bytes() for path in place.glob("*") if path.is_file()}


def assert_one_clear_message(answer: subprocess.CompletedProcess[str], *words: str) -> None:
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    message = answer.stderr[answer.stderr.index("imgsearch: ") :]
    assert len(message.splitlines()) <= 2, message
    for word in words:
        assert word in message


def test_a_pulled_model_is_whole_and_is_what_new_libraries_use(tmp_path: Path, model: Path) -> None:
    with hub.serve(NAME, model) as endpoint:
        pulled = run(tmp_path, endpoint, "models", "pull", NAME)
    library = ("--library", str(tmp_path / "library"))
    indexed = run(tmp_path, NOWHERE, "index", str(EXAMPLES), *library)
    asked = run(tmp_path, NOWHERE, "query", "a cat", *library)

    assert pulled.returncode == 0, pulled.stderr
    assert snapshot(tmp_path)["model.safetensors"] == (model / "model.safetensors").read_bytes()
    assert indexed.returncode == 0, indexed.stderr
    assert f"Model: {NAME}." in indexed.stdout
    assert asked.returncode == 0


def test_a_download_cut_in_the_middle_goes_on(tmp_path: Path, model: Path) -> None:
    # The client writes in pieces of 10 MB: smaller files are simply fetched anew.
    repository = tmp_path / "repository"
    shutil.copytree(model, repository)
    (repository / "model.safetensors").write_bytes(random.Random(0).randbytes(30_000_000))
    behaviour = hub.Behaviour(cut={"model.safetensors"})
    with hub.serve(NAME, repository, behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME)
        if answer.returncode:
            assert_one_clear_message(answer, "Ask again to go on")
            answer = run(tmp_path, endpoint, "models", "pull", NAME)

    assert answer.returncode == 0, answer.stderr
    whole = (repository / "model.safetensors").read_bytes()
    assert snapshot(tmp_path)["model.safetensors"] == whole
    resumed = [wanted for name, wanted in behaviour.ranges if name == "model.safetensors"]
    assert resumed[0] is None
    assert resumed[-1] is not None
    assert int(resumed[-1].removeprefix("bytes=").split("-")[0]) > 0


def test_a_wrong_byte_is_noticed_and_fetched_again(tmp_path: Path, model: Path) -> None:
    with hub.serve(NAME, model, hub.Behaviour(corrupt={"model.safetensors"})) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME)
    assert_one_clear_message(answer, "model.safetensors", "damaged")
    assert "model.safetensors" not in snapshot(tmp_path)

    with hub.serve(NAME, model) as endpoint:
        again = run(tmp_path, endpoint, "models", "pull", NAME)
    assert again.returncode == 0, again.stderr
    assert snapshot(tmp_path)["model.safetensors"] == (model / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (hub.Behaviour(status=401), ("token",)),
        (
            hub.Behaviour(status=401, headers={"X-Error-Code": "RepoNotFound"}),
            ("no model", "token"),
        ),
        (hub.Behaviour(status=403, headers={"X-Error-Code": "GatedRepo"}), ("terms", "HF_TOKEN")),
        (hub.Behaviour(status=404, headers={"X-Error-Code": "RepoNotFound"}), ("no model",)),
        (hub.Behaviour(status=404, headers={"X-Error-Code": "RevisionNotFound"}), ("revision",)),
        (
            hub.Behaviour(status=429, headers={"Retry-After": "77"}),
            ("no more requests", "77 seconds"),
        ),
        (hub.Behaviour(status=500), ("status 500",)),
    ],
)
def test_each_refusal_is_one_clear_message(
    tmp_path: Path, model: Path, behaviour: hub.Behaviour, words: tuple[str, ...]
) -> None:
    with hub.serve(NAME, model, behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME)

    assert_one_clear_message(answer, NAME, *words)
    assert snapshot(tmp_path) == {}


def test_without_a_network_the_starter_is_named(tmp_path: Path) -> None:
    answer = run(tmp_path, NOWHERE, "index", str(EXAMPLES), "--model", NAME)

    assert_one_clear_message(answer, NAME, "cannot be reached", "--model starter")


def test_offline_mode_fetches_nothing(tmp_path: Path, model: Path) -> None:
    behaviour = hub.Behaviour()
    with hub.serve(NAME, model, behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME, HF_HUB_OFFLINE="1")

    assert_one_clear_message(answer, "HF_HUB_OFFLINE")
    assert behaviour.ranges == []


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("config.json", "pytorch_model.bin"), "pickle"),
        (("config.json", "README.md"), "no model.safetensors"),
    ],
)
def test_a_repository_without_safe_weights_is_refused_before_the_download(
    tmp_path: Path, files: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "repository").mkdir()
    for name in files:
        (tmp_path / "repository" / name).write_text("{}")
    behaviour = hub.Behaviour()
    with hub.serve(NAME, tmp_path / "repository", behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME)

    assert_one_clear_message(answer, reason)
    assert behaviour.ranges == []


def test_without_torch_a_checkpoint_is_refused_before_the_download(
    tmp_path: Path, model: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "def without(name, package=None):\n"
        "    return None if name in ('torch', 'transformers') else real(name, package)\n"
        "importlib.util.find_spec = without\n"
    )
    behaviour = hub.Behaviour()
    path = os.pathsep.join([str(tmp_path / "site"), str(Path(imgsearch.__file__).parent.parent)])
    with hub.serve(NAME, model, behaviour) as endpoint:
        answer = run(tmp_path, endpoint, "index", str(EXAMPLES), "--model", NAME, PYTHONPATH=path)

    assert_one_clear_message(answer, "imgsearch-engine[torch]")
    assert behaviour.ranges == []


def test_a_full_disk_says_so(tmp_path: Path, model: Path) -> None:
    # Loaded by the process at its start: writing the weights finds no space.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import errno, huggingface_hub.file_download as download\n"
        "def full(*arguments, **options):\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "download.http_get = full\n"
    )
    with hub.serve(NAME, model) as endpoint:
        answer = run(tmp_path, endpoint, "models", "pull", NAME, PYTHONPATH=str(tmp_path / "site"))

    assert_one_clear_message(answer, "disk is full", "HF_HOME")
    assert snapshot(tmp_path) == {}


def test_names_that_are_none_are_wrong_usage(tmp_path: Path) -> None:
    for name in ("starter", "nonsense", "a/b/c"):
        answer = run(tmp_path, NOWHERE, "models", "pull", name)

        assert answer.returncode == 2
        assert "imgsearch models" in answer.stderr


def at_a_terminal(tmp_path: Path, endpoint: str, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Run `imgsearch` at a terminal, type `answer`, and return the exit code and what it showed."""
    import pty

    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "imgsearch", *arguments],
        stdin=child, stdout=child, stderr=child, env=environment,
    )  # fmt: skip
    os.close(child)
    os.write(parent, answer)
    shown = b""
    with contextlib.suppress(OSError):  # The end of a terminal's output is an error on Linux.
        while part := os.read(parent, 65_536):
            shown += part
    os.close(parent)
    return process.wait(60), shown.decode()


def test_the_stronger_model_is_offered_once_and_no_is_no(tmp_path: Path) -> None:
    first = at_a_terminal(
        tmp_path, NOWHERE, b"n\n", "index", str(EXAMPLES), "--library", str(tmp_path / "one")
    )
    second = at_a_terminal(
        tmp_path, NOWHERE, b"", "index", str(EXAMPLES), "--library", str(tmp_path / "two")
    )

    assert first[0] == second[0] == 0
    assert "605 MB to fetch" in first[1]
    assert "to fetch" not in second[1]
    assert "Added 12" in second[1]


def test_whoever_says_yes_searches_at_once_and_better_later(tmp_path: Path, model: Path) -> None:
    library = str(tmp_path / "library")
    with hub.serve(OFFERED.repository, model, commit=OFFERED.revision) as endpoint:
        code, shown = at_a_terminal(
            tmp_path, endpoint, b"y\n", "index", str(EXAMPLES), "--library", library
        )
    status = run(tmp_path, NOWHERE, "status", "--library", library)

    assert code == 0, shown
    assert shown.index("Model: starter.") < shown.index(f"Model: {OFFERED.repository}.")
    assert "12 vectors of dimension 512\n" in status.stdout
    assert "12 vectors of dimension 24, active" in status.stdout


def test_nobody_is_asked_in_a_pipe_or_with_a_model(tmp_path: Path) -> None:
    piped = run(tmp_path, NOWHERE, "index", str(EXAMPLES), "--library", str(tmp_path / "one"))
    code, shown = at_a_terminal(
        tmp_path, NOWHERE, b"", "index", str(EXAMPLES), "--model", "starter", "--library",
        str(tmp_path / "two"),
    )  # fmt: skip

    assert (piped.returncode, code) == (0, 0)
    assert "to fetch" not in piped.stderr + piped.stdout + shown
