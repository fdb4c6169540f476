"""Starting the page: Streamlit inside our own server, on this machine unless told otherwise.

Before Streamlit is asked anything, a request passes `gate` (is it meant for us?), `access` (does
its sender have the token, where there is one?) and `limits` (does it cost too much?).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import re
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from imgsearch import Encoder
from imgsearch.errors import PortTaken, UsageError
from imgsearch.ui.access import Door, checked_token, make_token, with_token
from imgsearch.ui.asgi import AsgiApp
from imgsearch.ui.shared import Shared, configure
from imgsearch.ui.theme import MAX_UPLOAD_MEGABYTES, streamlit_options

# Tried first, so that bookmarks keep working; where it is taken, any free port is used.
USUAL_PORT = 8487
_PAGE = Path(__file__).with_name("page.py")
# A search has at most a picture of 1,024 pixels and a few hundred numbers to say.
_MAX_MESSAGE_BYTES = 16 << 20
# Of a request's line and headers together, as h11 usually has it.
_MAX_HEADER_BYTES = 64 << 10
# What a multipart body has besides the file.
_MAX_BODY_BYTES = (MAX_UPLOAD_MEGABYTES + 1) << 20
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def serve(
    library: Path,
    *,
    model: str | Encoder | None = None,
    device: str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    token: str | None = None,
    open_browser: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the page of a library until Ctrl-C; `model` and `device` are as in `Library.open`.

    Where others than this machine can reach it, visitors need a token (see `access`): `token`, or
    one that is made up. With a `token` they need it on this machine, too. `announce` is called with
    the address as soon as it answers; a token that was made up is a part of it. Raises PortTaken,
    UsageError or a ModelError.
    """
    if token is not None:
        checked_token(token, "token")
    loopback = is_loopback(host)
    made_up = make_token() if token is None and not loopback else None
    listening = listen(host, port)
    port = int(listening.getsockname()[1])
    # "Every address" is none that a phone could open.
    reachable = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104
    shown_host = f"[{reachable}]" if ":" in reachable else reachable
    address = f"http://{shown_host}:{port}/"
    try:
        shared = Shared(library, model, device, local=loopback)
        configure(shared)

        @contextlib.asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
            announce(with_token(address, made_up) if made_up else address)
            # A browser is started by a command line, which everybody on the machine can read.
            if open_browser and made_up is None:
                webbrowser.open(address)
            yield {}
            shared.job.stop()

        _run(listening, host, port, token or made_up, lifespan)
    finally:
        listening.close()


def is_loopback(host: str) -> bool:
    """Tell whether nobody but this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _run(
    listening: socket.socket,
    host: str,
    port: int,
    token: str | None,
    lifespan: Callable[..., Any],
) -> None:
    import uvicorn
    from streamlit import config
    from streamlit.starlette import App

    from imgsearch.ui.gate import Gate
    from imgsearch.ui.limits import BodyLimit, ImpatientProtocol, SessionLimit
    from imgsearch.ui.routes import routes

    # As `streamlit run` does it; settings files of other Streamlit programs must not leak in.
    config._main_script_path = str(_PAGE)
    config.get_config_files = lambda file_name: []
    config.get_config_options(force_reparse=True, options_from_flags=streamlit_options(host, port))
    app: AsgiApp = App(_PAGE, lifespan=lifespan, routes=routes())
    app = BodyLimit(SessionLimit(app), _MAX_BODY_BYTES)
    if token is not None:
        app = Door(app, token, port)
    server = uvicorn.Server(
        uvicorn.Config(
            Gate(app, port, is_loopback(host), _script_hashes()),
            http=ImpatientProtocol,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            ws="websockets-sansio",
            ws_max_size=_MAX_MESSAGE_BYTES,
            # A line for every malformed request would let strangers fill the terminal.
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _script_hashes() -> tuple[str, ...]:
    """Return the SHA-256 of each script within Streamlit's own page, in base64."""
    import streamlit

    page = Path(streamlit.__file__).parent / "static" / "index.html"
    return tuple(
        base64.b64encode(hashlib.sha256(script).digest()).decode()
        for script in _INLINE_SCRIPT.findall(page.read_bytes())
    )


def listen(host: str, port: int | None) -> socket.socket:
    """Return a listening socket: on `port`, or where that is None on the usual or any free one.

    Raises PortTaken or UsageError.
    """
    for candidate in (USUAL_PORT, 0) if port is None else (port,):
        try:
            family = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0][0]
            # asyncio turns Nagle's delay off only where the protocol is named: without it every
            # thumbnail waits 40 ms.
            listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except (OSError, UnicodeError) as error:
            raise UsageError(f"{host!r} is no address of this machine.") from error
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, candidate))
            # Bound alone, two servers that start together would both believe the port theirs.
            listening.listen()
            return listening
        except OSError as error:
            listening.close()
            reason = error
    if port is None:
        raise UsageError(f"Nothing can listen on {host!r}: {reason.strerror or reason}.")
    raise PortTaken(
        f"Port {port} cannot be used: {reason.strerror or reason}. Give another one with --port, "
        "or leave it out for any free one."
    )
