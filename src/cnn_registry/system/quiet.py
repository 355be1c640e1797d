"""Keep from standard error what is of no use to anyone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


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
