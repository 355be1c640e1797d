"""The same work on many items, on as many threads as there are processors.

Pillow and hashlib let go of the interpreter while they work, so threads are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cnn_registry.backend import usable_cpus

A = TypeVar("A")
B = TypeVar("B")

_CHUNK = 4  # items a task: few enough to keep all threads busy in one batch


def in_threads(function: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
    """``function`` of each of ``items``, in their order. When the caller stops early, so does the work."""

    def of_chunk(start: int) -> list[B]:
        return [function(item) for item in items[start : start + _CHUNK]]

    pool = ThreadPoolExecutor(usable_cpus())
    try:
        for results in pool.map(of_chunk, range(0, len(items), _CHUNK)):
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)
