"""Processes of Python in which TensorFlow and Keras are imported already, which takes a new one seconds.

A server imports them once, for its first client, and forks for each process. ``WarmPython.command`` stands where
``sys.executable`` would: it runs this file, which passes its streams, folder, variables and signals on to a fork, and
ends as the fork does. How a process imports TensorFlow, and what it does before, is tested with ``sys.executable``.

``WarmPython.executable`` is for code that starts processes itself. It is a file that may stand in ``sys.executable``:
the modules ``WARMED`` run in a fork, and anything else in a new process.
"""

# Each process imports what is imported here, so there is no pathlib.
# ruff: noqa: PTH100, PTH101, PTH109, PTH118, PTH120, PTH123

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import selectors

POLICY = "CNNREG_PLUGINS"
AS_PYTHON = "--as-python"
LENGTH = 8
"""Bytes in which the length of a request is written."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if sys.platform != "win32" else ()

WARMED = ("cnn_registry.testing.elsewhere", "ipykernel_launcher")
"""Modules that need TensorFlow in any case, on whatever way they come to it."""

USED = (
    *("sklearn.datasets", "sklearn.metrics", "sklearn.model_selection", "matplotlib.backends.backend_agg"),
    *("matplotlib.figure", "cnn_registry.cli", "cnn_registry.workflows.train", "cnn_registry.report.write"),
    *("cnn_registry.training.fit", "cnn_registry.inference.predict", "cnn_registry.testing.checks"),
)
"""What else a training and the conformance kit import."""


class TensorflowWithoutJax:
    """JAX is not found while TensorFlow is imported, which takes a quarter of its time for a converter from JAX."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> None:
        tensorflow = sys.modules.get("tensorflow")
        if fullname == "jax" and tensorflow and getattr(tensorflow.__spec__, "_initializing", False):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


