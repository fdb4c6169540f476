"""A stand-in for the model hub, served on loopback: enough for the real client to download from."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(repository: str, folder: Path) -> Iterator[str]:
    """Serve the files of `folder` as the hub's `repository`; yield the address for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            if path.startswith(f"/api/models/{repository}/revision/"):
                files = [{"rfilename": entry.name} for entry in sorted(folder.iterdir())]
                self.reply(json.dumps({"id": repository, "sha": COMMIT, "siblings": files}), {})
                return
            if path == f"/api/models/{repository}/tree/{COMMIT}":
                tree = [
                    {"type": "file", "path": entry.name, "size": entry.stat().st_size, "oid": "0"}
                    for entry in sorted(folder.iterdir())
                ]
                self.reply(json.dumps(tree), {})
                return
            prefix = f"/{repository}/resolve/"
            _, _, name = path.removeprefix(prefix).partition("/")
            if not path.startswith(prefix) or not (folder / name).is_file():
                self.reply("not found", {"X-Error-Code": "RepoNotFound"}, status=404)
                return
            content = (folder / name).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self.reply(
                content if with_body else b"",
                {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(content))},
            )

        def reply(self, body: str | bytes, headers: dict[str, str], status: int = 200) -> None:
            data = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
