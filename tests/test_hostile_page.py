"""Attacks on the live page, started by the real command line: requests that nobody should send."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacker import (
    at_once,
    descriptors,
    get,
    handshake,
    memory,
    port_of,
    send_raw,
    session,
)
from conftest import EXAMPLES
from live_page import Server, serving

from imgsearch import Library
from imgsearch.errors import UsageError
from imgsearch.ui.access import Attempts, given_token
from imgsearch.ui.limits import BodyLimit, ImpatientProtocol

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROUTES = ("/", "/imgsearch/thumbnail/{}.jpg", "/imgsearch/view/{}", "/imgsearch/original/{}",
          "/imgsearch/heat/{}.png?words=a", "/imgsearch/selection/{}.zip", "/imgsearch/world.svg",
          "/library", "/similar", "/static/{}", "/media/{}", "/component/{}", "/app/static/{}",
          "/_stcore/bidi-components/{}", "/_stcore/upload_file/a/{}", "/_stcore/health",
          "/_stcore/host-config", "/_stcore/metrics", "/_stcore/agent/openapi.json")  # fmt: skip
CLIMBS = ("../" * 9 + "etc/passwd", "..%2f" * 9 + "etc%2fpasswd", "..%252f" * 9 + "etc%252fpasswd",
          "%2e%2e/" * 9 + "etc/passwd", "..\\" * 9 + "etc\\passwd", "..%5c" * 9 + "etc%5cpasswd",
          "..%c0%af" * 9 + "etc%c0%afpasswd", "/etc/passwd", "%2fetc%2fpasswd", "x%00.jpg",
          "file:///etc/passwd", "....//" * 9 + "etc/passwd", "..;/" * 9 + "etc/passwd",
          "C:\\windows\\win.ini", "//etc/passwd", "%ff%fe")  # fmt: skip
TOKEN = "a token that is long enough"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hostile page") / "library"
    with Library.open(place) as opened:
        opened.index(EXAMPLES)
    return place


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[Server]:
    with serving(library, library.parent / "log") as running:
        yield running
    assert running.complaints() == ""


@pytest.fixture(scope="module")
def shared(library: Path) -> Iterator[Server]:
    """A page that others can reach, with a token of the user's."""
    with serving(
        library, library.parent / "log-shared", "--host", "0.0.0.0",
        environment={"IMGSEARCH_TOKEN": TOKEN},
    ) as running:  # fmt: skip
        yield running
    assert TOKEN not in running.log.read_text()


@pytest.fixture(scope="module")
def cookie(shared: Server) -> str:
    """What a visitor of `shared` has who has shown the token."""
    entered = get(shared, f"/?token={TOKEN.replace(' ', '+')}")
    assert entered.status == 303
    return entered.headers["set-cookie"].split(";")[0]


@pytest.mark.parametrize("route", ROUTES)
def test_no_path_leads_out_of_the_page(server: Server, route: str) -> None:
    for climb in CLIMBS:
        target = route.replace("{}", climb) if "{}" in route else f"{route.rstrip('/')}/{climb}"

        answer = get(server, target)

        assert answer.status in (0, 400, 403, 404, 405) or b"<title>Streamlit" in answer.body, climb
        assert b"root:" not in answer.body
        assert b"SQLite format" not in answer.body


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.:{port}",
     "localhost.:{port}", "localhost.evil.test:{port}", "evil.test@127.0.0.1:{port}",
     "127.0.0.1:{port}@evil.test", "127.0.0.1:{port}/evil", "2130706433:{port}", "0.0.0.0:{port}",
     "[::]:{port}", "[::ffff:127.0.0.1]:{port}", "[::1", "127.1:{port}", "127.0.0.1:{port} evil",
     "127.0.0.1:0{port}0", "\tevil.test", "LOCALHOST:99999999"],
)  # fmt: skip
def test_names_that_others_could_own_are_refused(server: Server, host: str) -> None:
    named = host.format(port=port_of(server))

    assert get(server, "/", host=named).status in (400, 403)
    assert handshake(server, f"Origin: http://{named}", host=named) in (400, 403)


