"""Standard output while somebody else's code runs. A program may be reading ours, so that code's goes elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_inside: ContextVar[bool] = ContextVar("inside", default=False)
_lock = threading.Lock()
_users = 0


class _Switch:
    """Stands for ``sys.stdout``: standard error inside `stdout_to_stderr`, what was there before everywhere else."""

    def __init__(self, stdout: Any) -> None:
        self.stdout = stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if _inside.get() and sys.stderr else self.stdout, name)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to standard error what this thread prints within; other threads print where they did before.

    `contextlib.redirect_stdout` would not do: of two threads that overlap, each restores what it found, and one of
    them found the other's.
    """
    _enter()
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
        _leave()


def _enter() -> None:
    global _users
    with _lock:
        if _users == 0 and sys.stdout is not None and not isinstance(sys.stdout, _Switch):
            sys.stdout = _Switch(sys.stdout)
        _users += 1


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and isinstance(sys.stdout, _Switch):
            sys.stdout = sys.stdout.stdout
