"""A stand-in for the model hub, served on loopback: the real client downloads from it.

It can misbehave on purpose: cut a download in the middle, send wrong bytes, refuse.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Behaviour:
    """What the hub does wrong, and what it was asked.

    `cut`: files whose download breaks off in the middle, once each; `corrupt`: files sent with a
    wrong byte; `status` and `headers`: the answer to everything; `ranges`: the Range headers of
    downloads, by file; `extra`: names that it lists and does not have.
    """

    cut: set[str] = field(default_factory=set)
    corrupt: set[str] = field(default_factory=set)
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    ranges: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serve(
    repository: str, folder: Path, behaviour: Behaviour | None = None, commit: str = COMMIT
) -> Iterator[str]:
    """Serve the files of `folder` as the hub's `repository`; yield the address for HF_ENDPOINT."""
    does = behaviour or Behaviour()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            if does.status is not None:
                self.reply("refused", does.headers, status=does.status)
                return
            path = self.path.partition("?")[0]
            if path.startswith(f"/api/models/{repository}"):
                self.reply(json.dumps(self.listing(path)), {})
                return
            prefix = f"/{repository}/resolve/"
            _, _, name = path.removeprefix(prefix).partition("/")
            if not path.startswith(prefix) or not (folder / name).is_file():
                self.reply("not found", {"X-Error-Code": "RepoNotFound"}, status=404)
                return
            content = (folder / name).read_bytes()
            about = {
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Repo-Commit": commit,
                "Accept-Ranges": "bytes",
            }
            if with_body:
                self.send_file(name, content, about)
            else:
                self.reply(b"", {**about, "Content-Length": str(len(content))})

        def listing(self, path: str) -> object:
            files = {
                one.relative_to(folder).as_posix(): one.stat().st_size
                for one in sorted(folder.rglob("*"))
                if one.is_file()
            } | dict.fromkeys(does.extra, 1)
            if "/tree/" in path:
                return [
                    {"type": "file", "path": name, "size": size, "oid": "0"}
                    for name, size in files.items()
                ]
            siblings = [{"rfilename": name} for name in files]
            return {"id": repository, "sha": commit, "siblings": siblings}

        def send_file(self, name: str, content: bytes, about: dict[str, str]) -> None:
            wanted = self.headers.get("Range")
            does.ranges.append((name, wanted))
            if name in does.corrupt:
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
            part, status = content[start:], 206 if wanted else 200
            if wanted:
                about["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if name not in does.cut:
                self.reply(part, about, status=status)
                return
            does.cut.remove(name)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(part)), **about}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True

        def reply(self, body: str | bytes, headers: dict[str, str], status: int = 200) -> None:
            data = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
