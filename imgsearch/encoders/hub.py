"""Models from the hub: fetched once, whole, checked, and never a pickle or a program.

All traffic is huggingface_hub's: its cache, its token, HF_ENDPOINT for a mirror, HF_HUB_OFFLINE. A
download that was cut off goes on where it stopped when it is asked for again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from glob import escape
from pathlib import Path

from imgsearch.encoders.base import Encoder
from imgsearch.encoders.checkpoint import CONFIG, require_torch
from imgsearch.encoders.layout import (
    Kind,
    check_names,
    files_of,
    layout_of,
    missing_in,
    split_mark,
    worth_fetching,
)
from imgsearch.encoders.onnx_folder import FILES
from imgsearch.errors import ExtraMissing, ModelInvalid, ModelNotFound

_CHUNK = 1 << 20


def from_hub(source: str, device: str | None = None) -> Encoder:
    """Load ``owner/name`` or ``owner/name@revision`` from the hub, or from its cache on this disk.

    Its revision is the commit that the hub resolved, and for an ONNX export what `layout` marks it
    with (``@commit+onnx``), which may also be asked for. Raises ModelNotFound, ModelInvalid,
    ExtraMissing or UsageError.
    """
    name, _, wanted = source.partition("@")
    folder = cached(name, wanted) or _pulled(name, wanted, to_run=True)
    layout = layout_of(files_of(folder), name, split_mark(wanted)[1])
    # The hub's cache names a snapshot's folder after its commit.
    revision = folder.name + layout.mark
    if layout.kind is Kind.CHECKPOINT:
        from imgsearch.encoders.checkpoint import CheckpointEncoder
        from imgsearch.encoders.fleet import on_devices

        source = f"{name}@{revision}"
        return on_devices(partial(CheckpointEncoder, name, folder, revision, source), device)
    if layout.kind is Kind.EXPORT:
        from imgsearch.encoders.onnx_export import OnnxExportEncoder

        return OnnxExportEncoder(name, folder, layout, revision, f"{name}@{revision}")
    from imgsearch.encoders.onnx_folder import OnnxFolderEncoder

    return OnnxFolderEncoder(folder, f"{name}@{revision}", (name, revision))


def cached(name: str, revision: str) -> Path | None:
    """Return the folder of a pinned revision that is on this disk whole; nobody is asked."""
    commit, mark = split_mark(revision)
    if not commit:
        return None
    _require_hub(name)
    folder = _snapshot(name, commit)
    if folder is None:
        return None
    try:
        # A download that was cut off leaves the folder with some of the files.
        return None if missing_in(folder, layout_of(files_of(folder), name, mark)) else folder
    except ModelInvalid:
        return None


def _snapshot(name: str, revision: str) -> Path | None:
    """Return the folder in which the cache keeps files of a revision, whole or not.

    The client's own look at a snapshot wants every file of the repository, even those that nobody
    needs and that were not fetched.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for file in (FILES[0], CONFIG):
        try:
            found = try_to_load_from_cache(name, file, revision=revision)
        except (HFValidationError, OSError):
            return None
        if isinstance(found, str):
            return Path(found).parent
    return None


def pull(name: str, revision: str = "") -> Path:
    """Fetch a model with a progress bar on a terminal, check it, and return its folder.

    Of an ONNX export only one variant is fetched: the one that `revision` is marked with, or the
    most precise. Raises ModelNotFound where it cannot be fetched, ModelInvalid where it is damaged
    or of no use.
    """
    return _pulled(name, revision, to_run=False)


def _pulled(name: str, revision: str, *, to_run: bool) -> Path:
    """Fetch as `pull` does; a model `to_run` is refused where what it runs on is not installed."""
    _require_hub(name)
    from huggingface_hub import snapshot_download

    commit, mark = split_mark(revision)
    with _explained(name):
        files = _files_on_hub(name, commit)
        if files is None:
            return _checked(name, _snapshot(name, commit or "main"), mark)
        layout = layout_of(files, name, mark)
        if layout.kind is Kind.CHECKPOINT and to_run:
            # Before hundreds of megabytes are fetched for nothing.
            require_torch(name)
        # Brackets and asterisks in a name would make a pattern of it.
        patterns = [escape(file) for file in worth_fetching(files, layout)]
        folder = snapshot_download(name, revision=commit or None, allow_patterns=patterns)
    return _checked(name, Path(folder), mark)


