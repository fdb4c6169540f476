"""What differs between the dual encoders that transformers has: class, texts, dimensions.

The reference for each is its processor and model in transformers, straightforwardly called; tests
hold the two together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from imgsearch.encoders.model_files import check_tokenizer, reason_of
from imgsearch.errors import ModelInvalid

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Architecture:
    """How models of one kind are loaded and fed.

    `context` is in tokens, None where the model's configuration says it. `fixed_length`: texts are
    padded to the whole context, and no attention mask is given. `mean` and `std` are the
    processor's own, for a ``preprocessor_config.json`` that leaves them out; `usual_dimension` and
    `usual_context` are those of the configuration in transformers, for a ``config.json`` that does.
    """

    model_class: str
    dimension: Callable[[Any], int]
    context: int | None = None
    fixed_length: bool = False
    mean: tuple[float, ...] = _CLIP_MEAN
    std: tuple[float, ...] = _CLIP_STD
    usual_dimension: int = 512
    usual_context: int = 77


def _projection(config: Any) -> int:
    return int(config.projection_dim)


def _siglip_dimension(config: Any) -> int:
    """SigLIP has no projection after its towers, but the text head's size may differ."""
    text = config.text_config
    return int(getattr(text, "projection_size", None) or text.hidden_size)


# By the `model_type` of config.json. SigLIP 2 checkpoints of a fixed resolution say "siglip".
ARCHITECTURES = {
    "clip": Architecture("CLIPModel", _projection),
    # Trained on 64 tokens always; the text tower pools at the last position.
    "siglip": Architecture(
        "SiglipModel", _siglip_dimension, fixed_length=True, mean=(0.5,) * 3, std=(0.5,) * 3,
        usual_dimension=768, usual_context=64,
    ),
    # Their position tables are longer than the texts they were trained on.
    "chinese_clip": Architecture("ChineseCLIPModel", _projection, context=52),
    "altclip": Architecture("AltCLIPModel", _projection, context=77, usual_dimension=768),
}  # fmt: skip


def architecture_of(config: dict[str, Any], name: str) -> Architecture:
    """Return the architecture of a model by its config.json. Raises ModelInvalid."""
    kind = config.get("model_type")
    if kind == "siglip2":
        raise ModelInvalid(
            f"{name!r} is a SigLIP 2 model of the NaFlex kind, whose pictures have no fixed size; "
            "use one with a resolution in its name, such as google/siglip2-base-patch16-256."
        )
    found = ARCHITECTURES.get(str(kind))
    if found is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelInvalid(
            f"{name!r} is a {kind!r} model; this imgsearch reads {known} (SigLIP 2 included)."
        )
    return found


