"""Who may see a page that others can reach: whoever has once shown the token of this server.

The token comes in an address (``?token=...``), as the terminal prints it. It is exchanged for a
cookie, and the browser is sent on to the same address without it, so that it stays neither in the
address bar nor in what other pages are told. The cookie holds a secret of this process, not the
token: who steals one has it until the server ends. There is no TLS here: whoever can read the
network between browser and server can read both.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from imgsearch.errors import UsageError
from imgsearch.ui.asgi import AsgiApp, Message, Receive, Send, refuse

TOKEN_VARIABLE = "IMGSEARCH_TOKEN"  # noqa: S105 - the name of it, not a token
_PARAMETER = "token"
# 256 bits, as OWASP asks of session identifiers at the very least half of.
_RANDOM_BYTES = 32
# Short ones can be tried out; what people make up should at least be a sentence.
_SHORTEST, _LONGEST = 16, 512
# Wrong tokens from one address before it has to wait, and how long (seconds). Nobody mistypes
# a token that often, and at this pace even a poor one lasts.
_ATTEMPTS, _WAIT_SECONDS = 10, 60.0
_ADDRESSES_REMEMBERED = 4_096

_UNAUTHORISED = (
    "<!doctype html><title>imgsearch</title><p>This page is shown only to those who have its token."
    "<p>Open the address that the terminal printed when imgsearch was started; it ends with "
    "?token=... If you have just done so, <a href=''>go on</a>."
)


def make_token() -> str:
    """Return a new token that nobody can guess."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def given_token(file: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token that the user chose: in `file`, else in IMGSEARCH_TOKEN; else None.

    There is no option for the token itself: everybody on a machine can read its command lines.
    Raises UsageError where it cannot be read, or is too short or no printable ASCII.
    """
    if file is not None:
        try:
            with Path(file).expanduser().open("rb") as opened:
                token = opened.read(_LONGEST + 2).decode("utf-8", "replace").strip()
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"Cannot read the token in {file}: {reason}.") from error
        return checked_token(token, file)
    token = environment.get(TOKEN_VARIABLE, "")
    return checked_token(token, TOKEN_VARIABLE) if token else None


def checked_token(token: str, origin: str) -> str:
    """Return `token` if it may serve as one; `origin` says where it is from. Raises UsageError."""
    if not _SHORTEST <= len(token) <= _LONGEST or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"The token in {origin} must have {_SHORTEST} to {_LONGEST} characters: letters, "
            "digits and signs of ASCII. One that nobody guesses: python -c 'import secrets; "
            "print(secrets.token_urlsafe())'"
        )
    return token


def with_token(address: str, token: str) -> str:
    """Return the address of the page that lets its visitor in."""
    return f"{address}?{urlencode({_PARAMETER: token})}"


class Attempts:
    """Wrong tokens, counted for each address (of IPv6, each network of 64 bits)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds."""
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def blocked_for(self, address: str) -> float:
        """Return how many seconds tokens from there are not looked at."""
        count, last = self._failed.get(_network(address), (0, 0.0))
        left = last + _WAIT_SECONDS - self._clock()
        return max(0.0, left) if count >= _ATTEMPTS else 0.0

    def note(self, address: str) -> None:
        """Remember that a wrong token came from there."""
        network = _network(address)
        count, last = self._failed.pop(network, (0, 0.0))
        expired = self._clock() - last > _WAIT_SECONDS
        self._failed[network] = (1 if expired else count + 1, self._clock())
        while len(self._failed) > _ADDRESSES_REMEMBERED:
            self._failed.popitem(last=False)


class Door:
    """ASGI middleware: nothing is answered, pictures and websockets included, without the token."""

    def __init__(
        self, app: AsgiApp, token: str, port: int, attempts: Attempts | None = None
    ) -> None:
        """`port` becomes part of the cookie's name: browsers share cookies between ports."""
        self._app = app
        self._token = token.encode()
        self._cookie_name = f"imgsearch_{port}"
        self._pass = make_token()
        self._attempts = attempts or Attempts()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, let its sender in, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        known = self._is_known(scope["headers"])
        # A websocket is opened by a page, which has the cookie.
        shown, rest = (None, "") if scope["type"] == "websocket" else _token_in(scope)
        if known and shown is None:
            await self._app(scope, receive, send)
        elif known:
            await _redirect(send, scope, rest, ())
        elif shown is None:
            await self._refuse(scope, receive, send)
        else:
            await self._examine(shown, rest, scope, receive, send)

    async def _examine(
        self, shown: str, rest: str, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Let whoever shows the right token in."""
        address = (scope.get("client") or ("", 0))[0]
        seconds = self._attempts.blocked_for(address)
        if seconds:
            wait = (b"retry-after", str(int(seconds) + 1).encode())
            await refuse(
                scope, receive, send, 429, "Too many wrong tokens. Wait a minute.", (wait,)
            )
        elif hmac.compare_digest(shown.encode(), self._token):
            # Strict: no page of others can make a browser send it. Not Secure: there is no TLS.
            cookie = f"{self._cookie_name}={self._pass}; Path=/; HttpOnly; SameSite=Strict"
            await _redirect(send, scope, rest, ((b"set-cookie", cookie.encode()),))
        else:
            self._attempts.note(address)
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Message, receive: Receive, send: Send) -> None:
        html = (b"content-type", b"text/html; charset=utf-8")
        await refuse(scope, receive, send, 401, _UNAUTHORISED, (html,))

    def _is_known(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Tell whether one of the cookies is the one that was given to those who were let in."""
        # Browsers send one Cookie header, but of one name several cookies.
        given = [
            part.strip().partition("=")[2]
            for name, value in headers
            if name == b"cookie"
            for part in value.decode("latin-1").split(";")
            if part.strip().partition("=")[0] == self._cookie_name
        ]
        wanted = self._pass.encode()
        return any(hmac.compare_digest(one.encode(), wanted) for one in given)


def _token_in(scope: Message) -> tuple[str | None, str]:
    """Return the token of a request's query, None if there is none, and the rest of the query."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in pairs if name == _PARAMETER]
    rest = urlencode([(name, value) for name, value in pairs if name != _PARAMETER])
    return (tokens[0] if tokens else None), rest


async def _redirect(
    send: Send, scope: Message, query: str, headers: Iterable[tuple[bytes, bytes]]
) -> None:
    """Send the browser to the same path without the token."""
    # Two slashes would begin the name of another server.
    path = "/" + quote(scope["path"].lstrip("/"))
    target = f"{path}?{query}" if query else path
    answer = [(b"location", target.encode()), (b"content-length", b"0"), *headers]
    answer += [(b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]
    await send({"type": "http.response.start", "status": 303, "headers": answer})
    await send({"type": "http.response.body", "body": b""})


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
