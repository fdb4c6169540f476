"""Near-duplicates: what belongs together, what does not, which one to keep, and what is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import EXAMPLES
from PIL import Image, ImageDraw, ImageFont

from imgsearch import DuplicateGroup, Filters, IndexSettings, Library, LibraryNotFound, UsageError
from imgsearch.data.signature_store import FILE_NAME, SignatureStore
from imgsearch.encoders.base import ModelDescription, Preprocessing, Resize
from imgsearch.encoders.fake import FakeEncoder
from imgsearch.search.similar_pairs import VERSION


class CroppingEncoder(FakeEncoder):
    """A fake whose geometry is CLIP's, so that pictures are decoded as large as for a real one."""

    @property
    def description(self) -> ModelDescription:
        """The fake's, with the geometry of CLIP."""
        return replace(super().description, preprocessing=Preprocessing(256, Resize.CROP))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", model=CroppingEncoder()) as opened:
        yield opened


@pytest.fixture
def photos(folder: Path) -> Path:
    """The example photos, all of different things."""
    for path in EXAMPLES.glob("*.jpg"):
        shutil.copy(path, folder)
    return folder


def names(group: DuplicateGroup) -> list[str]:
    """Return the names of a group's files, the best first."""
    return [Path(path).name for path in (group.best.path, *group.surplus_paths)]


