"""What one visitor may cost the server: how much is read, how long is waited, how many connect."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from imgsearch.ui.asgi import AsgiApp, Message, Receive, Send, refuse

# Seconds in which a request must have come with all its headers, or go on with its body. Browsers
# open connections ahead of need, and open new ones where these are closed.
HEADER_SECONDS = 10.0
BODY_SECONDS = 20.0
# Linux gives a process 1,024 open files. A connection is one, and a session of Streamlit's page,
# behind a websocket, three more; of sessions whose tab is closed Streamlit keeps up to 128 for two
# minutes. 256 + 3 * 64 + 3 * 128 leaves 192 for the photos and databases.
MOST_CONNECTIONS, MOST_SESSIONS = 256, 64
# Seconds in which a visitor must have taken something of an answer. Downloads can be paused.
READ_SECONDS = 300.0


class SessionLimit:
    """ASGI middleware: refuses websockets beyond a number of open ones."""

    def __init__(self, app: AsgiApp, most: int = MOST_SESSIONS) -> None:
        """`most` may be open at once."""
        self._app = app
        self._most = most
        self._open = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
        elif self._open >= self._most:
            await refuse(scope, receive, send, 503, "Too many pages are open.")
        else:
            self._open += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._open -= 1


class BodyLimit:
    """ASGI middleware: refuses bodies above a limit (413), by their announced length if it is told.

    So that an upload is refused before it is read, and one without an announced length when it
    exceeds the limit. A body that comes too slowly is given up (408).
    """

    def __init__(self, app: AsgiApp, most_bytes: int, seconds: float = BODY_SECONDS) -> None:
        """`seconds` may pass between two parts of a body."""
        self._app = app
        self._most = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, send, self._most, self._seconds)
        told = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not value.isdigit() or int(value[:20]) > self._most for value in told):
            await body.refuse(413)
            return
        try:
            await self._app(scope, body.receive, body.send)
        except ClientDisconnect:
            # What we told the app where we were the ones who ended it.
            if not body.refused:
                raise


class _Body:
    """One request's body, on its way to the app, and the app's answer."""

    def __init__(
        self, scope: Message, receive: Receive, send: Send, most_bytes: int, seconds: float
    ) -> None:
        self.refused = False
        self._scope, self._receive, self._send = scope, receive, send
        self._most, self._seconds = most_bytes, seconds
        self._taken, self._whole, self._answered = 0, False, False

    async def receive(self) -> Message:
        if self._whole:
            # Now this waits for the visitor to leave, for as long as it takes.
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._seconds)
        except TimeoutError:
            return await self.refuse(408)
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._taken > self._most:
                return await self.refuse(413)
        return message

    async def send(self, message: Message) -> None:
        self._answered = True
        if not self.refused:
            await self._send(message)

    async def refuse(self, status: int) -> Message:
        """Answer in place of the app; return what tells it that there is nobody any more."""
        self.refused = self._whole = True
        if not self._answered:
            # What is still on its way must not be taken for the next request.
            close = ((b"connection", b"close"),)
            reason = "This is too large." if status == 413 else "This took too long to come."
            await refuse(self._scope, self._receive, self._send, status, reason, close)
        return {"type": "http.disconnect"}


class ImpatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which does not wait for ever for a request, nor serve any number."""

    header_seconds = HEADER_SECONDS
    most_connections = MOST_CONNECTIONS
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, unless there are too many connections already."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stop waiting where a whole request has come."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._stop_waiting()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Leave the connection to the websocket."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the middle of a request, too, without a word on the terminal.

        uvicorn would let the app answer as well, and print what comes of it.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Begin to wait for a visitor who does not read the answer."""
        super().pause_writing()
        self._wait(READ_SECONDS)

    def resume_writing(self) -> None:
        """Stop waiting: the visitor reads."""
        super().resume_writing()
        self._stop_waiting()
        if self.cycle is not None and self.cycle.response_complete:
            self._wait()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request on this connection."""
        super().on_response_complete()
        if self.cycle.response_complete:
            unread = self.transport.get_write_buffer_size() > 0
            self._wait(READ_SECONDS if unread else None)

    def _wait(self, seconds: float | None = None) -> None:
        self._stop_waiting()
        patience = self.header_seconds if seconds is None else seconds
        self._patience = self.loop.call_later(patience, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self.transport.abort()
