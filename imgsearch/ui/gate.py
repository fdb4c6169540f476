"""Who may talk to the page: requests that name this server, from its own pages only.

A page on the internet may send requests to 127.0.0.1, or let its own name point there (DNS
rebinding); Streamlit checks neither on its HTTP routes. This stands in front of everything, the
websocket included.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from imgsearch.ui.asgi import AsgiApp, Header, Message, Receive, Send, refuse

# A Host header: a name or an address, and a port. Nothing else that an address may have.
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_REFUSAL = "This address is not served here."
# Said of every answer that does not say otherwise itself: it is never taken for another kind of
# file than it says, no other site may load it or put it into a frame, and none is told its address.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
# What Streamlit needs and no more: nothing from other servers, no plugins, no frames. Its page has
# styles within, a script for our components comes as a blob, and it compiles WebAssembly.
_POLICY = (
    "default-src 'self'; script-src 'self' blob: 'wasm-unsafe-eval'{inline}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "object-src 'none'; frame-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)


class Gate:
    """ASGI middleware: refuses foreign Host and Origin headers with 403, odd paths with 404.

    Every answer gets headers that keep other sites from using it.
    """

    def __init__(
        self, app: AsgiApp, port: int, loopback: bool, script_hashes: tuple[str, ...] = ()
    ) -> None:
        """With `loopback` only this machine's own names are answered to; else its addresses too.

        `script_hashes` (base64 of SHA-256) are of the scripts that the page may have in its HTML.
        """
        self._app = app
        self._port = port
        self._loopback = loopback
        inline = "".join(f" 'sha256-{one}'" for one in script_hashes)
        policy = _POLICY.format(inline=inline).encode()
        self._headers: tuple[Header, ...] = (*_HEADERS, (b"content-security-policy", policy))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._completed(message.get("headers", ()))}
            await send(message)

        if not self.admits(scope["type"], scope["headers"]) or not _is_wanted_here(scope):
            await refuse(scope, receive, sending, 403, _REFUSAL)
        elif _leads_elsewhere(scope["path"]):
            await refuse(scope, receive, sending, 404, _REFUSAL)
        else:
            await self._app(scope, receive, sending)

    def _completed(self, headers: Iterable[Header]) -> list[Header]:
        """Return an answer's headers without those for other sites, and with ours."""
        told = [one for one in headers if not one[0].lower().startswith(b"access-control-")]
        names = {name.lower() for name, _ in told}
        return told + [one for one in self._headers if one[0] not in names]

    def admits(self, kind: str, headers: list[tuple[bytes, bytes]]) -> bool:
        """Tell whether a request of this kind ("http", "websocket") with these headers may pass."""
        hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return False
        if kind == "websocket" and len(origins) != 1:
            return False  # A browser always says where a websocket comes from.
        try:
            return all(urlsplit(origin).netloc == hosts[0] for origin in origins)
        except ValueError:
            return False  # Not even an address.

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name, port = found[1].strip("[]"), int(found[2] or 80)
        if self._loopback:
            return name in ("127.0.0.1", "localhost", "::1") and port == self._port
        # Names can be made to point anywhere; addresses, and this machine's own name, cannot.
        own = socket.gethostname().lower()
        return _is_address(name) or name in ("localhost", own, f"{own}.local")


def _is_wanted_here(scope: Message) -> bool:
    """Tell whether a browser says that a page of ours, or its user, wants this.

    Pages of other sites may link to the page, and nothing else: they may not load its pictures,
    nor show it in a frame. Browsers say this on loopback and with TLS only; elsewhere the token
    keeps other sites out. See the Fetch Metadata of the W3C.
    """
    told = {name: value for name, value in scope["headers"] if name.startswith(b"sec-fetch-")}
    if told.get(b"sec-fetch-site", b"none") in (b"same-origin", b"none"):
        return True
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and told.get(b"sec-fetch-mode") == b"navigate"
        and told.get(b"sec-fetch-dest") == b"document"
    )


def _leads_elsewhere(path: str) -> bool:
    """Tell whether a path, already decoded, has steps that no address of ours has.

    One that does not begin with a slash is a whole address, as proxies are asked for them.
    """
    # Decoded once more than it should have to be: what is behind us might.
    steps = unquote(path).split("/")
    return not path.startswith("/") or "\0" in path or "\\" in path or ".." in steps


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
