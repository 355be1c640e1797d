"""Progress of long work: a bar on a terminal, plain lines elsewhere. All of it goes to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cnn_registry.text import printable

Advance = Callable[[int], None]


def note(text: str) -> None:
    """Print one plain line about what is being done."""
    print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: int, *, unit: str = "") -> Iterator[Advance]:
    """Show ``description`` and how much of ``total`` is done; the caller advances by what it has finished.

    Args:
        description: what is being done, for instance ``"Decoding 1360 images"``.
        total: how much there is to do.
        unit: ``"bytes"`` to show sizes and speed, anything else to count.
    """
    if not sys.stderr.isatty():
        note(description)
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counter = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), counter, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(printable(description), total=total)
        yield lambda amount: bar.advance(task, amount)
