"""The long form of tests/test_hostile_models.py: hostile folders by the command line; mutants."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

from attack import Attack, Outcome, Setting
from quick_forms import quick_form


def index_with(model: Path, photos: Path, library: Path) -> subprocess.CompletedProcess[str]:
    """Index photos with a model by the command line."""
    return subprocess.run(
        [sys.executable, "-m", "imgsearch", "index", str(photos), "--model", str(model),
         "--library", str(library)],
        capture_output=True, text=True, timeout=900, check=False, errors="replace",
    )  # fmt: skip


def verdict(name: str, done: subprocess.CompletedProcess[str], library: Path) -> list[str]:
    """Return what is wrong with how a hostile model was refused."""
    wrong = []
    lines = done.stderr.strip().splitlines()
    reason = [line for line in lines if line.startswith("imgsearch: ")]
    if done.returncode == 0:
        wrong.append(f"{name}: accepted")
    elif len(reason) != 1 or len(lines) > 3 or "fault in imgsearch" in done.stderr:
        wrong.append(f"{name}: refused without one clear reason: {done.stderr[-300:]}")
    if (library / "catalog.sqlite").exists():
        wrong.append(f"{name}: something was stored")
    return wrong


def attack_models(setting: Setting) -> Outcome:
    """Index with every hostile folder of the tests."""
    made = quick_form("hostile_models")
    outcome, photos = Outcome(), one_photo(setting)
    attacks = {name: attack for name, (attack, _) in made.FOLDERS.items()}
    for number, (name, attack) in enumerate(list(attacks.items())[: setting.times(len(attacks))]):
        place = setting.work / str(number)
        place.mkdir()
        model = made.write_model(place / "tiny")
        attack(model)
        done = index_with(model, photos, place / "library")
        outcome.times += 1
        outcome.broken += verdict(name, done, place / "library")
        if (place / "harm").exists():
            outcome.broken.append(f"{name}: a program of the model ran")
        shutil.rmtree(place)
    return outcome


def attack_mutants(setting: Setting) -> Outcome:
    """Load models in which a few bytes are others; they may work, or be refused, and no more."""
    made, trial = quick_form("hostile_models"), "imgsearch.encoders.trial"
    outcome, rng = Outcome(), random.Random(setting.seed)
    sound = made.write_model(setting.work / "tiny")
    from imgsearch.encoders.trial import try_out
    from imgsearch.errors import ModelInvalid

    accepted = 0
    for number in range(setting.times(500)):
        model = shutil.copytree(sound, setting.work / f"m{number}")
        path = model / rng.choice(["image.onnx", "text.onnx", "tokenizer.json", "model.json"])
        data = bytearray(path.read_bytes())
        # Half of them near an end, where graphs have their structure and not their weights.
        for _ in range(rng.choice([1, 1, 2, 8])):
            at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(300) - 300
            data[at % len(data)] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            from imgsearch import load_encoder

            known = load_encoder(str(model)).description
            try_out(str(model), None, (known.name, known.revision), seconds=60)
            accepted += 1
        except ModelInvalid as error:
            if not str(error).isprintable():
                outcome.broken.append(f"{path.name} {number}: {error!r}"[:300])
        except Exception as error:  # anything else is what is looked for
            outcome.broken.append(f"{path.name} {number}: {type(error).__name__}: {error}"[:300])
        outcome.times += 1
        shutil.rmtree(model)
    outcome.note = f"{accepted} still worked; each was tried by {trial}"
    return outcome


def one_photo(setting: Setting) -> Path:
    """Make a folder with one photo."""
    from PIL import Image

    photos = setting.work / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 48), "red").save(photos / "a.jpg")
    return photos


ATTACKS = [
    Attack(
        "models",
        "A hostile model is refused with one reason, runs nothing, and leaves nothing",
        "index --model with folders of pickles, links, absurd shapes, NaN, custom operators, ...",
        attack_models,
    ),
    Attack(
        "model-mutants",
        "A damaged model is refused, or works; imgsearch itself never fails",
        "a sound model with random bytes changed or cut off",
        attack_mutants,
    ),
]
