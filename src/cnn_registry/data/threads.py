"""The same work on many items, in as many threads as there are processors.

Pillow and hashlib release the interpreter's lock while they work, so threads are enough.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from cnn_registry.backend import usable_cpus

A = TypeVar("A")
B = TypeVar("B")

_CHUNK = 4  # items per task: few enough to keep all threads busy in one batch
_AHEAD = 4  # tasks per thread that may be done before the caller takes their results


def in_threads(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """``function`` of each of ``items``, in their order.

    When the caller stops early, so does the work. At most `in_flight` results wait for the caller, and no more items
    than that are taken ahead of it, so ``items`` may have no end.
    """

    def of_chunk(chunk: list[A]) -> list[B]:
        return [function(item) for item in chunk]

    remaining = iter(items)
    chunks = iter(lambda: list(islice(remaining, _CHUNK)), [])
    pool = ThreadPoolExecutor(usable_cpus())
    try:
        tasks = deque(pool.submit(of_chunk, chunk) for chunk in islice(chunks, _AHEAD * usable_cpus()))
        while tasks:
            results = tasks.popleft().result()
            tasks.extend(pool.submit(of_chunk, chunk) for chunk in islice(chunks, 1))
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def together(function: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """``function`` of each of ``items``, in their order, in threads that all callers share and that stay."""
    return list(_pool(os.getpid()).map(function, items))


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process, which a process that is forked from it does not have."""
    return ThreadPoolExecutor(usable_cpus())


def in_flight() -> int:
    """How many results of `in_threads` there are at most that the caller has not taken."""
    return _CHUNK * _AHEAD * usable_cpus()
