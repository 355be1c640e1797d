"""Warnings that point at the line that calls this package, however deep inside they arise."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

INSIDE = (__name__.partition(".")[0], "contextlib")
"""Packages whose lines are passed over. A context manager of this package is entered from a line of `contextlib`."""


_issued: ContextVar[set[str] | None] = ContextVar("issued", default=None)


@contextmanager
def warned_once() -> Iterator[None]:
    """Within the block, `warn_caller` issues each message once, however often it arises."""
    token = _issued.set(set() if _issued.get() is None else _issued.get())
    try:
        yield
    finally:
        _issued.reset(token)


def warn_caller(message: str, category: type[Warning]) -> None:
    """Issue a warning at the nearest line outside this package.

    Args:
        message: one line.
        category: the kind of warning.
    """
    if (issued := _issued.get()) is not None:
        if message in issued:
            return
        issued.add(message)
    frame, level = sys._getframe(1), 2
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
