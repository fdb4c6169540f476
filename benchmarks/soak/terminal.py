"""The long form of tests/test_hostile_text.py: every command over names that keep changing."""

from __future__ import annotations

import json
import random
import subprocess
import sys

from attack import Attack, Outcome, Setting
from quick_forms import quick_form

# Everything below U+0100 that is no sign, and what reorders, joins or hides.
_EVIL = [chr(n) for n in (*range(1, 32), *range(127, 160))] + list(
    "\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069"
    "\ufeff\udc9b\udcff\U000e0041"
)


def attack_terminal(setting: Setting) -> Outcome:
    """Index photos with random names, run the commands, and look at every byte."""
    text = quick_form("test_hostile_text")
    from PIL import Image

    from imgsearch import Library

    rng, outcome = random.Random(setting.seed), Outcome()
    for round_ in range(setting.times(30)):
        photos = setting.work / f"photos{round_}"
        photos.mkdir()
        for number in range(40):
            letters = rng.choices([*_EVIL, "a", "[", "]", ";", "m", "0"], k=rng.randint(1, 25))
            name = "".join(letters).replace("/", "")
            exif = Image.Exif()
            exif[0x0110] = name.encode("utf-8", "replace").decode()
            image = Image.new("RGB", (40, 30), (number, 9, round_ * 7))
            image.save(photos / f"{name}{number}.jpg", exif=exif)
        library = setting.work / f"library{round_}"
        with Library.open(library) as opened:
            opened.index(photos)
        asked = [one for one in text.commands(library) if "--paths" not in one]
        order = setting.work / "commands.json"
        order.write_text(json.dumps(asked))
        done = subprocess.run(
            [sys.executable, "-c", text.RUNNER, str(order)], capture_output=True, check=False
        )
        outcome.times += len(asked)
        for shown in (done.stdout, done.stderr):
            try:
                text.assert_harmless(shown)
            except (AssertionError, UnicodeDecodeError) as error:
                outcome.broken.append(f"round {round_}: {error}"[:300])
        if len(text.statuses(done.stderr)) != len(asked) or b"fault in imgsearch" in done.stderr:
            outcome.broken.append(f"round {round_}: a command ended as a fault")
    return outcome


ATTACKS = [
    Attack(
        "terminal",
        "Text in names, EXIF, searches and messages never controls the terminal",
        "every command over libraries whose names are random control characters",
        attack_terminal,
    )
]
