"""Start several local processes as the workers of one cluster, and end them together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import IO, TextIO

from .processors import usable_cpus

GRACE = 60.0
"""Seconds that the others have to end by themselves when one has failed; then they are killed."""

FORWARDED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def launched(command: Sequence[str], workers: int) -> int:
    """Run a command in so many processes until all have ended, and return the exit code of the first that failed.

    A process that a signal ended counts as failed, with 128 and the signal's number.
    """
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    threads: list[threading.Thread] = []
    with ExitStack() as stack:
        processes: list[subprocess.Popen[bytes]] = []
        stack.enter_context(_forwarding(processes))
        stack.callback(_kill, processes)
        for index in range(workers):
            process = _started(command, addresses, index)
            processes.append(process)
            for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                assert source is not None
                thread = threading.Thread(target=_forward_lines, args=(source, target, f"[{index}] "), daemon=True)
                thread.start()
                threads.append(thread)
        code = _until_all_ended(processes)
    for thread in threads:
        thread.join()
    return code


def _free_ports(number: int) -> list[int]:
    """Ports that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _started(command: Sequence[str], addresses: list[str], index: int) -> subprocess.Popen[bytes]:
    described = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    share = max(usable_cpus() // len(addresses), 1)
    environment = {"TF_NUM_INTRAOP_THREADS": str(share), **os.environ, "TF_CONFIG": json.dumps(described)}
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
    )


def _forward_lines(source: IO[bytes], target: TextIO | None, prefix: str) -> None:
    with source:
        for line in source:
            with suppress(OSError, ValueError):  # nobody reads
                if target is not None:
                    target.write(prefix + line.decode(errors="backslashreplace").rstrip("\r\n") + "\n")
                    target.flush()


@contextmanager
def _forwarding(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Within it, signals go to all processes.

    A hangup that this process ignores, as under ``nohup``, stays ignored, which processes inherit. So does a signal
    whose handler is not Python's and could not be put back.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.getsignal(number) for number in FORWARDED}
    hangup = getattr(signal, "SIGHUP", None)
    replaced = {
        number: handler
        for number, handler in before.items()
        if handler is not None and not (number == hangup and handler == signal.SIG_IGN)
    }
    for number in replaced:
        signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _until_all_ended(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    code, until = 0, float("inf")
    while any(process.poll() is None for process in processes):
        failed = [process.returncode for process in processes if process.returncode]
        if failed and not code:
            code, until = _as_exit_code(failed[0]), time.monotonic() + GRACE
            for process in processes:
                if process.poll() is None:
                    process.terminate()
        if time.monotonic() > until:
            _kill(processes)
        time.sleep(0.1)
    return code or next((_as_exit_code(process.returncode) for process in processes if process.returncode), 0)


def _as_exit_code(returncode: int) -> int:
    return returncode if returncode > 0 else 128 - returncode


def _kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
