"""In which form a folder or a repository holds a model, told from the names of its files alone.

There are three: our own *model folder* (ONNX, ``model.json``), a *checkpoint* of transformers
(safetensors), and an *export*, the ONNX graphs of such a checkpoint as optimum and transformers.js
lay them out: ``vision_model.onnx`` and ``text_model.onnx``, or both towers in one ``model.onnx``,
in the folder ``onnx`` or beside ``config.json``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from imgsearch.encoders.checkpoint import CONFIG, ESSENTIAL, PREPROCESSOR, WEIGHTS, torch_is_here
from imgsearch.encoders.onnx_folder import FILES
from imgsearch.encoders.onnx_session import external_files
from imgsearch.errors import ModelInvalid

# What comes after "@revision" for an export, and is a part of its vectors' identity.
EXPORT_MARK = "+onnx"
# Precisions of the graphs, best first, as transformers.js names their files. Those of four bits are
# left out: their vectors are too far from the model's.
_VARIANTS = ("", "-fp16", "-quantized", "-int8", "-uint8")
_GRAPH_FOLDERS = ("onnx/", "")
_EXPORT_TEXTS = (CONFIG, PREPROCESSOR, "tokenizer.json")
# Weights that are programs: loading them could run anything.
_PICKLES = (
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".msgpack", ".h5",
    ".py",
)  # fmt: skip


class Kind(Enum):
    """The forms of a model."""

    FOLDER = "model folder"
    CHECKPOINT = "checkpoint"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a model: `needed` are indispensable, `patterns` name all that is worth fetching.

    `graphs` are the files of the image and of the text tower, twice the same where one file holds
    both; of a checkpoint there are none. `mark` tells an export and its variant: ``+onnx``,
    ``+onnx-fp16``; it is empty for the other kinds.
    """

    kind: Kind
    needed: tuple[str, ...]
    patterns: tuple[str, ...]
    graphs: tuple[str, ...] = ()
    mark: str = ""


def split_mark(revision: str) -> tuple[str, str]:
    """Split what follows "@" into the revision and the mark of an export, either may be empty."""
    head, mark, variant = revision.rpartition(EXPORT_MARK)
    return (head, mark + variant) if mark and variant in _VARIANTS else (revision, "")


def layout_of(files: Collection[str], name: str, mark: str = "") -> Layout:
    """Tell how `files` (relative, with "/") make a model; with `mark` only that export will do.

    A checkpoint comes before an export, except where torch is not installed. Raises ModelInvalid
    with the reason why nothing among them can be used.
    """
    if mark:
        variant = mark.removeprefix(EXPORT_MARK)
        return _export_in(files, (variant,)) or _refused(
            f"{name!r} has no ONNX graphs of the kind {mark!r}."
        )
    if "model.json" in files:
        return Layout(Kind.FOLDER, FILES, (*FILES, "image.onnx*", "text.onnx*"), FILES[1:3])
    export = _export_in(files, _VARIANTS)
    if WEIGHTS in files and (export is None or torch_is_here()):
        patterns = (*ESSENTIAL, "*token*", "vocab*", "merges.txt")
        return Layout(Kind.CHECKPOINT, ESSENTIAL, patterns)
    return export or _refused(_reason(files, name))


def missing_in(folder: Path, layout: Layout) -> list[str]:
    """Return the files that lack: the needed ones, and those with weights that the graphs name.

    Raises ModelInvalid for a graph that is none.
    """
    missing = [name for name in layout.needed if not (folder / name).is_file()]
    for graph in dict.fromkeys(layout.graphs):
        path = folder / graph
        if path.is_file():
            beside = [path.with_name(name) for name in external_files(path)]
            missing += [str(one.relative_to(folder)) for one in beside if not one.is_file()]
    return missing


def files_of(folder: Path) -> set[str]:
    """Return the names that `layout_of` takes, of the files in a folder on this disk."""
    places = (folder, folder / "onnx")
    return {
        path.relative_to(folder).as_posix()
        for place in places
        if place.is_dir()
        for path in place.iterdir()
        if path.is_file()
    }


def check_names(files: Collection[str], name: str) -> None:
    """Raise ModelInvalid if a file of a repository would be written to somewhere else."""
    for file in files:
        steps = file.split("/")
        if {"", ".", ".."} & set(steps) or set(file) & set("\\:\0") or not file.isprintable():
            raise ModelInvalid(f"{name!r} has a file named {file!r:.80}: refused.")


def worth_fetching(files: Collection[str], layout: Layout) -> list[str]:
    """Return the files that the layout's patterns name, without those that could be programs."""
    return sorted(
        file
        for file in files
        if any(fnmatchcase(file, pattern) for pattern in layout.patterns)
        and (file in layout.needed or not file.lower().endswith(_PICKLES))
    )


def _export_in(files: Collection[str], variants: Collection[str]) -> Layout | None:
    for variant in variants:
        ending = variant.replace("-", "_") + ".onnx"
        for place in _GRAPH_FOLDERS:
            for names in (("vision_model", "text_model"), ("model", "model")):
                graphs = tuple(f"{place}{name}{ending}" for name in names)
                if set(graphs) <= set(files):
                    return _export_of(graphs, EXPORT_MARK + variant)
    return None


def _export_of(graphs: tuple[str, ...], mark: str) -> Layout:
    once = tuple(dict.fromkeys(graphs))
    needed = (*_EXPORT_TEXTS, *once)
    # Where a graph's weights lie beside it: by transformers.js's custom, and by torch's.
    weights = [f"{graph}{ending}" for graph in once for ending in ("_data*", ".data*")]
    return Layout(Kind.EXPORT, needed, (*needed, "tokenizer_config.json", *weights), graphs, mark)


def _reason(files: Collection[str], name: str) -> str:
    if any(file.endswith(".onnx") for file in files):
        return (
            f"{name!r} has ONNX graphs, but not those of two towers (vision_model.onnx and "
            f"text_model.onnx, or both in model.onnx), and no {WEIGHTS}."
        )
    if any(file.endswith(_PICKLES) for file in files):
        return (
            f"{name!r} has its weights in a form that can run programs when it is loaded (pickle); "
            f"only {WEIGHTS} and ONNX are read. Look for a revision or a copy with such files."
        )
    return (
        f"{name!r} has no {WEIGHTS} and no ONNX graphs: it is not a model that imgsearch can use."
    )


def _refused(reason: str) -> Layout:
    raise ModelInvalid(reason)
