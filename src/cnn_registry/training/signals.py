"""Requests to stop: Ctrl-C, SIGTERM from whatever runs the process, SIGHUP when its terminal is gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

STOPPING = b"\nStopping after this step; press Ctrl-C again to stop immediately.\n"

STOPPING_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopRequest:
    """Whether, and by which signal, the process was asked to stop.

    Attributes:
        signal: the first one that came; ``None`` so far.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._replaced: dict[signal.Signals, Any] = {}

    def catch(self) -> None:
        """Take the signals, except for those that `stop_requests` names."""
        handlers = {number: signal.getsignal(number) for number in STOPPING_SIGNALS}
        hangup = getattr(signal, "SIGHUP", None)
        for number, old in handlers.items():
            if old is not None and not (number == hangup and old == signal.SIG_IGN):
                self._replaced[number] = old
                signal.signal(number, self._receive)

    def release(self) -> None:
        """Give the signals back; may be called before the end of the block."""
        while self._replaced:
            signal.signal(*self._replaced.popitem())

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal = signal.Signals(number)
            with suppress(OSError):  # the terminal may be what is gone
                os.write(2, STOPPING)  # not print: it may have been interrupted


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block a first Ctrl-C, SIGTERM or SIGHUP only sets the request's signal; a second Ctrl-C stops.

    In a thread other than the main one signals cannot be caught, and nothing is set. A hangup that the process
    ignores, as under ``nohup``, and a signal whose handler is not Python's and could not be put back, keep theirs.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    try:
        request.catch()
        yield request
    finally:
        request.release()