def written_on(image: Image.Image) -> Image.Image:
    font = ImageFont.load_default(size=image.height // 10)
    ImageDraw.Draw(image).text((20, image.height // 2), "Hello 2021", "white", font)
    return image


EDITS = {
    "scaled": lambda image: image.resize((image.width // 2, image.height // 2)),
    "cropped": lambda image: image.crop(
        (0, image.height // 20, image.width * 9 // 10, image.height * 19 // 20)
    ),
    "grey": lambda image: image.convert("L"),
    "left": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "right": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "over": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "written": written_on,
}


def edited(photo: Path, kind: str, quality: int = 90) -> Path:
    """Write an edit of a photo beside it."""
    target = photo.with_name(f"{photo.stem}-{kind}.jpg")
    with Image.open(photo) as image:
        EDITS[kind](image.convert("RGB")).save(target, quality=quality)
    return target


def test_photos_of_different_things_are_no_copies(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    library.index(photos, settings=settings)

    assert library.near_duplicates(threshold=0.6) == ()


@pytest.mark.parametrize("kind", sorted(EDITS))
def test_an_edited_copy_is_found(
    library: Library, photos: Path, settings: IndexSettings, kind: str
) -> None:
    edited(photos / "coffee.jpg", kind)
    library.index(photos, settings=settings)

    [group] = library.near_duplicates()

    assert set(names(group)) == {"coffee.jpg", f"coffee-{kind}.jpg"}
    assert group.alike[0] == 1.0
    assert 0.8 <= group.alike[1] < 1.0


def test_the_same_bytes_twice_are_one_hit_with_a_duplicate(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    shutil.copy(photos / "cat.jpg", photos / "zat.jpg")
    library.index(photos, settings=settings)

    [group] = library.near_duplicates(threshold=1.0)

    assert names(group) == ["cat.jpg", "zat.jpg"]
    assert len(group.hits) == 1
    assert group.wasted_bytes == (photos / "cat.jpg").stat().st_size


def test_the_best_has_the_most_pixels_then_the_most_bytes(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    original = photos / "coffee.jpg"
    edited(original, "scaled", quality=98)
    with Image.open(original) as image:
        image.save(photos / "coffee-saved again.jpg", quality=30)
    library.index(photos, settings=settings)

    [group] = library.near_duplicates()

    assert group.best.path == str(original)
    assert set(group.surplus_paths) == {
        str(photos / "coffee-scaled.jpg"), str(photos / "coffee-saved again.jpg")
    }  # fmt: skip


def test_groups_come_with_the_most_wasted_bytes_first(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    edited(photos / "coffee.jpg", "scaled", quality=20)
    edited(photos / "cat.jpg", "mirrored", quality=98)
    library.index(photos, settings=settings)

    groups = library.near_duplicates()

    assert len(groups) == 2
    assert groups[0].wasted_bytes > groups[1].wasted_bytes


def test_plain_areas_are_not_copies_of_each_other(
    library: Library, folder: Path, settings: IndexSettings
) -> None:
    for number, colour in enumerate(("red", "grey", "#202020", "white")):
        Image.new("RGB", (300, 200 + number), colour).save(folder / f"{number}.png")
    library.index(folder, settings=settings)

    assert library.near_duplicates(threshold=0.6) == ()


def test_what_is_added_later_is_compared_and_what_is_gone_is_forgotten(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    library.index(photos, settings=settings)
    assert library.near_duplicates() == ()

    copy = edited(photos / "coffee.jpg", "left")
    library.index(photos, settings=settings)
    told: list[tuple[int, int]] = []
    [group] = library.near_duplicates(progress=lambda done, total: told.append((done, total)))
    assert copy.name in names(group)
    assert told[-1] == (1, 1)

    copy.unlink()
    library.index(photos, settings=settings)
    assert library.near_duplicates() == ()


def test_nothing_is_compared_twice(library: Library, photos: Path, settings: IndexSettings) -> None:
    edited(photos / "coffee.jpg", "grey")
    library.index(photos, settings=settings)
    first = library.near_duplicates()
    told: list[int] = []

    with Library.open(library.path) as anew:
        again = anew.near_duplicates(progress=lambda done, total: told.append(done))

    assert again == first
    assert told == []


def test_stopping_keeps_what_was_done(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    edited(photos / "coffee.jpg", "grey")
    library.index(photos, settings=settings)

    assert library.near_duplicates(should_stop=lambda: True) == ()
    assert len(library.near_duplicates()) == 1


@pytest.mark.parametrize("damage", [b"no database at all", b""])
def test_the_cache_may_be_damaged_or_deleted(
    library: Library, photos: Path, settings: IndexSettings, damage: bytes
) -> None:
    edited(photos / "coffee.jpg", "grey")
    library.index(photos, settings=settings)
    first = library.near_duplicates()
    for path in library.path.glob(f"{FILE_NAME}*"):
        path.unlink()
    if damage:
        (library.path / FILE_NAME).write_bytes(damage * 100)

    with Library.open(library.path) as anew:
        assert anew.near_duplicates() == first


def test_missing_thumbnails_are_made(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    edited(photos / "coffee.jpg", "grey")
    library.index(photos, settings=settings)
    library.close()
    for path in library.path.glob("thumbnails.sqlite*"):
        path.unlink()

    assert len(library.near_duplicates()) == 1


def test_filters_narrow_the_groups(library: Library, photos: Path, settings: IndexSettings) -> None:
    edited(photos / "coffee.jpg", "grey")
    with Image.open(photos / "coffee.jpg") as image:
        image.save(photos / "coffee.png")
    library.index(photos, settings=settings)

    [group] = library.near_duplicates(filters=Filters(formats=("JPEG",)))

    assert set(names(group)) == {"coffee.jpg", "coffee-grey.jpg"}
    assert library.near_duplicates(filters=Filters(formats=("PNG",))) == ()


def test_removing_a_folder_forgets_its_signatures(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    library.index(photos, settings=settings)
    library.near_duplicates()
    assert len(known_signatures(library)) > 5

    library.remove(photos)

    assert known_signatures(library) == set()


def known_signatures(library: Library) -> set[bytes]:
    with SignatureStore(library.path, VERSION) as store:
        return store.known()


def test_wrong_thresholds_and_no_library_are_said_so(library: Library) -> None:
    with pytest.raises(UsageError, match="between"):
        library.near_duplicates(threshold=0.2)
    with pytest.raises(LibraryNotFound):
        library.near_duplicates()


def similar(library: Library, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run `imgsearch similar` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "imgsearch", "similar", *arguments, "--library", library.path],
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_the_command_line_says_what_to_keep_and_deletes_nothing(
    library: Library, photos: Path, settings: IndexSettings
) -> None:
    original = photos / "coffee.jpg"
    copy = edited(original, "scaled")
    library.index(photos, settings=settings)

    advised = similar(library, "--keep", "best").stdout.decode()
    assert [line.split()[0] for line in advised.splitlines()[1:3]] == ["KEEP", "other"]
    assert "1 group with 2 files" in advised
    assert "* best" in similar(library).stdout.decode()
    assert similar(library, "-0").stdout == bytes(copy) + b"\0"
    assert similar(library, "--paths").stdout == bytes(copy) + b"\n"
    [group] = json.loads(similar(library, "--json").stdout)
    assert (group["best"], group["surplus"]) == (str(original), [str(copy)])
    assert original.exists()
    assert copy.exists()


def test_the_command_line_refuses_what_makes_no_sense(library: Library) -> None:
    assert similar(library, "--keep", "worst").returncode == 2
    assert similar(library, "--threshold", "7").returncode == 2
    assert similar(library).returncode == 1
