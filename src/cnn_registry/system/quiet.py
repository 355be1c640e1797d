"""Keep from standard error what is of no use to anyone."""

from __future__ import annotations

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

PutBack = Callable[[], None]
"""What undoes a change."""

_lock = threading.RLock()
_changes: dict[str, tuple[int, PutBack]] = {}
"""How many blocks each change of `in_force` has, and what undoes it."""

_users: Counter[str] = Counter()
"""Blocks of `without_warnings` that are entered, in any thread, by the modules that they are about."""


@contextmanager
def without_warnings(module: str = ".*") -> Iterator[None]:
    """Within it, warnings are not shown, in any thread.

    `warnings.catch_warnings` would not do: of two threads that overlap, each restores what it found, and one of them
    found the other's filter, which would then stay.

    Args:
        module: a regular expression; only the warnings of modules whose names it matches are meant. Default all.
    """
    with _lock:
        _users[module] += 1
        warnings.filterwarnings("ignore", module=module)  # comes first, wherever it stood before
        own = warnings.filters[0]
    try:
        yield
    finally:
        with _lock:
            _users[module] -= 1
            if not _users[module] and own in warnings.filters:
                cast("list[Any]", warnings.filters).remove(own)


@contextmanager
def in_force(name: str, change: Callable[[], PutBack]) -> Iterator[None]:
    """Within it, a change to the process is in force. The first of blocks that overlap makes it, the last undoes it.

    Args:
        name: what is changed.
        change: makes the change, and returns what undoes it.
    """
    with _lock:
        count, put_back = _changes.get(name, (0, None))
        put_back = put_back or change()
        _changes[name] = count + 1, put_back
    try:
        yield
    finally:
        with _lock:
            count, _ = _changes.pop(name)
            if count > 1:
                _changes[name] = count - 1, put_back
            else:
                put_back()


@contextmanager
def quiet_matplotlib() -> Iterator[None]:
    """Keep Matplotlib's notes about its cache from standard error, where it has no directory to keep one."""

    def change() -> PutBack:
        logger = logging.getLogger("matplotlib")
        before = logger.level
        logger.setLevel(logging.ERROR)
        return lambda: logger.setLevel(before)

    with in_force("matplotlib", change):
        yield
