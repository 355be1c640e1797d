from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from cnn_registry.data.threads import in_flight, in_threads


def test_results_come_in_order_from_more_than_one_thread() -> None:
    names = set()

    def work(item: int) -> int:
        names.add(threading.current_thread().name)
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(in_threads(work, range(50))) == [item * item for item in range(50)]
    assert threading.current_thread().name not in names


def test_an_error_is_raised_where_its_result_would_be() -> None:
    results = in_threads(lambda item: 1 // (item - 10), range(20))
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        list(results)


def test_work_ends_when_the_caller_stops() -> None:
    done = []

    def work(item: int) -> None:
        time.sleep(0.001)
        done.append(item)

    results = in_threads(work, range(1000))
    assert isinstance(results, Generator)
    next(results)
    results.close()
    assert len(done) < 100


def test_work_does_not_run_far_ahead_of_the_caller() -> None:
    done = []
    results = in_threads(lambda item: done.append(item), range(100_000))
    next(results)
    time.sleep(0.2)
    assert len(done) <= in_flight() + 8
    assert len(list(results)) == 99_999
