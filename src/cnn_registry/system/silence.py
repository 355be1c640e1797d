"""No long silence: while something takes long, lines on standard error say what is being done.

There is one rule, for logs, terminals and notebooks: work that takes long has its line after some seconds without one,
and while it continues, every 3 s without a line one says how far it is; after ten of these, they become rarer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import TextIO

SILENCE = 3.0
"""Seconds without a line after which one says what is being done."""

STEADY = 10
"""Lines at this interval; each further one comes after twice the time of the one before, up to `LONGEST`."""

LONGEST = 60.0
"""Seconds."""


def is_terminal() -> bool:
    """Whether standard error is one."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is no standard error, or it is closed
        return False


def in_notebook() -> bool:
    """Whether this process is the kernel of one."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", None)  # another thread may be importing it
    return getattr(shell and shell(), "kernel", None) is not None


def standard_stream() -> TextIO | None:
    """Where lines go: standard error, or standard output in a notebook, which shows the former on red."""
    return sys.stdout if in_notebook() else sys.stderr


def write_line(line: str, stream: TextIO | None) -> None:
    """Write a line, if there is a stream and somebody reads it."""
    announcer.end_silence()
    if stream is not None:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            print(line, file=stream, flush=True)


class Work:
    """Something that may take long.

    Args:
        line: gives what to say of it; an empty one is not printed.
        after: seconds without a line until its first; default `SILENCE`.
        repeats: whether that is followed by others.
        is_shown: whether it shows by itself that it continues, as a bar does.
        stream: where lines go; default `standard_stream`.
    """

    def __init__(
        self,
        line: Callable[[], str],
        *,
        after: float | None = None,
        repeats: bool = True,
        is_shown: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.began = time.monotonic()
        self.is_shown, self.stream = is_shown, stream
        self.lines = 0
        self._line, self._after, self._repeats = line, after, repeats
        self._said = ""

    @property
    def interval(self) -> float:
        """Seconds without a line until the next."""
        if not self.lines:
            return SILENCE if self._after is None else self._after
        return min(SILENCE * 2 ** min(max(0, self.lines - STEADY), 10), LONGEST) if self._repeats else inf

    def next_line(self) -> str:
        """What to say now: how long it takes, where there is nothing else that is new."""
        line = self._line()
        is_new, self._said = line != self._said, line
        return line if is_new or not line else f"{line} ({time.monotonic() - self.began:.0f} s)"


class Announcer:
    """Says what is being done, of several things the innermost, from a thread that runs only meanwhile."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._last = -inf

    def end_silence(self) -> None:
        """Take note that there is a line."""
        self._last = time.monotonic()

    @contextmanager
    def during(self, work: Work) -> Iterator[None]:
        """Announce ``work``, which is the block."""
        try:
            self.begin(work)
            yield
        finally:
            self.end(work)

    def begin(self, work: Work) -> None:
        """Announce ``work`` until its `end`, after which it has no line."""
        with self._changed:
            self._works.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="silence", daemon=True)
                self._thread.start()
            self._changed.notify()

    def end(self, work: Work) -> None:
        """Leave ``work``."""
        with self._changed:
            if work in self._works:  # which a process forked within it is not aware of
                self._works.remove(work)
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._works:
                wait = self._due() - time.monotonic()
                if wait <= 0:
                    self._say()
                    self.end_silence()  # also where there was nothing to say: it would be due for ever
                else:
                    self._changed.wait(None if wait == inf else wait)
            self._thread = None

    def _due(self) -> float:
        """When the next line is due."""
        if self._has_bar() and (self._works[-1].is_shown or self._works[-1].lines):
            return inf
        watched = self._works[-1:] if self._has_bar() else self._works
        return min(max(self._last, work.began) + work.interval for work in watched)

    def _say(self) -> None:
        """Say what the innermost work does; each that it is part of has one line more."""
        stream = None if self._has_bar() else self._works[0].stream  # a bar moves only for what is printed above it
        if line := self._works[-1].next_line():
            write_line(line, stream or standard_stream())
        for work in self._works:
            work.lines += 1

    def _has_bar(self) -> bool:
        return any(work.is_shown for work in self._works)


announcer = Announcer()
"""That of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=announcer.__init__)  # type: ignore[misc]  # threads are not forked