def _require_hub(name: str) -> None:
    from importlib.util import find_spec

    if find_spec("huggingface_hub") is None:
        raise ExtraMissing(
            f"The model {name!r} comes from the hub, which needs huggingface_hub. Install it with: "
            "pip install 'imgsearch-engine[torch]', or, for models of ONNX graphs alone: "
            "pip install 'imgsearch-engine[hub]'"
        )


def _files_on_hub(name: str, commit: str) -> set[str] | None:
    """Return the names of a repository's files, before any is fetched; None offline.

    Raises ModelInvalid for one that leads out of the cache.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        found = HfApi().model_info(name, revision=commit or None).siblings or []
    except OfflineModeIsEnabled:
        return None  # The cache decides; what is in there was looked at when it came.
    files = {one.rfilename for one in found}
    check_names(files, name)
    return files


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what the hub's client raises into one clear message with a way out."""
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ModelNotFound(
            f"The model {name!r} is only for those who have accepted its terms. Accept them on its "
            "page, then give your token: hf auth login, or HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFound(f"The model {name!r} has no such revision.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(
            f"There is no model {name!r} on the hub, or it is private. Check the name; for a "
            "private one give your token: hf auth login, or HF_TOKEN. Or use --model starter."
        ) from error
    except OfflineModeIsEnabled as error:
        raise _forbidden(name) from error
    except HfHubHTTPError as error:
        raise ModelNotFound(_refusal(name, error)) from error
    except (LocalEntryNotFoundError, _transport_error(), OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ModelNotFound(
                f"The disk is full: the model {name!r} could not be stored. Free some space, or "
                "let HF_HOME name a folder on another disk; the download then goes on."
            ) from error
        if is_offline_mode():
            raise _forbidden(name) from error
        raise ModelNotFound(
            f"The model {name!r} cannot be fetched: the hub cannot be reached, or the connection "
            "broke. Ask again to go on, or use --model starter, which needs no network."
        ) from error


def _forbidden(name: str) -> ModelNotFound:
    return ModelNotFound(
        f"The model {name!r} is not on this disk, and HF_HUB_OFFLINE forbids to fetch it. "
        "Unset it, or use --model starter."
    )


def _transport_error() -> type[Exception]:
    """Return the base of what the client's HTTP library raises: httpx's, once requests'."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


def _refusal(name: str, error: Exception) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 429:
        wait = response.headers.get("retry-after", "") if response is not None else ""
        when = f" in {wait} seconds" if wait.isdigit() else " later"
        return f"The hub takes no more requests from here for now; ask for {name!r} again{when}."
    if status in (401, 403):
        return (
            f"The hub does not let you have {name!r} (status {status}). Give a valid token: "
            "hf auth login, or HF_TOKEN."
        )
    return f"The model {name!r} cannot be fetched: the hub answers with status {status}."


def _checked(name: str, folder: Path | None, mark: str) -> Path:
    """Return a folder of the cache that is whole, and whose files are what they should be.

    Raises ModelNotFound where there is none, else ModelInvalid.
    """
    if folder is None:
        raise _forbidden(name)
    _verify(name, folder)
    missing = missing_in(folder, layout_of(files_of(folder), name, mark))
    if missing:
        raise ModelInvalid(f"The model {name!r} is not complete: {', '.join(missing)} missing.")
    return folder


def _verify(name: str, folder: Path) -> None:
    """Compare the files with the hashes under which the hub's cache stores them.

    A file that does not fit is removed, so that the next pull fetches it again. Raises
    ModelInvalid.
    """
    wrong = []
    for path in folder.rglob("*"):
        if not path.is_symlink():
            continue  # Where there are no links (Windows), the cache does not tell the hashes.
        blob = path.resolve()
        if blob.is_file() and not _is_named_by_content(blob):
            wrong.append(path.name)
            for damaged in (path, blob):
                with contextlib.suppress(OSError):
                    damaged.unlink()
    if wrong:
        raise ModelInvalid(
            f"{', '.join(sorted(wrong))} of the model {name!r} came damaged and was removed. Fetch "
            "it again."
        )


def _is_named_by_content(blob: Path) -> bool:
    """Tell whether a blob's name is its hash: SHA-256 of large files, git's SHA-1 of small ones."""
    if len(blob.name) == 64:
        digest = hashlib.sha256()
    elif len(blob.name) == 40:
        # Git's name for a content, not a protection; large files have SHA-256.
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    else:
        return True
    with blob.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == blob.name
