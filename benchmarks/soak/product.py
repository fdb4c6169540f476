"""What attacks on the running product share: photos, starting it, what its library holds."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from attack import CannotAttack

from imgsearch.data.reader import CatalogReader
from imgsearch.data.vector_cache import VectorCache

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples" / "photos"
CATALOG = "catalog.sqlite"
# How long processes whose parent was killed get to end by themselves, and a run to end at all.
LAST_WORDS_SECONDS = 30.0
RUN_SECONDS = 600.0


class Photos:
    """A folder of photos that never run out: random crops of the examples, each with a keyword."""

    def __init__(self, folder: Path, seed: int) -> None:
        from PIL import Image

        sources = sorted(EXAMPLES.glob("*.jpg"))
        if not sources:
            raise CannotAttack(f"there are no photos in {EXAMPLES}")
        self.folder = folder
        self._random = np.random.default_rng(seed)
        self._pictures = [Image.open(path).convert("RGB") for path in sources]
        self._made = 0

    def add(self, count: int, folder: str = "") -> list[Path]:
        """Write so many more photos into a folder below, and return their paths."""
        place = self.folder / folder
        place.mkdir(parents=True, exist_ok=True)
        paths = []
        for _ in range(count):
            self._made += 1
            path = place / f"IMG_{self._made:05d}.jpg"
            path.write_bytes(self.picture())
            paths.append(path)
        return paths

    def picture(self) -> bytes:
        """Return another photo as the bytes of a JPEG of 240 x 180 pixels."""
        from PIL import Image

        picture = self._pictures[self._random.integers(len(self._pictures))]
        edge = int(self._random.uniform(0.4, 0.9) * min(picture.size))
        left = int(self._random.integers(picture.width - edge + 1))
        top = int(self._random.integers(picture.height - edge + 1))
        crop = picture.resize((240, 180), box=(left, top, left + edge, top + edge * 3 // 4))
        exif = Image.Exif()
        exif[0x9C9E] = f"word{self._random.integers(50)}".encode("utf-16-le")
        exif[0x0110] = "Soak"
        buffer = io.BytesIO()
        crop.save(buffer, "JPEG", quality=85, exif=exif)
        return buffer.getvalue()


def environment(work: Path, **more: str) -> dict[str, str]:
    """Return the environment of the product: this repository, and a folder for temporary files."""
    temporary = work / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, (more.pop("PYTHONPATH", ""), str(REPOSITORY))))
    return {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": path, **more}


def start(
    arguments: list[str], library: Path, env: Mapping[str, str], **more: Any
) -> subprocess.Popen[str]:
    """Start a command of the product in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "imgsearch", *arguments, "--library", str(library)],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


