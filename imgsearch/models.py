"""What models there are, and getting one onto this disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from imgsearch.data.records import ModelListing, ModelStatus
from imgsearch.encoders import STARTER, Encoder, load_encoder
from imgsearch.encoders.registry import KNOWN_MODELS, KnownModel, known_model
from imgsearch.errors import UsageError
from imgsearch.settings import prefer_model

if TYPE_CHECKING:
    from imgsearch.encoders.export import Export


def list_models(held: Iterable[ModelStatus]) -> list[ModelListing]:
    """Return the models with vectors in a library (`held`), the built-in one, and the known ones.

    Where `held` has no active model, the starter is marked: a new library would use it.
    """
    held = list(held)
    listed = [_listing_of(model) for model in held]
    built_in = load_encoder(STARTER).description
    if not any((one.name, one.revision) == (built_in.name, built_in.revision) for one in held):
        active = not any(one.active for one in held)
        listed.insert(
            0,
            ModelListing(
                built_in.name, built_in.revision, built_in.dimension, 0, active,
                short_name=STARTER, languages="en",
            ),
        )  # fmt: skip
    names = {(one.name, one.revision) for one in held}
    listed += [
        _known_listing(known)
        for known in KNOWN_MODELS
        if (known.repository, known.revision) not in names
    ]
    return listed


def pull_model(name: str) -> Path:
    """Fetch a model from the hub by short name or hub name, check it, and return its folder.

    New libraries use it from then on. Raises UsageError, ModelNotFound, ModelInvalid or
    ExtraMissing.
    """
    from imgsearch.encoders.hub import pull
    from imgsearch.encoders.layout import split_mark

    known = known_model(name)
    source = known.hub_source if known else name
    if source.count("/") != 1:
        raise UsageError(
            f"{name!r} is no model of the hub. `imgsearch models` lists the short names; others "
            "are called owner/name."
        )
    repository, _, revision = source.partition("@")
    folder = pull(repository, revision)
    # Not being able to remember that must not spoil what took so long.
    with contextlib.suppress(OSError):
        prefer_model(f"{repository}@{folder.name}{split_mark(revision)[1]}")
    return folder


def try_new_model(encoder: Encoder, device: str | None, held: Iterable[ModelStatus]) -> None:
    """Try a model that has no vectors in a library (`held`) before it gives any.

    A graph may be anything, and is tried in a process of its own; what torch runs is code of
    transformers, and only its weights are the model's. The built-in one needs no trial. Raises
    ModelInvalid.
    """
    known = encoder.description
    identity = known.name, known.revision
    vectors = {(one.name, one.revision) for one in held if one.embeddings}
    if known.source == STARTER or identity in vectors:
        return
    from imgsearch.encoders.onnx_export import OnnxExportEncoder
    from imgsearch.encoders.onnx_folder import OnnxFolderEncoder
    from imgsearch.encoders.trial import check, try_out

    if isinstance(encoder, OnnxExportEncoder | OnnxFolderEncoder):
        try_out(known.source, device, identity)
    else:
        check(encoder)


def export_model(name: str, folder: Path, *, int8: bool = False) -> Export:
    """Make a model folder (ONNX) of a checkpoint; see `encoders.export`.

    Raises UsageError, ModelNotFound, ModelInvalid, ModelError or ExtraMissing.
    """
    from imgsearch.encoders.checkpoint import CheckpointEncoder
    from imgsearch.encoders.export import export_checkpoint

    encoder = load_encoder(name, "cpu")
    if not isinstance(encoder, CheckpointEncoder):
        raise UsageError(f"{name!r} holds ONNX graphs already.")
    return export_checkpoint(encoder, folder, int8=int8)


def _listing_of(model: ModelStatus) -> ModelListing:
    known = next(
        (
            one
            for one in KNOWN_MODELS
            if (one.repository, one.revision) == (model.name, model.revision)
        ),
        None,
    )
    if known is None:
        short = STARTER if model.name == STARTER else ""
        return ModelListing(
            model.name, model.revision, model.dimension, model.embeddings, model.active,
            short_name=short,
        )  # fmt: skip
    return _known_listing(known, model.embeddings, active=model.active)


def _known_listing(known: KnownModel, embeddings: int = 0, *, active: bool = False) -> ModelListing:
    return ModelListing(
        name=known.repository,
        revision=known.revision,
        dimension=known.dimension,
        embeddings=embeddings,
        active=active,
        short_name=known.name,
        megabytes=known.megabytes,
        on_disk=_on_disk(known),
        languages=known.languages,
        licence=known.licence,
        imagenet=known.imagenet,
        retrieval=known.retrieval,
        retrieval_on=known.retrieval_on,
        source=known.source,
    )


def _on_disk(known: KnownModel) -> bool:
    if find_spec("huggingface_hub") is None:
        return False
    from imgsearch.encoders.hub import cached

    return cached(known.repository, known.revision) is not None
