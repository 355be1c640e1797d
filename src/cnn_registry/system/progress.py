"""Progress of long work, on standard error: a bar on a terminal, plain lines elsewhere.

A notebook shows the bar and the lines among a cell's results, since Jupyter shows standard error on red.

Work continues where nobody reads: a pipe whose reader has left, a terminal that is gone, or a full disk is ignored.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Protocol, TextIO, cast

from cnn_registry.text import printable, wrapped

from .silence import SILENCE, Work, announcer, in_notebook, is_terminal, standard_stream, write_line

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Advance = Callable[[int], None]

WIDE = 100
"""With this many columns there is room for a long bar and for everything that was measured."""

PLAIN = 80
"""Columns of the lines in a log."""

NARROW = 70
"""With fewer columns there is no room for a bar, only for its numbers."""


_quiet = False


@contextmanager
def muted(wanted: bool = True) -> Iterator[None]:
    """Within it no progress is shown, if that is ``wanted``: of several processes, one shows it."""
    global _quiet
    before, _quiet = _quiet, _quiet or wanted
    try:
        yield
    finally:
        _quiet = before


_collected: list[list[str]] = []


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """The notes of the block, which are also printed."""
    lines: list[str] = []
    _collected.append(lines)
    try:
        yield lines
    finally:
        _collected.remove(lines)


_known: ContextVar[set[str] | None] = ContextVar("known", default=None)
_repeats: ContextVar[bool] = ContextVar("repeats", default=False)


@contextmanager
def same_work() -> Iterator[None]:
    """Within the block, notes of `repeated` blocks are printed once, however often these are entered."""
    token = _known.set(set() if _known.get() is None else _known.get())
    try:
        yield
    finally:
        _known.reset(token)


@contextmanager
def repeated() -> Iterator[None]:
    """What may be done several times within `same_work`, with the same notes."""
    token = _repeats.set(True)
    try:
        yield
    finally:
        _repeats.reset(token)


def note(text: str) -> None:
    """Print one plain line about what is being done; a terminal gets it broken at spaces."""
    if _quiet:
        return
    line = printable(text)
    known = _known.get()
    if _repeats.get() and known is not None:
        if line in known:
            return
        known.add(line)
    for lines in _collected:
        lines.append(line)
    write_line(_fitted(line), standard_stream())


def _fitted(line: str) -> str:
    return wrapped(line, shutil.get_terminal_size().columns) if is_terminal() else line


@contextmanager
def working(
    description: str, *, total: int | None = None, after: float = SILENCE, repeats: bool = True
) -> Iterator[Advance]:
    """Print ``description`` as a plain line if the block takes longer, and then how far it is, or how long it takes.

    The lines also appear while the file descriptor of standard error leads elsewhere. As a decorator, it is about all
    of a function.

    Args:
        description: what is being done.
        total: how much there is to do, where the block advances by what it has finished.
        after: seconds without a line until the first. Within other work, it comes after 3 s without one at the latest.
        repeats: whether there are further lines, as `cnn_registry.system.silence` has them.
    """
    state = _State(printable(description), total, 0, "")

    def line() -> str:
        return "" if _quiet else _fitted(state.line() if state.gained else printable(description))

    stream = None if _quiet or in_notebook() else _duplicate(sys.stderr)
    try:
        with announcer.during(Work(line, after=after, repeats=repeats, stream=stream)):
            yield state.advance
    finally:
        if stream:
            with suppress(OSError):
                stream.close()


def _duplicate(stream: TextIO | None) -> TextIO | None:
    """A stream to the same file; ``None`` where there is no file."""
    if stream is None:
        return None
    with suppress(AttributeError, OSError, ValueError):
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace")
    return None


class Bar(Protocol):
    """Shows how much of some work is done.

    Attributes:
        width: columns for which there is room.
    """

    width: int

    def advance(self, amount: int) -> None:
        """Add what has been finished."""

    def update(self, completed: int, description: str, measured: str) -> None:
        """Show what is done of the total, what is being done, and what was measured."""

    def print(self, text: str) -> None:
        """Print a line that stays."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def shows_bars() -> bool:
    """Whether there is a terminal or a notebook that can show a bar."""
    return not _quiet and (is_terminal() or in_notebook())


def open_bar(description: str, total: int | None, *, completed: int = 0, unit: str = "") -> Bar:
    """Show a bar on the terminal or in the notebook, and lines elsewhere, until it is closed.

    Args:
        description: what is being done.
        total: how much there is to do; ``None`` where that is not known.
        completed: how much is done already.
        unit: ``"bytes"`` to show sizes and speed, anything else to count.
    """
    kind = LineBar if _quiet else TerminalBar if is_terminal() else NotebookBar if in_notebook() else LineBar
    return kind(printable(description), total, completed, unit)


@contextmanager
def progress(description: str, total: int, *, unit: str = "") -> Iterator[Advance]:
    """Show ``description`` and how much of ``total`` is done; the caller advances by what it has finished.

    Args:
        description: what is being done, for instance ``"Decoding 1360 images"``.
        total: how much there is to do.
        unit: ``"bytes"`` to show sizes and speed, anything else to count.
    """
    if not shows_bars():
        note(description)
    bar = open_bar(description, total, unit=unit)
    try:
        yield bar.advance
    finally:
        bar.close()


