"""Keep from standard error what is of no use to anyone."""

from __future__ import annotations

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

_lock = threading.Lock()
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
def quiet_matplotlib() -> Iterator[None]:
    """Keep Matplotlib's notes about its cache from standard error, where it has no directory to keep one."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