def test_a_whole_address_as_target_names_no_other_server(server: Server) -> None:
    port = port_of(server)
    twice = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.test\r\n\r\n"

    for target in ("http://evil.test/", f"http://127.0.0.1:{port}/", "evil.test:80", "*"):
        assert get(server, target).status in (400, 403, 404), target
    assert send_raw(server, twice.encode()).status in (400, 403)
    assert send_raw(server, b"GET / HTTP/1.1\r\n\r\n").status == 400
    assert send_raw(server, b"GET / HTTP/1.0\r\n\r\n").status == 403
    assert get(server, "/", host=f"LocalHost:{port}").status == 200


@pytest.mark.parametrize(
    "headers",
    [("Origin: http://evil.test",), ("Origin: null",), ("Origin: http://localhost:1",),
     ("Origin: http://127.0.0.1:{port}.evil.test",), ("Origin: http://127.0.0.1:{port}@evil.test",),
     ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
     ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
     ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe")],
)  # fmt: skip
def test_pages_of_other_sites_get_nothing(server: Server, headers: tuple[str, ...]) -> None:
    given = [one.format(port=port_of(server)) for one in headers]

    for target in ("/", "/imgsearch/world.svg", "/_stcore/host-config", "/_stcore/health"):
        assert get(server, target, *given).status == 403
    if given[0].startswith("Origin"):
        assert handshake(server, *given) == 403


def test_other_sites_may_link_to_the_page_and_post_nothing(server: Server) -> None:
    link = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")

    assert get(server, "/?q=cat", *link).status == 200
    assert get(server, "/", *link, "Content-Length: 0", method="POST").status == 403
    assert handshake(server) == 403
    assert handshake(server, f"Origin: http://127.0.0.1:{port_of(server)}") == 101


def test_every_answer_keeps_other_sites_out(server: Server, shared: Server, library: Path) -> None:
    with Library.open(library) as opened:
        name = opened.search("cat")[0].content_hash
    answers = [get(server, route.format(name)) for route in ROUTES]
    answers += [get(shared, "/"), get(server, "/", host="evil.test"), get(server, "/none\\")]

    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy or "default-src 'none'" in policy
        assert not [one for one in answer.headers if one.startswith("access-control-")]
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


@pytest.mark.parametrize(
    "request_",
    [b"\0" * 5_000, b"GET\r\n\r\n", b"G\xff\xffT / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
     b"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
     b"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: HOST\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: HOST\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
     b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: HOST\r\n folded\r\n\r\n"],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_http_ends_one_connection_only(server: Server, request_: bytes) -> None:
    host = f"127.0.0.1:{port_of(server)}".encode()

    with socket.create_connection(("127.0.0.1", port_of(server)), 20) as connection:
        try:
            connection.sendall(request_.replace(b"HOST", host))
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4_096)
        except OSError:
            answer = b""

    assert not answer.startswith(b"HTTP/1.1 5")
    assert get(server, "/_stcore/health").status == 200


@LINUX
def test_an_oversized_upload_is_refused_before_it_is_read(server: Server) -> None:
    get(server, "/_stcore/health")
    before = memory(server)
    put = f"PUT /_stcore/upload_file/a/b HTTP/1.1\r\nHost: 127.0.0.1:{port_of(server)}\r\n"
    told = put + "Content-Length: 9999999999\r\nExpect: 100-continue\r\n\r\n"
    untold = put + "Transfer-Encoding: chunked\r\n\r\n"

    assert send_raw(server, told.encode()).status == 413
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    # Refused for other reasons already: it belongs to no session. What counts is the memory.
    assert send_raw(server, untold.encode() + piece * 60).status in (0, 400, 403, 413)
    assert memory(server) - before < 20 << 20


def test_a_body_without_a_length_is_refused_when_it_gets_too_long() -> None:
    async def attack(parts: list[bytes], seconds: float) -> int:
        statuses = []

        async def app(scope: object, receive: object, send: object) -> None:
            from starlette.requests import Request
            from starlette.responses import Response

            await Request(scope, receive).body()  # type: ignore[arg-type]
            await Response("done")(scope, receive, send)  # type: ignore[arg-type]

        async def receive() -> dict[str, object]:
            if not parts:
                await asyncio.sleep(60)
            return {"type": "http.request", "body": parts.pop(), "more_body": True}

        async def send(message: dict[str, object]) -> None:  # type: ignore[override]
            statuses.append(message.get("status"))

        scope = {"type": "http", "method": "PUT", "path": "/", "headers": [], "query_string": b""}
        await BodyLimit(app, 1_000, seconds)(scope, receive, send)  # type: ignore[arg-type]
        return int(str(statuses[0]))

    assert asyncio.run(attack([b"x" * 400] * 4, 30)) == 413
    assert asyncio.run(attack([b"x" * 400], 0.05)) == 408


def test_who_asks_slowly_or_never_is_let_go() -> None:
    class Quick(ImpatientProtocol):
        header_seconds = 0.3
        most_connections = 5

    async def app(scope: object, receive: object, send: object) -> None:
        from starlette.responses import Response

        await Response("here")(scope, receive, send)  # type: ignore[arg-type]

    async def attack() -> tuple[list[bytes], bytes]:
        import uvicorn

        config = uvicorn.Config(app, http=Quick, lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            task = asyncio.create_task(server.serve(sockets=[listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            for _, writer in slow[1:]:
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ")
            answers = await asyncio.gather(
                *(reader.read() for reader, _ in slow), return_exceptions=True
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            served = await reader.read()
            for _, one in (*slow, (reader, writer)):
                one.close()
            server.should_exit = True
            await task
        return [one for one in answers if isinstance(one, bytes)], served

    answers, served = asyncio.run(asyncio.wait_for(attack(), 30))

    assert set(answers) <= {b""}
    assert served.endswith(b"here")


@LINUX
def test_two_hundred_quick_requests_leave_nothing_behind(server: Server, library: Path) -> None:
    with Library.open(library) as opened:
        name = opened.search("cat")[0].content_hash
    targets = (
        "/",
        f"/imgsearch/thumbnail/{name}.jpg",
        f"/imgsearch/view/{name}",
        "/_stcore/health",
    )
    get(server, targets[1])
    before = descriptors(server)

    def one(number: int) -> int:
        if number % 20:
            return get(server, targets[number % 4]).status
        with session(server) as visitor:
            assert "imgsearch_gallery" in visitor.run("")
        return 200

    assert set(at_once(200, one)) == {200}
    assert get(server, "/_stcore/health").status == 200
    end = time.monotonic() + 20
    # Streamlit keeps a session, with three descriptors, for those who come back soon.
    while descriptors(server) > before + 3 * 10 + 5:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("route", ROUTES)
def test_without_the_token_nothing_is_shown(shared: Server, route: str) -> None:
    for headers in ((), (f"Cookie: imgsearch_{port_of(shared)}=guess",), (f"Cookie: {TOKEN}",)):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
            answer = get(shared, route, *headers, method=method)
            assert answer.status == 401
            assert b"Streamlit" not in answer.body


def test_the_token_becomes_a_cookie_and_leaves_the_address(shared: Server, cookie: str) -> None:
    origin = f"Origin: http://127.0.0.1:{port_of(shared)}"
    known = f"Cookie: other=1; {cookie}"

    entered = get(shared, f"/library?q=a%26b&token={TOKEN.replace(' ', '%20')}&token=2")

    assert (entered.status, entered.headers["location"]) == (303, "/library?q=a%26b")
    assert "; HttpOnly; SameSite=Strict" in entered.headers["set-cookie"]
    assert TOKEN not in str(entered.headers)
    assert get(shared, "/", known).status == 200
    assert get(shared, "/?token=wrong&q=1", known).headers["location"] == "/?q=1"
    assert (handshake(shared, origin), handshake(shared, origin, known)) == (403, 101)
    assert handshake(shared, "Origin: http://evil.test", known) == 403
    # The name of another server cannot be where it leads to.
    away = get(shared, f"//evil.test/?token={TOKEN.replace(' ', '+')}")
    assert (away.status, away.headers["location"]) == (303, "/evil.test/")


def test_wrong_tokens_from_one_address_have_to_wait() -> None:
    now = 1_000.0
    attempts = Attempts(lambda: now)

    for number in range(9):
        attempts.note("10.0.0.1")
        attempts.note(f"2001:db8::{number}")
        attempts.note(f"::ffff:10.0.0.{number}")
    assert attempts.blocked_for("10.0.0.1") == 60
    assert attempts.blocked_for("10.0.0.2") == 0
    assert attempts.blocked_for("2001:db8::aaaa") == 0
    attempts.note("2001:db8::f")
    assert attempts.blocked_for("2001:db8::aaaa") == 60
    assert attempts.blocked_for("2001:db8:0:1::aaaa") == 0
    now += 61
    assert attempts.blocked_for("10.0.0.1") == 0
    attempts.note("10.0.0.1")
    assert attempts.blocked_for("10.0.0.1") == 0


@LINUX
def test_a_token_is_made_up_printed_once_and_guessing_is_slow(
    library: Path, tmp_path: Path
) -> None:
    with serving(library, tmp_path / "log", "--host", "0.0.0.0") as server:
        token = server.url.partition("?token=")[2]
        assert len(token) >= 43
        assert server.log.read_text().count(token) == 1
        assert token not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
        entered = get(server, f"/?token={token}")
        cookie = entered.headers["set-cookie"].split(";")[0]
        assert token not in cookie

        guesses = [get(server, f"/?token=guess{number}").status for number in range(12)]

        assert guesses == [401] * 10 + [429] * 2
        assert get(server, f"/?token={token}").status == 429
        assert get(server, "/", f"Cookie: {cookie}").status == 200


def test_a_token_of_the_users_own_is_long_enough_and_no_argument(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")

    assert given_token(str(file), {"IMGSEARCH_TOKEN": "another one of the environment"}) == TOKEN
    assert given_token(None, {"IMGSEARCH_TOKEN": TOKEN}) == TOKEN
    assert given_token(None, {}) is None
    assert given_token(None, {"IMGSEARCH_TOKEN": ""}) is None
    for bad in ("", "short", "x" * 513, "ü" * 20, "a\x1b" * 20):
        file.write_text(bad)
        with pytest.raises(UsageError, match="16 to 512"):
            given_token(str(file), {})
    with pytest.raises(UsageError, match="Cannot read"):
        given_token(str(tmp_path / "none"), {})


def test_forged_events_cannot_choose_folders_on_a_shared_page(
    server: Server, shared: Server, cookie: str, library: Path, tmp_path: Path
) -> None:
    with session(server) as insider:
        shown = insider.run("library")
    ids = re.findall(r'id: "(\$\$ID-[^"]+)"', shown)
    wanted = ("folder_path", "scan-0", "remove-0", "index-here", "usual-", "add-folder")
    forged: dict[str, dict[str, object]] = {}
    for one in ids:
        if one.endswith("folder_path"):
            forged[one] = {"string_value": str(tmp_path)}
        elif any(part in one for part in wanted):
            forged[one] = {"trigger_value": True}
    assert any("remove-0" in one for one in forged)
    assert any("folder_path" in one for one in forged)

    with session(shared, cookie) as outsider:
        before = outsider.run("library")
        after = outsider.run("library", forged)

    assert "Folders are added, scanned and removed on the computer" in before
    assert "Remove this folder" not in after
    assert "Looking for photos" not in after
    with Library.open(library) as opened:
        assert [root.path for root in opened.status().roots] == [str(EXAMPLES)]
    # The same events where they may be sent: the test knows what it looks for.
    with session(server) as insider:
        insider.run("library")
        removal = {one: value for one, value in forged.items() if "remove-0" in one}
        assert "Remove this folder" in insider.run("library", removal)
