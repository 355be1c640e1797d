"""Being asked to stop: Ctrl-C, or SIGTERM from whatever runs the process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = b"\nStopping after this step; Ctrl-C stops at once.\n"


class StopRequest:
    """Whether, and by which signal, the process was asked to stop.

    Attributes:
        signal: the first one that came; ``None`` so far.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            os.write(2, STOPPING)  # not print: it may have been interrupted
            self.signal = signal.Signals(number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block the first Ctrl-C or SIGTERM only sets the request's signal; a second Ctrl-C stops at once.

    In a thread other than the main one signals cannot be caught, and nothing is set.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