class TerminalBar:
    """A bar on a terminal; lines that are printed meanwhile appear above it.

    Attributes:
        width: columns of the terminal.
    """

    def __init__(self, description: str, total: int | None, completed: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        # Without the wrapper, rich would end the process when nobody reads.
        console = Console(file=cast(IO[str], _Forgiving(sys.stderr)))
        self.width = console.width
        self._bar = Progress(
            *_columns(unit, self.width),
            console=console,
            speed_estimate_period=120,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # what goes to a file stays there
        )
        self._task = self._bar.add_task(description, total=total, completed=completed, measured="")
        self._work = Work(lambda: description, is_shown=True)
        announcer.begin(self._work)
        self._bar.start()

    def advance(self, amount: int) -> None:
        """Add what has been finished."""
        self._bar.advance(self._task, amount)

    def update(self, completed: int, description: str, measured: str) -> None:
        """Show what is done of the total, what is being done, and what was measured."""
        self._bar.update(self._task, completed=completed, description=printable(description), measured=measured)

    def print(self, text: str) -> None:
        """Print a line that stays."""
        self._bar.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        announcer.end(self._work)
        self._bar.stop()


def _columns(unit: str, width: int) -> list[ProgressColumn]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return [
        *([SpinnerColumn("line")] if width >= NARROW else []),  # it turns while nothing else changes
        TextColumn("{task.description}", markup=False),
        *([BarColumn(40 if width >= WIDE else 10)] if width >= NARROW else []),
        DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
        TextColumn("{task.fields[measured]}", markup=False),
        TimeRemainingColumn(),
    ]


class _Forgiving:
    """A stream whose reader may leave."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LineBar:
    """Lines in a log, which say how far the work is when there was none for a while.

    Attributes:
        width: letters for which there is room.
    """

    def __init__(self, description: str, total: int | None, completed: int, unit: str) -> None:
        self.width = PLAIN
        self._state = _State(description, total, completed, unit)
        self._work = Work(self._state.line)
        if not _quiet:
            announcer.begin(self._work)

    def advance(self, amount: int) -> None:
        """Add what has been finished."""
        self._state.completed += amount

    def update(self, completed: int, description: str, measured: str) -> None:
        """Set what is done of the total, what is being done, and what was measured."""
        self._state.set(completed, description, measured)

    def print(self, text: str) -> None:
        """Print a line, after which there is none for a while."""
        note(text)

    def close(self) -> None:
        """End the lines."""
        announcer.end(self._work)


class NotebookBar:
    """A line in the output of a notebook's cell, which changes in place.

    Attributes:
        width: letters for which there is room.
    """

    EVERY = 0.25
    """Seconds between updates."""

    def __init__(self, description: str, total: int | None, completed: int, unit: str) -> None:
        display = import_module("IPython.display").display
        self.width = WIDE
        self._state = _State(description, total, completed, unit)
        self._shown = time.monotonic()
        self._display = display(self._content(), raw=True, display_id=True)
        self._work = Work(self._state.line, is_shown=True)
        announcer.begin(self._work)

    def advance(self, amount: int) -> None:
        """Add what has been finished."""
        self._state.completed += amount
        self._show()

    def update(self, completed: int, description: str, measured: str) -> None:
        """Show what is done of the total, what is being done, and what was measured."""
        self._state.set(completed, description, measured)
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown >= self.EVERY:
            self._shown = now
            self._display.update(self._content(), raw=True)

    def print(self, text: str) -> None:
        """Print a line that stays."""
        note(text)

    def close(self) -> None:
        """Show the last state."""
        announcer.end(self._work)
        self._display.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        return {"text/plain": self._state.line(bar=True)}


class _State:
    """How far some work is, as text.

    Attributes:
        completed: what is done of the total.
    """

    def __init__(self, description: str, total: int | None, completed: int, unit: str) -> None:
        self._description, self._measured, self._unit = description, "", unit
        self._total, self.completed, self._before = total, completed, completed
        self._began = time.monotonic()

    def advance(self, amount: int) -> None:
        """Add what has been finished."""
        self.completed += amount

    def set(self, completed: int, description: str, measured: str) -> None:
        """Take what is done, what is being done, and what was measured."""
        self.completed, self._description, self._measured = completed, printable(description), measured

    @property
    def gained(self) -> int:
        """What was done since it is shown."""
        return self.completed - self._before

    def line(self, *, bar: bool = False) -> str:
        """One line: description, the share that is done, what was measured, the time left."""
        scale, unit = (1e6, " MB") if self._unit == "bytes" else (1, "")
        done = 0.0 if self._total is None else self.completed / max(self._total, 1)
        full = round(20 * min(done, 1))
        of_total = "" if self._total is None else f"/{self._total / scale:.0f}"
        parts = [
            self._description,
            "█" * full + "░" * (20 - full) if bar and self._total is not None else "",
            f"{self.completed / scale:.0f}{of_total}{unit}" if of_total or self.completed else "",
            self._measured,
            self._time_left(),
        ]
        return "  ".join(filter(None, parts))

    def _time_left(self) -> str:
        gained = self.gained
        if not gained or self._total is None or self.completed >= self._total:
            return ""
        seconds = round((time.monotonic() - self._began) / gained * (self._total - self.completed))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"