def run(arguments: list[str], library: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Run a command to its end; return its exit code and all that it said."""
    process = start(arguments, library, env)
    try:
        out, err = process.communicate(timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return 124, f"hangs: {out}{err}"
    return process.returncode, out + err


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def survivors(session: int) -> list[int]:
    """Return the processes of a session that have not ended by themselves after a while."""
    deadline = time.monotonic() + LAST_WORDS_SECONDS
    while (left := members(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def committed(library: Path) -> dict[tuple[bytes, str], bytes]:
    """Return the vectors that another process sees in the catalog, by content and model."""
    if not (library / CATALOG).exists():
        return {}
    return {(content, model): vector for content, model, vector in _read(library, _VECTORS)}


def integrity(library: Path) -> list[str]:
    """Return what SQLite finds wrong with the databases of a library."""
    wrong = []
    for path in sorted(library.glob("*.sqlite")):
        with closing(sqlite3.connect(path, timeout=60)) as database:
            checks = database.execute("PRAGMA integrity_check").fetchall()
            checks += database.execute("PRAGMA foreign_key_check").fetchall()
        wrong += [f"{path.name}: {row}" for row in checks if row != ("ok",)]
    return wrong


_VECTORS = (
    "SELECT content_hash, name || ' ' || revision, vector FROM embedding"
    " JOIN picture ON picture.id = picture_id JOIN model ON model.id = model_id"
)
_CONTENTS = {
    "embeddings": _VECTORS,
    "files": (
        "SELECT root.path, file.path, size, mtime_ns, content_hash FROM file"
        " JOIN root ON root.id = root_id JOIN picture ON picture.id = picture_id"
    ),
    "facts": (
        "SELECT content_hash, byte_size, width, height, format, orientation, taken_at, camera,"
        " lens, latitude, longitude, rating, facts_version, orphaned_at IS NULL FROM picture"
    ),
    "keywords": (
        "SELECT content_hash, folded, word FROM keyword JOIN picture ON picture.id = picture_id"
    ),
    "failures": (
        "SELECT root.path, failure.path, size, mtime_ns, kind, reason FROM failure"
        " JOIN root ON root.id = root_id"
    ),
    "version": "SELECT * FROM pragma_user_version",
}


def contents(library: Path) -> dict[str, object]:
    """Return all that a library holds, without numbers and times that differ from run to run."""
    held: dict[str, object] = {
        name: sorted(_read(library, query), key=repr) for name, query in _CONTENTS.items()
    }
    held["thumbnails"] = sorted(
        _read(library, "SELECT content_hash, jpeg FROM thumbnail", "thumbnails.sqlite")
    )
    held["index"] = sorted(_indexed(library))
    held["left"] = sorted(_unexpected(library))
    return held


def differences(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Name what differs between two libraries' contents."""
    wrong = []
    for name in one:
        if one[name] != other[name]:
            ours, theirs = set(one[name]), set(other[name])  # type: ignore[call-overload]
            wrong.append(
                f"{name}: {len(ours - theirs)} only here, {len(theirs - ours)} only there, such as "
                f"{str(next(iter(ours ^ theirs), 'an order'))[:200]}"
            )
    return wrong


def _indexed(library: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield what the FAISS cache as it lies on the disk holds: content and vector."""
    names = dict(_read(library, "SELECT id, content_hash FROM picture"))
    with CatalogReader(library) as reader:
        for model in reader.models():
            contents = VectorCache(library, model).contents(reader)
            if contents is not None:
                for ids, rows in contents[1].stored():
                    for id_, row in zip(ids.tolist(), rows, strict=True):
                        yield names.get(id_, b"unknown"), row.tobytes()


def _unexpected(library: Path) -> Iterator[str]:
    """Yield the files of a library that do not belong to one that nobody uses."""
    good = ("catalog.sqlite", "thumbnails.sqlite", "writer.lock", "similar.sqlite")
    for path in library.iterdir():
        base = path.name.removesuffix("-wal").removesuffix("-shm")
        if path.is_file() and base not in good and not path.name.endswith(".backup"):
            yield path.name
    kinds = [path.suffix for path in (library / "faiss").iterdir()]
    for path in (library / "faiss").iterdir():
        stamp = path.suffix == ".json" and path.stem.count("-") > 1
        if (
            path.suffix == ".draft"
            or stamp
            or path.name.startswith("draft-")
            or (path.suffix == ".rows" and kinds.count(".rows") > 1)
        ):
            yield f"faiss/{path.name}"


def _read(library: Path, query: str, name: str = CATALOG) -> list[Any]:
    with closing(sqlite3.connect(f"file:{library / name}?mode=ro", uri=True, timeout=60)) as held:
        try:
            return held.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def turn_into_schema_1(library: Path) -> None:
    """Take out of a catalog what the schemas 2 to 4 have brought."""
    with closing(sqlite3.connect(library / CATALOG)) as database:
        for statement in (
            "DROP TABLE vector_checksum",
            "DROP TABLE keyword",
            "DROP TABLE saved_search",
            "ALTER TABLE picture DROP COLUMN rating",
            "ALTER TABLE picture DROP COLUMN facts_version",
            "ALTER TABLE picture DROP COLUMN facts_crc",
            "PRAGMA user_version=1",
        ):
            database.execute(statement)
        database.commit()
