"""The command line: a thin layer over `imgsearch.Library`.

Nothing heavy is imported here: a cold query must not pay for what only other commands need.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Optional, TextIO, cast

import typer

import imgsearch
from imgsearch import terminal
from imgsearch.cli_arguments import USAGE_MISTAKE, explain_mistake
from imgsearch.cli_bench import EXAMPLES as BENCH_EXAMPLES
from imgsearch.cli_bench import bench
from imgsearch.cli_doctor import add_doctor_commands
from imgsearch.cli_interruption import Interruption
from imgsearch.cli_models import models_app, pull
from imgsearch.cli_options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    examples,
    print_json,
)
from imgsearch.cli_profile import print_profile
from imgsearch.cli_query import add_query_commands
from imgsearch.cli_relocate import EXAMPLES as RELOCATE_EXAMPLES
from imgsearch.cli_relocate import relocate
from imgsearch.cli_similar import EXAMPLES, similar
from imgsearch.cli_watch import EXAMPLES as WATCH_EXAMPLES
from imgsearch.cli_watch import watch
from imgsearch.data.paths import printable
from imgsearch.errors import ImgsearchError
from imgsearch.safe_stream import SafeStream

if TYPE_CHECKING:
    from imgsearch.indexer.report import IndexReport


# Typer's rich error boxes would make three lines of every mistyped option.
app = typer.Typer(
    name="imgsearch",
    help="Search your own photos with a sentence. Everything stays on this machine.",
    epilog=examples("imgsearch index ./photos", "imgsearch query 'a cup of coffee'"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"imgsearch {imgsearch.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors (before the command).")
    ] = False,
) -> None:
    """Search your own photos with a sentence. Everything stays on this machine."""


@app.command(
    epilog=examples(
        "imgsearch index ./photos",
        "imgsearch index ~/Pictures /mnt/disk/photos --exclude 'raw*'",
        "imgsearch index ~/Pictures --dry-run",
        "imgsearch index ~/Pictures --profile",
    )
)
def index(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Folders of photos.")],
    library: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    exclude: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out names or relative paths that match, such as 'raw*' (repeatable).",
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try damaged files again, changed or not.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Say where the time went, and how fast the model alone is."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add the photos below some folders.

    Run it again whenever you like: new, changed, moved and deleted files are noticed, and unchanged
    ones are not opened. Ctrl-C finishes the batch in hand; the next run goes on from there.
    """
    stronger = None
    if model is None and not as_json and not dry_run:
        stronger = _offered_model(library)

    def run(under: str | None) -> IndexReport:
        interruption = Interruption()
        with (
            imgsearch.Library.open(library, model=under, device=device) as opened,
            interruption.watched(),
            terminal.progress_display() as show,
        ):
            if not as_json:
                terminal.print_note(f"Model: {opened.model_for_indexing()}")
            return opened.index(
                paths,
                excludes=exclude or (),
                retry_failed=retry_failed,
                dry_run=dry_run,
                progress=None if as_json else show,
                should_stop=interruption.is_set,
                profile=profile,
            )

    report = run(model)
    if stronger is not None and not report.interrupted:
        terminal.print_report(report)
        terminal.print_note(f"This library can be searched now. Fetching {stronger} ...")
        pull(stronger)
        report = run(stronger)
    if as_json:
        print_json(asdict(report) | {"photos_per_second": report.photos_per_second})
    else:
        terminal.print_report(report)
        if report.profile is not None:
            print_profile(report.profile)
    if report.interrupted:
        terminal.print_note("Stopped; what is in stays in. To go on, run the same command again.")
        raise typer.Exit(1)


def _offered_model(library: str | None) -> str | None:
    """Ask, once, whether to fetch a stronger model for a new library; return its name or None."""
    from imgsearch.offer import model_to_offer, remember_the_answer

    with imgsearch.Library.open(library) as opened:
        model = model_to_offer(opened.path)
    if model is None:
        return None
    answer = typer.confirm(
        f"The built-in model is small. {model.name!r} ({model.repository}) finds more, takes "
        f"{model.megabytes} MB to fetch, and several times as long to index. Fetch it, and search "
        "with the built-in one until it is ready?",
        default=False,
        err=True,
    )
    remember_the_answer(answer)
    return model.name if answer else None


