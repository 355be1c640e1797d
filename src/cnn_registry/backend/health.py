"""Notice when another worker ends, hangs or cannot be reached, which TensorFlow would wait for without an end."""

from __future__ import annotations

import atexit
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from cnn_registry.errors import ClusterError

from .cluster import Cluster
from .environment import tensorflow
from .keras_internals import peers

EVERY = 3.0
"""Seconds between looks at the other workers."""

ANSWERS_WITHIN = 8.0
"""Seconds within which a worker answers. A worker that computes also answers: TensorFlow has threads for it."""

TRIES = 3

GONE = "has ended, or its machine has"
SILENT = "does not answer: it hangs, or the network is cut"


GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of gRPC says first: HTTP/2's preface and empty settings. A server answers with its own settings."""


def joined_by_all(join: Callable[[], Any], cluster: Cluster) -> Any:
    """What ``join`` returns when all workers are there.

    TensorFlow waits within it for workers that have not started, and would also wait for one that was there and has
    ended, or hangs. So it runs in a thread, while this one looks at those that were there. Ctrl-C ends the wait.

    Raises:
        ClusterError: another worker was there, and has ended, hangs, or cannot be reached.
    """
    done: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(join())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="cnnreg-joining", daemon=True)
    thread.start()
    seen: set[int] = set()
    tries = dict.fromkeys(range(len(cluster.addresses)), 0)
    others = [rank for rank in tries if rank != cluster.rank]
    thread.join(EVERY)
    while thread.is_alive():
        for rank in others:
            reached, fault = _greeted(cluster.addresses[rank]) if thread.is_alive() else (False, None)
            if reached:
                seen.add(rank)
            tries[rank] = tries[rank] + 1 if fault and rank in seen else 0
            if fault and tries[rank] == TRIES:
                raise ClusterError(
                    f"Worker {cluster.rank} cannot join the other workers: {cluster.name(rank)}, {fault}"
                )
        thread.join(EVERY)
    if failed:
        raise failed[0]
    return done[0]


def _greeted(address: str) -> tuple[bool, str | None]:
    """Whether anyone is at an address, and what is wrong there; ``None`` where a server answers."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN)
    except (OSError, ValueError) as error:
        return False, SILENT if isinstance(error, TimeoutError) else GONE
    with connection:
        try:
            connection.sendall(GREETING)
            return True, None if connection.recv(1) else GONE
        except OSError as error:
            return True, SILENT if isinstance(error, TimeoutError) else GONE


class Watch:
    """Looks at the other workers from a thread of its own, and ends what waits for one that is lost.

    Within `EVERY` + `TRIES` x `ANSWERS_WITHIN` seconds, plus what TensorFlow takes to give up, each computation that
    needs the lost worker raises an error.

    Args:
        strategy: TensorFlow's strategy of several workers, whose own look at them is ended.
        cluster: the workers.
    """

    def __init__(self, strategy: Any, cluster: Cluster) -> None:
        self._cluster = cluster
        self._peers = peers(strategy)
        self._found: str | None = None
        self._ends = False
        atexit.register(self._end)
        if self._peers:
            threading.Thread(target=self._look, name="cnnreg-workers", daemon=True).start()

    def lost(self, error: BaseException) -> str | None:
        """Which worker was lost, after a computation with all of them failed; ``None`` where that has other causes.

        The error may come before the thread has looked, so this looks at all workers.
        """
        if self._found is None:
            for _ in range(2):
                if self._found is None and _is_of_connection(error):
                    self._look_at_all(tries=1)
                    time.sleep(0 if self._found else 1)
        if self._found is None and _is_of_connection(error):
            return "another worker has ended, or the connection to it was cut"
        return self._found

    def _end(self) -> None:
        self._ends = True

    def _look(self) -> None:
        while self._found is None:
            self._look_at_all(TRIES)
            if self._found is None:
                time.sleep(EVERY)
        if self._ends:
            return
        errors = tensorflow().errors
        if self._peers:
            self._peers.abort(errors.UNAVAILABLE, self._found)

    def _look_at_all(self, tries: int) -> None:
        for rank in range(len(self._cluster.addresses)):
            if rank != self._cluster.rank and (fault := self._fault(rank, tries)):
                self._found = f"{self._cluster.name(rank)}, {fault}"
                return

    def _fault(self, rank: int, tries: int) -> str | None:
        """What is wrong with a worker; ``None`` where it answers."""
        errors, fault = tensorflow().errors, None
        if not self._peers:
            return None
        for attempt in range(tries):
            if attempt:
                time.sleep(1)
            try:
                self._peers.check(self._cluster.task(rank), timeout_in_ms=int(1000 * ANSWERS_WITHIN))
                return None
            except errors.DeadlineExceededError:
                fault = SILENT
            except errors.OpError:  # the connection is refused, or another process answers at the address
                fault = GONE
        return fault


def _is_of_connection(error: BaseException) -> bool:
    errors = tensorflow().errors
    kinds = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
    return isinstance(error, kinds) or any(
        text in str(error)
        for text in ("Socket closed", "Connection reset", "failed to connect", "Collective ops is aborted")
    )
