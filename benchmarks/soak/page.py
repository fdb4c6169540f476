"""The long form of tests/test_hostile_page.py: floods, slow requests, and malformed ones."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from attack import Attack, Outcome, Setting
from quick_forms import quick_form

# Sessions whose tab is closed and that Streamlit keeps, with three descriptors each; see ui/limits.
_KEPT = 3 * 128 + 20


@contextmanager
def page(setting: Setting) -> Iterator[tuple[ModuleType, Any, str]]:
    """Yield the attacker, a live server over the example photos, and the hash of one of them."""
    from imgsearch import Library

    attacker, live = quick_form("attacker"), quick_form("live_page")
    examples = quick_form("conftest").EXAMPLES
    with Library.open(setting.work / "library") as opened:
        opened.index(examples)
        name = opened.search("cat")[0].content_hash
    with live.serving(setting.work / "library", setting.work / "log") as server:
        yield attacker, server, name


def complaints(server: Any) -> list[str]:
    """Return what the server wrote to its terminal, which should be nothing."""
    said = server.complaints()
    return [f"the server said: {said[:300]}"] if said else []


def attack_flood(setting: Setting) -> Outcome:
    """Send 200 requests at once, again and again, a tenth of them with a session of Streamlit."""
    outcome = Outcome()
    with page(setting) as (attacker, server, name):
        targets = ("/", f"/imgsearch/thumbnail/{name}.jpg", f"/imgsearch/view/{name}")

        def one(number: int) -> int:
            if number % 10:
                return int(attacker.get(server, targets[number % 3]).status)
            with attacker.session(server) as visitor:
                return 200 if "imgsearch_gallery" in visitor.run("") else 0

        first = 0
        for round_ in range(setting.times(20)):
            statuses = attacker.at_once(200, one)
            outcome.times += len(statuses)
            if set(statuses) != {200}:
                outcome.broken.append(f"round {round_}: {sorted(set(statuses))}")
            time.sleep(1)
            if attacker.descriptors(server) > _KEPT:
                outcome.broken.append(f"{attacker.descriptors(server)} descriptors are open")
            first = first or attacker.memory(server)
        grown = (attacker.memory(server) - first) >> 20
        outcome.note = f"memory after the first round and at the end: {grown:+} MB"
        if grown > 100:
            outcome.broken.append(outcome.note)
        outcome.broken += complaints(server)
    return outcome


def attack_malformed(setting: Setting) -> Outcome:
    """Send mutants of good requests."""
    outcome, rng = Outcome(), random.Random(setting.seed)
    with page(setting) as (attacker, server, name):
        port = attacker.port_of(server)
        head = f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode()
        seeds = [
            b"GET /imgsearch/view/" + name.encode() + b" " + head + b"\r\n",
            b"POST / " + head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"PUT /_stcore/upload_file/a/b " + head + b"Content-Length: 5\r\n\r\nhello",
            b"GET /_stcore/stream " + head + f"Origin: http://127.0.0.1:{port}\r\n".encode()
            + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85abcdabcde",
        ]  # fmt: skip
        for _ in range(setting.times(20_000)):
            data = bytearray(b"".join(rng.choices(seeds, k=rng.randint(1, 3))))
            for _ in range(rng.choice([0, 1, 1, 2, 5, 20])):
                at = rng.randrange(len(data))
                if rng.random() < 0.5:
                    data[at] = rng.randrange(256)
                else:
                    data[at : at + rng.randint(0, 9)] = rng.randbytes(rng.randint(0, 9))
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                try:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    if rng.random() < 0.3:
                        connection.recv(9_999)
                except OSError:
                    pass
            outcome.times += 1
        if attacker.get(server, "/_stcore/health").status != 200:
            outcome.broken.append("the server does not answer any more")
        outcome.broken += complaints(server)
    return outcome


def attack_slow(setting: Setting) -> Outcome:
    """Hold connections open with requests that never end, and look whether others are served."""
    outcome = Outcome()
    with page(setting) as (attacker, server, name):
        for _ in range(setting.times(5)):
            held = []
            for number in range(240):
                one = socket.create_connection(("127.0.0.1", attacker.port_of(server)), 30)
                if number % 2:
                    one.sendall(b"GET / HTTP/1.1\r\nX-a: ")
                held.append(one)
            if attacker.get(server, f"/imgsearch/view/{name}").status != 200:
                outcome.broken.append("others were not served meanwhile")
            time.sleep(12)
            for one in held:
                one.settimeout(5)
                try:
                    left = one.recv(100)
                except ConnectionError:
                    left = b""
                except TimeoutError:
                    left = b"?"
                outcome.times += 1
                if left == b"?":
                    outcome.broken.append("a slow request was waited for longer than 12 s")
                one.close()
        outcome.broken += complaints(server)
    return outcome


ATTACKS = [
    Attack(
        "page-flood",
        "The page stays responsive, and memory and descriptors come back",
        "200 requests at once, a tenth with a session over the websocket",
        attack_flood,
    ),
    Attack(
        "page-malformed",
        "What is no HTTP costs one connection and no word on the terminal",
        "mutants of good requests, of uploads and of websocket handshakes",
        attack_malformed,
    ),
    Attack(
        "page-slow",
        "Requests that never end are given up, and others are served meanwhile",
        "240 connections that send nothing, or half a request",
        attack_slow,
    ),
]
