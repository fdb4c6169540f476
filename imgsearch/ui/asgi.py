"""What our ASGI middleware has in common: types, and how a request is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]


async def refuse(
    scope: Message,
    receive: Receive,
    send: Send,
    status: int,
    reason: str,
    headers: Iterable[Header] = (),
) -> None:
    """Answer a request with `status` and `reason`; a websocket's handshake always with 403.

    `reason` is plain text unless `headers` say otherwise.
    """
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    body = reason.encode()
    told = {
        b"content-type": b"text/plain; charset=utf-8",
        b"content-length": str(len(body)).encode(),
        b"cache-control": b"no-store",
        **dict(headers),
    }
    await send({"type": "http.response.start", "status": status, "headers": list(told.items())})
    await send({"type": "http.response.body", "body": body})
