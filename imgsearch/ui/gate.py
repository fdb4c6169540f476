"""Who may talk to the page: requests that name this server, from its own pages only.

A page on the internet may send requests to 127.0.0.1, or let its own name point there (DNS
rebinding); Streamlit checks neither on its HTTP routes. This stands in front of everything, the
websocket included.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

_REFUSAL = b"This address is not served here."


class Gate:
    """ASGI middleware: refuses foreign Host and Origin headers with 403, odd paths with 404."""

    def __init__(self, app: AsgiApp, port: int, loopback: bool) -> None:
        """With `loopback` only this machine's own names are answered to; else its addresses too."""
        self._app = app
        self._port = port
        self._loopback = loopback

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif not self.admits(scope["type"], scope["headers"]):
            await self._refuse(scope, receive, send, 403)
        elif _leads_elsewhere(scope["path"]):
            await self._refuse(scope, receive, send, 404)
        else:
            await self._app(scope, receive, send)

    async def _refuse(self, scope: Message, receive: Receive, send: Send, status: int) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [
            (b"content-type", b"text/plain"),
            (b"content-length", str(len(_REFUSAL)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": _REFUSAL})

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
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if self._loopback:
            return name in ("127.0.0.1", "localhost", "::1") and port == self._port
        # Names can be made to point anywhere; addresses, and this machine's own name, cannot.
        own = socket.gethostname().lower()
        return _is_address(name) or name in ("localhost", own, f"{own}.local")


def _leads_elsewhere(path: str) -> bool:
    """Tell whether a path, already decoded, has steps that no address of ours has."""
    return "\0" in path or "\\" in path or ".." in path.split("/")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
