"""Processes of ours that need not import everything first.

`python -m imgsearch` and a decoding process spend most of their time on imports, and the tests
start thousands. So one process a module does the imports once and forks whenever `subprocess` is to
start that module. The fork becomes a child of who asked, so that all of `Popen` (waiting, signals,
pipes) is the real thing. A fork has its own arguments, environment, folder, streams, session and
end.

What a start itself makes of its surroundings has to be tested by a real one: other variables for
the interpreter or its libraries, other limits or another user mean a real start anyway; tests of
such things, and of processes that die, ask for `started_anew`. With
``IMGSEARCH_TESTS_START_ANEW=1``, and when coverage is measured, all processes are started anew.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

# What each module imports, now or when it needs it; not what reads the environment at once, such as
# huggingface_hub.
_IMPORTS = {
    "imgsearch": (
        "faiss numpy.ma numpy.random onnxruntime platformdirs rich.console rich.progress "
        "sqlalchemy tokenizers imgsearch.batch imgsearch.cli imgsearch.data.salvage "
        "imgsearch.models imgsearch.doctor.examination imgsearch.indexer.run "
        "imgsearch.encoders.onnx_folder imgsearch.encoders.onnx_session imgsearch.outputs "
        "imgsearch.search.engine"
    ),
    "imgsearch.indexer.worker": (
        "cykooz_resizer pillow_heif PIL.BmpImagePlugin PIL.GifImagePlugin PIL.JpegImagePlugin "
        "PIL.PngImagePlugin PIL.TiffImagePlugin PIL.WebPImagePlugin imgsearch.indexer.worker"
    ),
}
# Variables that are read once, by the interpreter or a library, when a process starts.
_READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "OPENBLAS_", "OMP_", "ORT_", "CUDA_")
_MESSAGE_BYTES = 1 << 18
_EXECUTABLE = sys.executable
_PR_SET_CHILD_SUBREAPER = 36

allowed = sys.platform == "linux" and not (
    os.environ.get("IMGSEARCH_TESTS_START_ANEW") or any("COVERAGE" in one for one in os.environ)
)
_start_anew = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_signature = inspect.signature(_start_anew)
_lock = threading.Lock()
_wanted: Counter[tuple[str, ...]] = Counter()
_templates: dict[tuple[str, ...], _Template] = {}


def install() -> None:
    """Let `subprocess` fork instead of starting anew, where it can."""
    subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]


def close() -> None:
    """End all that `install` has begun."""
    subprocess.Popen._execute_child = _start_anew  # type: ignore[attr-defined]
    for template in _templates.values():
        template.close()
    _templates.clear()


def _execute_child(self: subprocess.Popen[Any], *positional: Any) -> None:
    wanted = _signature.bind(self, *positional).arguments
    template = _template_for(wanted) if allowed and _is_plain(wanted) else None
    if template is None:
        _start_anew(self, *positional)
        return
    pipes = {name: wanted[name] for name in ("p2cread", "c2pwrite", "errwrite")}
    request = {
        "arguments": [os.fsdecode(one) for one in wanted["args"]],
        "folder": os.fsdecode(wanted["cwd"] or os.getcwd()),
        "environment": _text(wanted["env"]),
        "new_session": bool(wanted["start_new_session"]),
        "numbers": [0, 1, 2, *wanted["pass_fds"]],
    }
    streams = [own if pipe == -1 else pipe for own, pipe in enumerate(pipes.values())]
    self.pid = template.fork(request, [*streams, *wanted["pass_fds"]])
    self._child_created = True  # type: ignore[attr-defined]
    self._close_pipe_fds(*positional[_first_pipe() : _first_pipe() + 6])  # type: ignore[attr-defined]


@functools.cache
def _first_pipe() -> int:
    """Return where the six ends of pipes begin among the arguments, not counting self."""
    return list(_signature.parameters).index("p2cread") - 1


def _is_plain(wanted: Mapping[str, Any]) -> bool:
    """Tell whether nothing is wanted, or different here, that only a real start gives."""
    usual = {
        "executable": None, "preexec_fn": None, "shell": False, "close_fds": True, "uid": None,
        "gid": None, "gids": None, "umask": -1, "process_group": -1,
    }  # fmt: skip
    return (
        all(wanted.get(name, value) == value for name, value in usual.items())
        and not isinstance(wanted["args"], (str, bytes))
        and _surroundings() == _USUAL_SURROUNDINGS
    )


def _surroundings() -> tuple[object, ...]:
    """Return what a process inherits silently."""
    import resource

    limits = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
    umask = os.umask(0o22)
    os.umask(umask)
    return (
        os.getresuid(), os.getresgid(), umask, sorted(os.sched_getaffinity(0)),
        [resource.getrlimit(one) for one in limits],
    )  # fmt: skip


_USUAL_SURROUNDINGS = _surroundings() if allowed else ()


def _text(environment: Mapping[Any, Any] | None) -> dict[str, str]:
    given = os.environ if environment is None else environment
    return {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}


def _template_for(wanted: Mapping[str, Any]) -> _Template | None:
    """Return the process to fork, from the second time on that it could be used."""
    program, *flags = [os.fsdecode(one) for one in wanted["args"]]
    isolated = flags[:1] == ["-P"]
    match flags[isolated:]:
        case ["-m", module, *_] if module in _IMPORTS and program == _EXECUTABLE:
            environment = _text(wanted["env"])
        case _:
            return None
    at_start = [f"{n}={v}" for n, v in environment.items() if n.startswith(_READ_AT_START)]
    key = (module, str(isolated), *sorted(at_start))
    with _lock:
        _wanted[key] += 1
        if key not in _templates and _wanted[key] > 1:
            _templates[key] = _Template(module, environment)
        return _templates.get(key)


class _Template:
    """A process that has everything imported and forks on request."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [_EXECUTABLE, __file__, module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def fork(self, request: dict[str, Any], streams: list[int]) -> int:
        """Return the number of a new child of this process."""
        import ctypes

        be_reaper = functools.partial(ctypes.CDLL(None).prctl, _PR_SET_CHILD_SUBREAPER)
        with _lock:
            be_reaper(1)
            try:
                socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
                return int(self._socket.recv(_MESSAGE_BYTES))
            finally:
                be_reaper(0)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


