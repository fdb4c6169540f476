"""The command line as people and programs meet it: real processes, real exit codes.

Most are forked (see `forked`); of each kind of thing some are started anew.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import EXAMPLES, MakePhoto
from PIL import Image

import imgsearch


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `imgsearch` in a process of its own."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "imgsearch", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.fixture(scope="module")
def examples_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of the example photos, made by the command line with the starter."""
    path = tmp_path_factory.mktemp("cli") / "library"
    made = run("index", str(EXAMPLES), "--library", str(path))
    assert made.returncode == 0, made.stderr
    return path


@pytest.fixture
def use_examples(examples_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_LIBRARY", str(examples_library))


def is_short(text: str) -> bool:
    """Tell whether an error message is one or two lines without a traceback."""
    return 1 <= len(text.strip().splitlines()) <= 2 and "Traceback" not in text


@pytest.mark.usefixtures("use_examples")
@pytest.mark.parametrize(
    ("words", "photo"),
    [
        ("a cup of coffee", "coffee.jpg"),
        ("cat", "cat.jpg"),
        ("something to wear on your feet", "black_sneakers.jpg"),
        ("a summer dress", "blue_dress.jpg"),
        ("a man with a camera on a tripod", "photographer.jpg"),
        ("a rocket taking off", "rocket_launch.jpg"),
        ("black sneakers", "black_sneakers.jpg"),
        ("pink baseball cap", "pink_cap.jpg"),
        ("a brick wall", "bricks.jpg"),
    ],
)
def test_the_first_result_is_the_right_photo(words: str, photo: str) -> None:
    answer = run("query", words, "--paths", "-n", "1")

    assert answer.returncode == 0
    assert Path(answer.stdout.strip()).name == photo


@pytest.mark.usefixtures("started_anew")
def test_index_reports_and_repeats(tmp_path: Path, make_photo: MakePhoto, folder: Path) -> None:
    make_photo("a.jpg")
    (folder / "bad.jpg").touch()
    library = str(tmp_path / "library")

    first = run("index", str(folder), "--library", library, "--profile")
    program = run("index", str(folder), "--library", library, "--json", "--profile")
    again = json.loads(program.stdout)

    assert first.returncode == 0
    assert first.stderr.startswith("Model: starter\n")
    assert "Model: starter" in first.stdout
    assert program.stderr == ""
    assert "Added 1, unchanged 0, moved 0, changed 0, removed 0, failed 1." in first.stdout
    assert "the file is empty" in first.stdout
    assert "imgsearch status --failed" in first.stdout
    assert (again["unchanged"], again["failed"], again["embedded"]) == (1, 1, 0)
    assert "for 1 photos embedded" in first.stdout
    assert "The encoder alone embeds" in first.stdout
    stages = {one["stage"]: one for one in again["profile"]["stages"]}
    assert (stages["walk and stat"]["count"], again["profile"]["ceiling"]) == (2, None)


def test_an_empty_folder(tmp_path: Path, folder: Path) -> None:
    answer = run("index", str(folder), "--library", str(tmp_path / "library"))

    assert answer.returncode == 0
    assert "no photos" in answer.stdout


def test_dry_run(tmp_path: Path, make_photo: MakePhoto, folder: Path) -> None:
    make_photo("a.jpg")

    answer = run("index", str(folder), "--dry-run", "--library", str(tmp_path / "library"))

    assert "Would be: added 1" in answer.stdout
    assert not (tmp_path / "library").exists()


@pytest.mark.usefixtures("use_examples")
def test_json_results_have_paths_scores_and_facts() -> None:
    answer = json.loads(run("query", "a cup of coffee", "--json", "--all", "-n", "3").stdout)

    best = answer["hits"][0]
    assert len(answer["hits"]) == 3
    assert answer["model"] == "starter"
    assert best["path"] == str(EXAMPLES / "coffee.jpg")
    assert 0 < best["score"] <= 1
    assert (best["facts"]["width"], best["facts"]["height"]) == (600, 400)


@pytest.mark.usefixtures("use_examples")
def test_null_separated_paths_for_xargs() -> None:
    answer = run("query", "-0", "--all", "cat")

    assert answer.stdout.count("\0") == 10
    assert "\n" not in answer.stdout


@pytest.mark.usefixtures("use_examples")
def test_search_by_picture() -> None:
    answer = run("query", "--like", str(EXAMPLES / "cat.jpg"), "--json")

    best = json.loads(answer.stdout)["hits"][0]
    assert (Path(best["path"]).name, best["score"] > 0.99) == ("cat.jpg", True)


@pytest.mark.usefixtures("use_examples")
def test_words_need_no_quotes() -> None:
    assert "coffee.jpg" in run("query", "a", "cup", "of", "coffee", "-n", "1").stdout


@pytest.fixture(scope="module")
def facts_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of four photos with facts to filter by, in folders `in` and `out`."""
    place = tmp_path_factory.mktemp("facts")
    for name, taken, camera, rating, words in (
        ("in/first.jpg", "2023:06:01 12:00:00", "Canon EOS R6", 5, "beach;summer"),
        ("in/second.png", "2023:12:31 23:59:59", "Nikon Z6", 2, "beach"),
        ("out/third.jpg", "2024:01:01 00:00:00", "Canon EOS R6", 0, ""),
    ):
        exif = Image.Exif()
        exif[0x0110], exif[0x4746], exif[0x9C9E] = camera, rating, words.encode("utf-16-le")
        exif.get_ifd(0x8769)[0x9003] = taken
        exif.get_ifd(0x8769)[0xA434] = "50mm F1.8"
        if rating == 5:
            exif.get_ifd(0x8825).update(
                {1: "N", 2: (48.0, 51.0, 36.0), 3: "E", 4: (2.0, 21.0, 0.0)}
            )
        (place / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (rating, 9, 9)).save(place / name, exif=exif)
    Image.new("RGB", (100, 200), "red").save(place / "out" / "large.bmp")
    made = run("index", str(place), "--library", str(place / "library"))
    assert made.returncode == 0, made.stderr
    return place


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--after 2023-06 --before 2024", {"first", "second"}),
        ("--on 'december 2023'", {"second"}),
        ("--on 2023 --after 2023-07", {"second"}),
        ("--folder in", {"first", "second"}),
        ("--folder in --folder out --name LARGE*", {"large"}),
        ("--camera canon*", {"first", "third"}),
        ("--camera 'nikon z6' --camera x", {"second"}),
        ("--lens '*50MM*' --keyword Summer", {"first"}),
        ("--near 48.86,2.35", {"first"}),
        ("--near 48.86,2.45,1", set()),
        ("--no-gps --type jpg", {"third"}),
        ("--type jpeg,png --rating 1", {"first", "second"}),
        ("--orientation Portrait", {"large"}),
        ("--min-size 0.002MP", {"large"}),
        ("--max-size 1201", {"first", "second", "third"}),
        ("--min-bytes 50kB --max-bytes 1MB", {"large"}),
        ("--keyword BEACH --rating 5", {"first"}),
        ("--name 'in/*'", {"first", "second"}),
    ],
)
def test_filters(facts_library: Path, options: str, expected: set[str]) -> None:
    arguments = [*shlex.split(options), "--library", str(facts_library / "library"), "--json"]

    ranked = run("query", "dark", "--all", "--no-group", *arguments, cwd=facts_library)
    listed = run("query", *arguments, cwd=facts_library)

    for answer in (ranked, listed):
        assert answer.returncode == 0, answer.stderr
        hits = json.loads(answer.stdout)["hits"]
        assert {Path(hit["path"]).stem for hit in hits} == expected


def test_dates_in_the_text_count_only_when_asked_for(facts_library: Path) -> None:
    command = ["query", "dark in june 2023", "--all", "--no-group", "--paths", "--library"]

    plain = run(*command, str(facts_library / "library"))
    dated = run(*command, str(facts_library / "library"), "--dates")
    shown = run("query", "yesterday or june 2023", "--dates", "--library",
                str(facts_library / "library"), "--on", "2023")  # fmt: skip

    assert len(plain.stdout.splitlines()) == 4
    assert [Path(line).stem for line in dated.stdout.splitlines()] == ["first"]
    assert shown.returncode == 0


def test_a_list_without_words_shows_days(facts_library: Path) -> None:
    answer = run("query", "--camera", "canon*", "--library", str(facts_library / "library"))

    lines = answer.stdout.splitlines()
    assert ["2024-01-01" in lines[0], "2023-06-01" in lines[1], len(lines)] == [True, True, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--after soon", "last summer"),
        ("--after 2024 --before 2023", "no day"),
        ("--near paris", "48.86,2.35,5"),
        ("--near 99,0", "latitude"),
        ("--near 1,2,-3", "kilometres"),
        ("--min-size huge", "2MP"),
        ("--max-bytes 5MP", "500kB"),
        ("--orientation round", "portrait"),
        ("--rating 6", "stars"),
        ("--keyword ''", "keyword"),
        ("--name ''", "empty"),
        ("--type ,", "jpeg,png"),
    ],
)
def test_filters_that_make_no_sense(options: str, message: str, tmp_path: Path) -> None:
    answer = run("query", "cat", *shlex.split(options), cwd=tmp_path)

    assert (answer.returncode, is_short(answer.stderr)) == (2, True)
    assert message in answer.stderr


@pytest.mark.usefixtures("use_examples")
@pytest.mark.parametrize(
    ("options", "note"),
    [((), "Model: starter\n"), (("--json",), ""), (("--paths",), ""), (("-0",), "")],
)
def test_a_query_says_which_model_judged(options: tuple[str, ...], note: str) -> None:
    answer = run("query", "cat", "-n", "1", "--device", "cpu", *options)

    assert answer.stderr == note
    assert "Model" not in answer.stdout


@pytest.mark.usefixtures("use_examples")
def test_a_query_in_chinese_is_answered_with_a_remark() -> None:
    answer = run("query", "一杯咖啡", "-n", "1")

    assert answer.returncode == 0
    assert "English" in answer.stderr
    assert ".jpg" in answer.stdout


@pytest.mark.usefixtures("use_examples")
def test_a_query_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['imgsearch', 'query', 'cat']\n"
        "from imgsearch.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'streamlit', 'pandas', 'sqlalchemy', 'PIL', 'rich',\n"
        "         'numpy.ma'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )

    assert answer.stderr.splitlines()[-1] == "[]"
    assert "cat.jpg" in answer.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, imgsearch, imgsearch.cli\n"
        "heavy = {'faiss', 'torch', 'PIL', 'onnxruntime', 'sqlalchemy', 'numpy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout.strip() == "[]"


@pytest.mark.usefixtures("use_examples")
def test_status_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['imgsearch', 'status']\n"
        "from imgsearch.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'faiss', 'torch', 'PIL', 'onnxruntime', 'sqlalchemy', 'numpy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )

    assert answer.stderr.splitlines()[-1] == "[]"
    assert "Pictures" in answer.stdout


@pytest.mark.usefixtures("use_examples")
def test_status_and_models() -> None:
    status = json.loads(run("status", "--json").stdout)
    shown = run("status")
    models = run("models")

    assert status["pictures"] == len(list(EXAMPLES.glob("*.jpg")))
    assert status["roots"][0]["path"] == str(EXAMPLES)
    assert status["models"][0]["active"]
    assert str(EXAMPLES) in shown.stdout
    assert models.stdout.startswith("* starter")


def test_models_without_a_library() -> None:
    answer = run("models")

    assert (answer.returncode, answer.stdout.startswith("* starter")) == (0, True)


def test_remove(tmp_path: Path, make_photo: MakePhoto, folder: Path) -> None:
    photo = make_photo("a.jpg")
    library = str(tmp_path / "library")
    run("index", str(folder), "--library", library)

    removed = run("remove", str(folder), "--library", library)
    again = run("remove", str(folder), "--library", library)

    assert (removed.returncode, "1 files" in removed.stdout) == (0, True)
    assert (again.returncode, is_short(again.stderr)) == (2, True)
    assert photo.exists()


def test_version_and_help() -> None:
    assert run("--version").stdout == f"imgsearch {imgsearch.__version__}\n"
    for command in ("index", "query", "status", "remove", "models"):
        assert "Example" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("query", "cat"), 1, "imgsearch index FOLDER"),
        (("status",), 1, "imgsearch index FOLDER"),
        (("query", ""), 2, "empty"),
        (("query",), 2, "empty"),
        (("query", "cat", "-n", "0"), 2, "limit"),
        (("index", "no/such/folder"), 2, "There is no folder"),
        (("index", str(EXAMPLES / "cat.jpg")), 2, "is a file, not a folder"),
        (("index", "", "--library", "x"), 2, "folder"),
        (("index", str(EXAMPLES), "--model", "no-such-model"), 1, "starter"),
        (("index", str(EXAMPLES), "--model", str(EXAMPLES)), 1, "holds no model"),
        (("query", "cat", "--like", "no-such.jpg"), 1, "no library"),
        (("frobnicate",), 2, "frobnicate"),
        (("index", str(EXAMPLES), "--library", ""), 2, "--library"),
        (("remove", "", "--library", "x"), 1, "no library"),
        (("query", "cat", "--library", "~no-such-user/x"), 1, "no library"),
    ],
)
def test_errors_are_short_with_a_way_out(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    answer = run(*arguments, cwd=tmp_path)

    assert answer.returncode == code, answer.stderr
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("started_anew")
def test_debug_shows_where() -> None:
    answer = run("--debug", "query", "cat")

    assert answer.returncode == 1
    assert "Traceback" in answer.stderr


def test_an_unexpected_fault_is_short_too(tmp_path: Path) -> None:
    script = (
        "import sys, imgsearch.library\n"
        "def broken(self): raise ZeroDivisionError('boom')\n"
        "imgsearch.library.Library.status = broken\n"
        "sys.argv = ['imgsearch', 'status']\n"
        "from imgsearch.cli import main; main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )

    assert answer.returncode == 1
    assert is_short(answer.stderr)
    assert "--debug" in answer.stderr


def test_names_cannot_control_the_terminal(tmp_path: Path, folder: Path) -> None:
    name = "evil\x1b[2J\n\x07 photo.png"
    Image.new("RGB", (32, 32), "red").save(folder / name)
    library = str(tmp_path / "library")
    run("index", str(folder), "--library", library)

    shown = run("query", "red", "--library", library)
    raw = run("query", "red", "--library", library, "-0")

    assert "\x1b" not in shown.stdout
    assert "evil\\x1b[2J\\n\\x07 photo.png" in shown.stdout
    assert raw.stdout == str(folder / name) + "\0"


def test_invalid_utf8_names_survive_every_output(tmp_path: Path, folder: Path) -> None:
    name = b"invalid-\xff.png"
    Image.new("RGB", (32, 32), "red").save(folder / "plain.png")
    os.rename(folder / "plain.png", os.path.join(os.fsencode(folder), name))
    library = str(tmp_path / "library")
    command = [sys.executable, "-m", "imgsearch", "query", "red", "--library", library]

    assert run("index", str(folder), "--library", library).returncode == 0
    outputs = {
        option: subprocess.run([*command, *option], capture_output=True, check=True).stdout
        for option in ((), ("--json",), ("--paths",))
    }

    assert b"invalid-\\udcff.png" in outputs[()]
    assert json.loads(outputs[("--json",)])["hits"][0]["path"].endswith("invalid-\udcff.png")
    assert outputs[("--paths",)] == os.path.join(os.fsencode(folder), name) + b"\n"


@pytest.mark.usefixtures("use_examples")
def test_a_closed_pipe_is_no_error_message() -> None:
    answer = subprocess.run(
        f"{sys.executable} -m imgsearch query cat --paths | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert answer.stderr == ""


@pytest.mark.usefixtures("use_examples")
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">/dev/full", "<&-"])
def test_missing_and_full_streams_are_no_fault(redirection: str) -> None:
    answer = subprocess.run(
        f"{sys.executable} -m imgsearch query cat {redirection}",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "Traceback" not in answer.stderr
    assert "unexpected" not in answer.stderr
    assert (answer.returncode == 0) == (redirection != ">/dev/full")


def start_indexing(folder: Path, library: Path) -> subprocess.Popen[str]:
    """Start a run of the indexer and wait until it has committed something."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imgsearch", "index", str(folder), "--library", str(library)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    opened = imgsearch.Library.open(library)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (library / "catalog.sqlite").exists() and opened.status().pictures:
            return process
        time.sleep(0.05)
    pytest.fail(f"nothing was indexed: {process.communicate()}")


@pytest.fixture
def many_photos(folder: Path, make_photo: MakePhoto) -> Path:
    for number in range(400):
        make_photo(f"{number:03}.png", "green", mark=number)
    return folder


def go_on(folder: Path, library: Path) -> tuple[int, dict[str, int]]:
    """Run again, where all but ten of the photos that are not in yet are gone, to save time.

    Return how many were left to do, and the report.
    """
    with closing(sqlite3.connect(library / "catalog.sqlite")) as catalog:
        known = {name for (name,) in catalog.execute("SELECT path FROM file")}
    left = sorted(set(os.listdir(folder)) - known)
    for name in left[10:]:
        (folder / name).unlink()
    report = json.loads(run("index", str(folder), "--library", str(library), "--json").stdout)
    return len(left[:10]), report


@pytest.mark.usefixtures("started_anew")
def test_ctrl_c_finishes_the_batch_and_the_next_run_goes_on(
    many_photos: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    process = start_indexing(many_photos, library)

    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    kept = imgsearch.Library.open(library).status().pictures
    left, resumed = go_on(many_photos, library)

    assert process.returncode == 1
    assert "Finishing the batch in hand" in err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert f"Added {kept}," in out
    assert 0 < kept < 400
    assert (resumed["added"], resumed["unchanged"]) == (left, kept)


@pytest.mark.usefixtures("started_anew")
def test_kill_loses_nothing_that_was_committed(many_photos: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    process = start_indexing(many_photos, library)

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    kept = imgsearch.Library.open(library).status().pictures
    left, resumed = go_on(many_photos, library)

    assert 0 < kept < 400
    assert (resumed["added"], resumed["unchanged"]) == (left, kept)


@pytest.mark.usefixtures("started_anew")
def test_three_lines_of_python_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import imgsearch\n"
        f"library = imgsearch.Library.open({str(tmp_path / 'library')!r})\n"
        f"library.index({str(EXAMPLES)!r})\n"
        "print(library.search('a cup of coffee')[0].path)\n"
    )

    answer = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True
    )

    assert answer.stdout.strip() == str(EXAMPLES / "coffee.jpg")


def on_a_terminal(*arguments: str) -> str:
    """Run `imgsearch` on a pseudo-terminal and return everything it shows there."""
    import pty

    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "imgsearch", *arguments],
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(terminal)
    shown = bytearray()
    try:
        while chunk := os.read(controller, 4096):
            shown += chunk
    except OSError:
        pass  # Linux reports the end of a pseudo-terminal as an error.
    os.close(controller)
    assert process.wait(timeout=60) == 0
    return shown.decode()


@pytest.mark.usefixtures("use_examples")
@pytest.mark.usefixtures("started_anew")
def test_on_a_terminal_paths_are_links() -> None:
    shown = on_a_terminal("query", "a cup of coffee", "-n", "1")

    assert f"\x1b]8;;file://{EXAMPLES}/coffee.jpg\x1b\\" in shown


def test_on_a_terminal_there_is_a_progress_bar(
    folder: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    for number in range(20):
        make_photo(f"{number}.jpg", mark=number)

    shown = on_a_terminal("index", str(folder), "--library", str(tmp_path / "library"))

    assert "Indexing" in shown
    assert "20/20" in shown
    assert "Added 20" in shown
