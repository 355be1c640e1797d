"""The server: an application at an address, until it is interrupted."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from cnn_registry.errors import UsageError

BACKLOG = 512
"""Connections that may wait to be accepted."""

MAX_CONNECTIONS = 512
"""Connections that are open at a time; further ones are closed at once."""

IDLE_SECONDS = 60.0
"""In which a connection must bring a request, and take its answer."""

SHUTDOWN_SECONDS = 5
"""For requests that are being answered when the server is stopped."""


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address. Whoever comes before the application runs waits.

    Raises:
        UsageError: there is no such address, or it is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not an address"
        raise UsageError(f"{host}, port {port} cannot be listened at: {reason}.") from error


def make_server(app: FastAPI) -> uvicorn.Server:
    """The server of an application; ``run(sockets=[listen(host, port)])`` runs it."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_config=None,  # its own would close every log handler of this process
            log_level="warning",
            access_log=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


class Connection(H11Protocol):
    """Is closed once it neither brings a request nor takes an answer; uvicorn would wait without an end."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Open it, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._timer = self.loop.call_later(IDLE_SECONDS, self._look, self.cycle)

    def _look(self, last: object) -> None:
        """Close it if nothing has happened since the last look, when its request was ``last``."""
        if self.cycle is last and (last is None or self.cycle.response_complete or self.flow.write_paused):
            self.transport.abort()
        else:
            self._look_later()
