"""Trees of files as no camera makes them: nothing may crash, hang, or cost another photo."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from attack import Attack, Outcome, Setting
from disks import contents, fingerprint, imgsearch, make_photos, need_root
from PIL import Image

_FOLDER_OF = 100_000
# What one tree may take before it counts as a hang is the limit of `disks.imgsearch`.


def odd_trees(setting: Setting) -> Outcome:
    """Index every tree: good photos are in, the rest is recorded or left out, nothing is written.

    Each tree holds one good photo, and says what else must be found in it.
    """
    outcome = Outcome()
    for number, make in enumerate(_TREES):
        outcome.times += 1
        tree = setting.work / f"tree-{number}"
        tree.mkdir()
        _photo(tree / "good.jpg", number)
        wanted = make(tree, setting)
        outcome.broken += [f"{make.__name__}: {what}" for what in _wrong(tree, setting, wanted)]
        _remove(tree)
    return outcome


def _wrong(tree: Path, setting: Setting, wanted: int) -> Iterator[str]:
    """Yield what is wrong when a tree of `wanted` photos is indexed twice."""
    library = setting.work / "library"
    # What lies in /proc changes by itself.
    steady = wanted < 1_000 and not (tree / "proc").exists()
    before = fingerprint(tree) if steady else {}
    for run in (1, 2):
        ran = imgsearch("index", tree, "--library", library)
        if ran.unclear or ran.code:
            yield f"run {run}: {ran.unclear or ran.stderr[-200:]}"
        found = len(contents(library)["files"])
        if found != wanted:
            yield f"run {run}: {found} photos instead of {wanted}; {ran.stdout[-200:]}"
    for command in (("status",), ("status", "--failed"), ("query", "a photo", "--all", "--json")):
        ran = imgsearch(*command, "--library", library)
        if ran.unclear or ran.code:
            yield f"{command}: {ran.unclear or ran.stderr[-200:]}"
    if before and fingerprint(tree) != before:
        yield "something in it was changed"
    shutil.rmtree(library)


def _photo(path: Path, mark: int = 0) -> None:
    colour = (mark * 37 % 256, mark // 256 % 256, 99)
    Image.new("RGB", (32, 24), colour).save(path, "JPEG")


def odd_names(tree: Path, setting: Setting) -> int:
    """Names of 255 bytes, no UTF-8, line breaks, escapes, markup, spaces, dots, options."""
    names = [
        b"n" * 251 + b".jpg", b"caf\xe9\xff.jpg", b"a\nb.jpg", b"\x1b[31mred.jpg", b"<b>.jpg",
        b" .jpg", b"..jpg.jpg", b"-rf.jpg", b"%s%n.jpg", b"'; DROP TABLE file;--.jpg",
        "\u202egpj.exe.jpg".encode(), b"\xf0\x9f\x90\xb1.jpg", b"\\x.jpg", b"a\tb.jpg",
    ]  # fmt: skip
    for number, name in enumerate(names, start=1):
        path = os.path.join(os.fsencode(tree), name)
        shutil.copyfile(tree / "good.jpg", path)
        with open(path, "ab") as file:
            file.write(bytes([number]))
    # Hidden names are left out.
    return 1 + len(names) - sum(name.startswith(b".") for name in names)


def names_that_look_alike(tree: Path, setting: Setting) -> int:
    """The same name in the two normal forms of Unicode, and in upper and lower case."""
    for form in ("NFC", "NFD"):
        shutil.copyfile(tree / "good.jpg", tree / f"{unicodedata.normalize(form, 'é')}.jpg")
    for name in ("photo.jpg", "PHOTO.JPG", "Photo.jpg"):
        shutil.copyfile(tree / "good.jpg", tree / name)
    return 6


def a_path_beyond_the_limit(tree: Path, setting: Setting) -> int:
    """Photos below paths of more than 4,096 bytes, which no call takes, and just below that."""
    return 1 + _deep(tree, "d" * 250, 18)


def two_hundred_deep(tree: Path, setting: Setting) -> int:
    """Two hundred folders inside each other."""
    return 1 + _deep(tree, "d", 200)


def two_thousand_deep(tree: Path, setting: Setting) -> int:
    """Two thousand folders inside each other: the path is just beyond the limit."""
    return 1 + _deep(tree, "dd", 2_000)


def _deep(tree: Path, name: str, depth: int) -> int:
    """Make folders inside each other with a photo in every 50th; return how many can be opened."""
    photo = (tree / "good.jpg").read_bytes()
    place, length, count = os.open(tree, os.O_RDONLY), len(os.fsencode(tree)), 0
    for level in range(1, depth + 1):
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
        length += len(name) + 1
        if level % 50 == 0 or level == depth or len(name) > 100:
            with open(os.open("p.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=place), "wb") as file:
                file.write(photo + bytes([level % 256, level // 256]))
            # The limit counts the byte at the end.
            count += length + len("/p.jpg") < 4_096
    os.close(place)
    return count


def links(tree: Path, setting: Setting) -> int:
    """Loops, links that lead out, to nothing, to devices; and hard links, which are like files."""
    outside = setting.work / "outside"
    outside.mkdir(exist_ok=True)
    _photo(outside / "secret.jpg", 7)
    (tree / "loop").symlink_to(tree)
    (tree / "up").symlink_to("..")
    (tree / "itself.jpg").symlink_to("itself.jpg")
    (tree / "out").symlink_to(outside)
    (tree / "out.jpg").symlink_to(outside / "secret.jpg")
    (tree / "nothing.jpg").symlink_to("/nowhere")
    (tree / "null.jpg").symlink_to("/dev/zero")
    os.link(tree / "good.jpg", tree / "hard.jpg")
    return 2


def no_files(tree: Path, setting: Setting) -> int:
    """FIFOs, sockets and devices with the names of photos, and without telling names."""
    for suffix in (".jpg", ".png", ""):
        os.mkfifo(tree / f"fifo{suffix}")
        with socket.socket(socket.AF_UNIX) as made:
            here = os.open(tree, os.O_RDONLY)
            made.bind(f"/proc/self/fd/{here}/socket{suffix}")
            os.close(here)
        with suppress(PermissionError):
            for kind, major, minor in ((stat.S_IFCHR, 1, 5), (stat.S_IFBLK, 7, 0)):
                os.mknod(tree / f"device{kind}{suffix}", kind | 0o666, os.makedev(major, minor))
    (tree / "folder.jpg").mkdir()
    return 1


def odd_sizes(tree: Path, setting: Setting) -> int:
    """Empty files, sparse huge files, and files of /proc, whose size is told as 0."""
    (tree / "empty.jpg").touch()
    for name, size in (("sparse.jpg", 1 << 34), ("half.png", 1 << 29), ("sparse", 1 << 40)):
        with (tree / name).open("wb") as file:
            file.truncate(size)
    return 1


def files_of_proc(tree: Path, setting: Setting) -> int:
    """The file system /proc, mounted inside a root."""
    subprocess.run(["mount", "-t", "proc", "proc", str(_made(tree / "proc"))], check=False)
    return 1


def another_file_system(tree: Path, setting: Setting) -> int:
    """A disk mounted inside a root: its photos count."""
    place = _made(tree / "disk")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=False)
    _photo(place / "a.jpg", 300)
    return 1 + os.path.ismount(place)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def a_large_folder(tree: Path, setting: Setting) -> int:
    """One folder with 100,000 entries: copies of few photos, under links of the file system."""
    count = setting.times(_FOLDER_OF)
    folder = _made(tree / "large")
    for number in range(count):
        source = folder / f"{number - number % 1000:06d}.jpg"
        if number % 1000 == 0:
            _photo(source, 1000 + number // 1000)
        else:
            # A file system allows 65,000 links to one file.
            os.link(source, folder / f"{number:06d}.jpg")
    return 1 + count


def _remove(tree: Path) -> None:
    for inner in tree.iterdir():
        if os.path.ismount(inner):
            subprocess.run(["umount", "-l", str(inner)], check=False)
    # By rm, which goes down folder by folder: no path is too long for it.
    subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=False)


_TREES: tuple[Callable[[Path, Setting], int], ...] = (
    odd_names, names_that_look_alike, a_path_beyond_the_limit, two_hundred_deep,
    two_thousand_deep, links, no_files, odd_sizes, files_of_proc, another_file_system,
    a_large_folder,
)  # fmt: skip


def unreadable(setting: Setting) -> Outcome:
    """Folders and files that the user may not read: told, and what is known of them is kept."""
    need_root()
    outcome = Outcome()
    base = setting.work
    for parent in (base, *base.parents):
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    photos, library = base / "photos", base / "library"
    make_photos(photos, 60, seed=3)
    imgsearch("index", photos, "--library", library, without_powers=True)
    whole = contents(library)
    for mode, target in (
        (0, photos / "000"),
        (0o444, photos / "001"),
        (0, photos / "002/00050.jpg"),
    ):
        outcome.times += 1
        before = target.stat().st_mode
        target.chmod(mode)
        ran = imgsearch("index", photos, "--library", library, without_powers=True)
        target.chmod(before)
        if ran.unclear or ran.code or contents(library) != whole:
            outcome.broken.append(f"{target.name}, mode {mode:o}: {ran.unclear or ran.stderr}")
    root = imgsearch("index", photos / "000/00001.jpg", "--library", library, without_powers=True)
    outcome.times += 1
    if root.code != 2 or root.unclear:
        outcome.broken.append(f"a root that is a file: {root}")
    return outcome


ATTACKS = [
    Attack(
        "odd-trees",
        "No tree of files crashes or hangs a run, or costs another photo",
        "odd names, paths beyond 4,096 bytes, depth 200 and 2,000, 100,000 files in a folder, "
        "links, FIFOs, sockets, devices, sparse files, /proc, a mount inside",
        odd_trees,
    ),
    Attack(
        "unreadable",
        "What cannot be read is told, and what is known of it is kept",
        "folders and files without permissions, to a user without powers; a root that is a file",
        unreadable,
    ),
]
