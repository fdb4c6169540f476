"""`imgsearch query` and its relatives as people and programs meet them: real processes."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import EXAMPLES
from test_cli import is_short, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of the example photos under the starter, which nobody changes."""
    path = tmp_path_factory.mktemp("query") / "library"
    answer = run("index", str(EXAMPLES), "--library", str(path))
    assert answer.returncode == 0, answer.stderr
    return path


@pytest.fixture(autouse=True)
def _library(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_LIBRARY", str(made))


def names(text: str) -> list[str]:
    return [Path(line).stem for line in text.splitlines()]


def test_results_end_where_they_stop_matching() -> None:
    answer = run("query", "a cup of coffee")

    [line] = answer.stdout.splitlines()
    rank, strength, path = line.split()
    assert (rank, Path(path).name) == ("1", "coffee.jpg")
    assert 75 < int(strength) <= 100
    assert answer.stderr == "Model: starter\n"


def test_where_nothing_matches_the_closest_are_shown_and_it_is_said() -> None:
    answer = run("query", "the tax return was filed late", "-n", "3")

    assert answer.returncode == 0
    assert answer.stderr.startswith("Nothing matches well; the closest are:\n")
    assert len(answer.stdout.splitlines()) == 3
    assert (
        json.loads(run("query", "the tax return was filed late", "--json").stdout)["matching"] == 0
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cat", "--camera", "none"], "No photo was found."),
        (["--camera", "none"], "No photo was found."),
        (["cat", "--min-strength", "100"], "No photo was found."),
        (["cat", "--all", "--page", "3"], "Only 12 were found; there is nothing on this page."),
    ],
)
def test_that_nothing_was_found_is_said(arguments: list[str], says: str) -> None:
    answer = run("query", *arguments)

    assert (answer.returncode, answer.stdout) == (0, "")
    assert answer.stderr.splitlines() == [says, "Model: starter"]


def test_pages_follow_each_other_and_ranks_go_on() -> None:
    whole = names(run("query", "cat", "--all", "--paths", "-n", "12").stdout)

    pages = [run("query", "cat", "--all", "-n", "5", "--page", str(page)) for page in (1, 2, 3)]

    ranks = [int(line.split()[0]) for page in pages for line in page.stdout.splitlines()]
    shown = [Path(line.split()[2]).stem for page in pages for line in page.stdout.splitlines()]
    assert ranks == list(range(1, 13))
    assert shown == whole
    assert "2 more: add -n 12, or --page." in pages[1].stderr


def test_what_is_not_wanted_as_an_option_and_in_the_text() -> None:
    plain = names(run("query", "cat + coffee", "--all", "--paths").stdout)
    some = ("--all", "--paths", "-n", "12")
    options = names(run("query", "cat + coffee", "--not", "a cup", *some).stdout)
    in_text = names(run("query", 'cat + coffee -"a cup"', *some).stdout)

    assert options == in_text
    assert options[0] == "cat"
    assert plain.index("coffee") < 2 < options.index("coffee")


def test_pictures_with_weights() -> None:
    coffee, cat = (str(EXAMPLES / f"{name}.jpg") for name in ("coffee", "cat"))

    answer = run("query", "--like", f"{coffee}:0.2", "--like", f"{cat}:2", "--all", "--paths")

    assert names(answer.stdout)[:2] == ["cat", "coffee"]


def test_explanations_name_every_part_and_the_id() -> None:
    answer = run("query", "cat + coffee", "--not", "grass", "--explain", "--all", "-n", "1")

    parts = answer.stdout.splitlines()[1].strip()
    identity, _, strengths = parts.partition(": ")
    assert identity.startswith("id ")
    assert [part.rsplit(" ", 1)[0] for part in strengths.split(", ")] == [
        "cat", "coffee", "not grass",
    ]  # fmt: skip


