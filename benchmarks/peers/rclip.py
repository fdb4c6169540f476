"""The peer: rclip, the nearest comparable program, in an environment of its own.

Run once, before `peers/compare.py`, `indexing.py --peer` and `cold_query.py --peer`, with the same
--work folder: installs rclip there, and makes the model files it otherwise downloads. They have
rclip's own architecture, sizes and file layout (OpenCLIP's ViT-B-32-256, exported the way rclip's
authors export it), but random weights: its speed is real, its results are not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from common import (
    CannotMeasure,
    Measured,
    Result,
    child_environment,
    excuses,
    measured,
    new_parser,
    report,
    say,
)

VERSION = "3.3.0"
# What rclip keeps its files under; RCLIP_DATADIR says where.
MODEL_FOLDER = "ViT-B-32-256-datacomp_s34b_b86k"
_EXPORT_PACKAGES = ("torch==2.13.0", "torchvision==0.28.0", "open_clip_torch==3.3.0", "onnx")
_HERE = Path(__file__).parent


class Rclip:
    """An installed rclip with a model of random weights."""

    def __init__(self, work: Path) -> None:
        """Find what `install` has made. Raises CannotMeasure when it is not there."""
        self.place = work / "rclip"
        self._model = self.place / "model"
        self._program = self.place / "venv" / "bin" / "rclip"
        if not (self.place / "done").exists():
            raise CannotMeasure(
                f"rclip is not in {self.place}: run python benchmarks/peers/rclip.py --work {work}"
            )

    @property
    def towers(self) -> Path:
        """The folder of ``visual.onnx`` and ``textual.onnx``."""
        return self._model / MODEL_FOLDER

    @property
    def vocabulary(self) -> Path:
        """The file of its tokenizer."""
        return self._model / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"

    def index(self, photos: Path, data: Path) -> Measured:
        """Index the folder `photos` into the empty folder `data`; ends with one query."""
        self.prepare(data)
        return self.rescan(photos, data)

    def prepare(self, data: Path) -> None:
        """Make the folder `data`, empty but for the model."""
        data.mkdir(parents=True)
        for part in (MODEL_FOLDER, "tokenizer"):
            (data / part).symlink_to(self._model / part)

    def rescan(self, photos: Path, data: Path) -> Measured:
        """Look through `photos`, whose index is in `data`, for changes; ends with one query."""
        return self._run(["a photo"], photos, data)

    def indexing(self, data: Path) -> tuple[list[str], dict[str, str]]:
        """Return the command, to be run in the folder of photos, and the environment of `index`."""
        return [str(self._program), "a photo"], self._environment(data)

    def query(self, words: str, photos: Path, data: Path) -> Measured:
        """Ask one question about what is indexed of the folder `photos`, without a re-scan."""
        return self._run(["-n", words], photos, data)

    def indexed(self, photos: Path) -> Path:
        """Return the data folder of an index of `photos`, making it when it is not there yet."""
        place = self.place / f"indexed-{photos.name}"
        if not (place / "done").exists():
            say(f"rclip is indexing {photos} ...")
            shutil.rmtree(place, ignore_errors=True)
            self.index(photos, place / "data")
            (place / "done").touch()
        return place / "data"

    def synthetic(self, count: int, seed: int) -> tuple[Path, Path]:
        """Return (photos, data): an index of `count` pictures that are not there."""
        place = self.place / f"synthetic-{count}-seed{seed}"
        photos, data = place / "photos", place / "data"
        if not (place / "done").exists():
            say(f"filling rclip's database with {count} vectors ...")
            shutil.rmtree(place, ignore_errors=True)
            photos.mkdir(parents=True)
            self.index(photos, data)
            fill = [_HERE / "rclip_fill.py", data / "db.sqlite3", photos, count, seed]
            _python(self.place / "venv", "-P", *map(str, fill))
            (place / "done").touch()
        return photos, data

    def _run(self, arguments: Sequence[str], photos: Path, data: Path) -> Measured:
        command = [str(self._program), *arguments]
        return measured(command, cwd=photos, env=self._environment(data))

    def _environment(self, data: Path) -> dict[str, str]:
        return child_environment(RCLIP_DATADIR=str(data), HF_HUB_OFFLINE="1")


def install(work: Path) -> None:
    """Install rclip and make its model files, unless that was done before."""
    place = work / "rclip"
    if (place / "done").exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    say(f"installing rclip {VERSION} in {place / 'venv'} ...")
    _environment(place / "venv", f"rclip=={VERSION}")
    say("installing what exports the model ...")
    _environment(place / "export", *_EXPORT_PACKAGES)
    say("exporting both towers of ViT-B-32-256 with random weights ...")
    _python(place / "export", str(_HERE / "rclip_export.py"), str(place / "model"), MODEL_FOLDER)
    (place / "done").touch()


def _environment(folder: Path, *packages: str) -> None:
    """Make a virtual environment with these packages; the user's pip settings apply."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    _python(folder, "-m", "pip", "install", "--quiet", *packages)


def _python(folder: Path, *arguments: str) -> None:
    """Run the Python of a virtual environment. Raises CannotMeasure when it fails."""
    done = subprocess.run(
        [str(folder / "bin" / "python"), *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotMeasure(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")


def main() -> None:
    """Install, and try out with one question over a small index."""
    parser = new_parser(__doc__)
    options = parser.parse_args()
    with excuses():
        install(options.work)
        peer = Rclip(options.work)
        photos, data = peer.synthetic(100, options.seed)
        answer = peer.query("a dog on a beach", photos, data)
        if len(answer.output.splitlines()) != 11:
            raise CannotMeasure(f"rclip does not answer as expected:\n{answer.output}")
        results = [Result(f"rclip {VERSION} answers in", answer.seconds, "s")]
        report("rclip", results, options.seed, as_json=options.json)


if __name__ == "__main__":
    main()