class WarmPython:
    """A server, as a context.

    Args:
        python: the interpreter whose packages its processes have.
        variables: the server's environment; default that of this process.

    Attributes:
        command: what the command of a process begins with, in place of ``python``.
        executable: a file that runs some modules in a fork, and is ``python`` otherwise.
    """

    def __init__(self, python: str, variables: Mapping[str, str] = os.environ) -> None:
        self._python = python
        self._variables = {name: value for name, value in variables.items() if name not in ("PYTHONPATH", POLICY)}
        self.command = [python]
        self.executable = python

    def __enter__(self) -> WarmPython:
        import shlex
        import subprocess
        import tempfile

        if not hasattr(os, "pidfd_open"):  # this is not Linux
            return self
        self._folder = tempfile.TemporaryDirectory(prefix="cnnreg-")  # the path of a socket is short
        address = os.path.join(self._folder.name, "socket")
        self.command = [self._python, "-S", "-E", __file__, address]
        self.executable = executable_of(address)
        with open(self.executable, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {shlex.join(self.command)} {AS_PYTHON} "$@"\n')
        os.chmod(self.executable, 0o755)
        self._server = subprocess.Popen(
            [self._python, "-P", __file__, "--serve", address],
            env=self._variables | {"PYTHONHASHSEED": "1"},  # sets have another order than here
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout
        assert self._server.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *raised: object) -> None:
        if len(self.command) > 1:
            self._server.communicate()
            self._folder.cleanup()


def executable_of(address: str) -> str:
    """The file that stands for the interpreter, beside the server's socket."""
    return os.path.join(os.path.dirname(address), "python")


def is_warmed(words: list[str]) -> bool:
    """Whether the command of ``python`` that begins with these words runs in a fork."""
    keras_backend = os.environ.get("KERAS_BACKEND", "")
    module = words[words.index("-m") + 1 :][:1] if "-m" in words else []
    return bool(module) and module[0] in WARMED and keras_backend in ("", "tensorflow")


def pass_on(address: str, words: list[str]) -> int:
    """Let the server run a command; the exit code."""
    if words[:1] == [AS_PYTHON]:
        words = words[1:]
        if not is_warmed(words):
            os.execv(sys.executable, [sys.executable, *words])
    closed = [number for number in range(3) if not is_open(number)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, so that the connection does not
    request = {"words": words, "folder": os.getcwd(), "variables": dict(os.environ), "closed": closed}
    text = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        for number in SIGNALS:
            signal.signal(number, lambda number, frame: connection.sendall(bytes([number])))
        socket.send_fds(connection, [len(text).to_bytes(LENGTH, "big")], [0, 1, 2])
        connection.sendall(text)
        code = os.waitstatus_to_exitcode(int(connection.recv(100)))
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def serve(address: str) -> list[str]:
    """Fork for each client until standard input is closed. Returns in the forks, with the words of their commands.

    What takes long is imported for the first client.
    """
    import selectors

    prepared: dict[str, str] | None = None
    selector = selectors.DefaultSelector()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    selector.register(listening, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    os.write(1, b"ready\n")
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                sys.exit()
            if key.fileobj is listening:
                connection, _ = listening.accept()
                if prepared is None:
                    prepared = import_all()
                request, streams = read_request(connection)
                pid = os.fork()
                if not pid:
                    become(request, streams, prepared)
                    sys.executable = executable_of(address)
                    return list(request["words"])
                for stream in streams:
                    os.close(stream)
                selector.register(connection, selectors.EVENT_READ, pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
            elif isinstance(key.fileobj, socket.socket):  # the client has got a signal, or was killed
                received = key.fileobj.recv(1)
                os.kill(key.data, received[0] if received else signal.SIGKILL)
                if not received:
                    selector.unregister(key.fileobj)
            else:
                end(selector, key)


def end(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Tell the client how its process ended."""
    from contextlib import suppress

    pid, connection = key.data
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        connection.sendall(str(status).encode())
    with suppress(KeyError):
        selector.unregister(connection)
    connection.close()
    selector.unregister(key.fd)
    os.close(key.fd)


def import_all() -> dict[str, str]:
    """Import what takes long; the environment variables that this has set."""
    import gc
    import importlib
    from contextlib import suppress

    from cnn_registry import backend

    before = set(os.environ)
    sys.meta_path.insert(0, TensorflowWithoutJax)
    backend.tensorflow()
    sys.meta_path.remove(TensorflowWithoutJax)
    for name in USED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    return {name: value for name, value in os.environ.items() if name not in before}


def read_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a client asks for, and its streams."""
    length, streams, _, _ = socket.recv_fds(connection, LENGTH, 3)
    text = connection.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)  # and no signal that comes after it
    return json.loads(text), streams


def become(request: dict[str, Any], streams: list[int], prepared: dict[str, str]) -> None:
    """Have the client's folder, variables and streams, and a default handler for SIGINT."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(prepared | request["variables"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        buffering = 1 if name == "stderr" or os.isatty(number) else -1
        errors = "backslashreplace" if name == "stderr" else "strict"
        opened = None
        if number in request["closed"]:
            os.close(number)
        else:
            opened = open(number, mode, buffering, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(words: list[str]) -> None:
    """Do what ``python`` does with these words: ``-c CODE``, ``-m MODULE`` or a file, and arguments."""
    import importlib
    import runpy
    import site
    import warnings

    for folder in site.getsitepackages():
        site.addsitedir(folder)  # what was installed since
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    importlib.invalidate_caches()
    while words[:1] == ["-W"]:
        _, action, *words = words
        warnings.simplefilter(action)  # type: ignore[arg-type]  # one of its words
    match words:
        case ["-c", code, *arguments]:
            sys.argv = ["-c", *arguments]
            sys.path.insert(0, "")
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case ["-m", module, *arguments]:
            sys.argv = [module, *arguments]
            sys.path.insert(0, os.getcwd())
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case _:
            sys.argv = words
            sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
            runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        run(serve(sys.argv[2]))
    else:
        sys.exit(pass_on(sys.argv[1], sys.argv[2:]))