def test_marks_by_id_and_by_path() -> None:
    found = json.loads(run("query", "grass", "--all", "--json", "-n", "12").stdout)["hits"]
    ids = {Path(hit["path"]).stem: str(hit["picture_id"]) for hit in found}
    plain = [Path(hit["path"]).stem for hit in found]

    by_id = run("query", "grass", "--good", ids["cat"], "--all", "--paths", "-n", "12")
    by_path = run(
        "query", "grass", "--good", str(EXAMPLES / "cat.jpg"), "--all", "--paths", "-n", "12"
    )
    unknown = run("query", "grass", "--good", "/nowhere.jpg")
    no_id = run("query", "grass", "--bad", "99999")

    assert by_id.stdout == by_path.stdout
    assert names(by_id.stdout).index("cat") < plain.index("cat")
    assert (unknown.returncode, is_short(unknown.stderr)) == (1, True)
    assert "not a photo of this library" in unknown.stderr
    assert (no_id.returncode, is_short(no_id.stderr)) == (1, True)


@pytest.mark.parametrize("order", ["name", "size", "date"])
def test_all_photos_in_an_order(order: str) -> None:
    shown = names(run("query", "--sort", order, "--paths", "-n", "20").stdout)

    photos = {path.stem: path for path in EXAMPLES.glob("*.jpg")}
    assert set(shown) == set(photos)
    if order == "name":
        assert shown == sorted(shown)
    if order == "size":
        assert shown == sorted(shown, key=lambda name: -photos[name].stat().st_size)


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_results_as_a_file(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"found.{suffix}"

    answer = run("query", "cat", "--all", "-n", "3", "--page", "2", "--output", str(target))

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("Wrote 3 results to ")
    if suffix == "csv":
        rows = list(csv.DictReader(io.StringIO(target.read_text())))
        assert [row["rank"] for row in rows] == ["4", "5", "6"]
    assert target.stat().st_size > 100


def test_a_photo_is_never_written_over(tmp_path: Path) -> None:
    photo = Path(shutil.copy(EXAMPLES / "cat.jpg", tmp_path))
    before = photo.read_bytes()

    answer = run("query", "cat", "--output", str(photo))

    assert (answer.returncode, is_short(answer.stderr)) == (2, True)
    assert photo.read_bytes() == before


def test_queries_from_a_file(tmp_path: Path) -> None:
    source = tmp_path / "queries.txt"
    source.write_text("# pets\ncat\n\n-dog\na cup of coffee\ncat\n")

    answer = run("query", "--queries", str(source))
    as_json = json.loads(run("query", "--queries", str(source), "--json").stdout)

    assert answer.returncode == 1
    assert "Line 4 of the queries was left out: " in answer.stderr
    heads = [line for line in answer.stdout.splitlines() if line.endswith(":")]
    assert heads == ["cat:", "a cup of coffee:", "cat:"]
    assert [Path(one["hits"][0]["path"]).stem for one in as_json] == ["cat", "coffee", "cat"]


def test_a_file_without_one_readable_query_names_its_lines(tmp_path: Path) -> None:
    source = tmp_path / "queries.txt"
    source.write_bytes(b"-dog\n\xff\n")

    answer = run("query", "--queries", str(source))

    assert (answer.returncode, answer.stdout) == (1, "")
    first, second = answer.stderr.splitlines()
    assert first.startswith("Line 1 of the queries was left out: The query says only")
    assert second == "Line 2 of the queries was left out: This line is not UTF-8."


def test_saved_searches(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "library"
    shutil.copytree(made, own)
    monkeypatch.setenv("IMGSEARCH_LIBRARY", str(own))

    saved = run("save", "pets", "a cat", "--not", "dogs", "--type", "jpeg")
    listed = run("saved")
    found = run("query", "--saved", "pets", "--paths")
    unknown = run("query", "--saved", "cars")
    mixed = run("query", "red", "--saved", "pets")
    wrong = run("save", "more", "--no-such-option")
    gone = run("saved", "--delete", "pets")

    assert "imgsearch query --saved pets" in saved.stdout
    assert listed.stdout == "pets: a cat -dogs with filters\n"
    assert names(found.stdout) == ["cat"]
    for refused in (unknown, mixed, wrong):
        assert refused.returncode == 2
    assert is_short(unknown.stderr)
    assert is_short(mixed.stderr)
    assert "Forgot the search pets." in gone.stdout
    assert "No search was saved" in run("saved").stdout


@pytest.mark.parametrize("option", ["--folder", "--after", "--like", "--output", "--explain-to"])
def test_an_empty_value_is_not_the_current_folder(option: str, tmp_path: Path) -> None:
    answer = run("query", "cat", option, "", cwd=tmp_path)

    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"{option} has an empty value." in answer.stderr
    assert not list(tmp_path.iterdir())


def test_how_to_run_a_saved_search_can_be_pasted(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "library"
    shutil.copytree(made, own)
    monkeypatch.setenv("IMGSEARCH_LIBRARY", str(own))

    saved = run("save", "the cat's day", "cat")

    _, _, command = saved.stdout.partition("imgsearch ")
    assert names(run(*shlex.split(command), "--paths").stdout) == ["cat"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--saved", "pets", "--sort", "match"], ["--saved", "--sort"]),
        (["--saved", "pets", "--type", "png", "--all"], ["--saved", "--type", "--all"]),
        (["--saved", "pets", "--no-gps"], ["--saved", "--gps"]),
        (["--save", "pets", "--queries", "-"], ["--save", "--queries"]),
        (["--save", "pets", "cat", "--output", "found.csv"], ["--save", "--output"]),
        (["cat", "--output", "found.csv", "-0"], ["--output", "--null"]),
        (["cat", "--json", "--paths"], ["--json", "--paths"]),
        (["cat", "--preview", "--paths"], ["--preview", "--paths"]),
    ],
)
def test_no_option_is_silently_without_effect(
    arguments: list[str], named: list[str], tmp_path: Path
) -> None:
    answer = run("query", *arguments, cwd=tmp_path)

    assert (answer.returncode, answer.stdout) == (2, "")
    assert is_short(answer.stderr)
    told, *silenced = named
    assert f"{told} cannot be used together with {', '.join(silenced)}." in answer.stderr
    assert not list(tmp_path.iterdir())


def test_previews_are_for_terminals() -> None:
    answer = run("query", "cat", "--preview")

    assert answer.returncode == 0
    assert "\x1b" not in answer.stdout
    assert "Pictures are shown on a terminal only" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--not", "people"], "only what is not wanted"),
        (["cat", "--not", "dogs:50"], "weight"),
        (["cat", "--sort", "age"], "match, date, name, size"),
        (["cat", "--like", "none.jpg:0"], "weight"),
        (["cat", "--queries", "-"], "stand for themselves"),
        (["--sort", "match"], "empty"),
        (["cat", "--output", "found.docx"], ".parquet"),
        (["cat", "--on", "the day of the dog"], "date"),
    ],
)
def test_wrong_questions_are_told_shortly(arguments: list[str], says: str, tmp_path: Path) -> None:
    answer = run("query", *arguments, cwd=tmp_path)

    assert answer.returncode == 2, answer.stderr
    assert is_short(answer.stderr)
    assert says in answer.stderr


