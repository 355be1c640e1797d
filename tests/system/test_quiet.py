"""What is kept from the user's terminal, and that it is only kept from there for a while."""

from __future__ import annotations

import threading
import warnings

import pytest

from cnn_registry.system.quiet import without_warnings


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