@app.command(epilog=examples("imgsearch status", "imgsearch status --failed"))
def status(
    failed: Annotated[
        bool, typer.Option("--failed", help="List the files that could not be read, and why.")
    ] = False,
    as_json: JsonOption = False,
    library: LibraryOption = None,
) -> None:
    """Show what the library holds."""
    with imgsearch.Library.open(library) as opened:
        if failed:
            failures = opened.failures()
            if as_json:
                print_json([asdict(failure) for failure in failures])
            else:
                terminal.print_failures(failures)
            return
        facts = opened.status()
    if as_json:
        print_json(asdict(facts))
    else:
        terminal.print_status(facts)


@app.command(epilog=examples("imgsearch ui", "imgsearch ui --port 8000 --no-browser"))
def ui(
    port: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--port", min=1, max=65_535, help="Port [default: 8487, or any free one]."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen on; with others than this machine's "
            "own, visitors need the token that is printed, or yours.",
        ),
    ] = "127.0.0.1",
    token_file: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="File with the token that visitors need [default: $IMGSEARCH_TOKEN].",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    library: LibraryOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Search in the browser: a page on this machine. Ctrl-C ends it."""
    from imgsearch.ui.access import given_token
    from imgsearch.ui.server import is_loopback, serve

    token = given_token(token_file)
    if not is_loopback(host):
        terminal.print_note(
            f"Listening on {host}: whoever has the token can see the photos of this library. "
            "Nothing is encrypted: whoever can read the network can read the photos and the token."
        )
    if token is not None:
        terminal.print_note("Visitors open the address once with ?token= and the token you chose.")
    with imgsearch.Library.open(library) as opened:
        place = opened.path
    serve(
        place,
        model=model,
        device=device,
        host=host,
        port=port,
        token=token,
        open_browser=browser,
        announce=lambda address: print(
            f"Search your photos at {address} (Ctrl-C ends)", flush=True
        ),
    )


@app.command(epilog=examples("imgsearch remove ./photos"))
def remove(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A folder that was indexed.")],
    library: LibraryOption = None,
) -> None:
    """Forget a folder. The photos in it are not touched."""
    with imgsearch.Library.open(library) as opened:
        count = opened.remove(root)
    print(f"Forgot {printable(root)} ({count} files). The photos were not touched.")


add_query_commands(app)
app.command(epilog=examples(*EXAMPLES))(similar)
app.command(epilog=examples(*WATCH_EXAMPLES))(watch)
app.command(epilog=examples(*BENCH_EXAMPLES))(bench)
add_doctor_commands(app)
app.command(epilog=examples(*RELOCATE_EXAMPLES))(relocate)
app.add_typer(models_app)


def main() -> None:
    """Run the command line; the process ends with 0, 1 (could not be done) or 2 (wrong usage)."""
    # Started with `>&-` or without a console, Python has no such stream at all.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A path that the terminal's encoding lacks is shown escaped; it must not end the command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stderr = cast("TextIO", SafeStream(sys.stderr))
    debug = "--debug" in sys.argv[1:]
    try:
        try:
            code = app(standalone_mode=False)
        except USAGE_MISTAKE as error:
            code = explain_mistake(error)
        finally:
            # Now rather than at exit, where a full disk would be a traceback.
            sys.stdout.flush()
        # What a command returns, or the code of the Exit that it raised.
        sys.exit(code)
    except ImgsearchError as error:
        if debug:
            raise
        terminal.print_error(str(error))
        sys.exit(error.exit_code)
    except typer.Abort:
        terminal.print_error("Stopped.")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe has seen enough (`| head`).
        _discard_output()
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        terminal.print_error(f"{error.strerror or error}. The answer could not be written whole.")
        _discard_output()
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        terminal.print_error(
            f"unexpected {type(error).__name__}: {error}\n"
            "This is a fault in imgsearch. Run `imgsearch --debug ...` to see where."
        )
        sys.exit(1)


def _discard_output() -> None:
    """Let what is still buffered go nowhere; Python would complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