def test_words_that_are_not_wanted_need_no_quotes() -> None:
    quoted = run("query", "beach -people at sunset", "--json")

    unquoted = run("query", "beach", "-people", "at", "sunset", "--json", "-n", "10")

    assert [hit["score"] for hit in json.loads(unquoted.stdout)["hits"]] == pytest.approx(
        [hit["score"] for hit in json.loads(quoted.stdout)["hits"]]
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["query", "cat", "--lik", "x"], "--like"),
        (["query", "cat", "-json"], "No such option: -j"),
        (["query", "cat", "--page", "0"], "--page"),
        (["query", "cat", "--limit"], "requires an argument"),
        (["index"], "PATH"),
        (["find"], "No such command 'find'"),
    ],
)
def test_mistyped_arguments_are_explained_in_one_line(arguments: list[str], says: str) -> None:
    answer = run(*arguments)

    assert answer.returncode == 2
    [line] = answer.stderr.splitlines()
    assert says in line
    assert line.endswith("--help")
    assert not answer.stdout


def test_a_value_with_a_dash_stays_a_value() -> None:
    answer = run("query", "cat", "--not", "-dog", "-n", "1", "--explain")

    assert answer.returncode == 0, answer.stderr
    assert "cat.jpg" in answer.stdout


def test_remarks_on_one_of_many_queries_name_it(tmp_path: Path) -> None:
    lines = tmp_path / "queries.txt"
    lines.write_text("a cup of coffee\nthe tax return was filed late\n")

    answer = run("query", "--queries", str(lines), "-n", "2")

    assert "the tax return was filed late: Nothing matches well; the closest are:" in answer.stderr
    assert "a cup of coffee: Nothing" not in answer.stderr
