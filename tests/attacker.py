"""What an attacker of the page has: raw requests, and Streamlit's own language over a websocket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from live_page import Server
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect


@dataclass(frozen=True)
class Answer:
    """What came back; `status` is 0 where the connection was closed without a word."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def port_of(server: Server) -> int:
    """Return the port that a server listens on."""
    return int(server.host.rpartition(":")[2])


def send_raw(server: Server, request: bytes, timeout: float = 30) -> Answer:
    """Send these very bytes, and return what comes until the server closes or has answered."""
    data = b""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout) as connection:
        try:
            connection.sendall(request)
            while part := connection.recv(65_536):
                data += part
                if _is_whole(data):
                    break
        except (ConnectionError, TimeoutError):
            pass
    return _parsed(data)


def get(server: Server, target: str, *headers: str, method: str = "GET", host: str = "") -> Answer:
    """Ask for exactly this target."""
    port = port_of(server)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}", *headers]
    request = "\r\n".join([*lines, "Connection: close", "", ""])
    return send_raw(server, request.encode("utf-8", "surrogateescape"))


def handshake(server: Server, *headers: str, host: str = "") -> int:
    """Ask for the websocket; return the status: 101 where it is opened."""
    lines = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    host = host or f"127.0.0.1:{port_of(server)}"
    request = "\r\n".join(
        ["GET /_stcore/stream HTTP/1.1", f"Host: {host}", *lines, *headers, "", ""]
    )
    with socket.create_connection(("127.0.0.1", port_of(server)), 30) as connection:
        connection.sendall(request.encode())
        return _parsed(connection.recv(65_536)).status


def at_once(count: int, work: Any) -> list[Any]:
    """Return what `work`, called with 0, 1, ... at the same time, returns."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def descriptors(server: Server) -> int:
    """Return how many files and sockets the server holds open (Linux)."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def memory(server: Server) -> int:
    """Return the bytes that the server holds in memory now (Linux)."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class Session:
    """A visitor of the page who has no browser, and may say whatever he likes."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def run(self, page: str, events: dict[str, dict[str, Any]] | None = None) -> str:
        """Run a page of the app with these values of widgets by id; return all that is shown."""
        message = BackMsg()
        message.rerun_script.page_name = page
        message.rerun_script.query_string = ""
        for name, value in (events or {}).items():
            message.rerun_script.widget_states.widgets.add(id=name, **value)
        self._connection.send(message.SerializeToString())
        shown = []
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(bytes(self._connection.recv(30)))
            shown.append(str(answer))
            kind = answer.WhichOneof("type")
            if kind == "script_finished" and answer.script_finished in (0, 2):
                return "\n".join(shown)


@contextmanager
def session(server: Server, cookie: str = "") -> Iterator[Session]:
    """Open Streamlit's websocket as the page does."""
    port = port_of(server)
    headers = {"Origin": f"http://127.0.0.1:{port}"} | ({"Cookie": cookie} if cookie else {})
    with connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        subprotocols=["streamlit"],  # type: ignore[list-item]
        additional_headers=headers,
        max_size=None,
        proxy=None,
    ) as connection:
        yield Session(connection)


def _is_whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return bool(found) and len(body) >= int(line.partition(b":")[2])
    return False


def _parsed(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return Answer(0, body=data)
    pairs = [line.partition(":")[::2] for line in lines]
    return Answer(int(first.split()[1]), {n.lower(): v.strip() for n, v in pairs}, body)
