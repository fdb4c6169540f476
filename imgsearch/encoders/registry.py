"""Short names of well-chosen models, each pinned to a revision on the hub.

A revision is a commit at which the repository has its weights as safetensors; with it, the name
means the same vectors for ever. Quality figures are other people's, and `source` says whose.
"""

from __future__ import annotations

from dataclasses import dataclass

_OPEN_CLIP = "OpenCLIP's results table (docs/openclip_results.csv, openclip_retrieval_results.csv)"
_SIGLIP2 = "big_vision's README_siglip2.md"
_CHINESE = "Chinese-CLIP's Results.md"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that has a short name.

    `megabytes` is the size of its weights; `imagenet` is zero-shot top-1 accuracy and `retrieval`
    text-to-image recall at 1 (percent) on the data set named in `retrieval_on`, each None where
    `source` has no figure; `languages` are ISO 639-1 codes, "many" for a hundred and more.
    """

    name: str
    repository: str
    revision: str
    megabytes: int
    dimension: int
    languages: str
    licence: str
    imagenet: float | None
    retrieval: float | None
    retrieval_on: str
    source: str

    @property
    def hub_source(self) -> str:
        """What `load_encoder` takes: the repository at its revision."""
        return f"{self.repository}@{self.revision}"


KNOWN_MODELS = (
    KnownModel(
        "clip", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "1a25a446712ba5ee05982a381eed697ef9b435cf",
        605, 512, "en", "MIT", 66.6, 39.3, "COCO", _OPEN_CLIP,
    ),
    KnownModel(
        "openai", "openai/clip-vit-base-patch32",
        "b97b0100e55e367c057773c2a614676470b0d575",
        605, 512, "en", "not stated on the hub; the code is MIT", 63.3, 30.4, "COCO", _OPEN_CLIP,
    ),
    KnownModel(
        "openai-large", "openai/clip-vit-large-patch14",
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        1_711, 768, "en", "not stated on the hub; the code is MIT", 75.5, 36.5, "COCO", _OPEN_CLIP,
    ),
    KnownModel(
        "siglip2", "google/siglip2-base-patch16-256",
        "3f9f96cb90da5dbc758b01813f2f6f1aee24c1ab",
        1_501, 768, "many", "Apache-2.0", 79.1, 53.2, "COCO", _SIGLIP2,
    ),
    KnownModel(
        "multilingual", "google/siglip-base-patch16-256-multilingual",
        "8952a4eafcde3cb7ab46b1dd629b33f8784ca9c6",
        1_480, 768, "many", "Apache-2.0", 75.1, 44.9, "COCO", _OPEN_CLIP,
    ),
    KnownModel(
        "chinese", "OFA-Sys/chinese-clip-vit-base-patch16",
        "f4a64596bbcf9a2a94591b74b9dc39b2e4e77e3e",
        753, 512, "zh", "not stated on the hub; the code is MIT", None, 62.2, "COCO-CN", _CHINESE,
    ),
)  # fmt: skip

_BY_NAME = {model.name: model for model in KNOWN_MODELS}


def known_model(name: str) -> KnownModel | None:
    """Return the model of that short name, or None."""
    return _BY_NAME.get(name)
