"""Workers that join each other: those that have not started are waited for, those that are lost are not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from cnn_registry.backend import health
from cnn_registry.backend.cluster import Cluster
from cnn_registry.errors import ClusterError


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EVERY", 0.05)
    monkeypatch.setattr(health, "ANSWERS_WITHIN", 0.1)


@pytest.fixture
def other() -> Iterator[socket.socket]:
    """The other worker's port. Nobody accepts connections, as in a process that is stopped; the system does."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        yield listening


def cluster(other: socket.socket) -> Cluster:
    return Cluster({"worker": ["127.0.0.1:1", f"127.0.0.1:{other.getsockname()[1]}"]}, "worker", 0)


def test_one_that_has_not_started_is_waited_for(other: socket.socket) -> None:
    assert health.joined_by_all(lambda: threading.Event().wait(0.5) or "all", cluster(other)) == "all"


def test_one_that_hangs_is_found(other: socket.socket) -> None:
    other.listen()
    with pytest.raises(ClusterError, match="does not answer"):
        health.joined_by_all(lambda: threading.Event().wait(20), cluster(other))


def test_one_that_was_there_and_has_ended_is_found(other: socket.socket) -> None:
    other.listen()

    def answer_and_end() -> None:
        connection, _ = other.accept()
        connection.recv(len(health.GREETING))
        connection.sendall(b"\0")
        connection.close()
        other.close()

    ended = threading.Thread(target=answer_and_end)
    joining = cluster(other)
    ended.start()
    with pytest.raises(ClusterError, match="has ended"):
        health.joined_by_all(lambda: threading.Event().wait(20), joining)
    ended.join()


def test_what_joining_raises_is_raised(other: socket.socket) -> None:
    def fail() -> None:
        raise RuntimeError("TensorFlow was used")

    with pytest.raises(RuntimeError, match="TensorFlow was used"):
        health.joined_by_all(fail, cluster(other))