def _serve(module: str, connection: socket.socket) -> None:
    """Fork for each request; the new process answers with its number."""
    import contextlib
    import gc
    import importlib
    import io

    for name in _IMPORTS[module].split():
        importlib.import_module(name)
    if module == "imgsearch":
        # Typer imports half of what it needs when it parses.
        with contextlib.redirect_stdout(io.StringIO()):
            sys.modules["imgsearch.cli"].app(["models", "--help"], standalone_mode=False)
    gc.freeze()
    while True:
        message, streams, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 64)
        if not message:
            return
        if _fork_for_our_parent():
            request = json.loads(message)
            _take(request, streams, connection)
            _run(module, request["arguments"])
        for stream in streams:
            os.close(stream)


def _fork_for_our_parent() -> bool:
    """Fork so that our parent, for now the reaper of its line, becomes the new process's parent.

    Tells whether this is the new process.
    """
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return False
    between = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == between:
        time.sleep(0.0005)
    return True


def _take(request: dict[str, Any], streams: list[int], connection: socket.socket) -> None:
    """Give this process the descriptors, folder, environment and streams that were asked for."""
    import fcntl

    numbers = request["numbers"]
    if request["new_session"]:
        os.setsid()
    # Above all of their new numbers, so that none is overwritten before it is moved.
    top = max(numbers) + 1
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, top) for one in (*streams, connection.fileno())]
    for number, one in zip(numbers, high, strict=False):
        os.dup2(one, number, inheritable=True)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.write(high[-1], str(os.getpid()).encode())
    connection.detach()
    for number in {int(one) for one in os.listdir("/proc/self/fd")} - set(numbers):
        try:
            os.close(number)
        except OSError:
            continue  # The listing's own descriptor.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        new = open(  # noqa: SIM115 - lives as long as the process
            number, old.mode, encoding=old.encoding, errors=old.errors, closefd=False
        )
        new.reconfigure(
            line_buffering=name == "stderr" or new.isatty(), write_through=old.write_through
        )
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _run(module: str, arguments: list[str]) -> None:
    """Run the module as the whole life of this process, and end as Python ends it."""
    import atexit
    import runpy
    import signal

    _, *flags = arguments
    if flags[0] == "-P":
        flags = flags[1:]
        del sys.path[0]
    else:
        sys.path[0] = os.getcwd()
    sys.argv = ["-m", *flags[2:]]
    code: object = None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    if not (code is None or isinstance(code, int)):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(120)
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[2])) as given:
        _serve(sys.argv[1], given)
