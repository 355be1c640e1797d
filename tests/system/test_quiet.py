"""What is kept from the user's terminal, and that it is only kept from there for a while."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import pytest

from cnn_registry.system.quiet import in_force, without_warnings


def test_two_threads_that_overlap_leave_the_filters_as_they_were() -> None:
    before = list(warnings.filters)
    entered, left = threading.Event(), threading.Event()

    def later() -> None:
        with without_warnings():
            entered.set()
            left.wait(10)
            warnings.warn("one", UserWarning, stacklevel=1)

    thread = threading.Thread(target=later)
    with without_warnings():
        thread.start()
        assert entered.wait(10)
    left.set()
    thread.join()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="two"):
        warnings.warn("two", UserWarning, stacklevel=1)


def test_the_users_own_filter_stays() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        with without_warnings(), without_warnings(r"PIL\."):
            pass
        assert list(warnings.filters) == before


def test_what_two_threads_change_together_is_put_back_once() -> None:
    level = ["own"]

    def change() -> Callable[[], None]:
        before = level[0]
        level[0] = "quiet"
        return lambda: level.__setitem__(0, before)

    first, second = in_force("level", change), in_force("level", change)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert level == ["quiet"]
    second.__exit__(None, None, None)
    assert level == ["own"]