def sizes_of(config: dict[str, Any], architecture: Architecture, name: str) -> tuple[int, int]:
    """Return (dimension of the vectors, context in tokens) by a config.json, without transformers.

    Raises ModelInvalid.
    """
    usual = architecture.usual_dimension
    try:
        text = config.get("text_config") or {}
        told = SimpleNamespace(
            projection_dim=config.get("projection_dim", usual),
            text_config=SimpleNamespace(
                projection_size=text.get("projection_size"),
                hidden_size=text.get("hidden_size", usual),
            ),
        )
        dimension = architecture.dimension(told)
        context = architecture.context or int(
            text.get("max_position_embeddings", architecture.usual_context)
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelInvalid(f"The config.json of {name!r} is not usable.") from error
    if min(dimension, context) < 1:
        raise ModelInvalid(f"The config.json of {name!r} is not usable.")
    return dimension, context


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids and attention mask, both [n, t], as lists."""

    ids: list[list[int]]
    mask: list[list[int]]


class TextReader:
    """A tokenizer for one model: texts to token ids, cut off at the context length."""

    def __init__(self, folder: Path, architecture: Architecture, context: int, name: str) -> None:
        """Load it from a checkpoint's folder. Raises ModelInvalid."""
        # Whether the model takes texts that are padded to the whole context, and no others.
        self.fixed_length = architecture.fixed_length
        self._context = context
        self._fast: Any = None
        if self.fixed_length:
            self._fast = read_tokenizer(folder, context, name, padded_to=context)
        self._slow: Any = None if self.fixed_length else _from_transformers(folder, name)

    def read_whole(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of the texts, padded to the whole context."""
        if self.fixed_length:
            return self.read(texts)
        found = self._slow(
            list(texts), padding="max_length", truncation=True, max_length=self._context
        )
        return Tokens(found["input_ids"], found["attention_mask"])

    def save(self, path: Path) -> None:
        """Write a ``tokenizer.json`` that gives the same tokens."""
        tokenizer = self._fast
        if not self.fixed_length:
            tokenizer = self._slow.backend_tokenizer
            # Some towers count positions by what is padding, so it must be the very token.
            tokenizer.enable_padding(
                pad_id=self._slow.pad_token_id or 0, pad_token=self._slow.pad_token or "[PAD]"
            )
        tokenizer.save(str(path))
        if self.fixed_length:
            # What `read` does to the text beforehand becomes the first step of the tokenizer.
            facts = json.loads(path.read_text(encoding="utf-8"))
            steps = [{"type": "Lowercase"}, facts["normalizer"]]
            facts["normalizer"] = {
                "type": "Sequence",
                "normalizers": [step for step in steps if step is not None],
            }
            path.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")

    def read(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of the texts."""
        if self.fixed_length:
            # SigLIP 2 was trained on lower case, which its tokenizer does not do by itself;
            # SigLIP's does.
            encodings = self._fast.encode_batch([text.lower() for text in texts])
            return Tokens([one.ids for one in encodings], [one.attention_mask for one in encodings])
        found = self._slow(list(texts), padding=True, truncation=True, max_length=self._context)
        return Tokens(found["input_ids"], found["attention_mask"])


def read_tokenizer(folder: Path, context: int, name: str, *, padded_to: int | None = None) -> Any:
    """Load ``tokenizer.json`` as it is, without transformers, whose classes may need sentencepiece.

    Texts are cut off at `context` tokens, and padded to `padded_to` or the longest of a batch.
    Raises ModelInvalid.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    check_tokenizer(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception, nothing narrower
        raise ModelInvalid(
            f"{name!r} has no readable tokenizer.json: {reason_of(error)}"
        ) from error
    pad = _pad_token(folder, tokenizer)
    tokenizer.enable_truncation(context)
    tokenizer.enable_padding(
        length=padded_to, direction="right", pad_id=tokenizer.token_to_id(pad) or 0, pad_token=pad
    )
    return tokenizer


def _pad_token(folder: Path, tokenizer: Any) -> str:
    """Return the padding token: SigLIP pads with ``</s>``, SigLIP 2 with ``<pad>``."""
    try:
        facts = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        told = facts.get("pad_token")
        pad = told.get("content") if isinstance(told, dict) else told
    except (OSError, ValueError, AttributeError):
        pad = (tokenizer.padding or {}).get("pad_token")
    if isinstance(pad, str) and tokenizer.token_to_id(pad) is not None:
        return pad
    for pad in ("<pad>", "[PAD]", "<|endoftext|>"):
        if tokenizer.token_to_id(pad) is not None:
            return pad
    return "</s>"


def _from_transformers(folder: Path, name: str) -> Any:
    import transformers

    try:
        if not (folder / "tokenizer.json").is_file() and (folder / "vocab.txt").is_file():
            # Chinese-CLIP's repository has nothing but the vocabulary of its BERT.
            return transformers.BertTokenizer.from_pretrained(folder, local_files_only=True)
        return transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise ModelInvalid(
            f"The tokenizer of {name!r} cannot be loaded: {reason_of(error)}"
        ) from error
