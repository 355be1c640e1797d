"""How much a server takes on: for one request, and for all of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import HTTPException


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Attributes:
        request_bytes: of one request; 32 MB.
        request_files: pictures in one request.
        pixels: of one picture, width times height.
        seconds: in which a request must have arrived.
        requests: that are answered or wait at a time.
        pictures: of all these requests together.
        bytes: of all these requests together; 128 MB.
    """

    request_bytes: int = 2**25
    request_files: int = 64
    pixels: int = 40_000_000
    seconds: float = 60.0
    requests: int = 64
    pictures: int = 256
    bytes: int = 2**27


class Allowance:
    """An amount that requests share; a request that needs more than is left is turned away.

    Args:
        limit: the amount.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A function that takes a part of the amount; all that was taken is given back at the end.

        The function raises an HTTPException with status 503 where too little is left.
        """
        taken = 0

        def take(amount: int) -> None:
            nonlocal taken
            if self._used + amount > self._limit:
                raise HTTPException(503, "The server is busy; try again.", {"Retry-After": "1"})
            self._used += amount
            taken += amount

        try:
            yield take
        finally:
            self._used -= taken
